"""The dataset folder, exactly as it is published: Parquet that `load_dataset` types right, card, manifest.

In: a finished run (problems, traces, verdicts, stats, plots, mixes). Out: `dataset/` with `README.md`,
`data/<mix>/train-*.parquet`, `data/traces/...`, `data/suspects/...` if any reference looks wrong, `plots/` and
`manifest.json`. The folder is made anew beside the old one and then takes its place. The text of the card is
`cards.card`, sending the folder `cards.hub`.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

import mixdistill
from mixdistill.cards.card import Config, make_card
from mixdistill.cards.plots import PLOTS
from mixdistill.errors import StorageError
from mixdistill.files import cannot_write, file_digest, read_parquet, write_bytes, write_json, write_text
from mixdistill.recipe import Recipe
from mixdistill.records import Suspect, Trace, Verdict, polars_schema
from mixdistill.run import Run, versions
from mixdistill.score_files import read_scores
from mixdistill.scoring import Metric
from mixdistill.tables import read_lengths, read_suspects, read_traces, read_verdicts

if TYPE_CHECKING:
    import datasets
    import polars

TRACES_CONFIG = "traces"
SUSPECTS_CONFIG = "suspects"


def build_dataset(recipe: Recipe, run: Run) -> dict[str, int]:
    """Writes `dataset/`; returns the rows of each config.

    Raises StorageError if a stage before has not run.
    """
    fresh, old = run.folder / ".dataset.new", run.folder / ".dataset.old"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        configs = _write_data(recipe, run, fresh)
        for plot in PLOTS:
            for kind in ("svg", "png"):
                (fresh / "plots").mkdir(exist_ok=True)
                shutil.copyfile(run.plots / f"{plot}.{kind}", fresh / "plots" / f"{plot}.{kind}")
        write_text(fresh / "README.md", make_card(recipe, run, configs))
        _write_manifest(recipe, run, fresh, configs)
        shutil.rmtree(old, ignore_errors=True)
        if run.dataset.exists():
            run.dataset.rename(old)
        fresh.rename(run.dataset)
        shutil.rmtree(old, ignore_errors=True)
    except FileNotFoundError as error:
        raise StorageError(f"{error.filename}: not there yet; run 'mixdistill stats' first") from error
    except OSError as error:
        raise cannot_write(run.dataset, error) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return {config.name: config.rows for config in configs}


def dataset_files(run: Run) -> list[Path]:
    """The files of the dataset folder, in the order of their names. Raises StorageError if there are none."""
    files = sorted(path for path in run.dataset.rglob("*") if path.is_file())
    if not files:
        raise StorageError(f"{run.dataset}: not there yet; run 'mixdistill card' first")
    return files


def _write_data(recipe: Recipe, run: Run, folder: Path) -> list[Config]:
    configs = []
    for name in recipe.mixes:
        frame = read_parquet(run.mixes / name / "train.parquet", "mix")
        configs.append(_write_config(folder, name, frame, frame.schema))
    verdicts = read_verdicts(run).drop("problem_id")
    traces = read_traces(run).join(verdicts, on="trace_id", how="left", maintain_order="left")
    traces = traces.join(read_lengths(run), on="trace_id", how="left", maintain_order="left")
    measured = ["tokens", "chars", "reasoning_chars"]
    if recipe.mixing.select == "student":
        traces = traces.join(read_scores(run), on="trace_id", how="left", maintain_order="left")
        measured += [*get_args(Metric), "student", "fault"]
    traces = traces.filter(traces["error"].is_null())  # a failed request has no trace, and its error names hosts
    schema = {
        **polars_schema(Trace), **polars_schema(Verdict), **{name: traces.schema[name] for name in measured}
    }  # fmt: skip
    for column in ("error", "latency_seconds", "seconds"):  # always null; times of this machine
        del schema[column]
    configs.append(_write_config(folder, TRACES_CONFIG, traces.select(*schema), schema))
    suspects = read_suspects(run)
    if suspects.height:
        configs.append(_write_config(folder, SUSPECTS_CONFIG, suspects, polars_schema(Suspect)))
    return configs


def _write_config(
    folder: Path, name: str, frame: "polars.DataFrame", schema: "Mapping[str, polars.DataType]"
) -> Config:
    """One Parquet file, with the types of `datasets` in it, so that no reader has to guess them.

    Content-defined chunks let the Hub store only what changed when the set is published again.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    features = _features(schema)
    path = folder / "data" / name / "train-00000-of-00001.parquet"
    table = frame.to_arrow().cast(features.arrow_schema)
    content = pa.BufferOutputStream()  # not the file: Arrow ends the whole process if the disk is full
    pq.write_table(table, content, compression="zstd", use_content_defined_chunking=True, write_page_index=True)
    write_bytes(path, content.getvalue().to_pybytes())
    place = path.relative_to(folder).as_posix()
    return Config(name, place, frame.height, path.stat().st_size, table.nbytes, features)


def _features(schema: "Mapping[str, polars.DataType]") -> "datasets.Features":
    import datasets
    import polars as pl

    def feature(dtype: "polars.DataType") -> object:
        if isinstance(dtype, pl.List):
            return datasets.List(feature(cast("polars.DataType", dtype.inner)))
        if isinstance(dtype, pl.Struct):
            return {field.name: feature(cast("polars.DataType", field.dtype)) for field in dtype.fields}
        names = {pl.String(): "string", pl.Int64(): "int64", pl.Float64(): "float64", pl.Boolean(): "bool"}
        return datasets.Value(names[dtype])

    return datasets.Features({name: feature(dtype) for name, dtype in schema.items()})


def _write_manifest(recipe: Recipe, run: Run, folder: Path, configs: Sequence[Config]) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    write_json(
        folder / "manifest.json",
        {
            "mixdistill": mixdistill.__version__,
            "recipe": recipe.public(),
            "versions": versions(),
            "stages": {
                stage: counts for stage, counts in run.outcomes().items() if stage not in ("card", "publish")
            },
            "configs": {config.name: {"file": config.path, "rows": config.rows} for config in configs},
            "files": {
                path.relative_to(folder).as_posix(): {
                    "sha256": file_digest(path), "bytes": path.stat().st_size
                }
                for path in files
            },
        },
    )  # fmt: skip
