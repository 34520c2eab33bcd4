"""The street: from recipe to dataset, and no work twice."""

import json
from dataclasses import replace

import polars as pl
import pytest
from conftest import no_progress

from mixdistill.errors import StorageError
from mixdistill.recipe import Recipe
from mixdistill.run import Progress, Run
from mixdistill.street import STAGES, run_stage, walk
from mixdistill.tables import read_stats, read_verdicts


def test_a_second_walk_does_nothing(small_run: tuple[Recipe, Run]) -> None:
    recipe, run = small_run

    records = list(walk(recipe, run, lambda stage: no_progress))

    assert [record.skipped for record in records] == [True] * 6


def test_verdicts_of_an_older_version_are_made_anew(small_run: tuple[Recipe, Run]) -> None:
    recipe, run = small_run
    now = pl.read_parquet(run.verdicts)

    def old_verdicts(recipe: Recipe, run: Run, progress: Progress) -> dict[str, int]:
        now.drop("repetition").with_columns(verifier=pl.lit("mixdistill 0.1.0, default")).write_parquet(
            run.verdicts
        )
        for path in run.verdict_files():
            path.unlink()
        return {}

    run_stage(replace(STAGES["verify"], shape=1, work=old_verdicts), recipe, run, no_progress)

    with pytest.raises(StorageError, match=r"verdicts\.parquet: of an older version; run 'mixdistill verify'"):
        read_verdicts(run)
    skipped = {record.stage for record in walk(recipe, run, lambda stage: no_progress) if record.skipped}
    assert {"problems", "generate"} <= skipped
    assert "verify" not in skipped
    assert pl.read_parquet(run.verdicts).drop("seconds").equals(now.drop("seconds"))


def test_stats_of_an_older_version_are_made_anew_and_nothing_is_asked_again(
    small_run: tuple[Recipe, Run],
) -> None:
    recipe, run = small_run
    now = run.stats.read_bytes()

    def old_stats(recipe: Recipe, run: Run, progress: Progress) -> dict[str, int]:
        stats = json.loads(now)
        for teacher in stats["teachers"]:
            del teacher["right"]
        run.stats.write_text(json.dumps(stats), encoding="utf-8")
        return {}

    run_stage(replace(STAGES["stats"], shape=1, work=old_stats), recipe, run, no_progress)

    with pytest.raises(StorageError, match=r"stats\.json: of an older version; run 'mixdistill stats'"):
        read_stats(run)
    skipped = {record.stage: record.skipped for record in walk(recipe, run, lambda stage: no_progress)}
    assert skipped == {stage: stage != "stats" for stage in STAGES}
    assert run.stats.read_bytes() == now
