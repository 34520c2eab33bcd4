"""The street: from recipe to dataset, and no work twice."""

from conftest import no_progress

from mixdistill.recipe import Recipe
from mixdistill.run import Run
from mixdistill.street import walk


def test_a_second_walk_does_nothing(small_run: tuple[Recipe, Run]) -> None:
    recipe, run = small_run

    records = list(walk(recipe, run, lambda stage: no_progress))

    assert [record.skipped for record in records] == [True] * 6
