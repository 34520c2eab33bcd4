"""Mixes: rows that a student is trained on, in exact ratios, the same every time.

In: problems, traces, verdicts, lengths and difficulty of a run, and the recipe's mixes. Out: for each mix
`train.parquet` (in the conversational form that TRL reads) and `mix.json` (what was wanted, achieved and left out,
and why). What may be taken is `offers`, what is taken is `arms`; this module fetches the texts and
writes them, some thousand rows at a time, so that a mix may be larger than memory.
"""

import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, get_args

from mixdistill.builders.arms import Arm, contrasts, draw_contrast
from mixdistill.builders.offers import Offered, offer
from mixdistill.builders.reasoning import ReasoningForm, join_columns
from mixdistill.builders.scores import form_of
from mixdistill.errors import MixdistillError, RecipeError
from mixdistill.files import write_json, write_parquet_parts
from mixdistill.prompt import fill_column
from mixdistill.recipe import Recipe
from mixdistill.records import MixRow, polars_schema
from mixdistill.run import Progress, Run
from mixdistill.scoring import Metric
from mixdistill.trace_files import read_at

if TYPE_CHECKING:
    import polars

# Rows of a group of the Parquet file: with long traces of 50 KB as many as 200 MB.
_GROUP_ROWS = 4_000
# Mixes that are written at the same time: more wait for each other's memory rather than for a core.
_WRITERS = 2
_TURNS = ("prompt", "completion", "messages")


def build_mixes(recipe: Recipe, run: Run, progress: Progress) -> dict[str, int]:
    """Writes every mix of the recipe; returns the rows of each.

    Raises RecipeError for a part that no teacher has, MixdistillError if a contrast has less to draw from than the
    recipe asks for, and what `form_of` raises.
    """
    offered = offer(recipe, run, progress)
    form = form_of(recipe.mixing.student, run, offered.traces)
    drawn = [(contrast, arm) for contrast in contrasts(recipe) for arm in _arms(recipe, contrast, offered)]
    told = _Told(progress, sum(arm.rows.height for _, arm in drawn))
    with ThreadPoolExecutor(_WRITERS) as threads:
        written = [
            threads.submit(_write_mix, recipe, run, arm, contrast, offered, form, told) for contrast, arm in drawn
        ]
        for each in written:
            each.result()
    return {arm.name: arm.rows.height for _, arm in drawn}


class _Told:
    """Progress over mixes that are written at the same time."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done, self._lock = progress, total, 0, threading.Lock()

    def __call__(self, rows: int) -> None:
        with self._lock:
            self._done += rows
            self._progress(self._done, self._total, "rows")


def _write_mix(
    recipe: Recipe,
    run: Run,
    arm: Arm,
    contrast: tuple[str, ...],
    offered: Offered,
    form: ReasoningForm,
    told: _Told,
) -> None:
    rows, chars = _with_sources(arm, offered), 0

    def frames() -> "Iterator[polars.DataFrame]":
        nonlocal chars
        for part in rows.iter_slices(_GROUP_ROWS):
            frame = _frame(recipe, run, part, form)
            yield frame
            chars += int(frame["completion_chars"].sum())
            told(frame.height)

    write_parquet_parts(run.mixes / arm.name / "train.parquet", frames())
    about = _describe(recipe, arm, contrast, rows, offered)
    write_json(run.mixes / arm.name / "mix.json", about | {"completion_chars": chars, "reasoning": str(form)})


def _arms(recipe: Recipe, contrast: tuple[str, ...], offered: Offered) -> list[Arm]:
    """The mixes of a contrast; an error tells of what was left out before, too."""
    try:
        return draw_contrast(recipe, contrast, offered)
    except RecipeError:
        raise
    except MixdistillError as error:
        problems = dict(offered.problems["why_not"].drop_nulls().value_counts().sort("why_not").iter_rows())
        told = [f"{n} problems: {reason}" for reason, n in problems.items()]
        told += [f"{n} right traces: {reason}" for reason, n in offered.left_out.items()]
        raise MixdistillError(f"{error}; left out before: {', '.join(told)}" if told else str(error)) from error


def _with_sources(arm: Arm, offered: Offered) -> "polars.DataFrame":
    """The rows of a mix with all columns but those of texts."""
    traces = offered.traces.drop("problem_id").with_row_index("number")
    rows = arm.rows.join(traces, on="number", how="left", maintain_order="left")
    return rows.join(offered.problems, on="problem_id", how="left", maintain_order="left")


def _frame(recipe: Recipe, run: Run, rows: "polars.DataFrame", form: ReasoningForm) -> "polars.DataFrame":
    import polars as pl

    traces = read_at(run, rows, "model", "reasoning", "response")
    fields = join_columns(traces["reasoning"], traces["response"], form)
    empty = [pl.lit(None, dtype=pl.String).alias(field.name) for field in fields[:-1]]
    question = fill_column(recipe.mixing.prompt, rows["problem"]).alias("content")
    user = pl.struct(pl.lit("user").alias("role"), question)
    messages_user = pl.struct(pl.lit("user").alias("role"), *empty, question)
    assistant = pl.struct(pl.lit("assistant").alias("role"), *fields)
    frame = rows.with_columns(
        prompt=pl.concat_list(user),
        completion=pl.concat_list(assistant),
        messages=pl.concat_list(messages_user, assistant),
        model=traces["model"],
        completion_tokens=pl.col("tokens"),
        completion_chars=pl.sum_horizontal(text.str.len_chars().fill_null(0).cast(pl.Int64) for text in fields),
    )
    # Where the recipe selects by scores, they are columns, too.
    scored = [name for name in get_args(Metric) if name in frame.columns]
    plain = {name: dtype for name, dtype in polars_schema(MixRow).items() if name not in _TURNS}
    return frame.select(
        *(pl.col(name).cast(plain[name]) if name in plain else name for name in polars_schema(MixRow)), *scored
    )


def _describe(
    recipe: Recipe, arm: Arm, contrast: tuple[str, ...], rows: "polars.DataFrame", offered: Offered
) -> dict[str, object]:
    """What mix.json says: what was wanted, what was achieved, what was left out."""
    import polars as pl

    parts = recipe.parts(arm.name)
    by_part = dict(rows["part"].value_counts().iter_rows())
    tokens = rows["tokens"].drop_nulls()
    by_tokens = {part: int(rows.filter(pl.col("part") == part)["tokens"].sum()) for part in parts}
    total = int(tokens.sum())
    return {
        "mix": arm.name,
        "contrast": list(contrast),
        "match": recipe.mixing.match,
        "by": recipe.mixing.by,
        "rows": rows.height,
        "problems": rows["problem_id"].n_unique(),
        "steps": math.ceil(rows.height / recipe.mixing.batch_size),
        "batch_size": recipe.mixing.batch_size,
        "shares_wanted": arm.shares.get("", arm.shares),
        "rows_by_part": {part: by_part.get(part, 0) for part in parts},
        "shares": {part: by_part.get(part, 0) / rows.height for part in parts},
        "shares_of_tokens": (
            {part: n / total for part, n in by_tokens.items()} if len(tokens) == rows.height and total else {}
        ),
        "rows_by_teacher": dict(rows["teacher"].value_counts().sort("teacher").iter_rows()),
        "rows_by_band": dict(rows["band"].drop_nulls().value_counts().sort("band").iter_rows()),
        "completion_tokens": {"n": len(tokens), "sum": total},
        "problems_left_out": arm.left_out,
        "right_traces_left_out": offered.left_out,
        "right_traces_not_scored": offered.not_scored,
    }
