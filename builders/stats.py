"""Numbers: pass rates with intervals, lengths, truncation, difficulty; each with its n.

In: problems, traces and verdicts of a run. Out: `stats.json` (by teacher, level, subject; histograms for the
plots), `difficulty.parquet` (pass rate of each problem by teacher) and `lengths.parquet` (of each trace). A pass
rate is correct / judged; judged leaves out traces that failed, timed out or whose reference is unusable, and says
how many these were. Of a teacher that is sampled until enough is right, the rate of the teacher counts the first
draws of each problem alone: the others were drawn because those were wrong, and with them the rate would be too
low for hard problems and too high for easy ones. Texts are read block by block, so that a run may be larger than
memory. Draws nothing: plots are `cards.plots`.
"""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mixdistill.errors import HubError, RecordError
from mixdistill.files import read_parquet, scan_lines, write_json, write_parquet
from mixdistill.mixing import MAX_REPETITION
from mixdistill.recipe import Recipe
from mixdistill.recipe import Stats as StatsSettings
from mixdistill.records import Trace, polars_schema
from mixdistill.run import Run
from mixdistill.tables import find_traces, read_verdicts
from mixdistill.teachers import UntilCorrect

if TYPE_CHECKING:
    import polars
    import tokenizers

_Z95 = 1.959963984540054  # 97.5% quantile of the normal distribution
_NOT_JUDGED = ("timeout", "unscored")
_HISTOGRAM_BINS = 30
_DIFFICULTY_BINS = 10


class Interval(NamedTuple):
    """A rate with its interval; all three are NaN-free: for n = 0 they are None."""

    rate: float | None
    low: float | None
    high: float | None


def wilson(successes: int, n: int) -> Interval:
    """The Wilson score interval of a rate at 95% (E. B. Wilson, 1927, JASA 22:209-212).

    It treats the n as independent; samples of one problem are not, so over them it is too narrow.

    >>> [round(x, 3) for x in wilson(8, 10)]
    [0.8, 0.49, 0.943]
    """
    if n == 0:
        return Interval(None, None, None)
    rate, z2 = successes / n, _Z95**2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    # At 0 and 1 the bound is the rate itself; floats would put it 1e-16 to the wrong side.
    return Interval(rate, min(rate, max(0.0, centre - half)), max(rate, min(1.0, centre + half)))


def compute_stats(recipe: Recipe, run: Run) -> dict[str, int]:
    """Writes stats.json and difficulty.parquet; returns counts: `teachers`, `problems`, `traces`, `correct`."""
    import polars as pl

    problems = read_parquet(run.problems, "problems").head(recipe.limit or sys.maxsize)
    verdicts = read_verdicts(run).select("trace_id", "status", "repetition")
    asked = find_traces(run).drop("file", "start", "end", "request_key")
    lengths = measure(recipe.stats, run).join(asked.select("trace_id", "completion_tokens"), on="trace_id")
    if recipe.stats.tokenizer is None:
        lengths = lengths.with_columns(tokens=pl.col("completion_tokens"))
    traces = asked.join(lengths.drop("completion_tokens"), on="trace_id", how="left", maintain_order="left")
    traces = traces.join(verdicts, on="trace_id", how="left", maintain_order="left")
    traces = traces.join(
        problems.select("problem_id", "level", "subject"), on="problem_id", how="left", maintain_order="left"
    )
    # Whether a reference can be used shows only when an answer is compared with it.
    unusable = traces.filter(pl.col("status") == "unscored")["problem_id"].unique()
    never_compared = pl.col("status").is_in(("no_answer", "truncated")) & pl.col("problem_id").is_in(
        unusable.implode()
    )
    traces = traces.with_columns(
        judged=pl.col("status").is_not_null() & ~pl.col("status").is_in(_NOT_JUDGED) & ~never_compared,
        correct=pl.col("status").eq("correct").fill_null(value=False),
        is_first=pl.col("sample") < _first_draws(recipe),
    )
    difficulty = _difficulty(traces)
    stats = {
        "tokens_by": recipe.stats.tokenizer or "the teacher's own count",
        "problems": problems.height,
        "traces": traces.height,
        "teachers": [_summary(part) for part in _parts(traces, ["teacher", "style", "size"])],
        "levels": [_rates(part, "level") for part in _parts(traces, ["level", "teacher"])],
        "subjects": [_rates(part, "subject") for part in _parts(traces, ["subject", "teacher"])],
        "lengths": _length_histograms(traces),
        "difficulty": _difficulty_histograms(difficulty),
    }
    write_parquet(run.difficulty, difficulty)
    write_parquet(run.lengths, traces.select("trace_id", "tokens", "chars", "reasoning_chars"))
    write_json(run.stats, stats)
    return {
        "teachers": traces["teacher"].n_unique(), "problems": problems.height,
        "traces": traces.height, "correct": int(traces["correct"].sum()),
    }  # fmt: skip


def measure(settings: StatsSettings, run: Run) -> "polars.DataFrame":
    """The lengths of all stored texts: trace_id, model, tokens (null without a tokenizer), chars, reasoning_chars.

    Raises what `_tokenizer` raises.
    """
    import polars as pl

    schema = pl.Schema(
        {name: polars_schema(Trace)[name] for name in ("trace_id", "model", "reasoning", "response")}
    )
    tokenizer = None if settings.tokenizer is None else _tokenizer(settings)
    reasoning = pl.col("reasoning").fill_null("")
    counted = dict.fromkeys(("tokens", "chars", "reasoning_chars"), pl.Int64())
    parts = [pl.DataFrame(schema={"trace_id": pl.String(), "model": pl.Categorical(), **counted})]
    for path in run.trace_files():
        for block in scan_lines(path, schema):
            counts = None if tokenizer is None else _count_tokens(tokenizer, block.rows)
            parts.append(
                block.rows.select(
                    "trace_id",
                    pl.col("model").cast(pl.Categorical()),
                    pl.Series("tokens", counts or [None] * block.rows.height, dtype=pl.Int64),
                    (reasoning.str.len_chars() + pl.col("response").str.len_chars()).cast(pl.Int64).alias("chars"),
                    reasoning.str.len_chars().cast(pl.Int64).alias("reasoning_chars"),
                )
            )
    return pl.concat(parts).unique("trace_id")


def _tokenizer(settings: StatsSettings) -> "tokenizers.Tokenizer":
    """Raises RecordError or HubError if there is none."""
    from tokenizers import Tokenizer

    name = str(settings.tokenizer)
    try:
        if name.endswith(".json"):
            tokenizer = Tokenizer.from_file(name)
        else:
            tokenizer = Tokenizer.from_pretrained(name, revision=settings.revision)
    except Exception as error:  # the package raises bare Exception for every fault
        reason = " ".join(str(error).split())[:300]
        if name.endswith(".json") or Path(name).exists():
            raise RecordError(f"stats.tokenizer: {name}: not a tokenizer.json: {reason}") from error
        raise HubError(f"stats.tokenizer: {name}: cannot be had from the Hub: {reason}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _count_tokens(tokenizer: "tokenizers.Tokenizer", rows: "polars.DataFrame") -> list[int]:
    """Tokens of reasoning and response of each row."""
    texts = [*rows["reasoning"].fill_null(""), *rows["response"]]
    counts = [len(encoding) for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    return [sum(pair) for pair in zip(counts[: rows.height], counts[rows.height :], strict=True)]


def _parts(traces: "polars.DataFrame", keys: list[str]) -> "list[polars.DataFrame]":
    """The traces by key, in the order of the keys; rows without the first key are left out."""
    known = traces.filter(traces[keys[0]].is_not_null())
    return known.sort(keys, maintain_order=True).partition_by(keys, maintain_order=True)


def _summary(part: "polars.DataFrame") -> dict[str, object]:
    """The numbers of one teacher."""
    first = part.row(0, named=True)
    answered = part.filter(part["error"].is_null())
    statuses = dict(sorted(answered["status"].drop_nulls().value_counts().iter_rows()))
    told = answered["finish_reason"].drop_nulls()
    chars, measured = int(answered["chars"].sum()), answered["repetition"].drop_nulls()
    return {
        "teacher": first["teacher"],
        "model": first["model"],
        "style": first["style"],
        "size": first["size"],
        "traces": part.height,
        "failed": part.height - answered.height,
        "problems": part["problem_id"].n_unique(),
        "right": int(part["correct"].sum()),
        **_pass_rate(part),
        "statuses": statuses,
        "truncated_rate": int((told == "length").sum()) / len(told) if len(told) else None,
        "looping_rate": int((measured > MAX_REPETITION).sum()) / len(measured) if len(measured) else None,
        "no_answer_rate": statuses.get("no_answer", 0) / answered.height if answered.height else None,
        "tokens": _quantiles(answered["tokens"]),
        "chars": _quantiles(answered["chars"]),
        "reasoning_share": int(answered["reasoning_chars"].sum()) / chars if chars else None,
        "completion_tokens": int(answered["completion_tokens"].sum()),
    }


def _rates(part: "polars.DataFrame", key: str) -> dict[str, object]:
    first = part.row(0, named=True)
    return {
        key: first[key],
        "teacher": first["teacher"],
        "problems": part["problem_id"].n_unique(),
        **_pass_rate(part),
    }


def _first_draws(recipe: Recipe) -> "polars.Expr":
    """How many samples of a problem are drawn whatever the verdicts on the others are."""
    import polars as pl

    samples = {name: getattr(teacher, "samples", None) for name, teacher in recipe.teachers.items()}
    firsts = {name: until.until_correct for name, until in samples.items() if isinstance(until, UntilCorrect)}
    return pl.col("teacher").replace_strict(firsts, default=sys.maxsize, return_dtype=pl.Int64)


def _pass_rate(part: "polars.DataFrame") -> dict[str, object]:
    first = part.filter(part["judged"] & part["is_first"])
    correct, judged = int(first["correct"].sum()), first.height
    interval = wilson(correct, judged)
    return {
        "judged": judged, "correct": correct, "pass_rate": interval.rate,
        "pass_rate_low": interval.low, "pass_rate_high": interval.high,
    }  # fmt: skip


def _quantiles(lengths: "polars.Series") -> dict[str, object]:
    known = lengths.drop_nulls()
    return {
        "n": len(known),
        "mean": known.mean() if len(known) else None,
        **{f"p{q}": known.quantile(q / 100, "nearest") if len(known) else None for q in (50, 90, 99)},
    }


def _difficulty(traces: "polars.DataFrame") -> "polars.DataFrame":
    """One row a problem and teacher: judged, correct, pass_rate (null where nothing was judged)."""
    import polars as pl

    return (
        traces.group_by("problem_id", "teacher", maintain_order=True)
        .agg(pl.col("judged").sum().cast(pl.Int64), pl.col("correct").sum().cast(pl.Int64))
        .with_columns(pass_rate=pl.when(pl.col("judged") > 0).then(pl.col("correct") / pl.col("judged")))
    )


def _length_histograms(traces: "polars.DataFrame") -> dict[str, object]:
    """Traces by length and style, in equal bins: tokens where they were counted, else characters."""
    import polars as pl

    unit = "tokens" if traces["tokens"].is_not_null().any() else "chars"
    known = traces.filter(traces[unit].is_not_null() & traces["error"].is_null())
    if not known.height:
        return {"unit": unit, "bin_width": 1, "styles": {}}
    longest = int(known[unit].quantile(0.99, "higher") or 1)
    width = max(1, math.ceil((longest + 1) / _HISTOGRAM_BINS))
    place = (pl.col(unit) // width).clip(upper_bound=_HISTOGRAM_BINS - 1)
    styles = {
        str(part["style"][0]): _histogram(part.select(place.cast(pl.Int64).alias("bin"))["bin"], _HISTOGRAM_BINS)
        for part in _parts(known, ["style"])
    }
    return {"unit": unit, "bin_width": width, "styles": styles}


def _difficulty_histograms(difficulty: "polars.DataFrame") -> dict[str, list[int]]:
    """Problems by pass rate and teacher, in ten equal bins from 0 to 1."""
    import polars as pl

    place = (pl.col("pass_rate") * _DIFFICULTY_BINS + 1e-9).cast(pl.Int64).clip(upper_bound=_DIFFICULTY_BINS - 1)
    return {
        str(part["teacher"][0]): _histogram(part.select(place.alias("bin"))["bin"], _DIFFICULTY_BINS)
        for part in _parts(difficulty.filter(difficulty["pass_rate"].is_not_null()), ["teacher"])
    }


def _histogram(bins: "polars.Series", n_bins: int) -> list[int]:
    """How often each bin stands in the series."""
    counts = dict(bins.value_counts().iter_rows())
    return [counts.get(number, 0) for number in range(n_bins)]
