"""What the stages of a run wrote, as the stages after them read it.

In: a run folder. Out: problems as records, traces and verdicts as Polars frames with the columns of Trace and
Verdict, the numbers of stats.json and mix.json as typed dicts. Every missing file is a StorageError that names
the stage to run.
"""

from typing import TYPE_CHECKING, TypedDict, cast

from mixdistill.errors import StorageError
from mixdistill.files import read_json, read_parquet
from mixdistill.records import Opinion, Problem, Trace, polars_schema
from mixdistill.run import Run
from mixdistill.trace_files import last_of_each_request, last_rows, read_index, stored_traces

if TYPE_CHECKING:
    import polars


class Lengths(TypedDict):
    """Traces by length, in equal bins; the last bin holds all that are longer."""

    unit: str
    bin_width: int
    styles: dict[str, list[int]]


class TeacherStats(TypedDict):
    """The numbers of one teacher."""

    teacher: str
    model: str
    style: str
    size: str | None
    traces: int
    failed: int
    right: int
    "Correct traces."
    judged: int
    "Draws that the pass rate counts."
    correct: int
    "The correct ones of them."
    pass_rate: float | None
    pass_rate_low: float | None
    pass_rate_high: float | None
    statuses: dict[str, int]
    truncated_rate: float | None
    looping_rate: float | None
    "Of the traces whose repetition was measured."
    tokens: dict[str, float | None]
    chars: dict[str, float | None]
    reasoning_share: float | None


class Stats(TypedDict):
    """What stats.json holds, as far as later stages need it."""

    problems: int
    traces: int
    teachers: list[TeacherStats]
    lengths: Lengths
    difficulty: dict[str, list[int]]


class MixNumbers(TypedDict):
    """What mix.json holds, as far as later stages need it."""

    mix: str
    contrast: list[str]
    match: str
    by: str
    rows: int
    problems: int
    steps: int
    "Batches of an epoch."
    batch_size: int
    rows_by_part: dict[str, int]
    shares: dict[str, float]
    "Of the rows."
    shares_of_tokens: dict[str, float]
    "Empty where tokens were not counted."
    rows_by_band: dict[str, int]
    completion_tokens: dict[str, int]
    completion_chars: int
    problems_left_out: dict[str, int]
    right_traces_left_out: dict[str, int]
    right_traces_not_scored: dict[str, int]


def read_problems(run: Run, limit: int | None = None) -> list[Problem]:
    """The run's problems, at most `limit`. Raises StorageError if there are none yet."""
    frame = read_parquet(run.problems, "problems")
    return [Problem(**row) for row in frame.head(limit or frame.height).iter_rows(named=True)]


def read_traces(run: Run) -> "polars.DataFrame":
    """The traces that the recipe asks for and that are there: columns of Trace, in the order of the plan.

    Of several traces with one request key it is the last without an error. Raises StorageError if nothing
    was generated yet.
    """
    import polars as pl

    wanted = read_parquet(run.wanted, "generate").with_row_index("place")
    stored = stored_traces(run).drop("problem_id", "teacher", "style", "size", "sample")
    found = wanted.drop("max_tokens").join(stored, on="request_key", how="inner", maintain_order="left")
    return found.sort("place").select(pl.col(name) for name in polars_schema(Trace))


def find_traces(run: Run) -> "polars.DataFrame":
    """The same traces as `read_traces`, in the same order, without their texts.

    Columns: request_key, problem_id, teacher, style, size, sample, trace_id, finish_reason, error, prompt_tokens,
    completion_tokens; file, start and end for `trace_files.read_at`.
    """
    import polars as pl

    wanted = read_parquet(run.wanted, "generate").with_row_index("place")
    stored = last_rows(read_index(run), pl.col("error").is_null())
    columns = ("request_key", "trace_id", "finish_reason", "error", "prompt_tokens", "completion_tokens",
               "file", "start", "end")  # fmt: skip
    found = wanted.drop("max_tokens").join(stored.select(columns), on="request_key", how="inner")
    return found.sort("place").drop("place")


def read_lengths(run: Run) -> "polars.DataFrame":
    """The lengths of the traces: trace_id, tokens (null where nobody counted), chars, reasoning_chars.

    Raises StorageError if stats.json was not made yet.
    """
    return read_parquet(run.lengths, "stats")


def read_verdicts(run: Run) -> "polars.DataFrame":
    """The verdicts: columns of Verdict.

    Raises StorageError if nothing was judged yet, or an older version did.
    """
    verdicts = read_parquet(run.verdicts, "verify")
    if "repetition" not in verdicts.columns:
        raise StorageError(f"{run.verdicts}: of an older version; run 'mixdistill verify' to make it anew")
    return verdicts


def read_suspects(run: Run) -> "polars.DataFrame":
    """The references that look wrong: columns of Suspect. Raises StorageError if nothing was judged yet."""
    return read_parquet(run.suspects, "verify")


def read_opinions(run: Run) -> "polars.DataFrame":
    """For each question to the judge the last answer that is no failure, else the last failure."""
    import polars as pl

    return last_of_each_request(run.opinion_files(), Opinion, pl.col("status").is_not_null())


def read_stats(run: Run) -> Stats:
    """The run's stats.json. Raises StorageError if it is not there yet, or an older version wrote it."""
    stats = cast(Stats, read_json(run.stats, "stats"))
    if any(TeacherStats.__required_keys__ - set(teacher) for teacher in stats["teachers"]):
        raise StorageError(f"{run.stats}: of an older version; run 'mixdistill stats' to make it anew")
    return stats


def read_mix(run: Run, name: str) -> MixNumbers:
    """The run's mix.json of a mix. Raises StorageError if it is not there yet."""
    return cast(MixNumbers, read_json(run.mixes / name / "mix.json", "mix"))
