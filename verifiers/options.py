r"""Reads the options of a multiple-choice problem out of its text: `(A) 12 (B) 13`, `A. 12`, `\textbf{(A)}\ 12`.

In: the text of a problem. Out: letter to text, from A on without gaps; empty where the text has no such list, or
more than one reading of it. The styles are tried in turn; the last list of the text counts.
"""

import re

_LABELS = (
    re.compile(r"(?:\\(?:textbf|text|mathrm|textrm|bf)\s*\{\s*|\*\*)?\(([A-Z])\)(?:\s*\}|\*\*)?"),
    re.compile(r"(?m)^[ \t]*(?:[-*] )?(?:\*\*)?([A-Z])[.):](?:\*\*)?[ \t]"),
    re.compile(r"(?<![\w.(])([A-Z])[.)] "),
)
_EDGES = re.compile(r"(?:\\q?quad|\\\\|\\[ ,;:!]|[$~\s,;&])*")
_TRAILING = ("\\qquad", "\\quad", "\\\\", "\\,", "\\;", "\\ ", "\\")
_MOST_CHARACTERS = 50_000


def read_options(problem: str) -> dict[str, str]:
    r"""The options in a problem's text.

    >>> read_options(r"How many? $\textbf{(A)}\ 12 \qquad\textbf{(B)}\ 13$")
    {'A': '12', 'B': '13'}
    >>> read_options("How many?\nA. 12\nB. 13")
    {'A': '12', 'B': '13'}
    """
    if len(problem) > _MOST_CHARACTERS:
        return {}
    for label in _LABELS:
        found = list(label.finditer(problem))
        starts = [place for place, match in enumerate(found) if match.group(1) == "A"]
        if not starts:
            continue
        run = found[starts[-1] :]
        length = 0
        while length < len(run) and run[length].group(1) == chr(ord("A") + length):
            length += 1
        if length < 2 or length < len(run):
            continue
        ends = [match.start() for match in run[1:length]] + [_end(problem, run[length - 1].end())]
        texts = [_bare(problem[match.end() : end]) for match, end in zip(run, ends, strict=True)]
        if all(texts):
            return {match.group(1): text for match, text in zip(run, texts, strict=True)}
    return {}


def _end(problem: str, start: int) -> int:
    """Where the last option ends: with its line, if anything stands on it."""
    while start < len(problem) and problem[start] in " \t\n":
        start += 1
    end = problem.find("\n", start)
    return len(problem) if end < 0 else end


def _bare(text: str) -> str:
    """The text without the spacing and the dollar signs around it."""
    text = text.strip()
    match = _EDGES.match(text)
    text = text[match.end() :] if match and not text.startswith("$") else text
    while True:
        stripped = text.rstrip(" \t\n~,;&")
        for command in _TRAILING:
            stripped = stripped.removesuffix(command)
        if stripped.count("$") % 2:  # of a formula that the labels stand in
            stripped = stripped.removeprefix("$") if stripped.startswith("$") else stripped.removesuffix("$")
        if stripped == text:
            return text
        text = stripped
