"""What a teacher costs: the price that the recipe states, else the list price of the provider behind base_url.

In: a teacher. Out: its Price, None where nobody knows it. List prices come with the package genai-prices, whose
data lie on disk: nothing here calls anybody. A model on a server of one's own has no list price, whatever it is
called; neither has one in this process. Discounts that depend on the account or on what is cached are left out.
"""

from datetime import UTC, date, datetime, time, timedelta

from mixdistill.teachers import OpenAITeacher, Price, SampledTeacher

_PER_TOKENS = 1_000_000
_HALF_HOURS = 48  # prices of the night begin and end at whole or half hours
# What a provider may charge besides and a Price cannot say: a fee for a request, thinking at a rate of its own.
_OTHER_RATES = ("requests_kcount", "output_reasoning_mtok", "audio_hours", "input_mchars")
# Under the addresses of Modal anybody serves a model of their own, and pays for the GPU.
_RENTS_SERVERS = ("modal",)


def price_of(teacher: SampledTeacher, *, batch: bool = False, day: date | None = None) -> Price | None:
    """What the teacher costs; None if it is not stated and is no list price.

    A list price is the base one: a higher one for long prompts starts at 32,000 tokens at the least, more than a
    problem has. Of prices that change with the hour it is the dearest of the day (`day` in UTC, today by default),
    so that no budget is overrun at noon that was met at night. `service_tier` in `extra_body` counts. `batch` asks
    for the price of a batch file, where the provider lists one. Several servers must agree in the price.
    """
    if teacher.price is not None:
        return teacher.price
    if not isinstance(teacher, OpenAITeacher):
        return None
    tier = teacher.extra_body.get("service_tier")
    context = {"service_tier": tier} if isinstance(tier, str) else {}
    if batch:
        context["processing"] = "batch"
    day = day or datetime.now(UTC).date()
    prices = {_list_price(address, teacher.model, context, day) for address in teacher.base_url}
    return prices.pop() if len(prices) == 1 else None


def token_cost_usd(price: Price, prompt_tokens: int | None, completion_tokens: int | None) -> float | None:
    """What the tokens of one request cost; None if their number is not known. Hours are no part of it.

    >>> token_cost_usd(Price(input=0.5, output=1.5), 1_000, 2_000)
    0.0035
    >>> token_cost_usd(Price(output=1.5), 1_000, None)
    """
    parts = ((price.input, prompt_tokens), (price.output, completion_tokens))
    if any(rate and n is None for rate, n in parts):
        return None
    return sum(rate * (n or 0) for rate, n in parts) / _PER_TOKENS


def _list_price(address: str, model: str, context: dict[str, str], day: date) -> Price | None:
    """The list price, if the address is that of a provider which has the model."""
    from genai_prices import Usage, calc_price  # a quarter of a second, which only a run that asks needs

    found = []
    midnight = datetime.combine(day, time(), UTC)
    for half_hour in range(_HALF_HOURS):
        moment = midnight + timedelta(minutes=30 * half_hour)
        try:
            # No search by the name of the model alone: that would find a price for a server of one's own.
            calculation = calc_price(
                Usage(input_tokens=0, output_tokens=0), model, provider_api_url=address,
                genai_request_timestamp=moment, price_context=context,
            )  # fmt: skip
        except LookupError:
            return None
        rates = calculation.model_price
        if calculation.provider.id in _RENTS_SERVERS or any(getattr(rates, rate) for rate in _OTHER_RATES):
            return None
        found.append(Price(input=_base_rate(rates.input_mtok), output=_base_rate(rates.output_mtok)))
    return max(found, key=lambda price: (price.output, price.input))


def _base_rate(rate: object) -> float:
    """The rate of the lowest tier; what is not listed costs nothing."""
    return float(str(getattr(rate, "base", rate))) if rate is not None else 0.0
