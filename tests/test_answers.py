import json
import time
from pathlib import Path

import pytest

from mixdistill.verifiers.answers import FoundAnswer, find_answer

TABLE = Path(__file__).with_name("cases") / "answers.jsonl"
CASES = [json.loads(line) for line in TABLE.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["why"]))
def test_the_answer_is_found_by_the_strongest_rule(case: dict[str, str | None]) -> None:
    response, answer, rule = case["response"], case["answer"], case["rule"]
    expected = None if answer is None or rule is None else FoundAnswer(answer, rule)
    assert find_answer(response or "") == expected


@pytest.mark.parametrize(
    "piece",
    ["word ", "\\boxed{", "$", "\\[", "the answer is ", "A: ", "\n", "9", "1,234", "- ", "*", "<answer>", "}"],
    ids=repr,
)
def test_half_a_megabyte_is_read_in_linear_time(piece: str) -> None:
    text = piece * (500_000 // len(piece))
    started = time.perf_counter()
    find_answer(text)
    assert time.perf_counter() - started < 2.0


def test_prose_without_a_mark_has_no_answer() -> None:
    assert find_answer("lorem ipsum " * 42_000) is None


def test_an_overlong_box_is_no_answer() -> None:
    assert find_answer("\\boxed{" + "x" * 5_000 + "}") is None
