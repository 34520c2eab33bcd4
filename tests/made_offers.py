"""What a run offers to its mixes, made by a test: no files, no texts."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl
from made_runs import make_recipe

from mixdistill.builders.arms import Arm, draw_contrast
from mixdistill.builders.offers import Offered, given_by


def draw(
    mixes: Mapping[str, Mapping[str, Any]], right: Mapping[str, Iterable[str]], **more: Any
) -> dict[str, Arm]:
    """The arms of one contrast of all the mixes; `right` says which problems each part got right."""
    return draw_from(offered(right), mixes, **more)


def draw_from(there: Offered, mixes: Mapping[str, Mapping[str, Any]], **more: Any) -> dict[str, Arm]:
    """The arms of one contrast of all the mixes, from what is offered."""
    return {arm.name: arm for arm in draw_contrast(make_recipe(mixes, **more), list(mixes), there)}


def offered(
    right: Mapping[str, Iterable[str]],
    *,
    tokens: Mapping[str, Mapping[str, int]] | None = None,
    bands: Mapping[str, str] | None = None,
    about: Mapping[str, Mapping[str, str]] | None = None,
) -> Offered:
    """What a run offers in which each part has one trace for each problem that it got right.

    `tokens` are those of a part's trace of a problem; `bands` and `about` say what a problem is.
    """
    given = {part: sorted(found) for part, found in right.items()}
    problems = sorted({problem for found in given.values() for problem in found})
    text = pl.String()
    frame = pl.DataFrame({
        "problem_id": problems,
        "band": pl.Series([(bands or {}).get(problem) for problem in problems], dtype=text),
        "why_not": pl.Series([None] * len(problems), dtype=text),
        **{
            field: pl.Series([(about or {}).get(problem, {}).get(field) for problem in problems], dtype=text)
            for field in ("source", "subject", "level")
        },
    })  # fmt: skip
    rows = [
        {"trace_id": f"{part} {problem}", "part": part, "problem_id": problem, "slot": 0,
         "tokens": (tokens or {}).get(part, {}).get(problem), "chars": 10}
        for part, found in given.items() for problem in found
    ]  # fmt: skip
    schema = {
        "trace_id": text,
        "part": text,
        "problem_id": text,
        "slot": pl.Int64(),
        "tokens": pl.Int64(),
        "chars": pl.Int64(),
    }
    traces = pl.DataFrame(rows, schema=schema).with_row_index("number")
    slots = traces.select("problem_id", "slot").unique()
    for part in given:
        mine = traces.filter(pl.col("part") == part)
        slots = slots.join(
            mine.select("problem_id", "slot", pl.col("number").alias(given_by(part))),
            on=["problem_id", "slot"],
            how="left",
        )
    return Offered(frame, traces.drop("part", "slot", "number"), slots, {}, {})


def names(n: int) -> list[str]:
    return [f"p-{number}" for number in range(n)]


def taken(arm: Arm, part: str) -> set[str]:
    return set(arm.rows.filter(pl.col("part") == part)["problem_id"])


def held(arm: Arm) -> list[str]:
    """The problems of an arm, in the order of its rows."""
    return arm.rows["problem_id"].to_list()


def counts(arm: Arm) -> Counter[str]:
    """The rows of each part."""
    return Counter(arm.rows["part"])
