"""Scores of traces under a student, as files: an append-only cache, and the table of those that the mixes used.

`scores/<time>-<process>.jsonl` holds a line for each trace that was scored, whoever the student was and however it
was done; a line is there for good once it is written. `scores.parquet` is one row a trace, for one student.
"""

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mixdistill.files import LineWriter, read_lines, read_parquet, write_parquet
from mixdistill.records import polars_schema
from mixdistill.run import Run

if TYPE_CHECKING:
    import polars

Fault = Literal["too_long", "not_rendered", "no_tokens", "no_number"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one trace is to one student."""

    trace_id: str
    how: str
    "Hash of the student, its chat template, the prompt, the engine and the number format."
    student: str
    "Name of the student."
    length: int | None = None
    "Tokens of question and trace, as they stand in training; None if the trace could not be rendered."
    tokens: int | None = None
    "Tokens of the trace alone, over which the scores are."
    window: int | None = None
    "Sentences that local_naturalness showed before each one; None: it was not computed."
    mean_logprob: float | None = None
    "Mean log-probability of the tokens, in nats; high is natural to the student (arXiv 2502.04194)."
    rank_surprisal_ratio: float | None = None
    "Mean rank, at most 100, over mean surprisal in nats; low is what teaches (arXiv 2601.14249)."
    local_naturalness: float | None = None
    "Mean over sentences of the mean log-probability after the few before it, in nats (arXiv 2510.03988)."
    fault: Fault | None = None
    """Why there are no scores: longer than the limit, changed by the chat template, without a token, or without a
    finite number."""


_PUBLISHED = ("trace_id", "student", "mean_logprob", "rank_surprisal_ratio", "local_naturalness", "fault")


class ScoreWriter:
    """Appends scores to a file of its own; one that `write` returned from survives the death of this process."""

    def __init__(self, run: Run) -> None:
        self._lines = LineWriter(run.scores / f"{time.time_ns():020d}-{os.getpid()}.jsonl")

    def write(self, score: Score) -> None:
        """Appends one score. Raises StorageError if the disk refuses."""
        values = {name: getattr(score, name) for name in Score.__dataclass_fields__}
        self._lines.write({name: value for name, value in values.items() if value is not None})

    def close(self) -> None:
        """Closes the file."""
        self._lines.close()


def cached_scores(run: Run, how: str) -> "polars.DataFrame":
    """The scores that were made in this way, in the order they were written; a trace may have several rows."""
    import polars as pl

    schema = polars_schema(Score)
    frames = [read_lines(path, schema).filter(pl.col("how") == how) for path in run.score_files()]
    return pl.concat([pl.DataFrame(schema=schema), *frames])


def write_scores(run: Run, scores: "polars.DataFrame") -> None:
    """Writes the table of scores, rows in the order of trace ids."""
    write_parquet(run.scored, scores.select(_PUBLISHED).sort("trace_id"))


def read_scores(run: Run) -> "polars.DataFrame":
    """The table of scores; empty, with the same columns, if no student has scored the traces of this run.

    Columns: trace_id, student, mean_logprob, rank_surprisal_ratio, local_naturalness, fault.
    """
    import polars as pl

    schema = polars_schema(Score)
    if not run.scored.exists():
        return pl.DataFrame(schema={name: schema[name] for name in _PUBLISHED})
    return read_parquet(run.scored, "mix")
