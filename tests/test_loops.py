"""How much of a text repeats itself: loops of small models are found, careful work is not called one."""

import json
from pathlib import Path

import pytest

from mixdistill.verifiers.loops import repetition
from mixdistill.verifiers.verify import Case, verify, verify_many

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
LIMIT = 0.2
START = "We look for the number of ways. There are 7 chairs and 5 guests, so the last guest has 3 chairs left.\n\n"
CYCLE = (
    "Let me set this up again. The train leaves at noon and goes 60 miles an hour, the car an hour later.\n\n"
    "So when they meet both have gone the same way, and the car was faster by some amount that we look for.\n\n"
    "But wait, the problem says that the car stops in between. Did I read that right? I must look once more.\n\n"
)

# Text, the least share, why the row is here.
LOOPS = [
    ("x = 0." + "3" * 400, 0.95, "one digit: 100 / 3 by a model of 6B on GSM8K"),
    ("x = 13." + "81" * 200, 0.95, "two digits"),
    (START + "the " * 300, 0.85, "one word"),
    (START + r"\quad " * 100, 0.80, "one token of LaTeX"),
    (START + "Wait, let me check again. " * 50, 0.90, "one sentence"),
    (START + "The answer is 8.\n\n" * 50, 0.85, "one line"),
    (START + CYCLE * 6, 0.90, "a cycle of three paragraphs"),
    (START * 6 + CYCLE * 6, 0.95, "one cycle after another"),
    (START + CYCLE * 5 + CYCLE[:50], 0.90, "cut by the length limit within a copy"),
    (START + "等一下，让我再检查一遍。" * 40, 0.80, "no spaces and no ASCII"),
    ("".join(f"{START if n % 3 else CYCLE}Hm, {n * n} it is.\n" for n in range(24)), 0.60, "others in between"),
    ("".join(f"So x = {n} gives no solution either. " for n in range(400)), 0.95, "only a counter changes"),
    ("".join(f"Try {n}: {n * n} is no cube.\n" for n in range(90, 400)), 0.95, "numbers grow longer on the way"),
]


@pytest.mark.parametrize(("text", "least", "why"), LOOPS, ids=[why for _, _, why in LOOPS])
def test_a_loop_is_found(text: str, least: float, why: str) -> None:
    assert least <= repetition(text) <= 1.0


NO_LOOPS = [
    ("", "empty"),
    ("Wait, let me check again. " * 3, "said three times"),
    ("".join(f"Wait, {n} is odd, so that is {n + 1}. " for n in range(1, 40, 2)), "wait, time and again"),
    (START + CYCLE + "Now I know how to read it: 60 + 60 = 120.\n" + CYCLE + START, "problem restated"),
    (CYCLE * 3, "the solution in the reasoning, again in the response, and once more"),
    ("".join(rf"= \frac{{{n}}}{{{n + 1}}} \cdot \frac{{{n * n}}}{{x - {n}}} \\ " for n in range(40)), "algebra"),
    (" + ".join(["1"] * 30) + " = 30, by counting them all with some care, as it was asked.", "a sum of ones"),
    ("|---|---|---|---|\n" + "".join(f"| {n} | {n * n} | {n**3} |\n" for n in range(60)), "a table"),
    ("".join(f"- {n} does not divide 2,021, so it is no factor.\n" for n in range(2, 45)), "trial division"),
    (", ".join(str(n * n) for n in range(200)), "the squares, as a list"),
    ("2^{500} = " + str(2**500), "many digits"),
    ("-" * 90, "a rule"),
]


@pytest.mark.parametrize(("text", "why"), NO_LOOPS, ids=[why for _, why in NO_LOOPS])
def test_careful_work_is_no_loop(text: str, why: str) -> None:
    assert repetition(text) == 0.0


def test_the_share_is_that_of_the_text() -> None:
    loop = "Wait, let me check again. " * 40
    rest = "".join(f"Line {n} of the work is about {'abcdefghij'[n % 10] * (n + 3)}.\n" for n in range(40))

    assert repetition(rest) == 0.0
    assert repetition(rest + loop + rest) == pytest.approx(len(loop) / len(rest + loop + rest), abs=0.01)


def test_a_loop_is_found_wherever_it_begins() -> None:
    shares = [repetition("q" * n + "Wait, let me check again. " * 8) for n in range(200)]

    assert min(shares) > 0.5


@pytest.mark.parametrize("processes", [1, 2])
def test_every_judgement_says_how_much_repeats_itself(processes: int) -> None:
    loop = "Wait, let me check again. " * 40
    cases = [
        Case("18", "A: 18", reasoning=loop),
        Case("x^2-1", r"\boxed{(x-1)(x+1)}"),
        Case("18", loop, "length"),
        Case("2x", rf"{loop}\boxed{{x+x+1}}"),
        Case("18", loop, is_answer=True),
    ]

    judged = list(verify_many(cases, processes=processes))

    assert [judgement.status for judgement in judged[:4]] == ["correct", "correct", "truncated", "incorrect"]
    assert [judgement.repetition and round(judgement.repetition, 2) for judgement in judged] == [
        0.99, 0.0, 1.0, 0.99, None,
    ]  # fmt: skip
    assert verify("18", loop + "A: 18").repetition == pytest.approx(0.99, abs=0.01)


@pytest.mark.skipif(not DATA.exists(), reason="the data is not here")
def test_of_real_solutions_only_those_that_loop_are_over_the_limit() -> None:
    def over(name: str, column: str) -> list[str]:
        rows = map(json.loads, (DATA / name).read_text("utf-8").splitlines())
        return [row[column] for row in rows if repetition(row[column]) > LIMIT]

    found = over("gsm8k_teachers.jsonl", "response")

    assert len(found) == 5
    assert sum(text[-60:].strip("12378") == "" for text in found) == 4  # digits without end; the fifth is algebra
    assert over("benchmarks/math-500.jsonl", "solution") == []
