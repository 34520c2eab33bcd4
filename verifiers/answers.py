r"""Finds the answer that a response states, and says by which rule.

Goes in: the text of a response, at any length, and the problem. Comes out: the answer as it stands there (LaTeX
or plain) and the rule that found it, or None. The rules are tried from the strongest to the weakest; a strong
rule is a mark that the writer set on purpose, a weak one (WEAK_RULES) is a guess at where the answer must be.
What only repeats the problem is no answer. Whether the answer is right is not decided here. All patterns are
linear in the length of the text.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from mixdistill.boxes import (
    ANSWER_CHARACTERS,
    answer_of,
    has_box,
    is_placeholder,
    read_boxes,
)
from mixdistill.text import after_hashes
from mixdistill.verifiers import marks
from mixdistill.verifiers.answer_types import as_letter
from mixdistill.verifiers.corrections import own_words, revised_value, taken_back_until
from mixdistill.verifiers.formulas import APPROXIMATELY, NUMBER, PERCENT_BEHIND, last_member, trim
from mixdistill.verifiers.guesses import guess
from mixdistill.verifiers.notation import restored
from mixdistill.verifiers.options import read_options

WEAK_RULES = frozenset(
    {"choice", "code_output", "whole", "conclusion", "display_math", "inline_math", "last_number"}
)
"Rules that guess; they say nothing about a response that was cut."

# A problem shorter than this may stand in a response without being repeated.
_PROBLEM_CHARACTERS = 12
# Where thinking ends: R1 and Qwen, Claude, OpenThoughts and s1, Magistral, Kimi, gpt-oss.
_THINKING_ENDS = (
    "</think>", "</thinking>", "</thought>", "</reasoning>", "<|end_of_thought|>", "[/THINK]", "◁/think▷",
    "<|channel|>final<|message|>",
)  # fmt: skip
_THINKING_STARTS = (
    "<think>", "<thinking>", "<thought>", "<reasoning>", "<|begin_of_thought|>", "[THINK]", "◁think▷",
    "<|channel|>analysis<|message|>",
)  # fmt: skip
# A text without these has none of the marks.
_THINKING_WORDS = ("hink", "hought", "THINK", "easoning", "<|channel", "cratch")
_SCRATCH = re.compile(r"<(/?)\w{0,30}scratch_?(?:pad|work|area)?\w{0,10}>", re.IGNORECASE)
# What stands behind one of these was not said by the model in its turn.
_TURN_END = re.compile(
    r"<\|(?:im_end|eot_id|eom_id|endoftext|end_of_text|end|return|im_start|start|end_of_solution)\|>"
    r"|</s>|<(?:eos|end_of_turn)>"
)
_NEXT_QUESTION = re.compile(r"\n[#* ]{0,6}(?:Problem|Question|Q|Human|User|Instruction)[* ]{0,3}:")
_MARK = re.compile(r"\\boxed|####|answer[*_]{0,3}(?: is|\s?:)|(?:^|\n)A:", re.IGNORECASE)
_MAY_HOLD_MORE = re.compile(r"boxed|\\f?(?:rame)?box|answer|####|答|\x08|\x0c", re.IGNORECASE)

# One letter alone, whatever is around it.
_MAY_BE_LETTER = re.compile(r"(?:\\[a-z]{2,6}\s?\{|\W){0,9}[^\W\d_](?![^\W\d_])")
_SAYS_SOMETHING = re.compile(r"[\w\\∅∞]")

# No model writes more than this (a quarter of a million tokens); the end is where an answer stands.
_LONGEST_READ = 1_000_000


class FoundAnswer(NamedTuple):
    """An answer and the rule that found it."""

    answer: str
    rule: str


def find_answer(response: str, problem: str = "") -> FoundAnswer | None:
    r"""The answer that the response states; None if it states none.

    Text up to the last `</think>` is thinking and is left out, and so is thinking without an end. Where a box
    was begun and holds no answer, only the strong rules count. Where the problem lists options, `d` and
    `D. 4` are the letter D.

    >>> find_answer("<think>2?</think>16 - 7 = 9, so the answer is 18.")
    FoundAnswer(answer='18', rule='answer_is')
    """
    text = _spoken(_behind_thinking(response[-_LONGEST_READ:]))
    if len(problem) >= _PROBLEM_CHARACTERS:
        question = problem.strip().rstrip(".?! ")
        if len(question) >= _PROBLEM_CHARACTERS and question in text:
            text = text.replace(question, "\n")
    found = _by_marks(text, problem)
    if found is None and not has_box(text):
        guessed = guess(own_words(text, problem), problem, read_options(problem))
        found = None if guessed is None or not _is_stated(guessed.answer) else FoundAnswer(*guessed)
    if found is not None and _MAY_BE_LETTER.match(found.answer) and (options := read_options(problem)):
        found = found._replace(answer=as_letter(found.answer, options))
    # A lone surrogate can be written to no file.
    return None if found is None else found._replace(answer=found.answer.encode("utf-8", "replace").decode())


def find_reference(reference: str) -> str:
    r"""The answer inside of a reference that is a sentence or a solution; any other reference as it is.

    >>> find_reference(r"So there are $\boxed{18}$ eggs."), find_reference("18")
    ('18', '18')
    """
    if _MAY_HOLD_MORE.search(reference) is None:
        return reference
    text = _spoken(_behind_thinking(reference) or reference)
    found = _by_marks(text, "", in_reference=True)
    if found is not None:
        return found.answer
    # Of a reference nothing was cut by a length limit; a brace was forgotten.
    start = text.rfind("boxed{")
    unclosed = text[start + len("boxed{") :].strip() if start >= 0 else ""
    return unclosed if unclosed.strip("} ") else text


def _behind_thinking(text: str) -> str:
    """The text behind its thinking; of a thought without an end, what stands before it or its <answer>."""
    if not any(word in text for word in _THINKING_WORDS):
        return text
    end = max(text.rfind(mark) + len(mark) if mark in text else 0 for mark in _THINKING_ENDS)
    text = _without_scratch(text[end:])
    start = min((text.find(mark) for mark in _THINKING_STARTS if mark in text), default=-1)
    if start < 0:
        return text
    # In the format of R1-Zero the tag of the answer ends a thought that was not closed.
    answer = text.rfind("<answer>", start)
    return text[answer:] if answer >= 0 and "</answer>" in text[answer:] else text[:start]


def _without_scratch(text: str) -> str:
    """The text without what stands between tags of scratch work; without an end, up to its own."""
    if "cratch" not in text:
        return text
    kept, begin, depth = [], 0, 0
    for tag in _SCRATCH.finditer(text):
        if not depth and not tag.group(1):
            kept.append(text[begin : tag.start()])
        depth = max(0, depth - 1) if tag.group(1) else depth + 1
        begin = tag.end()
    return "\n".join([*kept, "" if depth else text[begin:]])


def _spoken(text: str) -> str:
    """What is said within the first turn, without the damage that escapes do."""
    if "<|" in text or "</s" in text or "<e" in text:
        text = _first_turn(text)
    text = restored(text)
    following = _NEXT_QUESTION.search(text, 1)
    if following is not None and _MARK.search(text, 0, following.start()):
        text = text[: following.start()]
    return text


def _first_turn(text: str) -> str:
    begin = 0
    for match in _TURN_END.finditer(text):
        if text[begin : match.start()].strip(" \n\t") not in {"", "assistant", "user"}:
            return text[begin : match.start()]
        begin = match.end()
    return text[begin:]


def _by_marks(text: str, problem: str, *, in_reference: bool = False) -> FoundAnswer | None:
    """The answer by the strongest mark; a box gives way only to a tag or a final answer behind it."""
    boxes = read_boxes(text, problem) if has_box(text) else None
    if boxes is not None and boxes.found and not boxes.is_cut:
        behind = None if in_reference else taken_back_until(boxes.found[-1], text)
        if behind is not None:
            last = boxes.found[-1]
            revised = revised_value(last.content, text[last.end :])
            return _by_marks(text[behind:], problem) or (FoundAnswer(revised, "answer_is") if revised else None)
        boxed = answer_of(boxes.found, text, in_reference=in_reference)
        if boxed is not None:
            return _by_box(last_member(boxed) if _is_chain(boxed) else boxed, text[boxes.found[-1].end :], problem)
    text = text if in_reference else own_words(text, problem)
    problem = problem if "nswer" in problem else ""
    for rule, find in _RULES.items():
        answer = find(text, problem)
        if answer is not None and _is_stated(answer):
            return FoundAnswer(answer.strip(), rule)
    return None


def _by_box(boxed: str, behind: str, problem: str) -> FoundAnswer:
    for rule in ("answer_tag", "final_answer") if "nswer" in behind else ():
        answer = _RULES[rule](behind, problem)
        if answer is not None and _is_stated(answer) and NUMBER.match(answer):
            return FoundAnswer(answer, rule)
    revised = revised_value(boxed, behind)
    if revised is not None:
        return FoundAnswer(revised, "answer_is")
    if PERCENT_BEHIND.match(behind) and NUMBER.fullmatch(boxed.strip("$ ")) and "%" not in boxed:
        boxed += r" (\%)"  # whether it is meant or not, the comparison takes both
    return FoundAnswer(boxed, "boxed")


def _is_stated(answer: str | None) -> bool:
    return (
        answer is not None
        and len(answer) <= ANSWER_CHARACTERS
        and _SAYS_SOMETHING.search(answer) is not None
        and not is_placeholder(answer.strip("*$ \n"))
    )


def _is_chain(answer: str) -> bool:
    return APPROXIMATELY.search(answer) is not None or answer.count("=") > 1


def _hashes(text: str, _: str) -> str | None:
    answer = after_hashes(text)
    if answer is None:
        return marks.after_hashes_line(text)
    return marks.after_answer_line(answer) or trim(answer.lstrip(":：= "))


# From the strongest to the weakest.
_RULES: dict[str, Callable[[str, str], str | None]] = {
    "answer_tag": lambda text, _: marks.after_tag(text),
    "final_answer": marks.after_final_answer,
    "answer_is": marks.after_answer_is,
    "hashes": _hashes,
    "answer_line": marks.after_answer_line,
    "answer_field": lambda text, _: marks.in_field(text),
}
