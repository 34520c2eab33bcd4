"""The accounts of a call: what is spent, what is under way, and whether there is room for one more request."""

from dataclasses import dataclass

import pytest

from mixdistill.builders.budget import Ledger
from mixdistill.builders.completions import Completion, Request
from mixdistill.recipe import Budget
from mixdistill.teachers import Price


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def request(teacher: str = "long", *, prompt: str = "", max_tokens: int | None = 100) -> Request:
    return Request(
        request_key="r", problem_id="p", teacher=teacher, model="m", revision=None, style="long", size=None,
        sample=0, messages=({"role": "user", "content": prompt},), max_tokens=max_tokens,
    )  # fmt: skip


def took(n_tokens: int) -> Completion:
    return Completion(response="4", prompt_tokens=0, completion_tokens=n_tokens)


def ledger(prices: dict[str, Price | None] | None = None, clock: Clock | None = None, **budget: float) -> Ledger:
    engines = {"long": "one", "short": "one", "other": "two"}
    limits = Budget.model_validate(budget)
    return Ledger(limits, prices or {"long": None}, ("long", "other"), engines, clock or Clock())


def start(account: Ledger, n: int) -> None:
    for _ in range(n):
        account.start(request())


def end(account: Ledger, n: int, n_tokens: int) -> None:
    for _ in range(n):
        account.end(request(), took(n_tokens))


# ---- room


def test_before_an_answer_came_each_request_counts_with_the_most_it_may_take() -> None:
    account = ledger(tokens=250)
    start(account, 1)

    assert not account.is_tight(request())

    start(account, 1)

    assert account.is_tight(request())


@pytest.mark.parametrize(("n", "is_tight"), [(5, False), (6, True)])
def test_what_is_under_way_counts_with_the_mean_and_its_ceiling_as_one_more(n: int, is_tight: bool) -> None:
    """Three took 10 tokens, and may have been the short ones: (3 * 10 + 100) / 4 for each of the others."""
    account = ledger(tokens=250)
    start(account, 3)
    end(account, 3, 10)
    start(account, n)

    assert account.is_tight(request()) == is_tight


def test_with_nothing_under_way_there_is_room_for_one() -> None:
    account = ledger(tokens=5)

    assert not account.is_tight(request(max_tokens=16_384))

    start(account, 1)

    assert account.is_tight(request())


@pytest.mark.parametrize(("limit", "most"), [("tokens", 5_000), ("usd", 5.0)])
def test_a_long_prompt_counts_before_anybody_counted_it(limit: str, most: float) -> None:
    account = Ledger(Budget.model_validate({limit: most}), {"long": Price(input=1000.0)})
    long = request(prompt="word " * 2_000)
    account.start(long)

    assert account.is_tight(long)


def test_a_dear_teacher_leaves_room_for_a_cheap_one() -> None:
    account = ledger({"long": None, "other": None}, tokens=30_000)
    account.start(request("long", max_tokens=16_384))

    assert not account.is_tight(request("other", max_tokens=10))
    assert account.is_tight(request("long", max_tokens=16_384))


def test_without_a_budget_of_tokens_or_usd_there_is_always_room() -> None:
    account = ledger(hours=1)
    start(account, 1)

    assert not account.is_tight(request(max_tokens=10**9))


# ---- what is spent


def test_a_budget_is_reached_when_it_is_spent_and_not_before() -> None:
    account = ledger(tokens=1_000)
    start(account, 60)
    end(account, 9, 100)

    assert account.reached() is None

    end(account, 1, 100)

    assert account.reached() == "budget of 1,000 tokens"
    assert account.told().startswith("1,000 tokens of prompts and responses, ")


def test_an_answer_without_counts_is_reckoned_from_its_length() -> None:
    account = ledger({"long": Price(output=1000.0)}, usd=1.0)
    start(account, 1)
    cost = account.end(request(), Completion(reasoning="a" * 1_000, response="b" * 1_000, prompt_tokens=7))

    assert cost is None  # no trace claims to know
    assert account.tokens == 807
    assert account.usd == pytest.approx(0.8)
    assert account.told().endswith("reckoned by length, for the server sent no counts)")


def test_an_error_costs_nothing_that_nobody_counted() -> None:
    account = ledger({"long": Price(output=1.0)}, tokens=10)
    start(account, 1)

    assert account.end(request(), Completion(error="HTTP 400")) is None
    assert account.tokens == 0


# ---- hours


def test_hours_of_an_engine_are_paid_once_for_all_its_teachers() -> None:
    clock = Clock()
    account = ledger({"long": Price(hour=2.0), "short": Price(hour=2.0), "other": Price(hour=1.0)}, clock)
    for teacher in account.prices:
        account.open(teacher)
    clock.now = 3600.0

    assert account.usd == pytest.approx(3.0)


def test_hours_of_an_engine_that_is_opened_twice_are_paid_twice() -> None:
    clock = Clock()
    account = ledger({"long": Price(hour=2.0), "short": Price(hour=2.0)}, clock)
    for teacher in account.prices:
        account.open(teacher)
        clock.now += 1800.0
        account.close(teacher)
        clock.now += 600.0

    assert account.usd == pytest.approx(2.0)


@pytest.mark.parametrize(("hours", "told"), [(12, "12h 00m"), (0.5, "30m 00s"), (0.1 / 3600, "0.1s")])
def test_hours_are_reached_by_the_clock(hours: float, told: str) -> None:
    clock = Clock()
    account = ledger(clock=clock, hours=hours)

    assert account.reached() is None

    clock.now = hours * 3600 + 0.001

    assert account.reached() == f"budget of {told}"
