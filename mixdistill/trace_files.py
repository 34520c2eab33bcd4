"""The append-only files of finished traces, and an index beside each that is read instead of their text.

Each writer has a file of its own, `traces/<time>-<process>.jsonl`, with a line for each trace, and `.index` of the
same name with a short line for each of those: what a resume has to know. A trace is written as it comes, its line
of the index a little later; what the index lacks, because the process died before, is read from the file itself.
An index may be deleted: it is only quicker.
"""

import io
import os
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from mixdistill.errors import RecordError, StorageError
from mixdistill.files import LineWriter, read_lines, scan_lines
from mixdistill.records import Trace, polars_schema
from mixdistill.run import Run

if TYPE_CHECKING:
    import polars

_FIELDS = tuple(Trace.__dataclass_fields__)
_INDEXED = (
    "request_key", "trace_id", "problem_id", "teacher", "finish_reason", "error", "prompt_tokens",
    "completion_tokens", "max_tokens", "cost_usd", "latency_seconds",
)  # fmt: skip


# Ends of lines that are looked at before an index is believed: an edit before them moves them all.
_CHECKED_ENDS = 8
# Index lines that are written together; what a dying process had not written is read from the traces.
_INDEX_LINES = 100


class TraceWriter:
    """Appends traces to a file of its own; one that `write` returned from survives the death of this process."""

    def __init__(self, run: Run) -> None:
        path = run.traces / f"{time.time_ns():020d}-{os.getpid()}.jsonl"
        self._traces = LineWriter(path)
        self._index = LineWriter(path.with_suffix(".index"))
        self._unindexed: list[dict[str, object]] = []

    def write(self, trace: Trace) -> None:
        """Appends one trace. Raises StorageError if the disk refuses."""
        values = {name: value for name in _FIELDS if (value := getattr(trace, name)) is not None}
        end = self._traces.write(values)
        self._unindexed.append({"end": end} | {name: values[name] for name in _INDEXED if name in values})
        if len(self._unindexed) >= _INDEX_LINES:
            self._write_index()

    def _write_index(self) -> None:
        if self._unindexed:
            self._index.write_all(self._unindexed)
            self._unindexed = []

    def close(self) -> None:
        """Closes the files; a `write` after it is an error."""
        self._traces.close()
        self._write_index()
        self._index.close()


def read_index(run: Run) -> "polars.DataFrame":
    """What is known of every trace, in the order they were written, and where its text stands, without the text.

    Columns: request_key, trace_id, problem_id, teacher, finish_reason, error, prompt_tokens, completion_tokens,
    max_tokens, cost_usd, latency_seconds; file, start and end (bytes) for `read_at`. A request that was asked
    again has several rows. Raises RecordError if a file cannot be read.
    """
    import polars as pl

    known = pl.Schema({name: polars_schema(Trace)[name] for name in _INDEXED})
    empty = pl.DataFrame(schema={**known, "start": pl.Int64(), "end": pl.Int64(), "file": pl.String()})
    files = (_indexed(path, known).with_columns(file=pl.lit(path.name)) for path in run.trace_files())
    return pl.concat([empty, *(rows.select(empty.columns) for rows in files)])


def read_at(run: Run, found: "polars.DataFrame", *names: str) -> "polars.DataFrame":
    """The named fields of the traces that stand at the places of rows of `read_index`, in the order of these.

    Raises RecordError if no trace stands there, StorageError if the disk refuses.
    """
    import polars as pl

    lines = b"".join(_lines_at(run, found))
    told = f"{run.traces}: a trace is not where its index says; remove the .index files there, and do it again"
    schema = {name: polars_schema(Trace)[name] for name in ("trace_id", *names)}
    try:
        traces = pl.read_ndjson(io.BytesIO(lines), schema=schema)
    except (pl.exceptions.ComputeError, pl.exceptions.SchemaError) as error:
        raise RecordError(told) from error
    if traces.height != found.height or not (traces["trace_id"] == found["trace_id"]).all():
        raise RecordError(told)
    return traces.select(names)


def _lines_at(run: Run, found: "polars.DataFrame") -> Iterator[bytes]:
    files: dict[str, int] = {}
    with ExitStack() as opened:
        for name, start, end in found.select("file", "start", "end").iter_rows():
            try:
                if name not in files:
                    files[name] = opened.enter_context((run.traces / name).open("rb")).fileno()
                yield os.pread(files[name], end - start, start)
            except OSError as error:
                raise StorageError(f"{run.traces / name}: cannot be read: {error.strerror}") from error


def _indexed(path: Path, schema: "polars.Schema") -> "polars.DataFrame":
    """The rows of one file: from its index as far as it goes, the rest from the file."""
    import polars as pl

    index = path.with_suffix(".index")
    if not index.exists():
        return _placed(path, schema)
    try:
        known = read_lines(index, pl.Schema({"end": pl.Int64(), **schema}))
    except RecordError:  # it is only quicker; the traces themselves are what counts
        return _placed(path, schema)
    end = int(known["end"][-1] or 0) if known.height else 0
    if (
        known["end"].has_nulls()
        or end > path.stat().st_size
        or not _ends_are_line_ends(path, known["end"].tail(_CHECKED_ENDS).to_list())
    ):
        return _placed(path, schema)  # somebody edited the file
    rows = known.with_columns(start=pl.col("end").shift(1, fill_value=0))
    return pl.concat([rows.select(*schema, "start", "end"), _placed(path, schema, from_byte=end)])


def _placed(path: Path, schema: "polars.Schema", *, from_byte: int = 0) -> "polars.DataFrame":
    """The rows of a file from some byte on, read from its lines; `start` and `end` are where each stands."""
    import numpy as np
    import polars as pl

    parts = [pl.DataFrame(schema={**schema, "start": pl.Int64(), "end": pl.Int64()})]
    for block in scan_lines(path, schema, from_byte=from_byte):
        newlines = np.flatnonzero(np.frombuffer(block.content, dtype=np.uint8) == ord("\n"))
        ends = pl.Series("end", newlines, dtype=pl.Int64) + (block.start + 1)
        if len(ends) != block.rows.height:
            raise RecordError(f"{path}: a blank line stands in it; remove that line")
        parts.append(block.rows.with_columns(ends.shift(1, fill_value=block.start).alias("start"), ends))
    return pl.concat(parts)


def _ends_are_line_ends(path: Path, ends: list[int]) -> bool:
    with path.open("rb") as file:
        for end in ends:
            file.seek(end - 1)
            if file.read(1) != b"\n":
                return False
    return True


def stored_traces(run: Run, keys: Collection[str] | None = None) -> "polars.DataFrame":
    """For each request key the last trace without an error, else the last error; of all keys, or of these."""
    import polars as pl

    frame = last_of_each_request(run.trace_files(), Trace, pl.col("error").is_null())
    return frame if keys is None else frame.filter(pl.col("request_key").is_in(list(keys)))


def last_of_each_request(paths: "list[Path]", record: type, is_good: "polars.Expr") -> "polars.DataFrame":
    """Of the rows with one request key the last good one, else the last one."""
    import polars as pl

    schema = polars_schema(record)
    return last_rows(
        pl.concat([pl.DataFrame(schema=schema), *(read_lines(path, schema) for path in paths)]), is_good
    )


def last_rows(rows: "polars.DataFrame", is_good: "polars.Expr") -> "polars.DataFrame":
    """Of the rows with one request key the last good one, else the last one."""
    ranked = rows.with_row_index("line").sort(is_good, "line")
    return ranked.unique("request_key", keep="last", maintain_order=True).drop("line")
