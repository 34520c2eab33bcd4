"""Views: the rows of a run's mixes as files that a trainer reads, with the settings that they need.

In: a run whose mixes are built. Out: in a folder, for each mix

- trl: `<mix>.prompt-completion.parquet` and `<mix>.messages.parquet`, and `train.py`, which trains on the first.
- llamafactory: `<mix>.jsonl` in its sharegpt format with the reasoning inline, as its reasoning templates have it
  (`thought_words` in its data/template.py), `<mix>.yaml`, and `dataset_info.json` (see its data/README.md).
- axolotl: `<mix>.parquet` for its dataset type chat_template, and `<mix>.yaml` (see its documentation, pages
  Conversation and Config Reference). Reasoning is in `reasoning_content`, but inline where the recipe names a
  student whose template knows no field for it: such a template would drop the field.

Rows and their order are those of `train.parquet`; same mix, same bytes. Parquet, because `datasets` refuses a
JSONL file in which a field is first seen behind the first ten megabytes. `export.json` lists the files that are
ours: a later export replaces them, unless somebody changed them; no other file is touched.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from mixdistill.builders.reasoning import MARKS, join_reasoning, split_text
from mixdistill.builders.view_settings import axolotl_yaml, dataset_info, llamafactory_yaml, trl_script
from mixdistill.errors import RecordError, StorageError
from mixdistill.files import (
    LineWriter,
    cannot_write,
    file_digest,
    read_json,
    write_json,
    write_parquet_parts,
    write_text,
)
from mixdistill.recipe import Recipe
from mixdistill.records import Trainer
from mixdistill.run import Run

if TYPE_CHECKING:
    import polars

_MARKER = "export.json"
_BATCH_ROWS = 4_000
_IDS = ["problem_id", "trace_id"]
_FROM_ROLE = {"user": "human", "assistant": "gpt"}


class _Table(NamedTuple):
    """A file with rows that is to be written."""

    source: Path
    "The mix's train.parquet."
    write: Callable[[Path, Path], int]
    "Writes it from the source; returns its rows."


def export_mixes(recipe: Recipe, run: Run, trainer: Trainer, folder: Path) -> dict[str, int]:
    """Writes every mix of the recipe for a trainer; returns the rows of each file that has rows.

    Raises StorageError, before anything is written, if a mix is not built yet, if the folder holds an export for
    another trainer, or if a file that stands in the way is not as an earlier export wrote it.
    """
    sources = {mix: run.mixes / mix / "train.parquet" for mix in recipe.mixes}
    for source in sources.values():
        if not source.is_file():
            raise StorageError(f"{source}: not there yet; run 'mixdistill mix' first")
    tables, texts = _VIEWS[trainer](recipe, sources)
    names = {*tables, *texts}
    ours = _claim(folder, trainer, names)
    counts = {name: table.write(table.source, folder / name) for name, table in tables.items()}
    for name, text in texts.items():
        write_text(folder / name, text)
    for name in ours - names:  # of a mix that the recipe has no more
        (folder / name).unlink(missing_ok=True)
    digests = {name: file_digest(folder / name) for name in sorted(names)}
    write_json(folder / _MARKER, {"trainer": trainer, "files": digests})
    return counts


def _claim(folder: Path, trainer: Trainer, names: set[str]) -> set[str]:
    """The files there that an earlier export wrote and nobody changed; notes that `names` are being written."""
    marker = folder / _MARKER
    known: Mapping[str, str | None] = {}
    if marker.exists():
        told = read_json(marker, "mix")
        files = told.get("files") if isinstance(told, dict) else None
        if not isinstance(told, dict) or not isinstance(files, dict) or any(Path(n).name != n for n in files):
            raise RecordError(f"{marker}: not written by an export; choose another folder")
        if told.get("trainer") != trainer:
            raise StorageError(f"{folder}: holds an export for {told.get('trainer')}; choose another folder")
        known = files
    there = {name for name in {*known, *names} if (folder / name).exists()}
    # A file has no digest if its export was interrupted.
    ours = {name for name in there & {*known} if known[name] in (None, file_digest(folder / name))}
    for name in sorted(there & names - ours):
        raise StorageError(
            f"{folder / name}: is there, and not as an export wrote it; move it away, or choose another folder"
        )
    write_json(marker, {"trainer": trainer, "files": dict.fromkeys(sorted(names | ours))})
    return ours


_View = tuple[dict[str, _Table], dict[str, str]]


def _trl(recipe: Recipe, sources: Mapping[str, Path]) -> _View:
    tables = {}
    for mix, source in sources.items():
        tables[f"{mix}.prompt-completion.parquet"] = _Table(source, _write_prompt_completion)
        tables[f"{mix}.messages.parquet"] = _Table(source, _write_messages)
    return tables, {"train.py": trl_script(recipe)}


def _llamafactory(recipe: Recipe, sources: Mapping[str, Path]) -> _View:
    texts = {f"{mix}.yaml": llamafactory_yaml(recipe, mix) for mix in sources}
    texts["dataset_info.json"] = dataset_info({mix: f"{mix}.jsonl" for mix in sources})
    return {f"{mix}.jsonl": _Table(source, _write_sharegpt) for mix, source in sources.items()}, texts


def _axolotl(recipe: Recipe, sources: Mapping[str, Path]) -> _View:
    tables, texts = {}, {}
    for mix, source in sources.items():
        field = _field(source)
        apart = recipe.mixing.student is None or field is not None
        tables[f"{mix}.parquet"] = _Table(source, _write_apart if apart else _write_messages)
        texts[f"{mix}.yaml"] = axolotl_yaml(recipe, mix, (field or "reasoning_content") if apart else None)
    return tables, texts


_VIEWS: Mapping[Trainer, Callable[[Recipe, Mapping[str, Path]], _View]] = {
    "trl": _trl,
    "llamafactory": _llamafactory,
    "axolotl": _axolotl,
}


def _write_prompt_completion(source: Path, target: Path) -> int:
    return _write_parts(target, _batches(source, [*_IDS, "prompt", "completion"]))


def _write_messages(source: Path, target: Path) -> int:
    return _write_parts(target, _batches(source, [*_IDS, "messages"]))


def _write_apart(source: Path, target: Path) -> int:
    """The messages with the reasoning in a field of its own."""
    field = _field(source)
    rows = _batches(source, [*_IDS, "prompt", "completion"])
    return _write_parts(target, (_with_field(part, field) for part in rows))


def _with_field(rows: "polars.DataFrame", field: str | None) -> "polars.DataFrame":
    import polars as pl

    parts = [_split(assistant, field) for (assistant,) in rows["completion"]]
    question = rows["prompt"].list.first().struct.field("content")
    none = pl.lit(None, dtype=pl.String).alias("reasoning_content")
    reasoning = pl.Series("reasoning_content", [reasoning for reasoning, _ in parts], dtype=pl.String)
    response = pl.Series("content", [response for _, response in parts], dtype=pl.String)
    user = pl.struct(pl.lit("user").alias("role"), none, question.alias("content"))
    assistant = pl.struct(pl.lit("assistant").alias("role"), reasoning, response)
    return rows.select(*_IDS, messages=pl.concat_list(user, assistant))


def _write_sharegpt(source: Path, target: Path) -> int:
    """One JSON object a line. Every field is a text in every row, so that `datasets` reads them all."""
    part = target.with_name(f".{target.name}.part")
    try:
        part.unlink(missing_ok=True)
        writer, height, field = LineWriter(part), 0, _field(source)
        for rows in _batches(source, [*_IDS, "prompt", "completion"]):
            writer.write_all(_sharegpt(row, field) for row in rows.iter_rows(named=True))
            height += rows.height
        writer.close()
        part.replace(target)
        return height
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        part.unlink(missing_ok=True)


def _sharegpt(row: Mapping[str, object], field: str | None) -> dict[str, object]:
    (user,), (assistant,) = (cast("list[dict[str, str]]", row[name]) for name in ("prompt", "completion"))
    turns = [("user", user["content"]), ("assistant", _inline(assistant, field))]
    conversations = [{"from": _FROM_ROLE[role], "value": text} for role, text in turns]
    return {name: row[name] for name in _IDS} | {"conversations": conversations}


def _inline(assistant: Mapping[str, str | None], field: str | None) -> str:
    """The turn as text with both marks around the reasoning, also where the student's own template opens it."""
    content = str(assistant["content"])
    if field is None and content.lstrip().startswith(tuple(marks.opener for marks in MARKS)):
        return content
    return join_reasoning(*_split(assistant, field))["content"]


def _split(assistant: Mapping[str, str | None], field: str | None) -> tuple[str | None, str]:
    """The reasoning, None if there is none, and the response."""
    content = str(assistant["content"])
    if field is not None:
        return assistant[field] or None, content
    reasoning, response = split_text(content)
    return reasoning or None, response


def _field(source: Path) -> str | None:
    """The field of the assistant's turn that holds the reasoning; None if it stands in the content."""
    import polars as pl

    turn = cast("polars.Struct", cast("polars.List", pl.read_parquet_schema(source)["completion"]).inner)
    return next((field.name for field in turn.fields if field.name not in ("role", "content")), None)


def _write_parts(target: Path, parts: "Iterator[polars.DataFrame]") -> int:
    height = 0

    def counted() -> "Iterator[polars.DataFrame]":
        nonlocal height
        for part in parts:
            height += part.height
            yield part

    write_parquet_parts(target, counted())
    return height


def _batches(source: Path, columns: list[str]) -> "Iterator[polars.DataFrame]":
    """The rows of a mix, some thousand at a time. Raises RecordError if the file is broken."""
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(source) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
                yield cast("polars.DataFrame", pl.from_arrow(batch)).select(columns)
    except pa.ArrowException as error:
        raise RecordError(f"{source}: not a Parquet file; remove it and run 'mixdistill mix'") from error
