"""Keeps count of what a call of `generate` spends, and says when nothing more may be asked.

In: each request as it starts and its completion as it ends. Out: its cost, the sums, and the budget that is
reached. What is under way counts with what a request of its teacher takes on average, so that a budget is met and
not overrun by all that was still being answered; while little is known of that, with what it may take at the most.
Prices are `prices`; it sends nothing itself.
"""

import time
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from mixdistill.builders.completions import Completion
from mixdistill.builders.prices import token_cost_usd
from mixdistill.errors import RecipeError
from mixdistill.recipe import Budget
from mixdistill.teachers import Price

_HOUR_SECONDS = 3600.0


@dataclass
class _Spent:
    """What one teacher took so far."""

    ended: int = 0
    under_way: int = 0
    tokens: int = 0
    usd: float = 0.0
    opened: float | None = None
    open_seconds: float = 0.0


@dataclass
class Ledger:
    """The accounts of one call."""

    budget: Budget
    prices: Mapping[str, Price | None]
    "For each teacher that is asked; None is unknown."
    local: Collection[str] = ()
    "Teachers in this process: without a price they cost nothing."
    ceilings: Mapping[str, int] = field(default_factory=dict)
    "Tokens that a response of each teacher may have, where that is limited."
    engines: Mapping[str, Hashable] = field(default_factory=dict)
    "Which teachers share an engine, whose hours are paid once; default: each has its own."
    clock: Callable[[], float] = time.monotonic
    _spent: dict[str, _Spent] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._started = self.clock()
        self._spent = {teacher: _Spent() for teacher in self.prices}
        unknown = [name for name, price in self.prices.items() if price is None and name not in self.local]
        if self.budget.usd is not None and unknown:
            raise RecipeError(
                f"budget.usd: no price is known for teacher {unknown[0]!r}; state it: "
                f"teachers.{unknown[0]}.price: {{input: 0.5, output: 1.5}} (USD for a million tokens)"
            )

    def open(self, teacher: str) -> None:
        """The engine of a teacher is there: from now on its hours count."""
        self._spent[teacher].opened = self.clock()

    def close(self, teacher: str) -> None:
        """The engine of a teacher is gone."""
        spent = self._spent[teacher]
        if spent.opened is not None:
            spent.open_seconds += self.clock() - spent.opened
            spent.opened = None

    def start(self, teacher: str) -> None:
        """A request is sent."""
        self._spent[teacher].under_way += 1

    def end(self, teacher: str, completion: Completion) -> float | None:
        """A request ended; returns what its tokens cost in USD, None if that is not known."""
        spent = self._spent[teacher]
        spent.under_way -= 1
        spent.ended += 1
        spent.tokens += (completion.prompt_tokens or 0) + (completion.completion_tokens or 0)
        price = self.prices[teacher]
        cost = None
        if price is not None and completion.error is None:
            cost = token_cost_usd(price, completion.prompt_tokens, completion.completion_tokens)
        spent.usd += cost or 0.0
        return cost

    @property
    def tokens(self) -> int:
        """Tokens of prompts, reasoning and responses of all that ended."""
        return sum(spent.tokens for spent in self._spent.values())

    @property
    def usd(self) -> float | None:
        """What was spent; None if no price is known."""
        if all(price is None for price in self.prices.values()):
            return None
        return sum(spent.usd for spent in self._spent.values()) + self._hours_usd()

    def reached(self) -> str | None:
        """The budget that is reached, in words; None if more may be asked."""
        budget = self.budget
        if budget.hours is not None and self.clock() - self._started >= budget.hours * _HOUR_SECONDS:
            return f"budget of {budget.hours:g} hours"
        if budget.tokens is not None and self.tokens + self._under_way("tokens") >= budget.tokens:
            return f"budget of {budget.tokens:,} tokens"
        if budget.usd is not None and (self.usd or 0.0) + self._under_way("usd") >= budget.usd:
            return f"budget of {budget.usd:g} USD"
        return None

    def is_tight(self) -> bool:
        """Whether one more request should wait until one that is under way has ended."""
        budget = self.budget
        if budget.tokens is None and budget.usd is None:
            return False
        if not any(spent.under_way for spent in self._spent.values()):
            return False
        if budget.tokens is not None and self.tokens + self._may_take("tokens") > budget.tokens:
            return True
        return budget.usd is not None and (self.usd or 0.0) + self._may_take("usd") > budget.usd

    def told(self) -> str:
        """What was spent, in words."""
        usd = self.usd
        hours = (self.clock() - self._started) / _HOUR_SECONDS
        return f"{self.tokens:,} tokens, {hours:.2g} hours" + ("" if usd is None else f", {usd:.4g} USD")

    def _under_way(self, what: str) -> float:
        """What the requests under way will have taken, by the mean of their teacher."""
        return sum(
            spent.under_way * float(getattr(spent, what)) / spent.ended
            for spent in self._spent.values()
            if spent.ended
        )

    def _may_take(self, what: Literal["tokens", "usd"]) -> float:
        """What the requests under way may take, and one more of the dearest teacher.

        By the mean of their teacher, with its ceiling as one more of the requests that ended: those that end first
        are the short ones.
        """
        means = {
            teacher: (float(getattr(spent, what)) + self._ceiling(teacher, what)) / (spent.ended + 1)
            for teacher, spent in self._spent.items()
        }
        busy = {teacher: mean for teacher, mean in means.items() if self._spent[teacher].under_way}
        return max(busy.values()) + sum(self._spent[teacher].under_way * mean for teacher, mean in busy.items())

    def _ceiling(self, teacher: str, what: Literal["tokens", "usd"]) -> float:
        tokens, price = self.ceilings.get(teacher, 0), self.prices[teacher]
        if what == "tokens":
            return tokens
        return 0.0 if price is None else token_cost_usd(price, 0, tokens) or 0.0

    def _hours_usd(self) -> float:
        by_engine: dict[Hashable, float] = {}
        for teacher, spent in self._spent.items():
            price = self.prices[teacher]
            now = 0.0 if spent.opened is None else self.clock() - spent.opened
            usd = (price.hour if price else 0.0) * (spent.open_seconds + now) / _HOUR_SECONDS
            engine = self.engines.get(teacher, teacher)
            by_engine[engine] = max(usd, by_engine.get(engine, 0.0))
        return sum(by_engine.values())
