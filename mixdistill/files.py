"""Files in and out: rows, JSON, tables and lines, as the stages hand them on.

Reads JSONL, CSV and Parquet row by row with a place (`file:line`) for each row; writes JSON and Parquet under
a temporary name and renames, so that a reader never sees half a file; appends JSONL line by line with one
system call each, so that `kill -9` loses no line that was written before it. Nothing here knows what the rows
mean. Not here: YAML (`yaml_file`), and how the Parquet of a published dataset is laid out (`cards/dataset.py`).
"""

import bisect
import csv
import hashlib
import io
import json
import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mixdistill.errors import RecipeError, RecordError, StorageError
from mixdistill.json_bytes import dump_json

if TYPE_CHECKING:
    import polars

_PARQUET_BATCH_ROWS = 1024
_COLUMN_ROWS = 100
_BLOCK_BYTES = 1 << 20
_LINES_BYTES = 1 << 26


class Row(NamedTuple):
    """One row of a file: where it stands, its values, or why it cannot be read."""

    place: str
    values: dict[str, object]
    fault: str | None = None
    text: str = ""


def read_rows(path: Path, name: str | None = None) -> Iterator[Row]:
    """The rows of a JSONL, CSV or Parquet file, in order.

    A line that is no JSON object comes as a Row with a `fault`; it does not stop the others. `name` is what
    places call the file (its last part by default). Raises RecordError if the file is missing, is none of
    these kinds or is broken as a whole.
    """
    name = name or path.name
    readers = {".jsonl": _read_jsonl, ".ndjson": _read_jsonl, ".csv": _read_csv, ".parquet": _read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise RecordError(f"{path}: not one of {', '.join(readers)}; convert it or rename it")
    try:
        if not path.is_file():
            raise RecordError(f"{path}: no such file")
        yield from reader(path, name)
    except OSError as error:
        raise _cannot_read(path, error) from error


def _cannot_read(path: Path, error: OSError) -> RecordError:
    return RecordError(f"{path}: cannot be read: {error.strerror or error}")


def with_columns(rows: Iterable[Row], lacking: Callable[[Collection[str]], str | None]) -> Iterator[Row]:
    """The same rows, if the first 100 readable ones together have the columns that are needed.

    `lacking` says which of the columns that it is given lack, None for none. Reads no further ahead than it takes
    to find them. Raises RecipeError with what `lacking` says; not if no row can be read.
    """
    remaining = iter(rows)
    ahead: list[Row] = []
    columns: dict[str, None] = {}
    fault, n_readable = None, 0
    for row in remaining:
        ahead.append(row)
        if row.fault:
            continue
        n_readable += 1
        columns |= dict.fromkeys(row.values)
        fault = lacking(columns)
        if fault is None or n_readable == _COLUMN_ROWS:
            break
    if fault is not None:
        raise RecipeError(fault)
    yield from ahead
    yield from remaining


def _read_jsonl(path: Path, name: str) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            place = f"{name}:{number}"
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8", "replace").strip()
            if not text:
                continue
            try:
                values = json.loads(text)
            except (ValueError, RecursionError) as error:  # ValueError: also a number of over 4,300 digits
                yield Row(place, {}, f"not JSON: {error}", text)
                continue
            if isinstance(values, dict):
                yield Row(place, values)
            else:
                yield Row(place, {}, f"a JSON {type(values).__name__}, not an object", text)


def _read_csv(path: Path, name: str) -> Iterator[Row]:
    csv.field_size_limit(100_000_000)  # Python's default of 131,072 is less than one long trace
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.DictReader(file, strict=True)  # else a quote that nobody closes takes in all later rows
        line = 0
        try:
            for values in reader:
                line = reader.line_num
                place = f"{name}:{reader.line_num}"
                if None in values or None in values.values():
                    text = json.dumps({str(key): value for key, value in values.items()})
                    yield Row(place, {}, f"not {len(reader.fieldnames or [])} fields", text)
                else:
                    yield Row(place, dict(values))
        except csv.Error as error:
            raise RecordError(f"{path}:{line + 1}: not CSV from here on: {error}") from error


def _read_parquet(path: Path, name: str) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.open("rb").close()  # what the system refuses is told by Python, not by Arrow
    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=_PARQUET_BATCH_ROWS):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(f"{name}:{number}", values)
    except (pa.ArrowException, OSError) as error:  # Arrow raises OSError without a number for broken pages
        raise RecordError(f"{path}: not a Parquet file: {' '.join(str(error).split())}") from error


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that becomes `path` if the block ends well."""
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        temporary.chmod(0o644)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> StorageError:
    """The error for a file that could not be written."""
    reason = error.strerror or str(error)
    return StorageError(f"{path}: cannot be written: {reason}; free space, or choose a folder with --run DIR")


def write_text(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all."""
    with _replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a binary file, whole or not at all."""
    with _replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: object) -> None:
    """Writes a value as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, made_by: str) -> object:
    """The value in a JSON file that the stage `made_by` makes.

    Raises StorageError if it is missing, RecordError if it is not JSON (both name the stage to run), or if the
    system refuses to read it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StorageError(f"{path}: not there yet; run 'mixdistill {made_by}' first") from error
    except ValueError as error:
        raise RecordError(f"{path}: not JSON: {error}; remove it and run 'mixdistill {made_by}'") from error
    except OSError as error:
        raise _cannot_read(path, error) from error


def write_parquet(path: Path, frame: "polars.DataFrame", metadata: dict[str, str] | None = None) -> None:
    """Writes a frame as Parquet, with some words about it in the file's head, whole or not at all."""
    import polars as pl

    with _replacing(path) as temporary:
        try:
            frame.write_parquet(temporary, compression="zstd", metadata=metadata)
        except pl.exceptions.ComputeError as error:  # what Polars makes of a full disk
            number = re.search(r"\(os error (\d+)\)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def write_parquet_parts(path: Path, parts: "Iterable[polars.DataFrame]") -> None:
    """Writes frames of one schema as one Parquet file, a row group each, whole or not at all; one or more.

    A part is compressed by a thread of its own while the next one is made.
    """
    import pyarrow.parquet as pq

    with _replacing(path) as temporary, ExitStack() as opened:
        # A file of Python's: Arrow ends the whole process if the disk is full.
        file = opened.enter_context(temporary.open("wb"))
        thread = opened.enter_context(ThreadPoolExecutor(1))
        writer, written = None, None
        for part in parts:
            table = part.to_arrow()
            if writer is None:
                writer = opened.enter_context(pq.ParquetWriter(file, table.schema, compression="zstd"))
            if written is not None:
                written.result()
            written = thread.submit(writer.write_table, table)
        if written is not None:
            written.result()


def read_parquet(path: Path, made_by: str) -> "polars.DataFrame":
    """The frame in a Parquet file that the stage `made_by` makes.

    Raises StorageError if it is missing, RecordError if it is no Parquet file (both name the stage to run), or if
    the system refuses to read it.
    """
    import polars as pl

    try:
        path.open("rb").close()  # Polars says of a folder that its "expanded paths were empty"
        return pl.read_parquet(path, glob=False)
    except FileNotFoundError as error:
        raise StorageError(f"{path}: not there yet; run 'mixdistill {made_by}' first") from error
    except pl.exceptions.ComputeError as error:
        raise RecordError(f"{path}: not a Parquet file; remove it and run 'mixdistill {made_by}'") from error
    except OSError as error:
        raise _cannot_read(path, error) from error


class LineWriter:
    """Appends JSON objects to a file of its own, one line and one system call each.

    A line that `write` returned from survives the death of this process. Safe only for one thread.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._end = 0

    def write(self, value: object) -> int:
        """Appends one object, and returns where its line ends. Raises StorageError if the disk refuses."""
        return self.write_all([value])

    def write_all(self, values: Iterable[object]) -> int:
        """Appends objects, all with one system call, and returns where the last line ends."""
        line = b"".join([dump_json(value) + b"\n" for value in values])
        try:
            if self._descriptor is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
                self._descriptor = os.open(self._path, flags, 0o644)
            self._end += len(line)
            while line:  # a write to a nearly full disk may take only a part
                line = line[os.write(self._descriptor, line) :]
            return self._end
        except OSError as error:
            self.close()  # no later line may be glued to a torn one
            raise cannot_write(self._path, error) from error

    def close(self) -> None:
        """Closes the file; a `write` after it is an error, for the file is there."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def read_lines(path: Path, schema: "polars.Schema", *, from_byte: int = 0) -> "polars.DataFrame":
    """The frame in a file that LineWriter made, without a last line that a killed writer left unfinished.

    `from_byte` is where a line begins: those before it are left out. Columns that the schema has not are passed
    over. Raises RecordError if the file cannot be read, or if any other line is broken: then somebody else wrote
    to it.
    """
    import polars as pl

    blocks = (block.rows for block in scan_lines(path, schema, from_byte=from_byte))
    return pl.concat([pl.DataFrame(schema=schema), *blocks])


class Block(NamedTuple):
    """Some lines of a file that LineWriter made."""

    start: int
    "Byte at which the first of them begins."
    content: bytes
    rows: "polars.DataFrame"
    "One for each line."


def scan_lines(path: Path, schema: "polars.Schema", *, from_byte: int = 0) -> Iterator[Block]:
    """The same as `read_lines`, in blocks of about 64 MB, for files that are larger than memory."""
    import polars as pl

    start = from_byte
    try:
        with path.open("rb") as file:
            file.seek(from_byte)
            while content := file.read(_LINES_BYTES) + file.readline():
                if not content.endswith(b"\n"):  # the end of the file, unfinished
                    content = content[: content.rfind(b"\n") + 1]
                    if not content:
                        return
                try:
                    yield Block(start, content, pl.read_ndjson(io.BytesIO(content), schema=schema))
                except (pl.exceptions.ComputeError, pl.exceptions.SchemaError) as error:
                    number = _first_broken_line(content, schema) + _lines_before(path, start)
                    raise RecordError(f"{path}:{number}: not a trace; remove that line") from error
                start += len(content)
    except OSError as error:
        raise _cannot_read(path, error) from error


def _lines_before(path: Path, end: int) -> int:
    with path.open("rb") as file:
        return file.read(end).count(b"\n")


def _first_broken_line(content: bytes, schema: "polars.Schema") -> int:
    """The number of the line from which on the beginning of the file cannot be read."""
    import polars as pl

    lines = content.splitlines(keepends=True)

    def is_broken(n_lines: int) -> bool:
        try:
            pl.read_ndjson(io.BytesIO(b"".join(lines[:n_lines])), schema=schema)
        except (pl.exceptions.ComputeError, pl.exceptions.SchemaError):
            return True
        return False

    return 1 + bisect.bisect_left(range(1, len(lines) + 1), True, key=is_broken)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex. Raises RecordError if it cannot be read."""
    hasher = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                hasher.update(block)
    except OSError as error:
        raise _cannot_read(path, error) from error
    return hasher.hexdigest()
