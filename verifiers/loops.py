r"""How much of a text says the same over and over: the loops that small models fall into.

In: a text. Out: a share in [0, 1], in time linear in the length of the text. Three kinds are looked for, and the
one that covers most counts: a stretch that is back-to-back copies of one text (a run, in the sense of Kolpakov and
Kucherov, FOCS 1999: a digit, a sentence, a cycle of paragraphs), the same with numbers that change (a counter that
runs away), and sentences that return word for word with others between them (the duplicate lines of Rae et al.
2021, table A1). Not their n-gram shares: with windows of 10 tokens seen four times, 30% of worked olympiad
solutions lose a tenth of their text, because careful algebra says \frac{a}{b} often. Judges nobody: the limit is
the caller's.
"""

import re
from collections import Counter

# Copies that make a loop. Solutions by people hold three equal matrices or four equal fractions in a row.
_COPIES = 4
# With the numbers set aside: a careful teacher tries 44 divisors, one a line (qwen_math_cot_100, MATH).
_NUMBERED_COPIES = 64
# A shorter stretch is a rule, the column format of a table or a sum of equal terms; in a long text it may have one
# part in a hundred, which changes no share that matters and keeps the search linear.
_RUN_CHARS = 200
_RUN_PART = 100
# The longest text whose copies are found: a few paragraphs.
_LONGEST_COPY = 4_000
# Text that is looked for further on, and how often if it stands several times in one copy.
_PROBE_CHARS = 24
_TRIES = 4
# A sentence counts from this length on, if it is there so often; "Wait," may come as often as it likes.
_SENTENCE_CHARS = 25
_SENTENCE_COPIES = 8

# Deletes numbers with what may stand in them, so that two that differ leave the same text.
_NO_NUMBERS = dict.fromkeys(map(ord, "0123456789.,"))
_WORD = re.compile(r"[^\W\d_]{2}")


def repetition(text: str) -> float:
    """The share of the text that stands in repeated stretches, 0 for a text too short to have one.

    >>> round(repetition("Half of 18 is 9. " + 40 * "Wait, let me check again. "), 2)
    0.98
    >>> repetition("Half of 18 is 9. Wait, let me check again. 2 * 9 = 18. So it is 9.")
    0.0
    """
    if len(text) < _RUN_CHARS:
        return 0.0
    share = max(_in_runs(text, _COPIES), _in_sentences(text)) / len(text)
    if len(text) >= _NUMBERED_COPIES * _PROBE_CHARS // 2:
        plain = text.translate(_NO_NUMBERS)
        share = max(share, _in_runs(plain, _NUMBERED_COPIES, needs_word=True) / max(1, len(plain)))
    return share


def _in_runs(text: str, copies: int, *, needs_word: bool = False) -> int:
    """Characters in stretches of so many copies of one text, back to back; the last copy may be cut."""
    covered = end = 0
    longest = min(len(text) // copies, _LONGEST_COPY)
    shortest = max(_RUN_CHARS, len(text) // _RUN_PART)
    # Of a run of four copies, so many characters may pass before a probe whose next copy still is in the run.
    every = shortest * 3 // 4 - _PROBE_CHARS
    for start in range(0, len(text) - _PROBE_CHARS, every):
        if start < end:
            continue
        probe = text[start : start + _PROBE_CHARS]
        copy = start
        for _ in range(_TRIES):
            copy = text.find(probe, copy + 1, start + longest + _PROBE_CHARS)
            if copy < 0:
                break
            first, last = _run(text, start, copy, floor=max(end, start - every))
            is_long = last - first >= max(copies * (copy - start), shortest)
            if is_long and (not needs_word or _WORD.search(text, start, copy)):
                covered += last - first
                end = last
                break
    return covered


def _run(text: str, start: int, copy: int, floor: int) -> tuple[int, int]:
    """Where the stretch begins (not before `floor`) and ends in which the text is the same as that way before."""
    way = copy - start
    first = start
    while first > floor and text[first - 1] == text[first - 1 + way]:
        first -= 1
    last, step = copy, _PROBE_CHARS
    while text.startswith(text[last - way : last - way + step], last):
        last += step
        step *= 2
    while step := step // 2:
        if text.startswith(text[last - way : last - way + step], last):
            last += step
    return first, last


def _in_sentences(text: str) -> int:
    """Characters in sentences and lines that the text holds many times."""
    for end in ".?!":
        text = text.replace(end + " ", end + "\n")
    sentences = text.split("\n")
    if len(sentences) < _SENTENCE_COPIES:
        return 0
    counts = Counter(sentences)
    often = {each: n for each, n in counts.items() if n >= _SENTENCE_COPIES and len(each) >= _SENTENCE_CHARS}
    return sum(n * len(each) for each, n in often.items())
