"""Pools: the slots that a mix can draw its rows from, and in which order.

In: what a run offers (`offers.Offered`). Out: frames of slots, with what their problems are (`band`, source,
subject, level) and the keys by which `arms` draws. A slot is one row that a mix may have of a problem. Nothing is
drawn here.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from mixdistill.builders.offers import Offered, draw_keys, given_by
from mixdistill.errors import RecipeError
from mixdistill.recipe import Recipe
from mixdistill.yaml_file import near

if TYPE_CHECKING:
    import polars

CAPPED = ("source", "subject", "level")
"What `mixing.at_most` may cap."


def in_drawing_order(recipe: Recipe, offered: Offered) -> "polars.DataFrame":
    """The slots with what their problems are, first slots first, else in the order of their keys."""
    import polars as pl

    about = offered.problems.select("problem_id", "band", *CAPPED).with_columns(
        draw_keys(offered.problems["problem_id"], recipe.seed, "draw"),
        draw_keys(offered.problems["problem_id"], recipe.seed, "part"),
    )
    slots = offered.slots.join(about, on="problem_id", how="inner").sort("slot", "draw", "problem_id")
    row = slots["problem_id"] + slots["slot"].cast(pl.String())
    slots = slots.with_columns(draw_keys(row, recipe.seed, "order"))
    return slots.with_row_index("place").with_columns(pl.col("place").cast(pl.Int64))


def usable(recipe: Recipe, mix: str, needs: "Callable[[Iterator[polars.Expr]], polars.Expr]") -> "polars.Expr":
    """Whether a mix can use a slot: whether all, or any, of the parts that may get it have a trace to give."""
    import polars as pl

    return pl.any_horizontal(
        needs(pl.col(given_by(part)).is_not_null() for part in shares)
        & (pl.col("band").eq(band).fill_null(value=False) if band else True)
        for band, shares in recipe.shares(mix).items()
    )


def of_band(pool: "polars.DataFrame", band: str) -> "polars.DataFrame":
    return pool.filter(pool["band"] == band) if band else pool


def kinds_of(pool: "polars.DataFrame", parts: Sequence[str]) -> dict[frozenset[str], int]:
    """How many slots there are for each set of parts that have a trace to give."""
    import polars as pl

    counts = pool.group_by(pl.col(given_by(part)).is_not_null() for part in parts).len()
    return {
        frozenset(part for part, there in zip(parts, row[:-1], strict=True) if there): row[-1]
        for row in counts.sort(pl.all()).iter_rows()
    }


def rare_parts_first(recipe: Recipe, mix: str, pool: "polars.DataFrame") -> "polars.DataFrame":
    """The slots in an order in which the first ones have as much of each part as the ratio asks for.

    Slots that the same parts can give follow each other the closer the larger the shares of these parts are.
    """
    import polars as pl

    ordered = []
    for band, shares in recipe.shares(mix).items():
        has = [pl.col(given_by(part)).is_not_null() for part in shares]
        weight = pl.sum_horizontal(there * share for there, share in zip(has, shares.values(), strict=True))
        before = pl.int_range(pl.len()).over(has)
        ordered.append(of_band(pool, band).with_columns(rare=before / weight))
    return pl.concat(ordered).sort("rare", "place").drop("rare")


def capped(recipe: Recipe, pool: "polars.DataFrame") -> "polars.DataFrame":
    """The pool without what is beyond the most rows from one source, subject or level."""
    import polars as pl

    for field in CAPPED:
        cap = getattr(recipe.mixing.at_most, field)
        if cap is None:
            continue
        name = pl.col(field)
        most = (
            pl.lit(cap) if isinstance(cap, int) else name.replace_strict(cap, default=None, return_dtype=pl.Int64)
        )
        before = pl.int_range(pl.len(), dtype=pl.Int64).over(field)
        pool = pool.filter(name.is_null() | most.is_null() | (before < most))
    return pool


def refuse_unknown_caps(recipe: Recipe, offered: Offered) -> None:
    for field in CAPPED:
        cap = getattr(recipe.mixing.at_most, field)
        there = sorted(offered.problems[field].drop_nulls().unique())
        for name in cap if isinstance(cap, dict) else ():
            if name not in there:
                raise RecipeError(f"mixing.at_most.{field}: no problem has {name!r}{near(name, there)}")
