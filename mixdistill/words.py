"""Numbers and texts as all commands print them."""

import re

_UNITS = (("d", 86_400, "h", 3_600), ("h", 3_600, "m", 60), ("m", 60, "s", 1))
# Control characters but tab and newline, and those that turn the direction of writing.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def duration(seconds: float) -> str:
    """The two largest units of a time.

    >>> [duration(seconds) for seconds in (0, 0.25, 7.9, 153.2, 7260, 200_000)]
    ['0s', '0.2s', '7s', '2m 33s', '2h 01m', '2d 07h']
    """
    whole = int(seconds)
    for large, n_large, small, n_small in _UNITS:
        if whole >= n_large:
            return f"{whole // n_large}{large} {whole % n_large // n_small:02}{small}"
    return f"{seconds:.1f}s" if 0 < seconds < 1 else f"{whole}s"


def printable(text: str) -> str:
    """The text without characters that a terminal obeys instead of printing; a mark stands in their place.

    >>> printable("a" + chr(27) + "[2Jb")
    'a\N{REPLACEMENT CHARACTER}[2Jb'
    """
    return _OBEYED.sub("\N{REPLACEMENT CHARACTER}", text)
