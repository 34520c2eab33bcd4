import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mixdistill.verifiers.equivalence import compare, compare_quickly, compare_symbolically

TABLE = Path(__file__).with_name("cases") / "equivalence.jsonl"
CASES = [json.loads(line) for line in TABLE.read_text(encoding="utf-8").splitlines()]
LONG_TEXTS = ["(" * 5_000 + "1" + ")" * 5_000, "lorem ipsum " * 42_000]
ODD_TEXTS = [",", '"', "a b ", "1 ", "=", r"\text{", "$", "{", "^", r"\frac", r"\sqrt", r"\sin", "x^", "|x", "1,"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['answer']}: {case['why']}")
def test_status_and_method_are_those_of_the_table(case: dict[str, str]) -> None:
    equality = compare(case["reference"], case["answer"], case.get("answer_type", "math"))
    assert (equality.status, equality.method) == (case["status"], case["method"]), equality.reason


@pytest.mark.parametrize("n_digits", [18, 40, 4_000])
def test_big_integers_that_differ_in_the_last_digit_are_different(n_digits: int) -> None:
    reference = "7" * n_digits
    assert compare_quickly(reference, reference[:-1] + "8") == ("incorrect", "number", "the numbers differ")


def test_the_quick_tiers_leave_algebra_open() -> None:
    assert compare_quickly(r"2\sqrt{2}", r"\sqrt{8}") is None
    assert compare_quickly("x^2-1", "(x-1)(x+1)") is None


def test_the_quick_tiers_do_not_import_sympy() -> None:
    code = (
        "import sys; from mixdistill.verifiers.equivalence import compare_quickly as c;"
        "assert c('1/2', '0.5').status == 'correct'; assert c('(1,2)', '(2,1)').status == 'incorrect';"
        "assert c('x', 'y+1') is None; assert 'sympy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (r"\frac{1}{" * 200 + "2" + "}" * 200, "nested too deeply"),
        ("(" * 2_000 + "1" + ")" * 2_000, "more than 1500 symbols"),
        ("-" * 1_000 + "x^" * 200 + "2", "nested too deeply"),
        ("2^" * 40 + "2", "too large to compute"),
    ],
)
def test_deep_nesting_is_unparsable_and_says_why(answer: str, why: str) -> None:
    equality = compare("5", answer)
    assert equality.status == "unparsable"
    assert why in equality.reason


@pytest.mark.parametrize("text", LONG_TEXTS, ids=["parentheses", "prose"])
def test_texts_that_are_too_long_are_not_read(text: str) -> None:
    assert compare("5", text).status == "unparsable"
    assert compare(text, "5").status == "unscored"
    assert compare(text, text).status == "correct"
    assert compare_symbolically("5", text).status == "unparsable"


@pytest.mark.parametrize("piece", ODD_TEXTS)
def test_odd_texts_are_decided_quickly(piece: str) -> None:
    text = piece * (4_000 // len(piece))
    started = time.perf_counter()
    assert compare("5", text).status in ("incorrect", "unparsable")
    assert time.perf_counter() - started < 2.0


def test_no_untrusted_text_was_run() -> None:
    assert not Path("/tmp/mixdistill-was-hacked").exists()
