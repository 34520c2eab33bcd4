"""Prices: what the recipe states, what a provider lists, and what nobody knows."""

import socket
import subprocess
import sys
from datetime import date
from typing import Never

import pytest

from mixdistill.builders.prices import price_of, token_cost_usd
from mixdistill.teachers import LlamaCppTeacher, OpenAITeacher, Price, VLLMTeacher

# List prices of this day stand in genai-prices for good: later changes begin on later days.
DAY = date(2026, 11, 1)
STATED = Price(input=0.1, output=0.2, hour=3.0)
OPENAI = "https://api.openai.com/v1"
OWN = "http://127.0.0.1:8000/v1"


def teacher(base_url: str | tuple[str, ...], model: str, **more: object) -> OpenAITeacher:
    return OpenAITeacher.model_validate(
        {"engine": "openai", "style": "long", "base_url": base_url, "model": model, **more}
    )


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any look into the network is an error."""

    def refuse(*_: object, **__: object) -> Never:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("base_url", "model", "price"),
    [
        pytest.param(OPENAI, "gpt-4o-mini", Price(input=0.15, output=0.6), id="a provider's model"),
        pytest.param(OPENAI, "gpt-4o-mini-2024-07-18", Price(input=0.15, output=0.6), id="a dated name of it"),
        pytest.param(OPENAI, "my-model", None, id="a model that the provider does not list"),
        pytest.param(
            "https://generativelanguage.googleapis.com/v1beta/openai", "gemini-2.5-pro",
            Price(input=1.25, output=10), id="with tiers: the base one",
        ),
        pytest.param(
            "https://api.deepseek.com/v1", "deepseek-v4-pro", Price(input=1.32, output=3.96),
            id="by the hour of the day: the dearest",
        ),
        pytest.param(
            "https://openrouter.ai/api/v1", "deepseek/deepseek-r1:free", Price(), id="free is a price"
        ),
        pytest.param(
            "https://api.perplexity.ai", "sonar-reasoning", None, id="a fee for each request cannot be said"
        ),
        pytest.param(OWN, "gpt-4o-mini", None, id="a server of one's own, a provider's name"),
        pytest.param("http://gpu-7.lan/v1", "deepseek/deepseek-r1", None, id="a box in the house"),
        pytest.param("https://api.openai.example.org/v1", "gpt-4o-mini", None, id="a host that looks like one"),
        pytest.param(
            "https://me--vllm.modal.run/v1", "zai-org/GLM-5.3", None, id="a GPU that is rented by the hour"
        ),
        pytest.param((OPENAI, OPENAI + "/"), "gpt-4o-mini", Price(input=0.15, output=0.6), id="two that agree"),
        pytest.param((OPENAI, OWN), "gpt-4o-mini", None, id="two that do not"),
    ],
)  # fmt: skip
def test_list_price(base_url: str | tuple[str, ...], model: str, price: Price | None) -> None:
    assert price_of(teacher(base_url, model), day=DAY) == price


def test_a_stated_price_goes_first() -> None:
    assert price_of(teacher(OPENAI, "gpt-4o-mini", price=STATED)) == STATED
    assert price_of(teacher(OWN, "mine", price=STATED), batch=True) == STATED


def test_a_model_in_this_process_costs_what_is_stated_or_nobody_knows() -> None:
    vllm = VLLMTeacher(engine="vllm", style="long", model="Qwen/QwQ-32B")

    assert price_of(vllm) is None
    assert price_of(LlamaCppTeacher(engine="llamacpp", style="short", model="gpt-4o-mini")) is None
    assert price_of(vllm.model_copy(update={"price": STATED})) == STATED


def test_a_batch_costs_half_where_the_provider_says_so() -> None:
    assert price_of(teacher(OPENAI, "gpt-4o-mini"), batch=True, day=DAY) == Price(input=0.075, output=0.3)
    deepseek = teacher("https://api.deepseek.com/v1", "deepseek-v4-pro")
    assert price_of(deepseek, batch=True, day=DAY) == price_of(deepseek, day=DAY)


def test_a_service_tier_counts() -> None:
    usual, flex = (
        price_of(teacher(OPENAI, "gpt-5.2", extra_body=body), day=DAY) for body in ({}, {"service_tier": "flex"})
    )

    assert usual is not None
    assert flex == Price(input=usual.input / 2, output=usual.output / 2)


@pytest.mark.parametrize(
    ("price", "prompt_tokens", "completion_tokens", "usd"),
    [
        pytest.param(Price(input=0.15, output=0.6), 1_000_000, 500_000, 0.45, id="both"),
        pytest.param(Price(input=0.15, output=0.6), 0, 0, 0.0, id="no tokens"),
        pytest.param(Price(input=0.15, output=0.6), None, 500_000, None, id="prompt unknown"),
        pytest.param(Price(input=0.15, output=0.6), 1_000_000, None, None, id="completion unknown"),
        pytest.param(Price(output=2), None, 500_000, 1.0, id="unknown, but prompts are free"),
        pytest.param(Price(hour=3), None, None, 0.0, id="paid by the hour only"),
    ],
)
def test_token_cost(
    price: Price, prompt_tokens: int | None, completion_tokens: int | None, usd: float | None
) -> None:
    cost = token_cost_usd(price, prompt_tokens, completion_tokens)

    assert cost == (usd if usd is None else pytest.approx(usd))


def test_the_list_is_loaded_only_when_a_price_is_looked_up() -> None:
    look = "import sys, mixdistill.builders.prices, mixdistill.cli; print('genai_prices' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", look], capture_output=True, text=True).stdout == "False\n"
