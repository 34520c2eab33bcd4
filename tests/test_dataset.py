"""The dataset folder: what `load_dataset` reads is what the run made, and a rebuild is all or nothing."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from made_runs import finish_run, make_problem, make_recipe, make_run, make_suspect, make_trace, silent

import mixdistill
from mixdistill.builders.mix import build_mixes
from mixdistill.cards.dataset import build_dataset, dataset_files
from mixdistill.errors import StorageError
from mixdistill.recipe import Recipe
from mixdistill.records import MixRow, Suspect, Trace, Verdict, polars_schema, to_frame
from mixdistill.run import Run

MIXES = {"long": {"long": 1.0}, "short": {"short": 1.0}, "mix-long": {"long": 0.2, "short": 0.8}}
RECIPE = make_recipe(MIXES)
PROBLEMS = [make_problem(number) for number in range(10)]
TRACES = [
    *(replace(make_trace(problem, "long", "long"), reasoning="So.", size="large") for problem in PROBLEMS),
    *(make_trace(problem, "short", finish_reason=None) for problem in PROBLEMS),
    make_trace(PROBLEMS[0], "short", sample=1, response="wrong"),
]
DROPPED = {"error", "latency_seconds", "seconds"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with its dataset; tests that change it take `run`."""
    run = make_run(tmp_path_factory.mktemp("built") / "run", PROBLEMS, TRACES, {TRACES[-1].trace_id: "incorrect"})
    finish_run(RECIPE, run)
    return run


@pytest.fixture
def run(built: Run, tmp_path: Path) -> Run:
    shutil.copytree(built.folder, tmp_path / "run")
    return Run(tmp_path / "run")


def load(folder: Path, config: str | None, cache: Path) -> Any:
    import datasets

    return datasets.load_dataset(str(folder), config, split="train", cache_dir=str(cache))


def contents(run: Run) -> dict[str, bytes]:
    return {path.relative_to(run.dataset).as_posix(): path.read_bytes() for path in dataset_files(run)}


def feature(dtype: object) -> Any:
    """The type that `datasets` shall give a column, by its Polars type."""
    from datasets import List, Value

    if dtype == pl.List(pl.Struct({"role": pl.String(), "content": pl.String()})):
        return List({"role": Value("string"), "content": Value("string")})
    return Value({pl.String(): "string", pl.Int64(): "int64", pl.Float64(): "float64"}[dtype])  # type: ignore[index]


def traces_schema() -> dict[str, object]:
    lengths = dict.fromkeys(("tokens", "chars", "reasoning_chars"), pl.Int64())
    both = {**polars_schema(Trace), **polars_schema(Verdict), **lengths}
    return {name: dtype for name, dtype in both.items() if name not in DROPPED}


@pytest.mark.parametrize("config", [*MIXES, None])
def test_a_mix_is_loaded_with_the_rows_and_types_of_the_run(
    built: Run, config: str | None, tmp_path: Path
) -> None:
    loaded = load(built.dataset, config, tmp_path)

    made = pl.read_parquet(built.mixes / (config or "mix-long") / "train.parquet")
    assert loaded.to_list() == made.to_dicts()
    assert loaded.num_rows == 10
    assert dict(loaded.features) == {name: feature(dtype) for name, dtype in polars_schema(MixRow).items()}


def test_all_traces_are_loaded_with_their_verdicts(built: Run, tmp_path: Path) -> None:
    loaded = load(built.dataset, "traces", tmp_path)

    assert dict(loaded.features) == {name: feature(dtype) for name, dtype in traces_schema().items()}
    assert loaded["trace_id"][:] == [trace.trace_id for trace in TRACES]
    assert loaded["status"][:] == ["correct"] * 20 + ["incorrect"]
    assert (loaded[0]["reasoning"], loaded[0]["size"], loaded[-1]["response"]) == ("So.", "large", "wrong")
    assert loaded[0]["prompt"] == [{"role": "user", "content": PROBLEMS[0].problem}]


def test_sizes_in_the_card_are_those_that_datasets_finds_itself(built: Run, tmp_path: Path) -> None:
    import datasets

    by_card = datasets.load_dataset_builder(str(built.dataset), "traces", cache_dir=str(tmp_path / "one")).info
    by_itself = datasets.Dataset.from_parquet(
        str(built.dataset / "data" / "traces" / "*.parquet"), cache_dir=str(tmp_path / "two")
    ).info

    found = by_itself.splits["train"].num_bytes
    assert by_card.splits["train"].num_bytes == by_card.dataset_size == pytest.approx(found, rel=0.01)
    assert by_card.splits["train"].num_examples == by_itself.splits["train"].num_examples == 21


@pytest.mark.parametrize("config", [*MIXES, "traces"])
def test_the_parquet_alone_has_the_types_without_the_head_of_the_card(
    built: Run, config: str, tmp_path: Path
) -> None:
    folder = tmp_path / "alone"
    shutil.copytree(built.dataset / "data" / config, folder)

    schema = traces_schema() if config == "traces" else polars_schema(MixRow)
    assert dict(load(folder, None, tmp_path).features) == {name: feature(dtype) for name, dtype in schema.items()}
    assert load(folder, None, tmp_path).to_list() == load(built.dataset, config, tmp_path).to_list()


def test_rows_have_the_conversational_forms_of_trl(built: Run, tmp_path: Path) -> None:
    """Prompt-completion and messages, as trl/data_utils.py tells a conversation: lists of role and content."""
    for row in load(built.dataset, "mix-long", tmp_path):
        assert [[sorted(turn) for turn in row[key]] for key in ("prompt", "completion")] == [
            [["content", "role"]]
        ] * 2
        assert row["messages"] == row["prompt"] + row["completion"]
        assert [turn["role"] for turn in row["messages"]] == ["user", "assistant"]
        assert row["prompt"][0]["content"] == row["problem"]
        assert ("</think>" in row["completion"][0]["content"]) == (row["part"] == "long")


def test_a_split_can_be_streamed(built: Run) -> None:
    import datasets

    streamed = datasets.load_dataset(str(built.dataset), "short", split="train", streaming=True)

    assert list(streamed) == pl.read_parquet(built.mixes / "short" / "train.parquet").to_dicts()


def test_a_card_that_claims_other_rows_is_found_out(run: Run, tmp_path: Path) -> None:
    import datasets

    card = run.dataset / "README.md"
    card.write_text(card.read_text().replace("num_examples: 10", "num_examples: 11"))

    with pytest.raises(datasets.exceptions.NonMatchingSplitsSizesError):
        load(run.dataset, "long", tmp_path)


def test_parquet_is_cut_by_content_and_indexed_for_the_viewer(built: Run) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetFile(built.dataset / "data" / "traces" / "train-00000-of-00001.parquet") as file:
        column = file.metadata.row_group(0).column(0)
        assert (column.compression, column.has_column_index, column.has_offset_index) == ("ZSTD", True, True)


def test_the_manifest_hashes_every_other_file(built: Run) -> None:
    manifest = json.loads((built.dataset / "manifest.json").read_text(encoding="utf-8"))

    files = contents(built)
    del files["manifest.json"]
    assert manifest["files"] == {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in files.items()
    }
    assert manifest["configs"]["mix-long"] == {"file": "data/mix-long/train-00000-of-00001.parquet", "rows": 10}
    assert manifest["mixdistill"] == mixdistill.__version__
    assert manifest["recipe"] == RECIPE.public()
    assert {"python", "datasets", "polars", "pyarrow"} <= set(manifest["versions"])


def test_the_manifest_counts_the_stages_that_a_walk_recorded(small_run: tuple[Recipe, Run]) -> None:
    _, run = small_run

    stages = json.loads((run.dataset / "manifest.json").read_text(encoding="utf-8"))["stages"]

    assert list(stages) == ["problems", "generate", "verify", "stats", "mix"]
    assert stages["mix"] == {"long": 24, "short": 24, "mix-long": 24}
    assert stages["verify"] == {"verdicts": 60, "correct": 54, "incorrect": 6}


def test_the_folder_is_exactly_what_is_published(built: Run) -> None:
    assert list(contents(built)) == sorted([
        "README.md", "manifest.json",
        *(f"data/{config}/train-00000-of-00001.parquet" for config in (*MIXES, "traces")),
        *(f"plots/{plot}.{kind}" for plot in ("lengths", "difficulty", "pass_rates") for kind in ("svg", "png")),
    ])  # fmt: skip


def test_a_rebuild_gives_the_same_bytes(run: Run) -> None:
    first = contents(run)

    counts = build_dataset(RECIPE, run)

    assert counts == {"long": 10, "short": 10, "mix-long": 10, "traces": 21}
    assert contents(run) == first


def test_a_run_made_elsewhere_gives_the_same_bytes(built: Run, tmp_path: Path) -> None:
    other = make_run(tmp_path / "elsewhere" / "run", PROBLEMS, TRACES, {TRACES[-1].trace_id: "incorrect"})

    finish_run(RECIPE, other)

    assert contents(other) == contents(built)


def test_a_mix_that_the_recipe_has_no_more_disappears(run: Run) -> None:
    fewer = make_recipe({"short": {"short": 1.0}})
    build_mixes(fewer, run, silent)

    assert build_dataset(fewer, run) == {"short": 10, "traces": 21}

    assert [path.name for path in sorted((run.dataset / "data").iterdir())] == ["short", "traces"]
    assert "mix-long" not in (run.dataset / "README.md").read_text(encoding="utf-8")


def test_a_strange_file_in_the_folder_disappears(run: Run) -> None:
    (run.dataset / "data" / "long" / "train-00001-of-00002.parquet").write_bytes(b"left over")

    build_dataset(RECIPE, run)

    assert "data/long/train-00001-of-00002.parquet" not in contents(run)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("mixes/mix-long/train.parquet", r"train\.parquet: not there yet; run 'mixdistill mix' first"),
        ("verdicts.parquet", r"verdicts\.parquet: not there yet; run 'mixdistill verify' first"),
        ("plots/difficulty.png", r"plots/difficulty\.png: not there yet; run 'mixdistill stats' first"),
        ("stats.json", r"stats\.json: not there yet; run 'mixdistill stats'"),
        ("mixes/short/mix.json", r"mix\.json: not there yet; run 'mixdistill mix'"),
    ],
)
def test_a_rebuild_that_fails_leaves_the_old_folder_as_it_was(run: Run, missing: str, message: str) -> None:
    first = contents(run)
    (run.folder / missing).unlink()

    with pytest.raises(StorageError, match=message):
        build_dataset(RECIPE, run)

    assert contents(run) == first


@pytest.mark.parametrize("left", [[".dataset.new"], [".dataset.old"], [".dataset.new", ".dataset.old"]])
def test_what_a_killed_rebuild_left_is_cleared_away(run: Run, left: Sequence[str]) -> None:
    first = contents(run)
    for name in left:
        (run.folder / name / "data" / "long").mkdir(parents=True)
        (run.folder / name / "data" / "long" / "train-00000-of-00001.parquet").write_bytes(b"half")

    build_dataset(RECIPE, run)

    assert contents(run) == first
    assert [name for name in (".dataset.new", ".dataset.old") if (run.folder / name).exists()] == []


def test_a_rebuild_that_was_killed_between_the_old_folder_and_the_new_is_made_good(run: Run) -> None:
    first = contents(run)
    run.dataset.rename(run.folder / ".dataset.old")

    build_dataset(RECIPE, run)

    assert contents(run) == first


def test_a_failed_request_is_no_trace_of_the_dataset(tmp_path: Path) -> None:
    failed = replace(make_trace(PROBLEMS[0], "short", sample=9, response=""), error="cannot connect to 10.0.0.1")
    run = make_run(tmp_path / "run", PROBLEMS, [*TRACES, failed])

    counts = finish_run(RECIPE, run)

    assert counts["traces"] == 21
    assert failed.trace_id not in pl.read_parquet(run.dataset / "data" / "traces" / "*.parquet")["trace_id"]


def test_texts_come_back_as_they_were(tmp_path: Path) -> None:
    odd = "é\u0301 日本 🧮 \u2028 \r\n\t\x00 </think> \\boxed{𝟜}"
    traces = [make_trace(problem, "short", response=f"{odd}{problem.reference}") for problem in PROBLEMS]
    run = make_run(tmp_path / "run", PROBLEMS, traces)
    finish_run(make_recipe({"short": {"short": 1.0}}), run)

    loaded = load(run.dataset, "short", tmp_path)

    assert {row["completion"][0]["content"] for row in loaded} == {f"{odd}{number + 2}" for number in range(10)}


def test_a_dataset_that_is_not_there_yet_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"dataset: not there yet; run 'mixdistill card' first"):
        dataset_files(Run(tmp_path))


def test_references_that_look_wrong_are_a_config_of_their_own(tmp_path: Path) -> None:
    suspects = [make_suspect(PROBLEMS[0]), make_suspect(PROBLEMS[0], "unreadable")]
    run = make_run(tmp_path / "run", PROBLEMS, TRACES, suspects=suspects)

    rows = finish_run(RECIPE, run)
    loaded = load(run.dataset, "suspects", tmp_path / "cache")

    assert rows["suspects"] == 2
    assert loaded.to_list() == to_frame(Suspect, suspects).to_dicts()
    assert dict(loaded.features) == {name: feature(dtype) for name, dtype in polars_schema(Suspect).items()}


def test_without_suspects_there_is_no_such_config(built: Run) -> None:
    assert not (built.dataset / "data" / "suspects").exists()
