"""Whole counts from shares, against slow and plain ways to the same."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixdistill.builders.sharing import blocks_by_tokens, largest_remainder, most_rows, share_out

PARTS = ("a", "b", "c")
KINDS = [frozenset(kind) for size in (1, 2, 3) for kind in itertools.combinations(PARTS, size)]


def can_fill(counts: dict[str, int], kinds: dict[frozenset[str], int]) -> bool:
    """By trying all ways to hand one problem after another to a part."""
    states = {tuple(counts.values())}
    for kind, n in kinds.items():
        for _ in range(n):
            after = set(states)
            for state in states:
                for place, part in enumerate(counts):
                    if part in kind and state[place]:
                        after.add((*state[:place], state[place] - 1, *state[place + 1 :]))
            states = after
    return tuple([0] * len(counts)) in states


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 4), min_size=7, max_size=7), st.sampled_from([(0.2, 0.3, 0.5), (0.5, 0.25, 0.25)]))
def test_the_most_rows_are_those_that_can_be_filled_and_one_more_cannot(
    n: list[int], shares: tuple[float, ...]
) -> None:
    kinds = {kind: count for kind, count in zip(KINDS, n, strict=True) if count}
    by_part = dict(zip(PARTS, shares, strict=True))

    rows = most_rows(by_part, kinds)

    assert can_fill(largest_remainder(by_part, rows), kinds)
    assert rows == sum(n) or not can_fill(largest_remainder(by_part, rows + 1), kinds)
    flows = share_out(largest_remainder(by_part, rows), kinds)
    assert {part: sum(flow.get(part, 0) for flow in flows.values()) for part in PARTS} == largest_remainder(
        by_part, rows
    )
    assert all(sum(flow.values()) <= kinds[kind] and set(flow) <= kind for kind, flow in flows.items())


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_no_other_boundary_gives_a_better_share_of_tokens(share: float) -> None:
    draw = np.random.default_rng(3)
    lengths = {"long": draw.integers(100, 900, 60), "short": draw.integers(10, 90, 60)}

    counts = blocks_by_tokens({"long": share, "short": 1 - share}, lengths)

    def off(n_long: int) -> float:
        long, short = lengths["long"][:n_long].sum(), lengths["short"][n_long:].sum()
        return float(abs(long / (long + short) - share))

    assert off(counts["long"]) == pytest.approx(min(map(off, range(61))))
    assert counts["long"] + counts["short"] == 60
