import json
import time
from fractions import Fraction
from pathlib import Path
from typing import cast

import pytest

from mixdistill.records import Leniency
from mixdistill.verifiers.equivalence import compare
from mixdistill.verifiers.quantities import quantity, split_unit
from mixdistill.verifiers.units import conversion, unit_factor, units_differ

TABLE = Path(__file__).with_name("cases") / "units.jsonl"
CASES = [json.loads(line) for line in TABLE.read_text(encoding="utf-8").splitlines()]
HOSTILE = [
    '"',
    '" ',
    '"m"',
    "m ",
    "5 m ",
    "5m",
    "million ",
    "千米",
    r"\mu ",
    r"\frac{" + '"m"',
    r"\mathrm{",
    "m^2 ",
    "m/",
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['reference']} | {case['answer']}: {case['why']}")
def test_status_and_method_are_those_of_the_table(case: dict[str, str]) -> None:
    equality = compare(case["reference"], case["answer"], cast(Leniency, case.get("leniency", "default")))
    assert (equality.status, equality.method) == (case["status"], case["method"]), equality.reason


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['answer']} | {case['reference']}: {case['why']}")
def test_no_pair_that_differs_is_equal_in_the_other_order(case: dict[str, str]) -> None:
    leniency = cast(Leniency, case.get("leniency", "default"))
    equality = compare(case["answer"], case["reference"], leniency)
    assert (equality.status == "correct") <= (case["status"] == "correct"), equality.reason


@pytest.mark.parametrize(
    ("first", "second", "ratio"),
    [
        ("m", "km", 1_000),
        ("M", "mol/L", 1),
        ("Pa", "bar", 100_000),
        ("kPa", "atm", Fraction("101.325")),
        ("J", "kWh", 3_600_000),
        ("kg", "pounds", Fraction("0.45359237")),
        ("£", "pence", None),
        ("dollars", "pounds", None),
        ("m^2", "hectare", 10_000),
        ("cubic centimeters", "mL", 1),
        ("Wb", "T m^2", 1),
        ("V", "H A/s", 1),
        ("A", "F V s^{-1}", 1),
        ("N/C", "V/m", 1),
        ("apples", "kiloapples", None),
    ],
)
def test_one_unit_is_so_many_of_another(first: str, second: str, ratio: Fraction | int | None) -> None:
    assert conversion(first, second) == ratio


@pytest.mark.parametrize(
    "name", ["", " ", "/", "^2", "per", "square", "m^", "m^{10}", "x", "apples", "m x", "千", "a" * 99]
)
def test_what_is_no_unit_measures_nothing(name: str) -> None:
    assert unit_factor(name) is None
    assert not units_differ(name, "m")


@pytest.mark.parametrize(
    "text", ["2mg", "3s^2", "6s^2", "x m", "2 m g", "3*m", r"2\pi hr", "2kT", r"2\mu m", "5/m"]
)
def test_letters_that_may_be_variables_are_not_cut_off(text: str) -> None:
    assert split_unit(text) == (text, "")
    assert quantity(text) is None


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_texts_are_read_quickly(piece: str) -> None:
    started = time.perf_counter()
    for text in (piece * (4_400 // len(piece)), f'5 {piece * (4_300 // len(piece))}"m"'):
        quantity(text, letters=True)
        split_unit(text)
    assert time.perf_counter() - started < 2.0
