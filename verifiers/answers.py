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

from mixdistill.text import after_hashes
from mixdistill.verifiers import marks
from mixdistill.verifiers.boxes import ANSWER_CHARACTERS, answer_of, has_box, is_placeholder, read_boxes
from mixdistill.verifiers.formulas import NUMBER, last_member, trim
from mixdistill.verifiers.guesses import guess

WEAK_RULES = frozenset({"code_output", "whole", "conclusion", "display_math", "inline_math", "last_number"})
"Rules that guess; they say nothing about a response that was cut."

# A problem shorter than this may stand in a response without being repeated.
_PROBLEM_CHARACTERS = 12
# Where thinking ends: R1 and Qwen, Claude, OpenThoughts and s1, Magistral, Kimi, gpt-oss.
_THINKING_ENDS = (
    "</think>", "</thinking>", "</thought>", "</reasoning>", "<|end_of_thought|>", "[/THINK]", "◁/think▷",
    "<|channel|>final<|message|>",
)  # fmt: skip
_THINKING_STARTS = (
    "<think>",
    "<thinking>",
    "<|begin_of_thought|>",
    "[THINK]",
    "◁think▷",
    "<|channel|>analysis<|message|>",
)
# What stands behind one of these was not said by the model in its turn.
_TURN_END = re.compile(
    r"<\|(?:im_end|eot_id|eom_id|endoftext|end_of_text|end|return|im_start|start|end_of_solution)\|>"
    r"|</s>|<(?:eos|end_of_turn)>"
)
_NEXT_QUESTION = re.compile(r"\n[#* ]{0,6}(?:Problem|Question|Q|Human|User|Instruction)[* ]{0,3}:")
_MARK = re.compile(r"\\boxed|####|answer[*_]{0,3}(?: is|\s?:)|(?:^|\n)A:", re.IGNORECASE)
# Escapes of JSON and Python that ate the first letter of a command.
_EATEN = {
    "\\\x0crac": r"\frac",
    "\x08oxed": r"\boxed",
    "\x0cbox": r"\fbox",
    "\x0crac": r"\frac",
    "\x08egin": r"\begin",
}
_MAY_HOLD_MORE = re.compile(r"boxed|\\f?(?:rame)?box|answer|####|答|\x08|\x0c", re.IGNORECASE)


_SAYS_SOMETHING = re.compile(r"[\w\\∅∞]")


# No model writes more than this (a quarter of a million tokens); the end is where an answer stands.
_LONGEST_READ = 1_000_000


class FoundAnswer(NamedTuple):
    """An answer and the rule that found it."""

    answer: str
    rule: str


def find_answer(response: str, problem: str = "") -> FoundAnswer | None:
    r"""The answer that the response states; None if it states none.

    Text up to the last `</think>` is thinking and is left out; in thinking without an end, only boxes and
    final answers count. Where a box was begun and holds no answer, only the strong rules count.

    >>> find_answer("<think>2?</think>16 - 7 = 9, so the answer is 18.")
    FoundAnswer(answer='18', rule='answer_is')
    """
    text, is_thinking = _spoken(response[-_LONGEST_READ:])
    if len(problem) >= _PROBLEM_CHARACTERS:
        question = problem.strip().rstrip(".?! ")
        if len(question) >= _PROBLEM_CHARACTERS and question in text:
            text = text.replace(question, "\n")
    found = _by_marks(text, problem, is_thinking)
    if found is None and not is_thinking and not has_box(text):
        guessed = guess(text, problem)
        found = None if guessed is None or not _is_stated(guessed.answer) else FoundAnswer(*guessed)
    # A lone surrogate can be written to no file.
    return None if found is None else found._replace(answer=found.answer.encode("utf-8", "replace").decode())


def find_reference(reference: str) -> str:
    r"""The answer inside of a reference that is a sentence or a solution; any other reference as it is.

    >>> find_reference(r"So there are $\boxed{18}$ eggs."), find_reference("18")
    ('18', '18')
    """
    if _MAY_HOLD_MORE.search(reference) is None:
        return reference
    text = _spoken(reference)[0]
    found = _by_marks(text, "", False)
    if found is not None:
        return found.answer
    # Of a reference nothing was cut by a length limit; a brace was forgotten.
    start = text.rfind("boxed{")
    unclosed = text[start + len("boxed{") :].strip() if start >= 0 else ""
    return unclosed if unclosed.strip("} ") else text


def _spoken(response: str) -> tuple[str, bool]:
    """What is said behind the thinking and within the turn; and whether it is thinking without an end."""
    text, is_thinking = response, False
    if "think" in text or "<|" in text or "[/T" in text or "</" in text or "[THINK]" in text:
        end = max(text.rfind(mark) + len(mark) if mark in text else 0 for mark in _THINKING_ENDS)
        text = text[end:]
        is_thinking = any(mark in text for mark in _THINKING_STARTS)
        text = _first_turn(text)
    if "\x08" in text or "\x0c" in text:
        for eaten, command in _EATEN.items():
            text = text.replace(eaten, command)
    following = _NEXT_QUESTION.search(text, 1)
    if following is not None and _MARK.search(text, 0, following.start()):
        text = text[: following.start()]
    return text, is_thinking


def _first_turn(text: str) -> str:
    begin = 0
    for match in _TURN_END.finditer(text):
        if text[begin : match.start()].strip(" \n\t") not in {"", "assistant", "user"}:
            return text[begin : match.start()]
        begin = match.end()
    return text[begin:]


def _by_marks(text: str, problem: str, is_thinking: bool) -> FoundAnswer | None:
    """The answer by the strongest mark; a box gives way only to a tag or a final answer behind it."""
    boxed, is_cut, box_end = None, False, 0
    if has_box(text):
        boxes = read_boxes(text, problem)
        is_cut = boxes.is_cut
        if boxes.found and not is_cut:
            boxed, box_end = answer_of(boxes.found, text), boxes.found[-1].end
            boxed = None if boxed is None else last_member(boxed) if _is_chain(boxed) else boxed
    behind = text[box_end:] if boxed is not None else text
    if boxed is not None:
        for rule in ("answer_tag", "final_answer") if "nswer" in behind else ():
            answer = _RULES[rule](behind, problem)
            if _is_stated(answer) and NUMBER.match(str(answer)):
                return FoundAnswer(str(answer), rule)
        return FoundAnswer(boxed, "boxed")
    problem = problem if "nswer" in problem else ""
    for rule, find in _RULES.items():
        if is_thinking and rule not in {"answer_tag", "final_answer"}:
            return None
        answer = find(text, problem)
        if answer is not None and _is_stated(answer):
            return FoundAnswer(answer.strip(), rule)
    return None


def _is_stated(answer: str | None) -> bool:
    return (
        answer is not None
        and len(answer) <= ANSWER_CHARACTERS
        and _SAYS_SOMETHING.search(answer) is not None
        and not is_placeholder(answer.strip("*$ \n"))
    )


def _is_chain(answer: str) -> bool:
    return r"\approx" in answer or "≈" in answer or answer.count("=") > 1


def _hashes(text: str, _: str) -> str | None:
    answer = after_hashes(text)
    return trim(answer) if answer is not None else marks.after_hashes_line(text)


# From the strongest to the weakest.
_RULES: dict[str, Callable[[str, str], str | None]] = {
    "answer_tag": lambda text, _: marks.after_tag(text),
    "final_answer": marks.after_final_answer,
    "answer_is": marks.after_answer_is,
    "hashes": _hashes,
    "answer_line": marks.after_answer_line,
    "answer_field": lambda text, _: marks.in_field(text),
}
