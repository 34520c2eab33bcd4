"""Arms: which problems each mix holds, in which order, and which part gives each its trace.

In: what a run offers (`offers.Offered`). Out: an Arm for each mix. All is a function of the seed, the ids and who
got what right; the order of the input does not matter. Mixes that are compared take their problems from those that
all their teachers got right, or, where the recipe lets them differ in problems (match: steps, none), each from as
many as its ratio allows. Method: Mix Distillation (arXiv 2502.12143, section 4); the rules by which mixes are made
alike, and a problem gets its part, are ours.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from mixdistill.builders.offers import Offered, given_by, no_tokens
from mixdistill.builders.pools import (
    CAPPED,
    capped,
    in_drawing_order,
    kinds_of,
    of_band,
    rare_parts_first,
    refuse_unknown_caps,
    usable,
)
from mixdistill.builders.sharing import blocks_by_tokens, can_fill, largest_remainder, most_rows, share_out
from mixdistill.errors import MixdistillError, RecipeError
from mixdistill.recipe import Recipe

if TYPE_CHECKING:
    import polars

# Sizes that are tried on both sides: a row more may turn who gives which trace, and so take tokens away.
_NEAR = 12
# So few sizes are all tried.
_FEW = 200


class Arm(NamedTuple):
    """One mix, drawn."""

    name: str
    shares: dict[str, dict[str, float]]
    "Of the parts, by band of difficulty; one band without a name if the mix has none."
    rows: "polars.DataFrame"
    "problem_id, slot, part, and `number` of the trace in `Offered.traces`, in the order of the rows."
    left_out: dict[str, int]
    "Problems that are not in the mix, by reason."


def contrasts(recipe: Recipe) -> list[tuple[str, ...]]:
    """The contrasts that the recipe names, and one of all the mixes that it does not.

    Raises RecipeError if a mix stands there twice.
    """
    named = [tuple(contrast) for contrast in recipe.mixing.contrasts]
    taken = Counter(name for contrast in named for name in contrast)
    twice = [name for name, n in taken.items() if n > 1]
    if twice:
        raise RecipeError(f"mixing.contrasts: mix {twice[0]!r} stands there twice; give it a second name")
    rest = tuple(name for name in recipe.mixes if name not in taken)
    return [*named, rest] if rest else named


def draw_contrast(recipe: Recipe, contrast: Sequence[str], offered: Offered) -> list[Arm]:
    """The mixes of one contrast.

    Raises MixdistillError if there is nothing to draw from or less than the recipe asks for, RecipeError for
    settings that cannot be met.
    """
    refuse_unknown_caps(recipe, offered)
    slots = in_drawing_order(recipe, offered)
    same = recipe.mixing.match in ("problems", "tokens")
    drawn = (_from_the_same if same else _from_their_own)(recipe, contrast, offered, slots)
    return [
        Arm(
            name,
            recipe.shares(name),
            _in_order(recipe, offered, rows),
            _left_out(recipe, contrast if same else [name], offered, slots, rows, needs_all=same),
        )
        for name, rows in drawn.items()
    ]


def _needed(recipe: Recipe, mixes: Sequence[str]) -> list[str]:
    return sorted({part for mix in mixes for part in recipe.parts(mix)})


# From the same problems.


def _from_the_same(
    recipe: Recipe, contrast: Sequence[str], offered: Offered, slots: "polars.DataFrame"
) -> "dict[str, polars.DataFrame]":
    """Rows of the mixes of one contrast, from the problems that all the parts of all of them got right."""
    import polars as pl

    bands = [set(recipe.shares(mix)) for mix in contrast if "" not in recipe.shares(mix)]
    if bands and not set.intersection(*bands):
        raise RecipeError(
            f"mixes {', '.join(contrast)}: have no band of difficulty in common, so they cannot hold the same "
            "problems; give them the same bands, or set mixing.match=none"
        )
    pool = slots.filter(pl.all_horizontal(usable(recipe, mix, pl.all_horizontal) for mix in contrast))
    pool = capped(recipe, pool)
    if recipe.mixing.match == "tokens":
        return _of_equal_tokens(recipe, contrast, offered, pool)
    size = _size(recipe, contrast, dict.fromkeys(contrast, pool.height), offered)
    return {mix: _assign(recipe, mix, offered, pool.head(size)) for mix in contrast}


def _of_equal_tokens(
    recipe: Recipe, contrast: Sequence[str], offered: Offered, pool: "polars.DataFrame"
) -> "dict[str, polars.DataFrame]":
    """Each mix begins with the first problems of the pool, and holds so many that its tokens come nearest."""
    step = recipe.mixing.multiple_of
    most = pool.height // step * step
    if not most:
        _size(recipe, contrast, dict.fromkeys(contrast, pool.height), offered)  # says why
    tokens = _tokens(offered, "match: tokens")

    def tokens_of(mix: str, rows: int) -> int:
        rows *= step
        return int(tokens.gather(_assign(recipe, mix, offered, pool.head(rows))["number"]).sum())

    there = min(tokens_of(mix, most // step) for mix in contrast)
    wanted = recipe.mixing.tokens or there
    if wanted > there and not recipe.mixing.allow_smaller:
        raise MixdistillError(
            f"mixes {', '.join(contrast)}: mixing.tokens is {wanted:,}, and one of them has {there:,} with all "
            f"its problems; set mixing.tokens={there}, add --allow-smaller, or take more samples"
        )
    target = min(wanted, there)
    sizes = {mix: _nearest(partial(tokens_of, mix), target, most // step) for mix in contrast}
    return {mix: _assign(recipe, mix, offered, pool.head(n * step)) for mix, n in sizes.items()}


def _nearest(value: Callable[[int], int], target: int, most: int) -> int:
    """The n from 1 to `most` whose value comes nearest to the target; values grow with n, by and large."""
    if most <= _FEW:
        return min(range(1, most + 1), key=lambda n: abs(value(n) - target))
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if value(middle) < target else (low, middle)
    return min(range(max(1, low - _NEAR), min(most, low + _NEAR) + 1), key=lambda n: abs(value(n) - target))


def _assign(recipe: Recipe, mix: str, offered: Offered, chosen: "polars.DataFrame") -> "polars.DataFrame":
    """The part of each slot: the counts are exact, who gets which part hangs on seed and problem id alone.

    Of two mixes of the same two parts, the one with more of a part has it for all the slots that the other has it
    for.
    """
    import polars as pl

    given = []
    for band, shares in recipe.shares(mix).items():
        mine = (chosen.filter(pl.col("band") == band) if band else chosen).sort("part", "slot", "problem_id")
        if recipe.mixing.by == "tokens":
            tokens = _tokens(offered, "by: tokens")
            lengths = {part: tokens.gather(mine[given_by(part)]).to_numpy() for part in sorted(shares)}
            counts = blocks_by_tokens({part: shares[part] for part in lengths}, lengths)
        else:
            counts = largest_remainder(shares, mine.height)
        start = 0
        for part in sorted(counts):
            given.append(_given_by(mine.slice(start, counts[part]), part))
            start += counts[part]
    return pl.concat(given)


def _given_by(slots: "polars.DataFrame", part: str) -> "polars.DataFrame":
    import polars as pl

    number = pl.col(given_by(part)).alias("number")
    return slots.select("problem_id", "slot", "order", pl.lit(part).alias("part"), number)


# Each from its own problems.


def _from_their_own(
    recipe: Recipe, contrast: Sequence[str], offered: Offered, slots: "polars.DataFrame"
) -> "dict[str, polars.DataFrame]":
    """Rows of the mixes of one contrast, each from as many problems as its ratio allows."""
    import polars as pl

    pools = {}
    for mix in contrast:
        # Shares of tokens need a choice at every problem, so that any can go to any part.
        needs = pl.all_horizontal if recipe.mixing.by == "tokens" else pl.any_horizontal
        able = slots.filter(usable(recipe, mix, needs))
        pools[mix] = capped(recipe, rare_parts_first(recipe, mix, able)).sort("place")
    kinds = {
        mix: {
            band: kinds_of(of_band(pools[mix], band), sorted(shares))
            for band, shares in recipe.shares(mix).items()
        }
        for mix in contrast
    }
    there = {mix: sum(_most_by_band(recipe, mix, kinds[mix]).values()) for mix in contrast}
    groups = [contrast] if recipe.mixing.match == "steps" else [[mix] for mix in contrast]
    rows: dict[str, polars.DataFrame] = {}
    for group in groups:
        wanted = size = _size(recipe, group, {mix: there[mix] for mix in group}, offered)
        while size and not all(_fits(recipe, mix, kinds[mix], size) for mix in group):
            size -= _step(recipe)  # what fits n rows need not fit fewer: shares are rounded (the Alabama paradox)
        if not size or (size < wanted and recipe.mixing.rows is not None and not recipe.mixing.allow_smaller):
            way = f"set mixing.rows={size}, or add --allow-smaller" if size else "take more samples"
            told = f"mix{'es' if len(group) > 1 else ''} {', '.join(group)}"
            raise MixdistillError(
                f"{told}: {wanted} rows cannot be had in this ratio, for counts are whole; {way}"
            )
        rows |= {mix: _assign_own(recipe, mix, offered, pools[mix], kinds[mix], size) for mix in group}
    return rows


_Kinds = Mapping[str, Mapping[frozenset[str], int]]
"By band, how many slots there are for each set of parts that have a trace to give."


def _most_by_band(recipe: Recipe, mix: str, kinds: _Kinds) -> dict[str, int]:
    """How many rows of each band a mix can have at most."""
    if recipe.mixing.by == "tokens":
        return {band: sum(slots.values()) for band, slots in kinds.items()}
    return {band: most_rows(shares, kinds[band]) for band, shares in recipe.shares(mix).items()}


def _by_band(recipe: Recipe, mix: str, kinds: _Kinds, size: int) -> dict[str, int]:
    """The rows of each band: as they stand to each other in the pool."""
    most = _most_by_band(recipe, mix, kinds)
    return largest_remainder({band: n / sum(most.values()) for band, n in most.items()}, size)


def _fits(recipe: Recipe, mix: str, kinds: _Kinds, size: int) -> bool:
    shares = recipe.shares(mix)
    return recipe.mixing.by == "tokens" or all(
        can_fill(largest_remainder(shares[band], n), kinds[band])
        for band, n in _by_band(recipe, mix, kinds, size).items()
    )


def _assign_own(
    recipe: Recipe, mix: str, offered: Offered, pool: "polars.DataFrame", kinds: _Kinds, size: int
) -> "polars.DataFrame":
    """The rows of a mix from its own pool; bands keep the sizes that they have in it."""
    import polars as pl

    by_band = _by_band(recipe, mix, kinds, size)
    if recipe.mixing.by == "tokens":
        chosen = pl.concat(of_band(pool, band).head(n) for band, n in by_band.items())
        return _assign(recipe, mix, offered, chosen)
    given = []
    for band, shares in recipe.shares(mix).items():
        mine, parts = of_band(pool, band), sorted(shares)
        flows = share_out(largest_remainder(shares, by_band[band]), kinds[band])
        for kind, counts in flows.items():
            of_kind = mine.filter(pl.col(given_by(part)).is_not_null() == (part in kind) for part in parts)
            # The first ones of the drawing order, and who of them gets which part by its key for parts.
            chosen = of_kind.head(sum(counts.values())).sort("part", "slot", "problem_id")
            start = 0
            for part in sorted(counts):
                given.append(_given_by(chosen.slice(start, counts[part]), part))
                start += counts[part]
    return pl.concat(given)


# Sizes, order, reasons.


def _size(recipe: Recipe, contrast: Sequence[str], there: Mapping[str, int], offered: Offered) -> int:
    """The rows of each mix of a contrast: as many as the smallest can have, rounded as the recipe says."""
    mixing, most, step = recipe.mixing, min(there.values()), _step(recipe)
    what = "mixing.multiple_of and batch_size" if mixing.match == "steps" else "mixing.multiple_of"
    wanted, feasible = mixing.rows, most // step * step
    of_what = f" by {what}" if step > 1 else ""
    if wanted is not None and wanted < step:
        raise RecipeError(f"mixing.rows is {wanted}, less than {what}, which is {step}; raise rows")
    told = f"mix{'es' if len(contrast) > 1 else ''} {', '.join(contrast)}"
    by_whom = _by_whom(recipe, min(there, key=lambda mix: there[mix]))
    if feasible == 0:
        right = ", ".join(f"{part} {offered.slots[given_by(part)].count()}" for part in _needed(recipe, contrast))
        raise MixdistillError(
            f"{told}: only {_counted(most, recipe)} that {by_whom}, and at least {step} are needed{of_what} "
            f"(right by part: {right}); take more samples, easier problems"
            + ("" if mixing.match == "none" else ", or mixing.match=none")
        )
    if wanted is not None and wanted > most and not mixing.allow_smaller:
        raise MixdistillError(
            f"{told}: mixing.rows is {wanted}, and there are {_counted(most, recipe)} that {by_whom}; "
            f"set mixing.rows={feasible}, add --allow-smaller, or take more samples"
        )
    return feasible if wanted is None else min(wanted // step * step, feasible)


def _step(recipe: Recipe) -> int:
    """What rows are a multiple of."""
    mixing = recipe.mixing
    return math.lcm(mixing.multiple_of, mixing.batch_size) if mixing.match == "steps" else mixing.multiple_of


def _counted(n: int, recipe: Recipe) -> str:
    return f"{n} {'problems' if recipe.mixing.per_problem == 1 else 'rows'}"


def _by_whom(recipe: Recipe, mix: str) -> str:
    same = recipe.mixing.match in ("problems", "tokens")
    return "all their teachers got right" if same else f"fit the ratio of {mix}"


def _tokens(offered: Offered, what: str) -> "polars.Series":
    tokens = offered.traces["tokens"]
    if tokens.has_nulls():
        raise RecipeError(no_tokens(f"mixing.{what}"))
    return tokens


def _in_order(recipe: Recipe, offered: Offered, rows: "polars.DataFrame") -> "polars.DataFrame":
    """The rows as the student sees them: shuffled by problem and slot, or by the length of the traces."""

    traces = offered.traces
    lengths = traces["chars"] if traces["tokens"].has_nulls() else traces["tokens"]
    length = lengths.gather(rows["number"]).alias("length")
    keyed = rows.with_columns(-length if recipe.mixing.order == "long_first" else length)
    by = ["order"] if recipe.mixing.order == "shuffled" else ["length", "order"]
    return keyed.sort(*by, "problem_id", "slot").drop("order", "length")


def _left_out(
    recipe: Recipe, mixes: Sequence[str], offered: Offered, slots: "polars.DataFrame", rows: "polars.DataFrame",
    *, needs_all: bool,
) -> dict[str, int]:  # fmt: skip
    """The problems that are not in a mix, by reason; `mixes` are those whose parts must be right."""
    import polars as pl

    parts = _needed(recipe, mixes)
    first = slots.filter(pl.col("slot") == 0).select("problem_id", *map(given_by, parts))
    rest = offered.problems.join(rows.select("problem_id").unique(), on="problem_id", how="anti")
    rest = rest.select("problem_id", "why_not", "band").join(first, on="problem_id", how="left")
    lacking = rest.group_by("why_not", "band", *(pl.col(given_by(part)).is_null() for part in parts)).len()
    found: Counter[str] = Counter()
    for why_not, band, *wrong, n in lacking.iter_rows():
        shares = [recipe.shares(mix) for mix in mixes]
        needed = {part for each in shares for part in each.get("", each.get(band, {}))}
        without = [part for part, is_wrong in zip(parts, wrong, strict=True) if is_wrong and part in needed]
        if why_not:
            found[why_not] += n
        elif any("" not in each and band not in each for each in shares):
            found["in no band of difficulty of the mix"] += n
        elif without and (needs_all or len(without) == len(needed)):
            found[f"no right trace by {' nor by '.join(without)}"] += n
        else:
            found[_beyond(recipe)] += n
    return dict(sorted(found.items()))


def _beyond(recipe: Recipe) -> str:
    """Why a problem that all got right is not in a mix, as closely as the recipe tells."""
    limits = recipe.mixing.at_most
    limited = [field for field in CAPPED if getattr(limits, field) is not None]
    return (
        f"beyond the size of the mix, or at_most of {', '.join(limited)}"
        if limited
        else "beyond the size of the mix"
    )
