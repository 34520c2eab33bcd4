"""Real traces: 1,319 GSM8K problems with the solutions of four teachers, from file to Hub.

The data lies outside the project; without it these tests are skipped.
"""

import json
import os
from pathlib import Path

import pytest
from conftest import no_progress
from loopback_hub import LoopbackHub

from mixdistill.recipe import Recipe
from mixdistill.recipe_file import load_recipe
from mixdistill.run import Run
from mixdistill.street import publish, walk
from mixdistill.tables import read_traces, read_verdicts

DATA = Path(__file__).parent.parent.parent / "shared" / "data" / "gsm8k_teachers.jsonl"
pytestmark = pytest.mark.skipif(not DATA.is_file(), reason="the data is not here")


@pytest.fixture(scope="module")
def gsm8k(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Run]:
    settings = [f"problems.0.file={DATA}", f"teachers.openai.file={DATA}", "publish.repo=tester/gsm8k-mix-large"]
    recipe, run = load_recipe("gsm8k-teachers", settings), Run(tmp_path_factory.mktemp("gsm8k"))
    for _ in walk(recipe, run, lambda stage: no_progress):
        pass
    return recipe, run


def test_our_verdicts_agree_with_the_published_labels(gsm8k: tuple[Recipe, Run]) -> None:
    _, run = gsm8k
    rows = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
    published = {(row["problem"], row["teacher"]): row["label"] for row in rows}
    judged = read_traces(run).join(read_verdicts(run), on="trace_id").iter_rows(named=True)

    differing = [
        row
        for row in judged
        if published[row["prompt"][0]["content"], row["teacher"]] != (row["status"] == "correct")
    ]

    assert len(published) == 5276
    assert differing == []


def test_each_problem_is_in_the_mix_once_and_a_fifth_is_large(gsm8k: tuple[Recipe, Run]) -> None:
    import polars as pl

    _, run = gsm8k
    mixes = {name: pl.read_parquet(run.mixes / name / "train.parquet") for name in ("large", "small", "mix-large")}
    mix = mixes["mix-large"]

    assert mix["problem_id"].n_unique() == mix.height == 510
    assert mix.filter(pl.col("size") == "large").height == 102
    assert all(other["problem_id"].to_list() == mix["problem_id"].to_list() for other in mixes.values())


def test_it_is_published_and_read_back_equal(
    gsm8k: tuple[Recipe, Run], hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import datasets
    import polars as pl

    recipe, run = gsm8k
    monkeypatch.setenv("HF_TOKEN", hub.token)

    sent = publish(recipe, run)
    commits = [commit.sha for commit in hub.repo("tester/gsm8k-mix-large").history()]
    revision, cache = str(sent["revision"]), str(tmp_path)
    read = datasets.load_dataset(
        "tester/gsm8k-mix-large", "mix-large", split="train", revision=revision, cache_dir=cache
    )

    assert commits[0] == revision
    assert read.to_list() == pl.read_parquet(run.mixes / "mix-large" / "train.parquet").to_dicts()
    assert os.environ["HF_TOKEN"] not in (run.dataset / "README.md").read_text(encoding="utf-8")
