"""Reads from a row what an answer is compared with besides the reference: options, tests, or JSON as it stands.

In: the cells of a row. Out: the JSON of `Problem.grading`, and for a choice the problem with its options and the
letter of the right one, however the source names it (MMLU: a list and the place from 0; ARC: texts and labels;
others: letters to texts, or the right text itself). Whether the JSON suits the answer type is for the verifier.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mixdistill.records import normalise_text, same_text_key

_MOST_OPTIONS = 26


class Unusable(ValueError):
    """A cell that is not what its column should hold; says what."""


class Choice(NamedTuple):
    """A problem with options."""

    problem: str
    "With the options below it, where the source keeps them apart."
    reference: str
    "The letter of the right one."
    options: dict[str, str]


def as_json(values: Mapping[str, object]) -> str:
    """The JSON of a mapping, the same for the same content; what JSON has not is written as text."""
    return json.dumps(values, ensure_ascii=False, default=_plain)


def read_json(cell: object) -> dict[str, object]:
    """The object in a cell, or in the JSON text in it; empty for an empty cell. Raises Unusable."""
    if cell is None or cell == "":
        return {}
    value = _parsed(cell)
    if not isinstance(value, dict):
        raise Unusable(f"holds a {type(value).__name__}, not a JSON object")
    return {str(key): each for key, each in value.items() if each is not None}  # Parquet fills keys in


def read_tests(cell: object) -> dict[str, object]:
    """The tests in a cell: a text or a list of texts. Raises Unusable."""
    tests = [cell] if isinstance(cell, str) else cell
    if not isinstance(tests, list) or not tests or not all(isinstance(test, str) for test in tests):
        raise Unusable(f"holds a {type(cell).__name__}, not a text or a list of texts")
    return {"tests": "\n".join(tests)}


def read_choice(problem: str, reference: object, cell: object) -> Choice:
    """The problem with its options and the right letter. Raises Unusable."""
    labels, texts = _options(_parsed(cell))
    letters = [chr(ord("A") + place) for place in range(len(texts))]
    options = dict(zip(letters, texts, strict=True))
    place = _place(reference, labels, texts)
    if place is None:
        raise Unusable(f"has no option that the reference {reference!r} names; there are {len(texts)}")
    if not all(re.search(rf"(?<!\w){letter}[.):}}]", problem) for letter in letters):
        problem += "\n\n" + "\n".join(f"{letter}. {text}" for letter, text in options.items())
    return Choice(problem, letters[place], options)


def _options(value: object) -> tuple[Sequence[str] | None, list[str]]:
    """Labels, if there are any, and texts."""
    labels: object = None
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        labels, value = value.get("label"), value["text"]
    elif isinstance(value, dict):
        labels, value = list(value), list(value.values())
    if not isinstance(value, list) or not all(isinstance(each, str | int | float) for each in value):
        raise Unusable(f"holds a {type(value).__name__}, not a list or an object of options")
    if not 2 <= len(value) <= _MOST_OPTIONS:
        raise Unusable(f"holds {len(value)} options, not 2 to {_MOST_OPTIONS}")
    texts = [normalise_text(str(each)) for each in value]
    if not isinstance(labels, list) or len(labels) != len(texts):
        return None, texts
    return [str(label).strip("(). ").upper() for label in labels], texts


def _place(reference: object, labels: Sequence[str] | None, texts: Sequence[str]) -> int | None:
    """Place of the right option: by label, by letter, by text, or, where there are no labels, by place from 0."""
    named = str(reference).strip("(). \n").upper()
    if labels is not None and named in labels:
        return labels.index(named)
    is_place = isinstance(reference, int) and not isinstance(reference, bool)
    if not is_place:
        key = same_text_key(str(reference))
        same = [place for place, text in enumerate(texts) if same_text_key(text) == key]
        if len(same) == 1:
            return same[0]
        if labels is None and len(named) == 1 and 0 <= ord(named) - ord("A") < len(texts):
            return ord(named) - ord("A")
    if labels is None and re.fullmatch(r"\d{1,2}", named, re.ASCII) and int(named) < len(texts):
        return int(named)
    return None


def _parsed(cell: object) -> object:
    """The value of JSON text; other cells as they are."""
    if not isinstance(cell, str):
        return cell
    try:
        value: object = json.loads(cell)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"is not JSON: {error}") from error
    return value


def _plain(value: object) -> object:
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    as_list = getattr(value, "tolist", None)  # of numpy's arrays and numbers
    return as_list() if callable(as_list) else str(value)
