import json
import sys
from pathlib import Path

import pytest

from mixdistill.verifiers.answers import FoundAnswer, find_answer, find_reference

TABLE = Path(__file__).with_name("cases") / "answers.jsonl"
CASES = [json.loads(line) for line in TABLE.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["why"]))
def test_the_answer_is_found_by_the_strongest_rule(case: dict[str, str | None]) -> None:
    response, answer, rule = case["response"], case["answer"], case["rule"]
    expected = None if answer is None or rule is None else FoundAnswer(answer, rule)
    assert find_answer(response or "", case.get("problem") or "") == expected


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("18", "18"),
        (r"3\text{ (A)}", r"3\text{ (A)}"),
        (r"' So the answer is: \[ \boxed{11111111100} \]'", "11111111100"),
        (r"x \in \boxed{\{-1\} \cup [0,7)}.$", r"\{-1\} \cup [0,7)"),
        (r"$\boxed{1}\boxed{2}$", "1, 2"),
        (r"<answer>\boxed{84}</answer>", "84"),
        (r"\boxed{1} and \boxed{2}", "1, 2"),
        (r"\boxed{1}; \boxed{2}", "1, 2"),
        (r"$x=\boxed{1}$ with $y=\boxed{2}$", "1, 2"),
        (r"\boxed{1} no no no no no \boxed{2}", "2"),
        (r"He is \boxed{25} years old. His brother is \boxed{31}", "31"),
        (r"<think>so it is \boxed{5}", "5"),
        (r"It is \boxed{5}. That is wrong.", "5"),
        ("16 - 3 = 13\n#### 13", "13"),
        (r"Final Answer: The final answer is $28 \%$. I hope it is correct.", r"28 \%"),
        (r"\boxed{W = 1", "W = 1"),
        (r"\boxed{}", r"\boxed{}"),
        ("so the number is 7", "so the number is 7"),
        ("", ""),
    ],
)
def test_a_reference_gives_its_answer_by_strong_marks_alone(reference: str, answer: str) -> None:
    assert find_reference(reference) == answer


def _steps(text: str, problem: str = "What is it? " * 10) -> int:
    """Calls and lines of Python that run while the answer is looked for, on any machine."""
    steps = 0

    def count(*_: object) -> object:
        nonlocal steps
        steps += 1
        return count

    before = sys.gettrace()
    sys.settrace(count)  # type: ignore[arg-type]
    try:
        find_answer(text, problem)
    finally:
        sys.settrace(before)
    return steps


@pytest.mark.parametrize(
    "piece",
    ["word ", r"\boxed{", r"\boxed{1} ", "$", "$1$ ", r"\[", "the answer is ", "A: ", "\n", "9", "1,234", "- ",
     "*", "<answer>", "}", "<think>", "<|im_end|>", "[asy]", "```output\n5\n```\n", "#### 5\n",
     "so equals ", "答案是",
     r"\begin{align}", "1 or ", "5x ", "<scratchpad>", "Answer: ", "the answer: 5 ", "(B) ", "so B or C. ",
     r"\boxed{} ", r"\boxed{\pi} \approx \boxed{3} ", r"\boxed{5}. That is wrong. ", "答：一共有", "#### 5 ",
     "The answer is 5. No, 6. ", "Some say the answer is 5. ", "The answer is 5, which is false. ",
     r"\boxed{5}. Actually the answer is 6. ", "wait, no, it should be 6 "],
    ids=repr,
)  # fmt: skip
def test_twice_the_text_is_at_most_twice_the_work(piece: str) -> None:
    assert _steps(piece * 4_000) <= 2 * _steps(piece * 2_000) + 2_000


@pytest.mark.parametrize(
    "piece", [r"\boxed{", "$", "9", "the answer is ", "answer to ", "- ", r"\\", "1,"], ids=repr
)
def test_half_a_megabyte_of_noise_states_nothing_wrong(piece: str) -> None:
    found = find_answer(piece * (500_000 // len(piece)))
    assert found is None or len(found.answer) <= 2_000


def test_restated_options_are_left_out_in_time_linear_in_the_text() -> None:
    text, problem = "(A) 1 (B) 2 ", "Which? (A) 1 (B) 2 (C) 3"

    assert _steps(text * 4_000, problem) <= 2 * _steps(text * 2_000, problem) + 2_000


def test_prose_without_a_mark_has_no_answer() -> None:
    assert find_answer("lorem ipsum " * 42_000) is None


def test_an_overlong_box_is_no_answer() -> None:
    assert find_answer("\\boxed{" + "x" * 5_000 + "}") is None


def test_two_hundred_boxes_are_a_list_and_not_the_last_of_them() -> None:
    found = find_answer(" ".join(rf"\boxed{{{n}}}" for n in range(200)))
    assert found == FoundAnswer(", ".join(map(str, range(200))), "boxed")
