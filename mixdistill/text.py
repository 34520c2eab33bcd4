r"""Answers that a text marks for machines: the last \boxed{...} and the line after `####`.

Both marks are strong: nobody writes them by accident, so builders take references from worked solutions by
them and verifiers take answers. Everything here is linear in the length of the text. Not here: the weaker
marks ("The answer is ...", the last number), which only the verifiers use.
"""

import re
from collections import deque

# One pass over braces: a box, an escaped character (so that `\{` is no brace), an opening or a closing brace.
_BRACE = re.compile(r"\\(?:boxed|fbox)\s{0,20}\{|\\.|[{}]", re.DOTALL)
_BOX_WITHOUT_BRACES = re.compile(r"\\(?:boxed|fbox) {0,3}([A-Za-z0-9])(?![A-Za-z0-9{])")
_BOX_START = re.compile(r"\\(?:boxed|fbox)\s{0,20}\{")


def last_boxed(text: str) -> str | None:
    r"""The content of the last \boxed{} or \fbox{}; None if there is none, or if it is not closed.

    >>> last_boxed(r"so \boxed{\frac{1}{2}}, not \boxed{\{1, 2\}}.")
    '\\{1, 2\\}'
    >>> last_boxed(r"first \boxed{3}, better \boxed{4") is None
    True
    """
    open_braces: list[tuple[bool, int]] = []
    start, end, box_end = -1, -1, -1
    for match in _BRACE.finditer(text):
        token = match.group()
        if token == "{" or len(token) > 2:
            open_braces.append((len(token) > 2, match.end()))
        elif token == "}" and open_braces:
            is_box, opened = open_braces.pop()
            if is_box:
                start, end, box_end = opened, match.start(), match.end()
    if any(is_box for is_box, opened in open_braces if opened > end):
        return None
    unbraced = deque(_BOX_WITHOUT_BRACES.finditer(text, max(box_end, 0)), maxlen=1)
    if unbraced:
        return unbraced[0].group(1)
    return _inner(text[start:end]) if start >= 0 else None


def after_hashes(text: str) -> str | None:
    """What follows `####` on the last line that is not blank, as GSM8K marks answers.

    Only the last line counts: earlier ones are headings of Markdown.

    >>> after_hashes("16 - 3 - 4 = 9 eggs\\n#### 18\\n")
    '18'
    """
    lines = text.rstrip()
    last = lines[lines.rfind("\n") + 1 :].strip()
    if not last.startswith("####") or last.startswith("#####"):
        return None
    return last[4:].strip() or None


def _inner(content: str) -> str | None:
    """The content without boxes around all of it; None where nothing stands in the box."""
    for _ in range(3):
        content = content.strip()
        match = _BOX_START.match(content)
        if match is None or not content.endswith("}"):
            break
        content = content[match.end() : -1]
    return content.strip() or None
