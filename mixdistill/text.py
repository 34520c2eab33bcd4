r"""The answer that GSM8K marks, on a line behind `####`.

Builders take references from worked solutions by it, and verifiers answers; boxes are read by `boxes`.
"""


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
