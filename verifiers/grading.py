"""Reads what a comparison needs besides the reference: options, tolerance, allowed texts, puzzles, tests.

In: `Problem.grading`, a JSON object. Out: one frozen record for the answer type, or the reason, in words, why the
JSON is unusable, which makes a verdict `unscored`.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from mixdistill.records import AnswerType
from mixdistill.verifiers.options import read_options

_LONGEST_GRADING = 2_000_000
_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class MathGrading:
    """Formulas need nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceGrading:
    """What may be chosen."""

    options: Mapping[str, str] = field(default_factory=dict)
    "Letter to text; empty if they are not known."


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberGrading:
    """How far a number may be from the reference; exact if neither is given."""

    absolute: float | None = None
    relative: float | None = None
    "Of the reference."


@dataclass(frozen=True, slots=True, kw_only=True)
class TextGrading:
    """Which other texts are right."""

    allowed: tuple[str, ...] = ()
    "Besides the reference."


@dataclass(frozen=True, slots=True, kw_only=True)
class GymGrading:
    """The puzzle that reasoning-gym scores an answer by."""

    dataset: str
    "Name of the generator."
    entry: str
    "JSON object with `answer` and `metadata`: scorers change it, so each gets its own copy."


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeGrading:
    """Tests of code: one of `tests`, `stdin_tests`."""

    tests: str = ""
    "Python statements that assert."
    entry: str | None = None
    "Name of the function that `check(...)`, which the tests define, is called with."
    stdin_tests: tuple[tuple[str, str], ...] = ()
    "Standard input and the output expected for it."
    timeout_seconds: float = 10.0
    "For all tests together."
    memory_mb: int = 512


Grading = MathGrading | ChoiceGrading | NumberGrading | TextGrading | GymGrading | CodeGrading


class _Unusable(ValueError):
    pass


def read_grading(answer_type: AnswerType, grading: str | None, problem: str = "") -> Grading | str:
    """The settings of a comparison, or why there are none. Options that the JSON lacks are read from the problem.

    >>> read_grading("number", '{"absolute": 0.01}')
    NumberGrading(absolute=0.01, relative=None)
    >>> read_grading("number", '{"absolut": 0.01}')
    "grading: unknown key 'absolut'; number takes absolute, relative"
    """
    return _read(answer_type, grading, problem)


@lru_cache(maxsize=64)  # the samples of a problem share it
def _read(answer_type: AnswerType, grading: str | None, problem: str) -> Grading | str:
    try:
        values = _parse(grading)
        known, read = _READERS[answer_type]
        for key in values:
            if key not in known:
                takes = ", ".join(known) or "none"
                raise _Unusable(f"unknown key {key!r}; {answer_type} takes {takes}")
        settings = read(values)
    except _Unusable as error:
        return f"grading: {error}"
    if isinstance(settings, ChoiceGrading) and not settings.options:
        return ChoiceGrading(options=read_options(problem))
    return settings


def _parse(grading: str | None) -> dict[str, object]:
    if grading is None:
        return {}
    if len(grading) > _LONGEST_GRADING:
        raise _Unusable(f"longer than {_LONGEST_GRADING} characters")
    try:
        values = json.loads(grading)
    except (ValueError, RecursionError) as error:
        raise _Unusable(f"not JSON: {error}") from error
    if not isinstance(values, dict):
        raise _Unusable(f"a JSON {type(values).__name__}, not an object")
    return values


def _math(values: Mapping[str, object]) -> MathGrading:
    return MathGrading()


def _choice(values: Mapping[str, object]) -> ChoiceGrading:
    options = values.get("options", {})
    if not isinstance(options, dict) or not all(isinstance(text, str) for text in options.values()):
        raise _Unusable("options is not an object of letter: text")
    for letter in options:
        if not re.fullmatch("[A-Z]", letter):
            raise _Unusable(f"{letter!r} is not one of the letters A to Z")
    return ChoiceGrading(options=options)


def _number(values: Mapping[str, object]) -> NumberGrading:
    return NumberGrading(absolute=_tolerance(values, "absolute"), relative=_tolerance(values, "relative"))


def _tolerance(values: Mapping[str, object], key: str) -> float | None:
    value = values.get(key)
    return None if value is None else _real(key, value, at_least=0.0)


def _real(key: str, value: object, *, at_least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not at_least <= value < math.inf:
        raise _Unusable(f"{key} is not a number from {at_least:g} on")
    return float(value)


def _text(values: Mapping[str, object]) -> TextGrading:
    allowed = values.get("allowed", [])
    if not isinstance(allowed, list) or not all(isinstance(text, str) for text in allowed):
        raise _Unusable("allowed is not a list of texts")
    return TextGrading(allowed=tuple(allowed))


def _gym(values: Mapping[str, object]) -> GymGrading:
    dataset, entry = values.get("dataset"), values.get("entry")
    if not isinstance(dataset, str) or not isinstance(entry, dict):
        raise _Unusable("reasoning_gym needs dataset, a name, and entry, an object")
    if not isinstance(entry.get("answer"), str) or not isinstance(entry.get("metadata", {}), dict):
        raise _Unusable("entry needs answer, a text, and metadata, an object")
    return GymGrading(dataset=dataset, entry=json.dumps(entry))


def _code(values: Mapping[str, object]) -> CodeGrading:
    tests, entry = values.get("tests", ""), values.get("entry")
    if isinstance(tests, list) and all(isinstance(test, str) for test in tests):  # as in MBPP
        tests = "\n".join(tests)
    if not isinstance(tests, str):
        raise _Unusable("tests is not a text")
    if entry is not None and not (isinstance(entry, str) and _NAME.fullmatch(entry)):
        raise _Unusable("entry is not the name of a function")
    pairs = _stdin_tests(values.get("stdin_tests", []))
    if bool(tests.strip()) == bool(pairs):
        raise _Unusable("code needs one of tests, stdin_tests")
    memory = _real("memory_mb", values.get("memory_mb", 512), at_least=64)
    seconds = _real("timeout_seconds", values.get("timeout_seconds", 10.0), at_least=0.1)
    return CodeGrading(
        tests=tests.strip(), entry=entry, stdin_tests=pairs, timeout_seconds=seconds, memory_mb=int(memory)
    )


def _stdin_tests(tests: object) -> tuple[tuple[str, str], ...]:
    pairs: list[tuple[str, str]] = []
    for test in tests if isinstance(tests, list) else [None]:
        given, wanted = (test.get("input"), test.get("output")) if isinstance(test, dict) else (None, None)
        if not isinstance(given, str) or not isinstance(wanted, str):
            raise _Unusable("stdin_tests is not a list of {input: text, output: text}")
        pairs.append((given, wanted))
    return tuple(pairs)


_READERS: dict[AnswerType, tuple[tuple[str, ...], Callable[[Mapping[str, object]], Grading]]] = {
    "math": ((), _math),
    "number": (("absolute", "relative"), _number),
    "choice": (("options",), _choice),
    "text": (("allowed",), _text),
    "reasoning_gym": (("dataset", "entry"), _gym),
    "code": (("tests", "entry", "stdin_tests", "timeout_seconds", "memory_mb"), _code),
}
