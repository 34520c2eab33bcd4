r"""Reads units of measurement: what they measure, and how large they are.

Goes in: the name of a unit, such as `cm`, `square meters`, `km/h` or `kg m^2/s^2`. Comes out: its dimensions and
its factor to the units of the SI, or None for a name that is no unit here: apples contradict nothing. Sizes are
exact (international yard and pound of 1959; SI brochure, 9th edition). Temperatures and degrees of an angle have
no factor, so that they contradict other units and are never converted.
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

# What a unit measures, as powers of the SI's base units; its size there; its spellings.
_UNITS: list[tuple[str, int | str, str]] = [
    ("m", 1, "m meter meters metre metres 米"),
    ("m", "1/1000", "mm millimeter millimeters millimetre millimetres 毫米"),
    ("m", "1/100", "cm centimeter centimeters centimetre centimetres 厘米"),
    ("m", 1_000, "km kilometer kilometers kilometre kilometres 千米 公里"),
    ("m", "1/1000000000", "nm nanometer nanometers"), ("m", "0.0254", "inch inches in"),
    ("m", "0.3048", "foot feet ft"), ("m", "0.9144", "yard yards yd"), ("m", "1609.344", "mile miles mi"),
    ("kg", "1/1000", "g gram grams 克"), ("kg", 1, "kg kilogram kilograms 千克 公斤"),
    ("kg", "1/1000000", "mg milligram milligrams"), ("kg", "0.45359237", "lb lbs"),
    ("kg", "0.028349523125", "oz ounce ounces"), ("s", 1, "s sec secs second seconds 秒"),
    ("s", "1/1000", "ms millisecond milliseconds"), ("s", 60, "min mins minute minutes 分钟"),
    ("s", 3_600, "h hr hrs hour hours 小时"), ("s", 86_400, "day days 天"), ("s", 604_800, "week weeks"),
    ("month", 1, "month months"), ("month", 12, "year years yr yrs"),
    ("dollar", 1, "dollar dollars usd"), ("dollar", "1/100", "cent cents"),
    ("euro", 1, "euro euros eur"), ("pound", 1, "pound pounds gbp"),
    ("degree", 1, "degree degrees deg"), ("radian", 1, "radian radians rad"),
    ("celsius", 1, "°c celsius"), ("fahrenheit", 1, "°f fahrenheit"),
    ("K", 1, "K kelvin kelvins"), ("m^3", "1/1000000", "ml milliliter milliliters cc 毫升"),
    ("m^3", "1/1000", "l L liter liters litre litres 升"), ("m s^-1", "0.44704", "mph"),
    ("m s^-1", "5/18", "kph kmh"), ("s^-1", 1, "Hz hertz"), ("kg m s^-2", 1, "N newton newtons"),
    ("kg m^2 s^-2", 1, "J joule joules"), ("kg m^2 s^-2", 1_000, "kJ"),
    ("kg m^2 s^-2", 3_600_000, "kWh"), ("kg m^2 s^-2", 3_600_000_000, "MWh"), ("kg m s^-2", 1_000, "kN"),
    ("kg m^2 s^-3", 1, "W watt watts"), ("kg m^2 s^-3", 1_000, "kW kilowatt kilowatts"),
    ("kg m^-1 s^-2", 1, "Pa pascal pascals"), ("kg m^-1 s^-2", 1_000, "kPa"),
    ("A", 1, "A amp amps ampere amperes"), ("A s", 1, "C coulomb coulombs"),
    ("kg m^2 s^-3 A^-1", 1, "V volt volts"), ("kg m^2 s^-3 A^-2", 1, "ohm ohms"),
    ("mol", 1, "mol mole moles"),
]  # fmt: skip
_PERCENT = frozenset({"percent", "pct", "percentage"})
_WORD = re.compile(r"([A-Za-z°\u4e00-\u9fff]+)\.?(?:\^?\{?(-?\d)\}?)?")
_SQUARES = {"square": 2, "sq": 2, "cubic": 3}
_POWERS = {"squared": 2, "cubed": 3}
_LONGEST_NAME = 60


class UnitFactor(NamedTuple):
    """What a unit measures, as powers of base units, and how many of these it is."""

    measures: frozenset[tuple[str, int]]
    factor: Fraction


@lru_cache(maxsize=1024)
def unit_factor(name: str) -> UnitFactor | None:
    """The dimensions and the size of a unit, or of units multiplied and divided; None for an unknown name.

    >>> unit_factor("km/h") == unit_factor("kilometers per hour"), unit_factor("apples")
    (True, None)
    """
    if not name or len(name) > _LONGEST_NAME:
        return None
    above, *below = re.split(r"/|\bper\b", name)
    total = _product(above) if above.strip() else UnitFactor(frozenset(), Fraction(1))
    for part in below:
        other = _product(part)
        if total is None or other is None:
            return None
        total = _times(total, other, -1)
    return total if total is not None and total.measures else None


def is_percent(name: str) -> bool:
    return name in _PERCENT


def units_differ(first: str, second: str) -> bool:
    """Whether both units are known and are not the same."""
    one, other = unit_factor(first), unit_factor(second)
    if one is None or other is None:
        return False
    kinds = {base for unit in (one, other) for base, _ in unit.measures}
    is_bare_degree = one != other and "degree" in kinds and bool(kinds & {"celsius", "fahrenheit"})
    return one != other and not is_bare_degree


def _product(names: str) -> UnitFactor | None:
    total, power, last = UnitFactor(frozenset(), Fraction(1)), 1, None
    words = re.sub(r"\\cdot|[*·]|-(?=[A-Za-z])", " ", names).replace("degrees celsius", "celsius")
    words = words.replace("平方", "square ").replace("立方", "cubic ")
    for word in words.replace("degrees fahrenheit", "fahrenheit").split():
        if word.casefold() in _SQUARES:
            power = _SQUARES[word.casefold()]
        elif word.casefold() in _POWERS and last is not None:
            total = _times(total, last, _POWERS[word.casefold()] - 1)
        else:
            match = _WORD.fullmatch(word)
            last = _named(match.group(1)) if match else None
            if match is None or last is None:
                return None
            total, power = _times(total, last, power * int(match.group(2) or 1)), 1
    return total if total.measures else None


def _named(word: str) -> UnitFactor | None:
    """The unit of one word; capitals matter to a single letter alone."""
    return _NAMES.get(word) or (_NAMES.get(word.casefold()) if len(word) > 1 else None)


def _times(one: UnitFactor, other: UnitFactor, power: int) -> UnitFactor:
    measures = dict(one.measures)
    for base, exponent in other.measures:
        measures[base] = measures.get(base, 0) + exponent * power
    return UnitFactor(frozenset((b, e) for b, e in measures.items() if e), one.factor * other.factor**power)


def _bases(measures: str) -> frozenset[tuple[str, int]]:
    parts = (part.partition("^") for part in measures.split())
    return frozenset((base, int(power or 1)) for base, _, power in parts)


_NAMES = {
    spelling: UnitFactor(_bases(measures), Fraction(factor))
    for measures, factor, spellings in _UNITS
    for spelling in spellings.split()
}
