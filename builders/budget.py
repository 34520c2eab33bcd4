"""Keeps count of what a call of `generate` spends, and says when nothing more may be asked.

In: each request as it starts and its completion as it ends. Out: its cost, the sums, whether there is room for one
more request, and the budget that is reached. What is under way counts with what a request of its teacher takes on
average, so that a budget is met and not overrun by all that was still being answered; while little is known of
that, with what it may take at the most. Prices are `prices`; it sends nothing itself.
"""

import time
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mixdistill.builders.completions import Completion, Request
from mixdistill.builders.prices import token_cost_usd
from mixdistill.errors import RecipeError
from mixdistill.recipe import Budget
from mixdistill.teachers import Price
from mixdistill.words import duration

_HOUR_SECONDS = 3600.0
# Of a text whose tokens nobody counted: more than a tokenizer of today makes of English (0.25) or LaTeX (0.35).
_TOKENS_PER_BYTE = 0.4


class _Amount(NamedTuple):
    """Tokens of prompts and responses, and USD for them."""

    tokens: float = 0.0
    usd: float = 0.0


@dataclass
class _Spent:
    """What one teacher took so far."""

    ended: int = 0
    under_way: int = 0
    tokens: float = 0.0
    usd: float = 0.0
    most_tokens: float = 0.0
    "What the requests under way may take at the most."
    most_usd: float = 0.0


@dataclass
class _Engine:
    """How long an engine was there."""

    users: int = 0
    "Teachers that have it open."
    opened: float = 0.0
    seconds: float = 0.0


@dataclass
class Ledger:
    """The accounts of one call."""

    budget: Budget
    prices: Mapping[str, Price | None]
    "For each teacher that is asked; None is unknown."
    local: Collection[str] = ()
    "Teachers in this process: without a price they cost nothing."
    engines: Mapping[str, Hashable] = field(default_factory=dict)
    "Which teachers share an engine, whose hours are paid once; default: each has its own."
    clock: Callable[[], float] = time.monotonic
    waiting: int = 0
    "Requests that wait until there is room."

    def __post_init__(self) -> None:
        self._started = self.clock()
        self._spent = {teacher: _Spent() for teacher in self.prices}
        self._open = {self._engine_of(teacher): _Engine() for teacher in self.prices}
        self._is_limited = self.budget.tokens is not None or self.budget.usd is not None
        self._n_uncounted = 0
        unknown = [name for name, price in self.prices.items() if price is None and name not in self.local]
        if self.budget.usd is not None and unknown:
            raise RecipeError(
                f"budget.usd: no price is known for teacher {unknown[0]!r}; state it: "
                f"teachers.{unknown[0]}.price: {{input: 0.5, output: 1.5}} (USD for a million tokens)"
            )

    def open(self, teacher: str) -> None:
        """The engine of a teacher is there: from now on its hours count."""
        engine = self._open[self._engine_of(teacher)]
        if not engine.users:
            engine.opened = self.clock()
        engine.users += 1

    def close(self, teacher: str) -> None:
        """The teacher needs its engine no more."""
        engine = self._open[self._engine_of(teacher)]
        engine.users -= 1
        if not engine.users:
            engine.seconds += self.clock() - engine.opened

    def start(self, request: Request) -> None:
        """A request is sent."""
        spent, most = self._spent[request.teacher], self._most(request)
        spent.under_way += 1
        spent.most_tokens += most.tokens
        spent.most_usd += most.usd

    def end(self, request: Request, completion: Completion) -> float | None:
        """A request ended; returns what its tokens cost in USD, None if that is not known."""
        spent, most = self._spent[request.teacher], self._most(request)
        spent.under_way -= 1
        spent.most_tokens -= most.tokens
        spent.most_usd -= most.usd
        spent.ended += 1
        price = self.prices[request.teacher]
        counts = completion.prompt_tokens, completion.completion_tokens
        n_prompt, n_completion = self._counted(request, completion)
        spent.tokens += n_prompt + n_completion
        if price is None or completion.error is not None:
            return None
        spent.usd += token_cost_usd(price, n_prompt, n_completion) or 0.0
        return token_cost_usd(price, *counts)

    @property
    def tokens(self) -> int:
        """Tokens of prompts, reasoning and responses of all that ended."""
        return round(sum(spent.tokens for spent in self._spent.values()))

    @property
    def usd(self) -> float | None:
        """What was spent; None if no price is known."""
        if all(price is None for price in self.prices.values()):
            return None
        return sum(spent.usd for spent in self._spent.values()) + self._hours_usd()

    def reached(self) -> str | None:
        """The budget that is spent, in words; None if more may be asked."""
        budget = self.budget
        if budget.hours is not None and self.clock() - self._started >= budget.hours * _HOUR_SECONDS:
            return f"budget of {duration(budget.hours * _HOUR_SECONDS)}"
        if budget.tokens is not None and self.tokens >= budget.tokens:
            return f"budget of {budget.tokens:,} token{'s' if budget.tokens > 1 else ''}"
        if budget.usd is not None and (self.usd or 0.0) >= budget.usd:
            return f"budget of {budget.usd:g} USD"
        return None

    def is_tight(self, request: Request) -> bool:
        """Whether a request should wait until one that is under way has ended.

        Each counts with the mean of its teacher, with the most that it may take as one more of those that ended:
        those that end first are the short ones.
        """
        if not self._is_limited or not any(spent.under_way for spent in self._spent.values()):
            return False
        most = self._most(request)
        tokens, usd = self.tokens + 0.0, self.usd or 0.0
        for teacher, spent in self._spent.items():
            n, more = (spent.under_way + 1, most) if teacher == request.teacher else (spent.under_way, _Amount())
            tokens += (n * spent.tokens + spent.most_tokens + more.tokens) / (spent.ended + 1)
            usd += (n * spent.usd + spent.most_usd + more.usd) / (spent.ended + 1)
        budget = self.budget
        return (budget.tokens is not None and tokens > budget.tokens) or (
            budget.usd is not None and usd > budget.usd
        )

    def told(self) -> str:
        """What was spent, in words."""
        usd = self.usd
        told = f"{self.tokens:,} tokens of prompts and responses, {duration(self.clock() - self._started)}"
        if usd is not None:
            told += f", {usd:.4g} USD"
        if self._n_uncounted:
            told += f" (of {self._n_uncounted:,} reckoned by length, for the server sent no counts)"
        return told

    def _engine_of(self, teacher: str) -> Hashable:
        return self.engines.get(teacher, teacher)

    def _most(self, request: Request) -> _Amount:
        """What a request may take; nothing where no budget asks for it."""
        if not self._is_limited:
            return _Amount()
        n_prompt, n_completion = _prompt_tokens(request), request.max_tokens or 0
        price = self.prices[request.teacher]
        return _Amount(n_prompt + n_completion, (price and token_cost_usd(price, n_prompt, n_completion)) or 0.0)

    def _counted(self, request: Request, completion: Completion) -> tuple[int, int]:
        """Tokens of the prompt and of the answer; reckoned from their texts where the server did not say."""
        n_prompt, n_completion = completion.prompt_tokens, completion.completion_tokens
        if completion.error is None and (n_prompt is None or n_completion is None):
            self._n_uncounted += 1
            text = (completion.reasoning or "") + completion.response
            n_prompt = _prompt_tokens(request) if n_prompt is None else n_prompt
            n_completion = _tokens(text) if n_completion is None else n_completion
        return n_prompt or 0, n_completion or 0

    def _hours_usd(self) -> float:
        dearest: dict[Hashable, float] = {}
        for teacher, price in self.prices.items():
            engine = self._engine_of(teacher)
            dearest[engine] = max(dearest.get(engine, 0.0), price.hour if price else 0.0)
        now = self.clock()
        seconds = {
            name: engine.seconds + (now - engine.opened if engine.users else 0.0)
            for name, engine in self._open.items()
        }
        return sum(hour * seconds[engine] / _HOUR_SECONDS for engine, hour in dearest.items())


def _prompt_tokens(request: Request) -> int:
    return sum(_tokens(message["content"]) for message in request.messages)


def _tokens(text: str) -> int:
    return round(len(text.encode("utf-8", "replace")) * _TOKENS_PER_BYTE)
