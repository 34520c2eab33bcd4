"""Views: the rows of a run's mixes as files that a trainer reads, with the settings that they need.

In: a run whose mixes are built. Out: in a folder, for each mix

- trl: `<mix>.prompt-completion.parquet` and `<mix>.messages.parquet`, and `train.py`, which trains on the first.
- llamafactory: `<mix>.jsonl` in its sharegpt format with the reasoning inline, as its reasoning templates have it
  (`thought_words` in its data/template.py), `<mix>.yaml`, and `dataset_info.json` (see its data/README.md).
- axolotl: `<mix>.parquet` for its dataset type chat_template, and `<mix>.yaml` (see its documentation, pages
  Conversation and Config Reference). Reasoning is in `reasoning_content`, but inline where the recipe names a
  student whose template knows no field for it: such a template would drop the field.

Rows and their order are those of `train.parquet`; same mix, same bytes. Where a trainer wants reasoning and
response apart and the mix has them in one text, they come from the run's traces: a response may speak of marks.
Parquet, because `datasets` refuses a JSONL file in which a field is first seen behind the first ten megabytes.
`export.json` lists the files that are ours by their digests: a later export replaces them, unless somebody changed
them; no other file is touched.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mixdistill.builders.reasoning import MARKS, join_reasoning
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
from mixdistill.tables import find_traces
from mixdistill.trace_files import read_at

if TYPE_CHECKING:
    import polars

_MARKER = "export.json"
_BATCH_ROWS = 4_000
_IDS = ["problem_id", "trace_id"]
_FROM_ROLE = {"user": "human", "assistant": "gpt"}

_Write = Callable[[Path], int]
"Writes a file; returns its rows."
_View = tuple[dict[str, _Write], dict[str, str]]
"Of each file with rows what writes it; the texts of the others."


def export_mixes(recipe: Recipe, run: Run, trainer: Trainer, folder: Path) -> dict[str, int]:
    """Writes every mix of the recipe for a trainer; returns the rows of each file that has rows.

    Raises StorageError, before anything is written, if a mix is not built yet, if the folder holds an export for
    another trainer, or if a file that stands in the way is not as an earlier export wrote it.
    """
    sources = {mix: run.mixes / mix / "train.parquet" for mix in recipe.mixes}
    for source in sources.values():
        if not source.is_file():
            raise StorageError(f"{source}: not there yet; run 'mixdistill mix' first")
    tables, texts = _VIEWS[trainer](recipe, run, sources)
    ours = _claim(folder, trainer, {*tables, *texts})
    counts = {name: _replace(folder, trainer, name, ours, write) for name, write in tables.items()}
    for name, text in texts.items():
        _replace(folder, trainer, name, ours, partial(_write_text, text))
    for name in sorted({*ours} - {*tables, *texts}):  # of a mix that the recipe has no more
        (folder / name).unlink(missing_ok=True)
    digests = {name: ours[name] for name in sorted({*tables, *texts})}
    write_json(folder / _MARKER, {"trainer": trainer, "files": digests})
    return counts


def _claim(folder: Path, trainer: Trainer, names: set[str]) -> dict[str, str]:
    """The files there that an earlier export wrote and nobody changed, with their digests."""
    marker = folder / _MARKER
    told = read_json(marker, "mix") if os.path.lexists(marker) else {"trainer": trainer, "files": {}}
    files = told.get("files") if isinstance(told, dict) else None
    if not isinstance(told, dict) or not isinstance(files, dict) or any(Path(n).name != n for n in files):
        raise RecordError(f"{marker}: not written by an export; choose another folder")
    if told.get("trainer") != trainer:
        raise StorageError(f"{folder}: holds an export for {told.get('trainer')}; choose another folder")
    ours = {}
    for name in sorted({*files, *names}):
        path = folder / name
        if not os.path.lexists(path):
            continue
        # A link is never ours, wherever it leads.
        digest = file_digest(path) if path.is_file() and not path.is_symlink() else None
        if digest is not None and digest in (files.get(name), _begun(told, name)):
            ours[name] = digest
        elif name in names:
            raise StorageError(
                f"{path}: is there, and not as an export wrote it; move it away, or choose another folder"
            )
    return ours


def _begun(told: Mapping[str, object], name: str) -> object:
    """The digest of a file that an interrupted export was about to put in its place."""
    begun = told.get("begun")
    return begun.get(name) if isinstance(begun, dict) else None


def _replace(folder: Path, trainer: Trainer, name: str, ours: dict[str, str], write: _Write) -> int:
    """Writes a file of ours; wherever this is interrupted, `export.json` has the digest of what stands there."""
    new = folder / f".{name}.new"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        new.unlink(missing_ok=True)  # of an export that was killed
        height = write(new)
        digest = file_digest(new)
        write_json(folder / _MARKER, {"trainer": trainer, "files": ours, "begun": {name: digest}})
        new.replace(folder / name)
    except OSError as error:
        raise cannot_write(folder / name, error) from error
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)
    ours[name] = digest
    return height


def _trl(recipe: Recipe, _: Run, sources: Mapping[str, Path]) -> _View:
    tables: dict[str, _Write] = {}
    for mix, source in sources.items():
        tables[f"{mix}.prompt-completion.parquet"] = partial(_write_prompt_completion, source)
        tables[f"{mix}.messages.parquet"] = partial(_write_messages, source)
    return tables, {"train.py": trl_script(recipe)}


def _llamafactory(recipe: Recipe, _: Run, sources: Mapping[str, Path]) -> _View:
    texts = {f"{mix}.yaml": llamafactory_yaml(recipe, mix) for mix in sources}
    texts["dataset_info.json"] = dataset_info({mix: f"{mix}.jsonl" for mix in sources})
    tables: dict[str, _Write] = {}
    for mix, source in sources.items():
        tables[f"{mix}.jsonl"] = partial(_write_sharegpt, source, _opener_of_template(source))
    return tables, texts


def _axolotl(recipe: Recipe, run: Run, sources: Mapping[str, Path]) -> _View:
    tables: dict[str, _Write] = {}
    texts = {}
    for mix, source in sources.items():
        field = _field(source)
        apart = recipe.mixing.student is None or field is not None
        tables[f"{mix}.parquet"] = (
            partial(_write_apart, source, run) if apart else partial(_write_messages, source)
        )
        texts[f"{mix}.yaml"] = axolotl_yaml(recipe, mix, (field or "reasoning_content") if apart else None)
    return tables, texts


_VIEWS: Mapping[Trainer, Callable[[Recipe, Run, Mapping[str, Path]], _View]] = {
    "trl": _trl,
    "llamafactory": _llamafactory,
    "axolotl": _axolotl,
}


def _write_text(text: str, target: Path) -> int:
    write_text(target, text)
    return 0


def _write_prompt_completion(source: Path, target: Path) -> int:
    return _write_parts(target, _batches(source, [*_IDS, "prompt", "completion"]))


def _write_messages(source: Path, target: Path) -> int:
    return _write_parts(target, _batches(source, [*_IDS, "messages"]))


def _write_apart(source: Path, run: Run, target: Path) -> int:
    """The messages with the reasoning in a field of its own."""
    field = _field(source)
    if field is not None:
        rows = _batches(source, [*_IDS, "prompt", "completion"])
        return _write_parts(target, (_apart(part, *_from_turn(part, field)) for part in rows))
    places = find_traces(run).select("trace_id", "file", "start", "end")
    rows = _batches(source, [*_IDS, "prompt"])
    return _write_parts(target, (_apart(part, *_from_traces(part, run, places)) for part in rows))


def _apart(rows: "polars.DataFrame", reasoning: "polars.Series", response: "polars.Series") -> "polars.DataFrame":
    import polars as pl

    question = rows["prompt"].list.first().struct.field("content")
    none = pl.lit(None, dtype=pl.String).alias("reasoning_content")
    thought = reasoning.set(reasoning == "", None).alias("reasoning_content")
    user = pl.struct(pl.lit("user").alias("role"), none, question.alias("content"))
    assistant = pl.struct(pl.lit("assistant").alias("role"), thought, response.alias("content"))
    return rows.select(*_IDS, messages=pl.concat_list(user, assistant))


def _from_turn(rows: "polars.DataFrame", field: str) -> "tuple[polars.Series, polars.Series]":
    """Reasoning and response, where the mix has them apart."""
    turns = rows["completion"].list.first()
    return turns.struct.field(field), turns.struct.field("content")


def _from_traces(
    rows: "polars.DataFrame", run: Run, places: "polars.DataFrame"
) -> "tuple[polars.Series, polars.Series]":
    """The same from the traces. Raises StorageError if one is no longer there."""
    found = rows.select("trace_id").join(places, on="trace_id", how="left", maintain_order="left")
    if gone := found["file"].null_count():
        raise StorageError(
            f"{run.traces}: {gone} traces of a mix are not there any more; run 'mixdistill mix', and export again"
        )
    traces = read_at(run, found, "reasoning", "response")
    return traces["reasoning"], traces["response"]


def _write_sharegpt(source: Path, opener: str, target: Path) -> int:
    """One JSON object a line. Every field is a text in every row, so that `datasets` reads them all."""
    writer, height, field = LineWriter(target), 0, _field(source)
    try:
        for rows in _batches(source, [*_IDS, "prompt", "completion"]):
            writer.write_all(_sharegpt(row, field, opener) for row in rows.iter_rows(named=True))
            height += rows.height
    finally:
        writer.close()
    return height


def _sharegpt(row: Mapping[str, object], field: str | None, opener: str) -> dict[str, object]:
    (user,), (assistant,) = (cast("list[dict[str, str]]", row[name]) for name in ("prompt", "completion"))
    # The mix has the marks in the text already, but for one that the student's own template would write.
    text = join_reasoning(assistant[field], assistant["content"])["content"] if field else assistant["content"]
    turns = [("user", user["content"]), ("assistant", opener + text)]
    conversations = [{"from": _FROM_ROLE[role], "value": text} for role, text in turns]
    return {name: row[name] for name in _IDS} | {"conversations": conversations}


def _opener_of_template(source: Path) -> str:
    """What the student's template writes in front of the mix's reasoning; empty if nothing.

    Raises StorageError if mix.json does not say what the mix's form is.
    """
    about = read_json(source.with_name("mix.json"), "mix")
    form = about.get("reasoning") if isinstance(about, dict) else None
    if not isinstance(form, str):
        raise StorageError(
            f"{source.with_name('mix.json')}: of an older version; run 'mixdistill mix' to make it anew"
        )
    return next((f"{opener}\n" for opener, closer in MARKS if form == f"...{closer}"), "")


def _field(source: Path) -> str | None:
    """The field of the assistant's turn that holds the reasoning; None if it stands in the content."""
    import polars as pl

    try:
        schema = pl.read_parquet_schema(source)
    except pl.exceptions.ComputeError as error:
        raise _broken(source) from error
    turn = cast("polars.Struct", cast("polars.List", schema["completion"]).inner)
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
    except (pa.ArrowException, OSError) as error:  # Arrow raises OSError for broken pages
        raise _broken(source) from error


def _broken(source: Path) -> RecordError:
    return RecordError(f"{source}: not a Parquet file; remove it and run 'mixdistill mix'")
