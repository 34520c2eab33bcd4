"""Reads dates and times of day, so that July 4, 2020 is 2020-07-04 and 3:00 PM is 15:00.

Goes in: tidy text. Comes out: numbers that are equal for the same moment, or None for what is no date or time.
Day before month is never guessed: 2/1/2023 is text.
"""

import re

_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_DATE = re.compile(r"(\d{4})\s?-\s?(\d{1,2})\s?-\s?(\d{1,2})")
_MONTH = r'"?([A-Za-z]{3,9})\.?"?'
_DAY = r'"?\s*(\d{1,2})(?:"?(?:st|nd|rd|th)"?)?'
_MONTH_DAY = re.compile(rf'{_MONTH}\s*{_DAY}(?:\s*,?\s*(\d{{4}}))?"?')
_DAY_MONTH = re.compile(rf"{_DAY}\s*(?:of\s)?{_MONTH}\s*,?\s*(\d{{4}})?")
_TIME = re.compile(r'(\d{1,2}):([0-5]\d)(?::([0-5]\d))?\s*"?\s*([aApP]\.?\s?[mM]\.?)?"?')
_HOUR = re.compile(r'(\d{1,2})\s*"?\s*([aApP]\.?\s?[mM]\.?)"?')

Moment = tuple[str, int, int, int]


def moment(text: str) -> Moment | None:
    """The date as (date, year or 0, month, day), the time as (time, hour, minute, second); None for the rest.

    >>> moment("July 4, 2020") == moment("2020-07-04"), moment("3:00 PM")
    (True, ('time', 15, 0, 0))
    """
    text = text.strip()
    if len(text) > 40 or not any(c.isdecimal() for c in text):
        return None
    if match := _TIME.fullmatch(text):
        return _time(*match.groups())
    if match := _HOUR.fullmatch(text):
        return _time(match.group(1), "0", None, match.group(2))
    if match := _DATE.fullmatch(text):
        year, month, day = map(int, match.groups())
        return ("date", year, month, day) if month <= 12 and day <= 31 else None
    if match := _MONTH_DAY.fullmatch(text):
        name, number, in_year = match.groups()
    elif match := _DAY_MONTH.fullmatch(text):
        number, name, in_year = match.groups()
    else:
        return None
    months = [at for at, month in enumerate(_MONTHS, start=1) if month.startswith(name.casefold())]
    return ("date", int(in_year or 0), months[0], int(number)) if len(months) == 1 and int(number) <= 31 else None


def _time(hour: str, minute: str, second: str | None, half: str | None) -> Moment | None:
    hours = int(hour)
    if hours > 24 or (half and not 1 <= hours <= 12):
        return None
    if half:
        hours = hours % 12 + (12 if half[0] in "pP" else 0)
    return ("time", hours, int(minute), int(second or 0))
