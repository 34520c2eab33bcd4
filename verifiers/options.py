r"""Reads the options of a multiple-choice problem, and which of them a text chooses in words.

In: the text of a problem, as `(A) 12 (B) 13`, `A. 12`, `\textbf{(A)}\ 12`. Out: letter to text, from A on without
gaps; empty where the text has no such list, or more than one reading of it. The styles are tried in turn; the
last list of the text counts. Or in: a response; out: the letter that its last words choose, None where they
hedge or only list options. All patterns are linear in the length of the text.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

_LABELS = (
    re.compile(r"(?:\\(?:textbf|text|mathrm|textrm|bf)\s*\{\s*|\*\*)?\(([A-Z])\)(?:\s*\}|\*\*)?"),
    re.compile(r"(?m)^[ \t]*(?:[-*] )?(?:\*\*)?([A-Z])[.):](?:\*\*)?[ \t]"),
    re.compile(r"(?<![\w.(])([A-Z])[.)] "),
)
_RESTATED = re.compile(r"(?:\(([A-Z])\)|(?<![\w(])([A-Z])[.):])[*\s}$]{0,6}")
_EDGES = re.compile(r"(?:\\q?quad|\\\\|\\[ ,;:!]|[$~\s,;&])*")
_TRAILING = ("\\qquad", "\\quad", "\\\\", "\\,", "\\;", "\\ ", "\\")
_MOST_CHARACTERS = 50_000
# A choice is stated at the end.
_TAIL_CHARACTERS = 600

_REASON = r"because|since|as|due|not|non|nicht|nor|rather|instead|here|is (?:the )?(?:correct|right|answer)"
# A letter in parentheses, or one that is a word of its own and not the article.
_NAMED = (
    rf"(?:(?<![A-Za-z0-9_\\}}])\(([A-J])\)|(?<![A-Za-zÀ-ɏ0-9_'’.\\$^(])(A(?!\s(?!(?:{_REASON}|and|or)\b)[^\W\d_])|[B-HJ])"
    rf"(?![A-Za-z0-9_'’^=+(\-]))"
)
_NAMED_LIST = rf"{_NAMED}(?:(?:\s?[,/]\s?|,?\s(?:or|and|nor)\s){_NAMED}){{0,9}}"
_LETTER = re.compile(_NAMED)
_DENIED = re.compile(
    rf"(?:\b(?:not|nor|cannot be|non|nicht|rather than|instead of)|n['’]t(?: be)?|不是|不选)"
    rf"\s{{0,3}}(?:(?:option|choice|either)\s)?{_NAMED_LIST}"
    rf"|{_NAMED_LIST}\s(?:is|are|was|were)\s(?:\w{{1,10}}\s)?(?:wrong|incorrect|false|out|excluded|impossible)\b"
)
_CHOICE_SENTENCE = re.compile(r"[.!?](?=\s|$)|[。！？\n]")
_DOUBTS = re.compile(r"\b(?:maybe|perhaps|possibly|might|could|either|unsure|not sure)\b|^\W*or\b", re.IGNORECASE)
_DECIDES = re.compile(
    r"\b(?:therefore|thus|hence|so|rather|instead|actually|finally|finali[sz]e|conclu\w{1,5}|answer|wait|no)\b"
    r"|所以|因此|选",
    re.IGNORECASE,
)
_CUE = re.compile(
    r"(?:\bit(?:['’]s| is| must be| has to be)|\b(?:therefore|thus|hence|so|rather|instead|choose|pick|select|say"
    r"|finali[sz]e|settle on|go(?:ing)? with|option|choice|answer)\b|所以|因此|[选選]择?)[,:]?\s{0,3}"
    r"(?:(?:the|is|it is|it['’]s|must be|correct|right|option|choice|answer|statement)\s){0,5}$",
    re.IGNORECASE,
)
_AFFIRMED = re.compile(rf"[\s*_]*(?:$|[,;:：、)]|不|是(?:正确|对)|{_REASON})")


@lru_cache(maxsize=64)  # the samples of a problem share it
def read_options(problem: str) -> Mapping[str, str]:
    r"""The options in a problem's text.

    >>> read_options(r"How many? $\textbf{(A)}\ 12 \qquad\textbf{(B)}\ 13$")
    {'A': '12', 'B': '13'}
    >>> read_options("How many?\nA. 12\nB. 13")
    {'A': '12', 'B': '13'}
    """
    if len(problem) > _MOST_CHARACTERS or not any(label in problem for label in ("A)", "A.", "A:")):
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


def without_options(text: str, options: Mapping[str, str]) -> str:
    """The text without a list of the options, two at least, that it restates in their order."""
    kept: list[str] = []
    begin, expected, first = 0, "", None
    for label in _RESTATED.finditer(text):
        letter = label.group(1) or label.group(2)
        option = options.get(letter, "").strip("$ ")
        end = label.end() + len(option)
        is_cut = label.end() == len(text)
        is_same = text.startswith(option, label.end()) and not text[end : end + 1].isalnum()
        if not option or not (is_cut or is_same):
            continue
        if letter == expected:
            kept += [] if first is None else [text[begin : first.start()]]
            begin, first = min(end, len(text)), None
        else:
            first = label
        expected = chr(ord(letter) + 1)
    return "\n".join([*kept, text[begin:]])


def stated_choice(text: str, options: Mapping[str, str]) -> str | None:
    """The letter that the text chooses at its end, without a mark; None where it does not say or hedges.

    >>> stated_choice("It's not A because that is red, so I think it's B.", {})
    'B'
    >>> stated_choice("It could be (A) or (B).", {}), stated_choice("(A) red\\n(B) blue", {})
    (None, None)
    """
    sentences = _CHOICE_SENTENCE.split(_DENIED.sub(" ", text[-_TAIL_CHARACTERS:]))
    named = [sentence for sentence in sentences if _LETTER.search(sentence)]
    if not named:
        return None
    *others, last = named
    letter = _chosen(last) or _only_parenthesised(last)
    if letter is None or (options and letter not in options):
        return None
    rivals = {_chosen(sentence) for sentence in others} - {letter, None}
    is_doubted = bool(rivals) or any(_DOUBTS.search(sentence) for sentence in others)
    return None if is_doubted and _DECIDES.search(last) is None else letter


def _chosen(sentence: str) -> str | None:
    """The one letter that a sentence affirms: it is all of it, follows a cue, or a reason follows it."""
    letters = list(_LETTER.finditer(sentence))
    if len({_letter(match) for match in letters}) != 1 or _DOUBTS.search(sentence):
        return None
    for match in letters:
        before = sentence[: match.start()]
        is_alone = not sentence[match.end() :].strip("*_ ).:，,")
        if _AFFIRMED.match(sentence, match.end()) and (not before.strip(" *_#-") or _CUE.search(before[-100:])):
            return _letter(match)
        if is_alone and not before.strip(" *_#-("):
            return _letter(match)
    return None


def _only_parenthesised(sentence: str) -> str | None:
    """The letter in `I would take (B) here`; `(B) 13` is an option and no choice."""
    letters = list(_LETTER.finditer(sentence))
    is_one = len({_letter(match) for match in letters}) == 1 and letters[0].group(1) is not None
    is_label = not sentence[: letters[0].start()].strip(" *_#-")
    return None if not is_one or is_label or _DOUBTS.search(sentence) else _letter(letters[0])


def _letter(match: re.Match[str]) -> str:
    return match.group(1) or match.group(2)


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
