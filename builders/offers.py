"""What mixes are drawn from: the traces that may be taken, and for each problem who has one to give.

In: problems, traces, verdicts, lengths and difficulty of a run. Out: frames without texts. A trace may be taken if
it is judged correct, was not cut, does not loop and has a length that the recipe allows; a problem, if its
reference does not look wrong and its pass rate lies where the recipe says. All that is left out is counted by
reason. Draws nothing: which of it a mix takes is `arms`.
"""

import itertools
import sys
from hashlib import blake2b, sha256
from typing import TYPE_CHECKING, NamedTuple

from mixdistill.builders.scores import score_traces
from mixdistill.errors import RecipeError, StorageError
from mixdistill.files import read_parquet
from mixdistill.mixing import Difficulty, Mixing
from mixdistill.recipe import Recipe
from mixdistill.run import Progress, Run
from mixdistill.scoring import preferred
from mixdistill.tables import find_traces, read_lengths, read_suspects, read_verdicts

if TYPE_CHECKING:
    import polars


class Offered(NamedTuple):
    """What a run has to give to its mixes."""

    problems: "polars.DataFrame"
    """All of them, in the order of the run, with the columns of Problem; `band` of difficulty, if any; `why_not`,
    the reason why no mix takes it, else null."""
    traces: "polars.DataFrame"
    "Those that may be taken: columns of `tables.find_traces`, answer, tokens, chars, and scores if there are any."
    slots: "polars.DataFrame"
    """One row for each row that a mix can have of a problem: problem_id, slot (0 is the first of the problem), and
    for each part of a mix the number of the trace in `traces` that it gives, null if it has none."""
    left_out: dict[str, int]
    "Right traces that may not be taken, by reason."
    not_scored: dict[str, int]
    "Of those that may, the ones that the student could not score, by reason; they are taken last."


def offer(recipe: Recipe, run: Run, progress: Progress) -> Offered:
    """What the run has to give.

    Raises RecipeError for a part that no teacher has, and what `score_traces` raises.
    """
    problems = _problems(recipe, run)
    traces, left_out = _traces(recipe, run, problems)
    not_scored: dict[str, int] = {}
    if recipe.mixing.select == "student":
        scores = score_traces(recipe, run, traces, progress)
        traces = traces.join(scores, on="trace_id", how="left", maintain_order="left")
        not_scored = dict(traces["fault"].drop_nulls().value_counts().sort("fault").iter_rows())
    return Offered(problems, traces, _slots(recipe, traces), left_out, not_scored)


def draw_keys(values: "polars.Series", seed: int, word: str) -> "polars.Series":
    """For each text a number that hangs on the seed, the word and the text alone: draws are sorted by it."""
    import numpy as np
    import polars as pl

    key = sha256(f"{seed} {word}".encode()).digest()
    digests = b"".join([blake2b(value.encode(), digest_size=8, key=key).digest() for value in values])
    return pl.Series(word, np.frombuffer(digests, dtype=">u8").astype(np.uint64))


def _problems(recipe: Recipe, run: Run) -> "polars.DataFrame":
    import polars as pl

    mixing = recipe.mixing
    problems = read_parquet(run.problems, "problems").head(recipe.limit or sys.maxsize)
    rates = _pass_rates(run, mixing.difficulty)
    problems = problems.join(rates, on="problem_id", how="left", maintain_order="left")
    leave_out = mixing.suspect_references == "leave_out"
    suspects = read_suspects(run)["problem_id"] if leave_out else pl.Series(dtype=pl.String())
    low, high = mixing.difficulty.keep
    rate = pl.col("rate")
    outside = ~rate.is_between(low, high).fill_null(value=(low, high) == (0, 1))
    return problems.with_columns(
        why_not=pl.when(pl.col("problem_id").is_in(suspects.implode()))
        .then(pl.lit("the reference looks wrong"))
        .when(outside)
        .then(pl.lit(f"pass rate not between {low:g} and {high:g}")),
        band=pl.coalesce(
            pl.when((rate >= start) & ((rate < end) | (rate == 1) & (end == 1))).then(pl.lit(name))
            for name, (start, end) in mixing.difficulty.bands.items()
        ) if mixing.difficulty.bands else pl.lit(None, dtype=pl.String()),
    )  # fmt: skip


def _pass_rates(run: Run, difficulty: Difficulty) -> "polars.DataFrame":
    """problem_id, rate: correct / judged over the traces of the teachers that count; null if none was judged."""
    import polars as pl

    counted = read_parquet(run.difficulty, "stats")
    if difficulty.by:
        counted = counted.filter(pl.col("teacher").is_in(difficulty.by))
    sums = counted.group_by("problem_id").agg(pl.col("correct").sum(), pl.col("judged").sum())
    return sums.select("problem_id", rate=pl.when(pl.col("judged") > 0).then(pl.col("correct") / pl.col("judged")))


def _traces(recipe: Recipe, run: Run, problems: "polars.DataFrame") -> "tuple[polars.DataFrame, dict[str, int]]":
    """The traces that may be taken, and the right ones that may not, by reason."""
    import polars as pl

    usable = problems.filter(pl.col("why_not").is_null()).select("problem_id")
    found = find_traces(run)
    in_use = [_belongs(part, recipe, found) for part in parts_of_all(recipe)]
    verdicts = read_verdicts(run).filter(pl.col("status") == "correct").select("trace_id", "answer", "repetition")
    right = (
        found.filter(pl.any_horizontal(in_use))
        .join(verdicts, on="trace_id", how="inner", maintain_order="left")
        .join(usable, on="problem_id", how="semi", maintain_order="left")
        .join(read_lengths(run).drop("reasoning_chars"), on="trace_id", how="left", maintain_order="left")
    )
    if right["chars"].has_nulls():
        raise StorageError(f"{run.lengths}: older than the traces; run 'mixdistill stats' first")
    if right["tokens"].has_nulls() and (recipe.mixing.min_tokens or recipe.mixing.max_tokens):
        raise RecipeError(no_tokens("mixing.min_tokens and max_tokens"))
    right = right.with_columns(why_not=_why_not(recipe.mixing))
    reasons = dict(right["why_not"].drop_nulls().value_counts().sort("why_not").iter_rows())
    return right.filter(pl.col("why_not").is_null()).drop("why_not"), reasons


def no_tokens(what: str) -> str:
    """What to say where lengths in tokens are needed and nobody counted them."""
    return f"{what} goes by tokens, and nobody counted those of some traces; set stats.tokenizer to the student's"


def _why_not(mixing: Mixing) -> "polars.Expr":
    import polars as pl

    tokens = pl.col("tokens")
    return (
        pl.when(pl.col("finish_reason") == "length")
        .then(pl.lit("cut by the limit on tokens"))
        .when(pl.col("repetition") > mixing.max_repetition)
        .then(pl.lit("loops"))
        .when(tokens < (mixing.min_tokens or 0))
        .then(pl.lit("shorter than min_tokens"))
        .when(tokens > (mixing.max_tokens or sys.maxsize))
        .then(pl.lit("longer than max_tokens"))
    )


def _slots(recipe: Recipe, traces: "polars.DataFrame") -> "polars.DataFrame":
    """For each part the traces of a problem in the order in which they are taken, as many as a mix may hold."""
    import polars as pl

    numbered = traces.with_row_index("number").with_columns(
        draw_keys(traces["trace_id"], recipe.seed, "trace"),
        length=pl.col("chars" if traces["tokens"].has_nulls() else "tokens"),
    )
    ordered = numbered.sort("problem_id", *_by_preference(recipe.mixing), "trace", nulls_last=True)
    columns = {part: _given(ordered, part, recipe) for part in parts_of_all(recipe)}
    slots = pl.concat([given.select("problem_id", "slot") for given in columns.values()]).unique()
    for given in columns.values():
        slots = slots.join(given, on=("problem_id", "slot"), how="left")
    _refuse_overlaps(recipe, slots)
    return slots.sort("problem_id", "slot")


def _refuse_overlaps(recipe: Recipe, slots: "polars.DataFrame") -> None:
    """With several traces a problem, parts that share traces could put one into a mix twice."""
    for mix in recipe.mixes if recipe.mixing.per_problem > 1 else ():
        for one, other in itertools.combinations(recipe.parts(mix), 2):
            if slots[given_by(one)].drop_nulls().is_in(slots[given_by(other)].drop_nulls().implode()).any():
                raise RecipeError(
                    f"mixes.{mix}: parts {one!r} and {other!r} share traces, so that one could stand in it twice; "
                    "name teachers that differ, or set mixing.per_problem=1"
                )


def given_by(part: str) -> str:
    """The column of `Offered.slots` that says which trace a part gives; no problem column is called so."""
    return f"by {part}"


def parts_of_all(recipe: Recipe) -> list[str]:
    """All parts of all mixes, in the order of the recipe."""
    return list(dict.fromkeys(part for mix in recipe.mixes for part in recipe.parts(mix)))


def _by_preference(mixing: Mixing) -> "list[polars.Expr]":
    """What right traces of one problem are sorted by; the best is first."""
    import polars as pl

    if mixing.select == "student":
        score = pl.col(mixing.scoring.metric)
        return [-score if preferred(mixing.scoring.metric) == "high" else score]
    orders = {"first": [pl.col("sample")], "shortest": [pl.col("length")], "longest": [-pl.col("length")]}
    return orders.get(mixing.select, [])


def _given(ordered: "polars.DataFrame", part: str, recipe: Recipe) -> "polars.DataFrame":
    """problem_id, slot and the number of the trace for each trace that a part of a mix can give."""
    import polars as pl

    mine = ordered.filter(_belongs(part, recipe, ordered))
    slot = pl.int_range(pl.len(), dtype=pl.Int64).over("problem_id")
    return (
        mine.select("problem_id", slot.alias("slot"), pl.col("number").alias(given_by(part)))
        .filter(pl.col("slot") < recipe.mixing.per_problem)
    )  # fmt: skip


def _belongs(part: str, recipe: Recipe, traces: "polars.DataFrame") -> "polars.Expr":
    """Whether a trace belongs to a part: of the teacher of that name, else of that style or size."""
    import polars as pl

    names = set(traces["teacher"].unique())
    if part in names or part in recipe.teachers:
        return pl.col("teacher") == part
    if part in ("long", "short"):
        return pl.col("style") == part
    if part in ("large", "small"):
        return pl.col("size") == part
    raise RecipeError(f"mixes: no teacher, style or size {part!r} (teachers: {', '.join(sorted(names))})")
