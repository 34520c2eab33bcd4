"""The street: from recipe to dataset, and no work twice."""

import json
from dataclasses import replace

import pytest
from conftest import no_progress

from mixdistill.errors import StorageError
from mixdistill.recipe import Recipe
from mixdistill.run import Progress, Run
from mixdistill.street import STAGES, run_stage, walk
from mixdistill.tables import read_stats


def test_a_second_walk_does_nothing(small_run: tuple[Recipe, Run]) -> None:
    recipe, run = small_run

    records = list(walk(recipe, run, lambda stage: no_progress))

    assert [record.skipped for record in records] == [True] * 6


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
