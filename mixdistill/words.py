"""Numbers in words, as all commands print them."""

_UNITS = (("d", 86_400, "h", 3_600), ("h", 3_600, "m", 60), ("m", 60, "s", 1))


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
