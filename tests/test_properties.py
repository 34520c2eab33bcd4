"""Laws of the comparison that must hold for any expression, on expressions that Hypothesis makes up."""

import random
from collections.abc import Callable
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mixdistill.records import Leniency
from mixdistill.verifiers.equivalence import compare
from mixdistill.verifiers.verify import Case, verify, verify_many

# The same expressions in every run: a law that breaks, breaks for everybody.
steadily = settings(
    derandomize=True, deadline=None, max_examples=60, database=None, suppress_health_check=[HealthCheck.too_slow]
)

_NUMBERS = st.integers(-20, 99).map(str) | st.builds(
    r"\frac{{{}}}{{{}}}".format, st.integers(1, 20), st.integers(2, 9)
)
_LEAVES = _NUMBERS | st.sampled_from(["x", "y", r"\pi"])


def _larger(smaller: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({}) + ({})".format, smaller, smaller),
        st.builds("({}) - ({})".format, smaller, smaller),
        st.builds(r"({}) \cdot ({})".format, smaller, smaller),
        st.builds(r"\frac{{{}}}{{{}}}".format, smaller, st.sampled_from(["2", "x", "x^2+1", "y"])),
        st.builds("({})^{}".format, smaller, st.integers(2, 4)),
        st.builds(r"\sqrt{{({})^2 + 1}}".format, smaller),
        st.builds(r"\sin({})".format, smaller),
    )


EXPRESSIONS = st.recursive(_LEAVES, _larger, max_leaves=6)
# Pieces of LaTeX that open something, so that random texts are nearly readable.
WORDS = [r"\frac", r"\text{", r"\cup", r"\sqrt", r"\int", r"\sum_{k=1}^", r"\le", "e9", "and", "cm"]
SAME = [
    pytest.param(lambda e: f"  {e.replace(' ', '   ')} ", id="blanks"),
    pytest.param(lambda e: e.replace(r"\frac", r"\dfrac"), id="display fractions"),
    pytest.param(lambda e: e.replace("(", r"\left( ").replace(")", r" \right)"), id="sized brackets"),
    pytest.param(lambda e: e.replace(r"\cdot", r"\times"), id="another sign of multiplication"),
    pytest.param(lambda e: f"${e}$", id="dollars"),
    pytest.param(lambda e: f"({e}) + 0", id="plus zero"),
    pytest.param(lambda e: rf"1 \cdot ({e})", id="times one"),
    pytest.param(lambda e: f"-(-({e}))", id="twice negated"),
    pytest.param(lambda e: rf"\frac{{2({e})}}{{2}}", id="times two over two"),
]


@pytest.mark.parametrize("rewrite", SAME)
@steadily
@given(expression=EXPRESSIONS)
def test_an_expression_equals_itself_written_otherwise(rewrite: Callable[[str], str], expression: str) -> None:
    equality = compare(expression, rewrite(expression))
    assert equality.status == "correct", (expression, rewrite(expression), equality)


@steadily
@given(one=EXPRESSIONS, other=EXPRESSIONS)
def test_sums_and_products_have_no_order(one: str, other: str) -> None:
    assert compare(f"({one}) + ({other})", f"({other}) + ({one})").status == "correct"
    assert compare(rf"({one}) \cdot ({other})", f"({other})({one})").status == "correct"
    assert compare(f"({one} + 1)({other})", rf"({one})({other}) + ({other})").status == "correct"


@steadily
@given(expression=EXPRESSIONS, step=st.sampled_from([r"\frac{1}{10^{20}}", "1", "-2", "x^2", r"\sin(x)"]))
def test_an_expression_never_equals_another_one(expression: str, step: str) -> None:
    assert compare(expression, f"({expression}) + ({step})").status == "incorrect"


@steadily
@given(one=EXPRESSIONS, other=EXPRESSIONS)
def test_correct_is_symmetric_and_the_same_twice(one: str, other: str) -> None:
    equality = compare(one, other)
    assert compare(one, other) == equality
    assert (compare(other, one).status == "correct") == (equality.status == "correct")


@settings(steadily, max_examples=20)
@given(one=EXPRESSIONS, other=EXPRESSIONS)
def test_what_is_correct_in_a_stricter_setting_is_so_in_a_laxer_one(one: str, other: str) -> None:
    for answer in (other, one, f"({one}) + {other} - ({other})", rf"\frac{{2({one})}}{{2}}", f"z = {one}"):
        verdicts = [compare(one, answer, leniency).status == "correct" for leniency in get_args(Leniency)]
        assert verdicts == sorted(verdicts)


@steadily
@given(members=st.lists(EXPRESSIONS, min_size=1, max_size=5), seed=st.integers(0, 99))
def test_the_order_of_a_set_does_not_matter(members: list[str], seed: int) -> None:
    others = random.Random(seed).sample(members, len(members))
    first, second = (r"\{" + ", ".join(parts) + r"\}" for parts in (members, others))
    assert compare(first, second).status == "correct"
    more = r"\{" + ", ".join([*others, "z^7 + 1"]) + r"\}"
    assert compare(first, more).status == "incorrect"


@steadily
@given(pieces=st.lists(st.sampled_from([*r"\{}()[]^_,.;:|<>=+-*/!$%'x2 ", *WORDS])))
def test_no_text_breaks_the_comparison(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert compare("x+2", text).status in ("correct", "incorrect", "unparsable", "unscored")
    assert compare(text, "x+2").reason


def test_one_process_and_two_judge_alike() -> None:
    made: list[str] = []

    @settings(steadily, max_examples=150)
    @given(expression=EXPRESSIONS)
    def collect(expression: str) -> None:
        made.append(expression)

    collect()
    pairs = [*pairwise(made), *((e, rf"\dfrac{{2({e})}}{{2}}") for e in made)]
    cases = [Case(one, rf"so \boxed{{{other}}}") for one, other in pairs]
    alone = [verify(case.reference, case.response)[:5] for case in cases]
    assert [judged[:5] for judged in verify_many(cases, processes=2)] == alone
    assert {judged[0] for judged in alone} == {"correct", "incorrect"}
