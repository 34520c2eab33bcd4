r"""Reads units of measurement: what they measure, and how large they are.

Goes in: the name of a unit, such as `cm`, `square meters`, `km/h` or `kg m^2/s^2`. Comes out: its dimensions and
its factor to the units of the SI, or None for a name that is no unit here: apples contradict nothing. Sizes are
exact where law or the SI brochure (9th edition) makes them so. Capitals count in symbols (mM is no mm), not in
words. Temperatures and degrees of an angle have no factor, so that they are never converted.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

_PREFIXES = {"p": -12, "n": -9, "μ": -6, "u": -6, "m": -3, "c": -2, "d": -1, "k": 3, "M": 6, "G": 9, "T": 12}
_PREFIX_NAMES = {
    "pico": -12, "nano": -9, "micro": -6, "milli": -3, "centi": -2, "deci": -1, "hecto": 2, "kilo": 3, "mega": 6,
    "giga": 9, "tera": 12, "纳": -9, "微": -6, "毫": -3, "厘": -2, "分": -1, "千": 3, "兆": 6,
}  # fmt: skip
# What a unit measures, as powers of base units; its size there; its symbols and its names, which take prefixes.
_SI: list[tuple[str, int | str, str, str]] = [
    ("m", 1, "m", "meter metre 米"), ("kg", "1/1000", "g", "gram gramme 克"), ("s", 1, "s", "second 秒"),
    ("A", 1, "A", "ampere amp 安 安培"), ("K", 1, "K", "kelvin"), ("mol", 1, "mol", "mole 摩尔"),
    ("s^-1", 1, "Hz", "hertz 赫兹"), ("kg m s^-2", 1, "N", "newton 牛 牛顿"),
    ("kg m^-1 s^-2", 1, "Pa", "pascal 帕"), ("kg m^2 s^-2", 1, "J Nm", "joule 焦 焦耳"),
    ("kg m^2 s^-1", 1, "Js", ""), ("kg m s^-1", 1, "Ns", ""),
    ("kg m^2 s^-3", 1, "W", "watt 瓦 瓦特"), ("kg m^2 s^-2", 3_600, "Wh", ""), ("A s", 1, "C", "coulomb"),
    ("A s", 3_600, "Ah", ""), ("kg m^2 s^-3 A^-1", 1, "V", "volt 伏 伏特"),
    ("kg m^2 s^-3 A^-2", 1, "Ω", "ohm 欧姆"), ("kg^-1 m^-2 s^4 A^2", 1, "F", "farad"),
    ("kg m^2 s^-2 A^-2", 1, "H", "henry"), ("kg s^-2 A^-1", 1, "T", "tesla"),
    ("kg m^2 s^-2 A^-1", 1, "Wb", "weber"),
    ("kg m^2 s^-2", "1.602176634e-19", "eV", "electronvolt"), ("kg m^2 s^-2", "4.184", "cal", "calorie 卡"),
    ("m^3", "1/1000", "L l", "liter litre 升"), ("mol m^-3", 1_000, "M", "molar"),
    ("kg m^-1 s^-2", 100_000, "bar", ""), ("bit", 1, "b", "bit"), ("bit", 8, "B", "byte"),
]  # fmt: skip
# The same for units that take no prefix, with all of their spellings; those of one letter are symbols.
_OTHERS: list[tuple[str, int | str, str]] = [
    ("m", 1_000, "公里"), ("m", "0.0254", "inch inches in"), ("m", "0.3048", "foot feet ft"),
    ("m", "0.9144", "yard yards yd yds"), ("m", "1609.344", "mile miles mi"),
    ("m^2", "4046.8564224", "acre acres"), ("m^2", 10_000, "hectare hectares ha 公顷"), ("m^2", "2000/3", "亩"),
    ("m^3", "0.003785411784", "gallon gallons gal"), ("m^3", "0.000946352946", "quart quarts qt"),
    ("m^3", "0.000473176473", "pint pints pt"), ("m^3", "0.0002365882365", "cup cups"),
    ("m^3", "0.0000295735295625", "floz"), ("m^3", "0.000001", "cc"),
    ("kg", "0.45359237", "lb lbs"), ("kg", "0.028349523125", "oz ounce ounces"), ("kg", 1, "公斤"),
    ("kg", "1/2", "斤"), ("kg", 1_000, "t tonne tonnes 吨"), ("kg", "907.18474", "ton tons"),
    ("s", 1, "sec secs"), ("s", 60, "min mins minute minutes 分钟 分"),
    ("s", 3_600, "h hr hrs hour hours 小时 时"),
    ("s", 86_400, "day days 天"), ("s", 604_800, "week weeks 周 星期"), ("month", 1, "month months 个月"),
    ("month", 12, "year years yr yrs 年"), ("m s^-1", "0.44704", "mph"), ("m s^-1", "5/18", "kph kmh"),
    ("kg m^-1 s^-2", 101_325, "atm"), ("kg m^-1 s^-2", 100, "hPa"), ("kg s^-2 A^-1", "1/10000", "G gauss"),
    ("kg m^-1 s^-2", "6894.757293168361", "psi"), ("bit", 8_000, "KB"),
    ("dollar", 1, "dollar dollars usd"), ("dollar", "1/100", "cent cents"), ("euro", 1, "euro euros eur"),
    ("euro", "1/100", "eurocent"), ("sterling", 1, "pound pounds gbp"), ("sterling", "1/100", "pence penny"),
    ("yuan", 1, "yuan rmb cny 元"), ("yuan", "1/10", "jiao 角"), ("yen", 1, "yen jpy 円"),
    ("won", 1, "won krw 원"),
    ("rupee", 1, "rupee rupees inr"), ("rupee", "1/100", "paise paisa"),
    ("degree", 1, "degree degrees deg"), ("radian", 1, "radian radians rad"), ("celsius", 1, "°c celsius"),
    ("fahrenheit", 1, "°f fahrenheit"), ("unit", 1, "unit units 单位"),
]  # fmt: skip
# Words with a second meaning: each may be read as the other, so that 150 pounds are 150 lbs, and 5 pounds are £5.
_SECOND_MEANINGS = [
    (r"\bpounds?\b", "lb"), (r"\b(?:oz|ounces?)\b", "floz"), (r"\bcents?\b", "eurocent"),
    (r"\bdegrees?\b|^C$", "°c"), (r"\bdegrees?\b|^F$", "°f"),
]  # fmt: skip
_OPPOSITES = [
    {"increase", "decrease"}, {"gain", "loss"}, {"profit", "loss"}, {"north", "south"}, {"east", "west"},
    {"am", "pm"}, {"left", "right"}, {"up", "down"}, {"upward", "downward"}, {"more", "less"}, {"more", "fewer"},
    {"above", "below"}, {"clockwise", "counterclockwise"}, {"older", "younger"}, {"higher", "lower"},
    {"faster", "slower"}, {"bc", "ad"},
]  # fmt: skip
_DIRECTIONS = frozenset().union(*_OPPOSITES)
_PERCENT = frozenset({"percent", "percents", "per cent", "pct", "percentage"})
_SPELLINGS = [
    (re.compile(pattern), spelling)
    for pattern, spelling in (
        (r"\\mu(?![A-Za-z])\s?|µ", "μ"), (r"\\Omega(?![A-Za-z])|\u2126", "Ω"), (r"\b([kMGm]) Ω", r"\1Ω"),
        (r"\\(?:cdot|times)(?![A-Za-z])|[*·()]|-(?=[A-Za-z])", " "), (r"\s*\^\s*\{?\s*([+-]?\d)\s*\}?", r"^\1 "),
        (r"(?i)degrees? c(?:elsius)?\b", "°c"), (r"(?i)degrees? f(?:ahrenheit)?\b", "°f"),
        (r"(?i)fl(?:uid|\.)? (?:ounces?|oz)", "floz"), ("平方", "square "), ("立方", "cubic "),
    )
]  # fmt: skip
_WORD = re.compile(r"([^\W\d_]+|°[cCfF])\.?(?:\^?([+-]?\d))?")
_SQUARES = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
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
    unit = _read(name, of_any=False)
    return unit if unit is not None and unit.measures else None


def is_percent(name: str) -> bool:
    return name.casefold() in _PERCENT


@lru_cache(maxsize=1024)
def conversion(first: str, second: str) -> Fraction | None:
    """How many of the first unit one of the second is; None where they are unknown or measure different things."""
    ratios = [two.factor / one.factor for one, two in _readings(first, second) if one.measures == two.measures]
    return min(ratios, key=lambda ratio: ratio != 1, default=None)


@lru_cache(maxsize=1024)
def units_differ(first: str, second: str) -> bool:
    """Whether the units contradict one another: both known and not the same, two powers of one, or opposites."""
    words, other_words = (set(re.findall(r"\w+", name.casefold())) for name in (first, second))
    if any(pair <= words ^ other_words and pair & words and pair & other_words for pair in _OPPOSITES):
        return True
    readings = list(_readings(first, second))
    if not readings:
        one, other = _read(first, of_any=True), _read(second, of_any=True)
        return one is not None and other is not None and one != other and _bases(one) == _bases(other)
    return not any(one == other or _is_unnamed(one, other) or _is_unnamed(other, one) for one, other in readings)


def _readings(first: str, second: str) -> Iterator[tuple[UnitFactor, UnitFactor]]:
    """All meanings of one unit beside all of the other."""
    for one in _meanings(first):
        for other in _meanings(second):
            yield one, other


def _meanings(name: str) -> list[UnitFactor]:
    names = [name, *(re.sub(word, meaning, name, flags=re.ASCII) for word, meaning in _SECOND_MEANINGS)]
    return [unit for unit in map(unit_factor, dict.fromkeys(names)) if unit is not None]


def _is_unnamed(one: UnitFactor, other: UnitFactor) -> bool:
    """Whether one is `units` or `square units`, which leave open what the other names: any unit, or any area."""
    power = dict(one.measures).get("unit")
    return _bases(one) == {"unit"} != _bases(other) and (power == 1 or other.measures == {("m", power)})


def _bases(unit: UnitFactor) -> set[str]:
    return {base for base, _ in unit.measures}


def _read(name: str, *, of_any: bool) -> UnitFactor | None:
    """The unit; `of_any` takes an unknown word as a unit of its own, so that its powers are read."""
    if not name or len(name) > _LONGEST_NAME:
        return None
    for pattern, spelling in _SPELLINGS:
        name = pattern.sub(spelling, name)
    total = UnitFactor(frozenset(), Fraction(1))
    for at, part in enumerate(re.split(r"/|\bper\b", name)):
        words = part.split()
        words = [word for word in words if word.casefold() not in _DIRECTIONS] or words
        factor = _product(words, of_any=of_any) if words or at else total
        if factor is None:
            return None
        total = _times(total, factor, -1 if at else 1)
    return total


def _product(words: list[str], *, of_any: bool) -> UnitFactor | None:
    total, power, last = UnitFactor(frozenset(), Fraction(1)), 1, None
    for word in words:
        folded = word.casefold().rstrip(".")
        if folded in _SQUARES:
            power = _SQUARES[folded]
        elif folded in _POWERS and last is not None:
            total = _times(total, last, _POWERS[folded] - 1)
        else:
            match = _WORD.fullmatch(word)
            own = UnitFactor(frozenset({(folded.partition("^")[0], 1)}), Fraction(1)) if of_any else None
            last = (_named(match.group(1)) or own) if match else None
            if match is None or last is None:
                return None
            total, power = _times(total, last, power * int(match.group(2) or 1)), 1
    return total if last is not None else None


def _named(word: str) -> UnitFactor | None:
    """The unit of one word: a symbol as it is written, or a name in any case."""
    if unit := _SYMBOLS.get(word) or _prefixed(word, word[:1], _PREFIXES, _SI_SYMBOLS):
        return unit
    folded = word.casefold()
    if len(word) == 1 and word.isascii():
        return None
    if unit := _NAMES.get(folded) or _SI_NAMES.get(folded):
        return unit
    prefix = next((prefix for prefix in _PREFIX_NAMES if folded.startswith(prefix)), "")
    named = _prefixed(folded, prefix, _PREFIX_NAMES, _SI_NAMES)
    return named or _prefixed(
        folded, folded[:1], _PREFIXES, _SI_SYMBOLS
    )  # KM and Kg are a kilometer and a kilogram


def _prefixed(word: str, prefix: str, prefixes: dict[str, int], units: dict[str, UnitFactor]) -> UnitFactor | None:
    unit = units.get(word[len(prefix) :]) if prefix in prefixes else None
    return unit and UnitFactor(unit.measures, unit.factor * Fraction(10) ** prefixes[prefix])


def _times(one: UnitFactor, other: UnitFactor, power: int) -> UnitFactor:
    measures = dict(one.measures)
    for base, exponent in other.measures:
        measures[base] = measures.get(base, 0) + exponent * power
    return UnitFactor(frozenset((b, e) for b, e in measures.items() if e), one.factor * other.factor**power)


def _unit(measures: str, size: int | str) -> UnitFactor:
    parts = (part.partition("^") for part in measures.split())
    return UnitFactor(frozenset((base, int(power or 1)) for base, _, power in parts), Fraction(size))


_SI_SYMBOLS = {symbol: _unit(of, size) for of, size, symbols, _ in _SI for symbol in symbols.split()}
_SI_NAMES = {
    n: _unit(of, size) for of, size, _, names in _SI for name in names.split() for n in (name, name + "s")
}
_NAMES = {name: _unit(of, size) for of, size, names in _OTHERS for name in names.split()}
_SYMBOLS = {**_SI_SYMBOLS, **_NAMES}
