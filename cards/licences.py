"""The licence of a dataset, from the licences of its sources.

In: the licence of each source, as Hub ids; None is unknown. Out: one id where all agree, else what a person
has to decide. Teachers' terms and obligations are not looked at yet: the card says so.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Licence(NamedTuple):
    """What may be said about the licence."""

    identifier: str | None
    "Hub id; None if there is nothing to stand on."
    note: str
    "In words, for the card."


def resulting_licence(sources: Sequence[tuple[str, str | None]], stated: str = "auto") -> Licence:
    """The licence of a dataset made of these sources (name, licence), or the one that the recipe states.

    >>> resulting_licence([("a", "mit"), ("b", "mit")]).identifier
    'mit'
    >>> resulting_licence([("a", "mit"), ("b", None)]).identifier is None
    True
    """
    teachers = "The terms of the teachers' models apply to what they wrote; read them before you use it."
    if stated != "auto":
        return Licence(stated, f"The licence is {stated}, as its maker states. {teachers}")
    unknown = sorted({source for source, licence in sources if licence is None})
    if unknown:
        return Licence(None, f"No licence is stated, because that of {', '.join(unknown)} is unknown.")
    known = sorted({licence.lower() for _, licence in sources if licence})  # the Hub's ids are in lower case
    if len(known) == 1:
        return Licence(known[0], f"The licence is {known[0]}, that of all sources. {teachers}")
    return Licence(None, f"No licence is stated, because the sources differ: {', '.join(known)}.")
