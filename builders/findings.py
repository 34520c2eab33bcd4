"""What can be wrong with one row of a mix: the checks of the doctor, and what each finding means.

In: a row, as it stands in train.parquet and as the trainer makes it. Out: for each check the place of the fault,
as an excerpt, or None. A check is a function of one row; what takes several rows or arms is in `doctor`. Language
is told by script: a French trace in an English mix is not seen.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from mixdistill.boxes import answer_of, has_box, read_boxes
from mixdistill.builders.reasoning import MARKS, split_text
from mixdistill.builders.rendering import Rendered
from mixdistill.builders.student import Student, Turn

Severity = Literal["error", "warning"]

_EXCERPT_CHARS = 70
# An answer with more text behind it than this, and than half of the whole, stands before its explanation.
_EXPLANATION_CHARS = 200
_ANSWER_FIRST = re.compile(r"\W{0,6}(?:the\s+)?(?:final\s+)?answer(?:\s+is)?\W{1,6}", re.IGNORECASE)
# A text that ends so is not cut amid a sentence: full stops, brackets and quotes, code, bold, formulas.
_ENDS = frozenset(".!?。！？…)]}$`*\"'”’»>|%°□■∎।॥؟۔።")
# Thai, Lao, Burmese and Khmer end sentences with a space.
_NO_STOPS = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
_LAST_LINE_IS_WHOLE = re.compile(r"\s*(?:[-*•+]|\d+[.)])\s|.*://\S+$")
_FENCE = re.compile(r"^\s*```", re.MULTILINE)
# Not the language of the text: fenced code, code in a line, addresses.
_NOT_PROSE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+", re.DOTALL)
_SENTENCE_END = re.compile(r"[.!?。！？]\s|\n")
_FOREIGN_SHARE = 0.01
_FOREIGN_LETTERS = 6
_LETTER = re.compile(r"[^\W\d_]")
_LATIN_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_SPACE = re.compile(r"\s+")
_LOOSE = re.compile(r"[\s$\\{},()\[\]*]+")
_UNIT = re.compile(r"(?<=.)\s\([^()]{1,20}\)$")
# Letters by script. Greek counts as words only: formulas are full of its letters.
_SCRIPTS = {
    "Han": r"[\u3400-\u4dbf\u4e00-\u9fff]",
    "Kana": r"[\u3040-\u30ff]",
    "Hangul": r"[\u1100-\u11ff\uac00-\ud7af]",
    "Cyrillic": r"[\u0400-\u04ff]",
    "Arabic": r"[\u0600-\u06ff\u0750-\u077f]",
    "Hebrew": r"[\u0590-\u05ff]",
    "Devanagari": r"[\u0900-\u097f]",
    "Bengali": r"[\u0980-\u09ff]",
    "Tamil": r"[\u0b80-\u0bff]",
    "Thai": r"[\u0e00-\u0e7f]",
    "Greek": r"[\u0386-\u03ce]{3,}",
}
_LANGUAGES = {
    "zh": ("Han",), "ja": ("Han", "Kana"), "ko": ("Hangul", "Han"), "ar": ("Arabic",), "fa": ("Arabic",),
    "ur": ("Arabic",), "he": ("Hebrew",), "hi": ("Devanagari",), "mr": ("Devanagari",), "ne": ("Devanagari",),
    "bn": ("Bengali",), "ta": ("Tamil",), "th": ("Thai",), "el": ("Greek",),
    **dict.fromkeys(("ru", "uk", "be", "bg", "sr", "mk", "kk", "mn"), ("Cyrillic",)),
}  # fmt: skip
"Scripts of languages that are not written in Latin letters; of any other language it is Latin."


class Row(NamedTuple):
    """A row of train.parquet, its completion taken apart."""

    arm: str
    problem_id: str
    trace_id: str
    answer: str
    prompt: tuple[Turn, ...]
    completion: tuple[Turn, ...]
    reasoning: str | None
    response: str


class Fault(NamedTuple):
    """A kind of finding."""

    code: str
    severity: Severity
    what: str
    "The fault, in words that go on from a number of rows."
    way_out: str


FAULTS = {
    fault.code: fault
    for fault in (
        Fault("refused", "error", "that the chat template refuses",
              "use a template that takes them, or leave such rows out"),
        Fault("no_loss", "error", "without a token that the student is trained on",
              "raise the maximum length above that of the prompts, or leave such problems out"),
        Fault("reasoning_dropped", "error", "whose reasoning the chat template drops",
              "set mixing.student to this student, or to a template file that keeps the reasoning, and run "
              "'mixdistill mix' again"),
        Fault("response_dropped", "error", "whose response the chat template drops",
              "use a chat template that writes the content of the last turn"),
        Fault("answer_missing", "error", "whose answer is not in the text that the student is trained on",
              "look at the completion in train.parquet and at what the chat template makes of it"),
        Fault("eos_not_trained", "error", "that do not train the student to stop",
              "use a chat template that ends the turn with a token that generation stops at, or add that token to "
              "the EOS tokens of the generation config"),
        Fault("cut", "error", "cut at the maximum length",
              "raise the maximum length here and in the trainer, or leave long traces out with mixing.max_tokens"),
        Fault("join", "error", "whose prompt is not what generation begins with",
              "use a chat template that writes the prompt alone as it does before an answer, to the last token"),
        Fault("special_tokens", "error", "with text that becomes special tokens",
              "leave such traces out, or take the marks out of their text"),
        Fault("same_problem", "error", "of a problem that the arm has already",
              "run 'mixdistill mix' again, or raise mixing.per_problem if that is meant"),
        Fault("duplicates", "warning", "that repeat another row of their arm",
              "run 'mixdistill mix' again; if teachers repeat themselves, ask for fewer samples or a higher "
              "temperature"),
        Fault("answer_first", "warning", "with most of their text behind the answer",
              "prompt the teacher to reason first, or leave such traces out: the student learns to guess, or to "
              "talk on"),
        Fault("language", "warning", "partly in another script than the recipe's language has",
              "leave such traces out, or set `language` in the recipe"),
        Fault("mid_sentence", "warning", "that end amid a sentence",
              "raise max_tokens of the teacher, or leave such traces out"),
        Fault("system_prompt", "warning", "before which the template puts text of its own",
              "evaluate with the same chat template and no other system prompt, so that both see the same"),
        Fault("steps_differ", "warning", "that differ by more than 5% in steps",
              "set mixing.match: steps, or say that the arms differ in this too"),
        Fault("tokens_differ", "warning", "that differ by more than 5% in tokens with loss",
              "set mixing.match: tokens, or say that the arms differ in this too"),
    )
}  # fmt: skip
"All kinds of findings by their code, worst first."


class Asked(NamedTuple):
    """What the checks of a row go by."""

    language: str
    marks: re.Pattern[str] | None
    "Texts that become tokens of their own with a meaning; None: there are none."


def asked_of(student: Student, language: str) -> Asked:
    """What is asked of rows for a student: no special tokens and no marks of thinking amid their text."""
    thinking = {mark for marks in MARKS for mark in marks}
    tokens = [*student.special, *(token for token in student.plain if token in thinking)]
    pattern = "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True) if token.strip())
    return Asked(language, re.compile(pattern) if pattern else None)


def row_of(arm: str, columns: dict[str, object], prompt: Sequence[Turn], completion: Sequence[Turn]) -> Row:
    """A row from the columns of train.parquet."""
    last = completion[-1]
    content = last.get("content") or ""
    apart = [text for key, text in last.items() if key not in ("role", "content") and text]
    reasoning, response = (apart[0], content) if apart else split_text(content)
    names = ("problem_id", "trace_id", "answer")
    problem_id, trace_id, answer = (str(columns[name] or "") for name in names)
    return Row(arm, problem_id, trace_id, answer, tuple(prompt), tuple(completion), reasoning, response)


def around(text: str, start: int, end: int | None = None) -> str:
    """A line of the text around a place."""
    stop = start if end is None else end
    first, last = max(0, start - _EXCERPT_CHARS), min(len(text), stop + _EXCERPT_CHARS)
    line = _SPACE.sub(" ", text[first:last]).strip()
    return f"{'…' if first else ''}{line}{'…' if last < len(text) else ''}"


def reasoning_dropped(row: Row, rendered: Rendered, _: Asked) -> str | None:
    if not row.reasoning or _holds(rendered.text, row.reasoning):
        return None
    return around(row.reasoning.strip(), 0)


def response_dropped(row: Row, rendered: Rendered, _: Asked) -> str | None:
    if not row.response.strip() or _holds(rendered.text, row.response):
        return None
    return around(row.response.strip(), 0)


def answer_missing(row: Row, rendered: Rendered, asked: Asked) -> str | None:
    """The end of a completion that does not state the answer which the verifier found in the trace.

    The verifier may have written it in another way: spaces, dollars, brackets and backslashes do not count, nor
    does a unit that it adds in brackets, and of several answers each may stand for itself. A response that is
    dropped as a whole is a finding of its own.
    """
    text, answer = rendered.completion, row.answer.strip()
    if not answer or response_dropped(row, rendered, asked) or _states(text, answer):
        return None
    loose = _LOOSE.sub("", text).casefold()
    parts = re.split(r",\s", _UNIT.sub("", answer))
    if all(
        _states(text, part) or (not part.isalnum() and _LOOSE.sub("", part).casefold() in loose) for part in parts
    ):
        return None
    if has_box(text) and answer_of(read_boxes(text).found, text) == answer:
        return None
    return f"{answer!r} is not in: {around(text, len(text))}"


def eos_not_trained(_: Row, rendered: Rendered, asked: Asked) -> str | None:
    return around(rendered.text, len(rendered.text)) if rendered.stop is None else None


def join(_: Row, rendered: Rendered, asked: Asked) -> str | None:
    if rendered.joins:
        return None
    place = rendered.completion_start
    return f"generation begins with {rendered.prompt_rest!r}, the row has {rendered.text[place : place + 20]!r}"


def special_tokens(row: Row, _: Rendered, asked: Asked) -> str | None:
    if asked.marks is None:
        return None
    texts = [turn.get("content") or "" for turn in row.prompt]
    for text in (*texts, row.reasoning or "", row.response):
        found = asked.marks.search(text)
        if found is not None:
            return around(text, *found.span())
    return None


def answer_first(row: Row, rendered: Rendered, _: Asked) -> str | None:
    """Where an answer stands that most of the text comes behind, be it by the trace or by the template."""
    if row.reasoning:
        answered = rendered.text.rfind(row.response.strip()[:_EXPLANATION_CHARS])
        reasoned = rendered.text.find(row.reasoning.strip()[:_EXPLANATION_CHARS])
        if row.response.strip() and 0 <= answered < reasoned:
            return around(rendered.text, answered)
        return None
    text = _without_drawings(row.response.strip())
    place = max(text.rfind("\\boxed{"), text.rfind("\\fbox{"))
    opening = _ANSWER_FIRST.match(text) if place < 0 and row.answer else None
    if opening is not None and row.answer in text[: opening.end() + 80]:
        place = opening.end()
    behind = len(text) - place - len(row.answer)
    return around(text, place) if place >= 0 and behind > max(_EXPLANATION_CHARS, len(text) / 2) else None


def language(row: Row, _: Rendered, asked: Asked) -> str | None:
    text = _NOT_PROSE.sub(" ", f"{row.reasoning or ''}\n{row.response}")
    own = _LANGUAGES.get(asked.language, ())
    if not own and text.isascii():
        return None
    others = "|".join(letters for script, letters in _SCRIPTS.items() if script not in own)
    foreign = [match for match in re.finditer(others, text)] if not text.isascii() else []
    n_foreign = sum(match.end() - match.start() for match in foreign)
    if n_foreign >= _FOREIGN_LETTERS and n_foreign > _FOREIGN_SHARE * len(_LETTER.findall(text)):
        return around(text, foreign[0].start())
    if not own:
        return None
    # Formulas are Latin in every language; whole words are not, and there must be fewer of their letters.
    words = [*_LATIN_WORD.finditer(text)]
    n_own = len(re.findall("|".join(_SCRIPTS[script] for script in own), text))
    n_latin = sum(match.end() - match.start() for match in words)
    return around(text, words[0].start()) if words and n_latin > n_own else None


def mid_sentence(row: Row, _: Rendered, asked: Asked) -> str | None:
    """The end of a trace that neither ends a sentence nor states the answer in its last words, or that leaves code
    or a box open.

    A list, an address, an emoji or a digit at the end is none, nor the end of a text in a script without full
    stops. A poem or a signature without one is taken for cut.
    """
    text = (row.response or row.reasoning or "").rstrip().rstrip("\ufe0f")
    if not text:
        return None
    if len(_FENCE.findall(text)) % 2 or (has_box(text) and read_boxes(text).is_cut):
        return around(text, len(text))
    if text[-1] in _ENDS or text[-1].isdigit() or unicodedata.category(text[-1]) in ("So", "Sk"):
        return None
    line = text[text.rfind("\n") + 1 :]
    if _NO_STOPS.match(text[-1]) or _LAST_LINE_IS_WHOLE.match(line):
        return None
    words = _SENTENCE_END.split(text)[-1][-_EXCERPT_CHARS - len(row.answer) :]
    return None if has_box(words) or _states(words, row.answer) else around(text, len(text))


def _states(text: str, answer: str) -> bool:
    """Whether the text has the answer as a word or number of its own; a single letter in its own case."""
    if not answer:
        return False
    before = r"(?<!\d)(?<!\d[.,])" if answer[0].isdigit() else r"(?<!\w)" if answer[0].isalnum() else ""
    after = r"(?!\d|[.,]\d)" if answer[-1].isdigit() else r"(?!\w)" if answer[-1].isalnum() else ""
    case = re.NOFLAG if len(answer) == 1 else re.IGNORECASE
    # Numbers with and without marks of thousands.
    plain = re.sub(r"(?<=\d)(?:,|\\,|\{,\}| )(?=\d{3}(?!\d))", "", text)
    return any(re.search(f"{before}{re.escape(answer)}{after}", each, case) for each in (text, plain))


def _without_drawings(text: str) -> str:
    """The text without the code of drawings, which stands behind the answer in many worked solutions."""
    before, *parts = text.split("[asy]")
    return before + "".join(part.partition("[/asy]")[2] for part in parts)


def _holds(text: str, part: str) -> bool:
    """Whether the text has the part; white space may differ, for templates trim it."""
    return part.strip() in text or "".join(part.split()) in "".join(text.split())


ROW_CHECKS: dict[str, Callable[[Row, Rendered, Asked], str | None]] = {
    "reasoning_dropped": reasoning_dropped,
    "response_dropped": response_dropped,
    "answer_missing": answer_missing,
    "eos_not_trained": eos_not_trained,
    "join": join,
    "special_tokens": special_tokens,
    "answer_first": answer_first,
    "language": language,
    "mid_sentence": mid_sentence,
}
"Checks of single rows, by the code of their finding."
