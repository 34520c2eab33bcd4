"""Whole counts from shares: by rows, by tokens, and where not every problem can go to every part.

Pure arithmetic on counts and lengths; knows nothing of problems and traces.
"""

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Lengths = Mapping[str, "np.ndarray[tuple[int], np.dtype[np.int64]]"]

# Rows beyond those that fit that may fit again: a part can lose a row when there is one more in all.
_PARADOX = 16
# Boundaries of blocks settle after two or three rounds; three parts or more may take a few.
_MOST_ROUNDS = 50


def largest_remainder(shares: Mapping[str, float], rows: int) -> dict[str, int]:
    """Whole counts that sum to `rows` and are each within one of their share (Hamilton's method).

    Equal remainders go to the part that stands first.

    >>> largest_remainder({"long": 0.2, "short": 0.8}, 24)
    {'long': 5, 'short': 19}
    """
    exact = {part: share * rows for part, share in shares.items()}
    counts = {part: math.floor(quota) for part, quota in exact.items()}
    by_remainder = sorted(exact, key=lambda part: round(counts[part] - exact[part], 9))  # floats blur equal ones
    for part in by_remainder[: rows - sum(counts.values())]:
        counts[part] += 1
    return counts


def blocks_by_tokens(shares: Mapping[str, float], lengths: Lengths) -> dict[str, int]:
    """How many rows each part takes, one block after the other, so that its share of all tokens comes nearest.

    `lengths` are the tokens that each row has if a part gives it: arrays of one size, one a part, in the order of
    the blocks. The sum of the differences from the shares is least for two parts; for more no single boundary can
    be moved to make it less.
    """
    import numpy as np

    parts = list(shares)
    n = len(next(iter(lengths.values())))
    sums = [np.concatenate([[0], np.cumsum(lengths[part])]) for part in parts]
    by_rows = largest_remainder(shares, n)
    ends = [0, *itertools.accumulate(by_rows[part] for part in parts)]
    for _ in range(_MOST_ROUNDS):
        before = list(ends)
        for edge in range(1, len(parts)):
            ends[edge] = _best_edge(edge, ends, sums, [shares[part] for part in parts])
        if ends == before:
            break
    return {part: ends[place + 1] - ends[place] for place, part in enumerate(parts)}


def _best_edge(edge: int, ends: list[int], sums: "list[np.ndarray]", shares: list[float]) -> int:
    """Where one boundary between two blocks is best put while the others stay."""
    import numpy as np

    places = np.arange(ends[edge - 1], ends[edge + 1] + 1)
    tokens = [
        np.full(len(places), sums[block][ends[block + 1]] - sums[block][ends[block]]) for block in range(len(sums))
    ]
    tokens[edge - 1] = sums[edge - 1][places] - sums[edge - 1][ends[edge - 1]]
    tokens[edge] = sums[edge][ends[edge + 1]] - sums[edge][places]
    total = np.maximum(sum(tokens), 1)
    off = sum(np.abs(part / total - share) for part, share in zip(tokens, shares, strict=True))
    return int(places[int(np.argmin(off))])


def most_rows(shares: Mapping[str, float], kinds: Mapping[frozenset[str], int]) -> int:
    """The most rows whose counts by share can be filled; `kinds` are problems by the parts that got them right.

    Of fewer rows all can be filled, but for a few that rounding favours one part in.
    """
    low, high = 0, sum(kinds.values())
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if can_fill(largest_remainder(shares, middle), kinds) else (low, middle - 1)
    there = sum(kinds.values())
    above = [
        n for n in range(low + 1, min(there, low + _PARADOX) + 1) if can_fill(largest_remainder(shares, n), kinds)
    ]
    return max([low, *above])


def can_fill(counts: Mapping[str, int], kinds: Mapping[frozenset[str], int]) -> bool:
    """Whether every part can have its count: by Hall's theorem (1935), no set of parts needs more problems than
    there are with one of these parts."""
    return all(
        sum(counts[part] for part in group) <= sum(n for kind, n in kinds.items() if kind & set(group))
        for size in range(1, len(counts) + 1)
        for group in itertools.combinations(counts, size)
    )


def share_out(
    counts: Mapping[str, int], kinds: Mapping[frozenset[str], int]
) -> dict[frozenset[str], dict[str, int]]:
    """For each kind of problem how many go to each part, so that every part has its count: a maximum flow."""
    import numpy as np
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_flow

    parts, sets = sorted(counts), sorted(kinds, key=sorted)
    source, sink, first_part = 0, 1 + len(sets) + len(parts), 1 + len(sets)
    capacity = np.zeros((sink + 1, sink + 1), dtype=np.int32)
    for place, kind in enumerate(sets):
        capacity[source, 1 + place] = kinds[kind]
        for number, part in enumerate(parts):
            capacity[1 + place, first_part + number] = kinds[kind] if part in kind else 0
    for number, part in enumerate(parts):
        capacity[first_part + number, sink] = counts[part]
    flow = maximum_flow(csr_array(capacity), source, sink).flow.toarray()
    assert flow[source].sum() == sum(counts.values()), "the counts do not fit; ask most_rows first"
    return {
        kind: {
            part: int(flow[1 + place, first_part + number]) for number, part in enumerate(parts) if part in kind
        }
        for place, kind in enumerate(sets)
    }
