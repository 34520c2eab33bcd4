"""What the answer of an OpenAI-compatible server means: a completion, the error of one request, or a fault.

In: status, headers and content of an HTTP answer. Out: a Completion, its `error` set where asking again would
bring the same. Raised: TransientError where another try may help, RefusedError where every request would fail.
Nothing is sent from here.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from mixdistill.builders.completions import Completion
from mixdistill.builders.reasoning import read_message
from mixdistill.json_bytes import load_json

_TRANSIENT_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_OVERLOAD_STATUS = frozenset({429, 503, 529})
_REFUSED_STATUS = {
    # Not followed: what headers hold would go to a stranger.
    **dict.fromkeys((301, 302, 303, 307, 308), "it moved to another address; mend base_url"),
    401: "the key is refused; set the environment variable {key_env}",
    402: "the account has no credit left",
    403: "the key may not use this model; look at the account or the variable {key_env}",
    404: "no such address or model there; look at base_url and model",
}
_RETRY_AFTER_MAX_SECONDS = 120.0
_EXACT_BELOW = 2**53  # a float beyond it is no count

Quote = Callable[[bytes], str]
"The beginning of a content, fit to be shown."
Fault = Literal["dead", "lost", "overloaded", "bad answer"]
"Nothing could be sent; no whole answer came in time; too much was asked; what came is no use."


class TransientError(Exception):
    """Worth another try."""

    def __init__(self, told: str, fault: Fault, pause_seconds: float = 0.0, *, is_too_early: bool = False) -> None:
        super().__init__(told)
        self.fault = fault
        self.pause_seconds = pause_seconds
        self.is_too_early = is_too_early
        "Whether the server says that it will answer later."


class RefusedError(Exception):
    """Would fail every request; the message is why, and the way out with `{key_env}` in it."""

    def __init__(self, code: int) -> None:
        super().__init__(f"answered {code}: {_REFUSED_STATUS[code]}")


def read_answer(
    status: int, headers: Mapping[str, str], content: bytes, latency_seconds: float, quote: Quote
) -> Completion:
    """The completion in an answer, or the error of this one request in its place."""
    if status != 200:
        told = f"HTTP {status}: {quote(content)}"
        _raise_refusal(status, told, headers, content)
        return Completion(error=told, latency_seconds=latency_seconds)
    try:
        return _read_content(headers, content, latency_seconds, quote)
    except RecursionError as error:
        raise TransientError(f"nested too deeply: {quote(content)}", "bad answer") from error


def _read_content(headers: Mapping[str, str], content: bytes, latency_seconds: float, quote: Quote) -> Completion:
    try:
        answer = load_json(content)
    except ValueError as error:
        raise TransientError(f"not JSON: {quote(content)}", "bad answer") from error
    if not isinstance(answer, dict):
        raise TransientError(f"not a JSON object: {quote(content)}", "bad answer")
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    choice = choice if isinstance(choice, dict) else {}
    # Some gateways answer 200 and put the error of the server behind them into the answer or its choice.
    inside = answer.get("error") or choice.get("error")
    if isinstance(inside, dict) and re.fullmatch("[45][0-9][0-9]", str(inside.get("code"))):
        code = int(inside["code"])
        told = f"error {code} in the answer: {quote(content)}"
        _raise_refusal(code, told, headers, content)
        return Completion(error=told, latency_seconds=latency_seconds)
    message = choice.get("message")
    if inside or not isinstance(message, dict):
        raise TransientError(f"no choice with a message in the answer: {quote(content)}", "bad answer")
    return _completion(answer, choice, message, latency_seconds)


def _raise_refusal(code: int, told: str, headers: Mapping[str, str], content: bytes) -> None:
    """Raises unless the code is about this one request, as 400 is."""
    if code == 429 and b"insufficient_quota" in content:  # OpenAI's word for an empty account
        code = 402
    if code in _REFUSED_STATUS:
        raise RefusedError(code)
    if code in _TRANSIENT_STATUS:
        pause_seconds = _retry_after_seconds(headers)
        fault: Fault = "overloaded" if code in _OVERLOAD_STATUS or pause_seconds > 0 else "bad answer"
        raise TransientError(told, fault, pause_seconds, is_too_early=code == 429 or pause_seconds > 0)


def _completion(
    answer: Mapping[str, object],
    choice: Mapping[str, object],
    message: Mapping[str, object],
    latency_seconds: float,
) -> Completion:
    text = read_message(message)
    finish_reason = choice.get("finish_reason")
    usage = answer.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    details = counts.get("completion_tokens_details")
    return Completion(
        response=text.response,
        reasoning=text.reasoning,
        finish_reason=finish_reason if isinstance(finish_reason, str) else None,
        prompt_tokens=_count(counts, "prompt_tokens"),
        completion_tokens=_count(counts, "completion_tokens"),
        reasoning_tokens=_count(details, "reasoning_tokens") if isinstance(details, dict) else None,
        latency_seconds=latency_seconds,
    )


def _count(counts: Mapping[str, object], name: str) -> int | None:
    """A whole number, also one that was written as 34.0; else None."""
    value = counts.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return int(value) if 0 <= value < _EXACT_BELOW and value % 1 == 0 else None


def _retry_after_seconds(headers: Mapping[str, str]) -> float:
    """What the header Retry-After asks for, as seconds or as a date; two minutes at most."""
    text = headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):  # no date; a date without its time zone
            return 0.0
    return min(seconds, _RETRY_AFTER_MAX_SECONDS) if seconds > 0 else 0.0
