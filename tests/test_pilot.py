"""The pilot: what is left is reckoned from it, with an interval that holds what it says."""

import math
import random
from collections.abc import Sequence

import pytest

from mixdistill.builders.pilot import HEADS, Estimate, Forecast, Outcome, Span, describe, estimate
from mixdistill.records import Trace
from mixdistill.teachers import Price

PRICE = Price(input=1.0, output=10.0)


def outcome(
    problem: int, tokens: int | None = 900, *, teacher: str = "a", seconds: float | None = 36.0,
    failed: bool = False, cut: bool = False,
) -> Outcome:  # fmt: skip
    return Outcome(
        teacher=teacher, problem_id=f"p-{problem}", prompt_tokens=None if failed else 100,
        completion_tokens=None if failed else tokens, latency_seconds=seconds, failed=failed, cut=cut,
    )  # fmt: skip


def of(
    outcomes: Sequence[Outcome], remaining: int = 100, *, concurrency: int = 1, price: Price | None = PRICE
) -> Estimate:
    return estimate(outcomes, {"a": remaining}, {"a": concurrency}, {"a": price})


def span(value: Span | None) -> Span:
    assert value is not None
    return value


ALIKE = [outcome(problem) for problem in range(20)]


def test_what_is_left_is_the_mean_times_the_number_of_requests() -> None:
    total = of(ALIKE).total

    assert total.n_requests == 100
    assert (total.tokens, total.hours) == (Span(100_000, 100_000, 100_000), Span(1.0, 1.0, 1.0))
    assert span(total.usd) == pytest.approx((0.91, 0.91, 0.91))


def test_all_samples_of_a_problem_count() -> None:
    two_each = [outcome(problem) for problem in range(20) for _ in range(2)]

    total = of(two_each).total

    assert (total.n_requests, span(total.tokens).expected) == (200, 200_000)


def test_problems_that_needed_no_request_count() -> None:
    asked = {"a": [f"p-{problem}" for problem in range(40)]}  # the teacher before it had half of them right

    total = estimate(ALIKE, {"a": 100}, {"a": 1}, {"a": PRICE}, asked=asked).total

    assert (total.n_requests, span(total.tokens).expected) == (50, 50_000)
    assert span(total.tokens).high == pytest.approx(50_000 * 1.5, rel=0.15)


def test_engines_work_at_the_same_time_and_their_teachers_share_them() -> None:
    outcomes = [outcome(i, teacher=name, seconds=36.0) for i in range(20) for name in ("a", "b", "c")]
    remaining, concurrency = {"a": 100, "b": 100, "c": 150}, dict.fromkeys("abc", 2)

    shared = estimate(
        outcomes, remaining, concurrency, dict.fromkeys("abc", PRICE), engines={"a": "gpu", "b": "gpu", "c": "api"}
    )
    alone = estimate(outcomes, remaining, concurrency, dict.fromkeys("abc", PRICE))

    assert span(shared.total.hours).expected == pytest.approx(1.0)
    assert span(alone.total.hours).expected == pytest.approx(0.75)
    assert [span(row.hours).expected for row in shared.teachers] == pytest.approx([0.5, 0.5, 0.75])


def test_fewer_requests_than_run_at_once_take_as_long_as_one() -> None:
    assert span(of(ALIKE, remaining=5, concurrency=64).total.hours).expected == pytest.approx(0.01)


def test_a_price_by_the_hour_is_paid_for_the_hours() -> None:
    by_hour = of(ALIKE, concurrency=4, price=Price(hour=8.0)).total
    both = of(ALIKE, concurrency=4, price=Price(output=10.0, hour=8.0)).total

    assert span(by_hour.usd).expected == pytest.approx(8.0 * 0.25)
    assert span(both.usd).expected == pytest.approx(8.0 * 0.25 + 0.9)


def test_failed_requests_cost_what_the_others_did_and_take_their_time() -> None:
    outcomes = [outcome(i, failed=i < 5, seconds=72.0 if i < 5 else 36.0) for i in range(20)]

    told = of(outcomes)

    assert span(told.total.tokens).expected == 100_000
    assert span(told.total.hours).expected == pytest.approx(1.25)
    assert told.notes == ("teacher 'a': 5 of 20 requests failed; they are reckoned to cost what the others did",)


def test_nothing_is_left() -> None:
    nothing = Span(0.0, 0.0, 0.0)

    assert of(ALIKE, remaining=0) == Estimate((), Forecast(None, 0, nothing, nothing, nothing), ())


def test_one_problem_gives_no_interval() -> None:
    assert of([outcome(1), outcome(1, 500)]).total.tokens == Span(160_000)


def test_hard_problems_are_long_for_all_teachers() -> None:
    lengths = [random.Random(i).randrange(100, 5000) for i in range(20)]
    of_a = [outcome(i, n) for i, n in enumerate(lengths)]
    of_b = [outcome(i, n, teacher="b") for i, n in enumerate(lengths)]
    strangers = [outcome(100 + i, n, teacher="b") for i, n in enumerate(lengths)]
    both = {"a": 1000, "b": 1000}, {"a": 1, "b": 1}, {"a": PRICE, "b": PRICE}

    together, apart = (span(estimate([*of_a, *others], *both).total.tokens) for others in (of_b, strangers))

    assert together.expected == apart.expected
    assert math.log((together.high or 0) / together.expected) > 1.3 * math.log((apart.high or 0) / apart.expected)


@pytest.mark.parametrize(
    ("outcomes", "concurrency", "price", "note"),
    [
        pytest.param(
            [], 1, PRICE, "teacher 'a': no request was in the pilot, so that nothing is known of 100 problems",
            id="not in the pilot",
        ),
        pytest.param(
            [outcome(i, failed=True) for i in range(20)], 1, PRICE,
            "teacher 'a': all 20 requests failed, so that nothing is known of tokens and USD", id="all failed",
        ),
        pytest.param(
            ALIKE, 1, None, "teacher 'a': no price is known, so that USD are not; state `price` in the recipe",
            id="no price",
        ),
        pytest.param(
            [*ALIKE, outcome(20, None)], 1, PRICE, "teacher 'a': 1 of 21 traces came without a count of tokens",
            id="no count",
        ),
        pytest.param(
            [outcome(i, seconds=None) for i in range(20)], 1, PRICE,
            "teacher 'a': no request came with the time that it took, so that times are not known", id="no time",
        ),
        pytest.param(
            [*ALIKE, outcome(20, cut=True)], 1, PRICE,
            "teacher 'a': 1 of 21 traces were cut at max_tokens; a higher limit costs more than this", id="cut",
        ),
        pytest.param(
            [*ALIKE, outcome(20, 19_900)], 1, PRICE,
            "teacher 'a': one of 21 traces holds 50% of the tokens; a larger pilot would tell more", id="one long",
        ),
        pytest.param(
            ALIKE, 64, PRICE,
            "times are optimistic: the pilot put 20 requests to 'a', and 64 will be under way at once; "
            "if that is no quicker, they are 3.2 times as many", id="small pilot",
        ),
        pytest.param(
            ALIKE[:5], 1, PRICE,
            "the pilot had 5 problems; with fewer than 10 intervals are often missed", id="few problems",
        ),
    ],
)  # fmt: skip
def test_what_may_mislead_is_told(
    outcomes: list[Outcome], concurrency: int, price: Price | None, note: str
) -> None:
    assert of(outcomes, concurrency=concurrency, price=price).notes == (note,)


def test_a_teacher_that_the_pilot_did_not_need_is_told() -> None:
    told = estimate([], {"a": 100}, {"a": 1}, {"a": PRICE}, asked={"a": [f"p-{i}" for i in range(10)]})

    assert told.notes == (
        "teacher 'a': the pilot did not need it for 10 problems and it counts nothing here; up to 26% may need it",
    )


def test_what_is_unknown_of_one_teacher_is_unknown_of_all() -> None:
    outcomes = [*ALIKE, *(outcome(i, teacher="b") for i in range(20))]

    told = estimate(outcomes, {"a": 10, "b": 10}, {"a": 1, "b": 1}, {"a": PRICE, "b": None})

    assert [row.usd is None for row in (*told.teachers, told.total)] == [False, True, True]
    assert span(told.total.tokens).expected == 20_000


def test_rows_of_a_table() -> None:
    outcomes = [*ALIKE, *(outcome(i, 400 + 50 * i, teacher="b", seconds=None) for i in range(20))]

    rows = describe(estimate(outcomes, {"a": 20_000, "b": 50}, {"a": 8, "b": 8}, {"a": PRICE, "b": None}))

    assert [dict(zip(HEADS, row, strict=True)) for row in rows] == [
        {"teacher": "a", "requests": "20,000", "tokens": "20M (20M to 20M)", "time": "1d 01h (1d 01h to 1d 01h)",
         "USD": "182 (182 to 182)"},
        {"teacher": "b", "requests": "50", "tokens": rows[1][2], "time": "unknown", "USD": "unknown"},
        {"teacher": "total", "requests": "20,050", "tokens": rows[2][2], "time": "unknown", "USD": "unknown"},
    ]  # fmt: skip
    assert rows[1][2] == "48,750 (41,085 to 57,845)"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.36, "0.4s (0.4s to 0.4s)"), (3.6, "3s (3s to 3s)"), (360.0, "6m 00s (6m 00s to 6m 00s)"),
     (None, "unknown"), (0.0, "0s (0s to 0s)")],
)  # fmt: skip
def test_a_time_is_told_in_its_own_units(seconds: float | None, told: str) -> None:
    outcomes = [outcome(problem, seconds=seconds) for problem in range(20)]

    (row,) = describe(of(outcomes, 5, concurrency=8))

    assert row[HEADS.index("time")] == told


def test_a_pilot_that_a_budget_ended_says_so() -> None:
    told = of(ALIKE).ended_by("the budget of 5 USD is reached", 20, 50)

    assert told.notes[0] == (
        "the budget ended the pilot, so that this is from 20 of its 50 problems; those that end first are short, "
        "and the rest may take more"
    )
    assert (told.ended, told.total) == ("the budget of 5 USD is reached", of(ALIKE).total)


def test_an_outcome_is_told_by_a_trace() -> None:
    trace = Trace(
        trace_id="t", problem_id="p-1", teacher="a", model="m", style="long", sample=0, prompt=(), response="2",
        finish_reason="length", prompt_tokens=100, completion_tokens=900, latency_seconds=36.0, request_key="r",
    )  # fmt: skip

    assert Outcome.of(trace) == outcome(1, cut=True)


def drawn(rng: random.Random, problem: int) -> list[Outcome]:
    """One problem for two teachers; lengths are lognormal (sigma 1), mostly by how hard the problem is."""
    hard = rng.gauss(0, 0.8)
    return [
        outcome(problem, tokens, teacher=name, seconds=tokens / 50)
        for name, mean in (("a", 8.0), ("b", 6.5))
        if (tokens := 1 + int(rng.lognormvariate(mean + hard, 0.6)))
    ]


def test_the_interval_holds_the_total_to_come_19_times_in_20() -> None:
    rng, n_left, n_runs = random.Random(7), 300, 200
    prices = {"a": PRICE, "b": Price(input=0.5, output=2.0)}
    held = {"tokens": 0, "hours": 0, "usd": 0}
    for _ in range(n_runs):
        pilot = [one for problem in range(20) for one in drawn(rng, problem)]
        rest = [one for problem in range(n_left) for one in drawn(rng, problem)]
        total = estimate(pilot, {"a": n_left, "b": n_left}, {"a": 8, "b": 8}, prices).total
        seconds = [sum(one.latency_seconds or 0 for one in rest if one.teacher == name) for name in "ab"]
        came = {
            "tokens": sum(one.tokens or 0 for one in rest),
            "hours": max(seconds) / 8 / 3600,
            "usd": sum(100 * prices[one.teacher].input + (one.completion_tokens or 0) * prices[one.teacher].output
                       for one in rest) / 1e6,
        }  # fmt: skip
        for what, value in came.items():
            low, high = span(getattr(total, what))[1:]
            assert low is not None and high is not None
            held[what] += low <= value <= high

    # Of lengths so skewed 91% is what 20 problems give (95% of 50); what is less is a fault.
    assert all(n / n_runs >= 0.88 for n in held.values()), held
