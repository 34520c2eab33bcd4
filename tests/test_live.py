"""Judging while traces are written: what goes wrong there ends the run in one line."""

import asyncio
import gc
from pathlib import Path

import pytest
from made_runs import make_problem, make_recipe, make_run, make_trace

from mixdistill.errors import StorageError
from mixdistill.verifiers.live import live_judging


def test_a_full_disk_under_an_offer_ends_the_next_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problem = make_problem(1)
    trace = make_trace(problem, "long")
    recipe, run = make_recipe({"all": {"long": 1.0}}), make_run(tmp_path / "run", [problem], [trace])
    run.verdicts_so_far.write_text("a file where the folder should be", encoding="utf-8")
    unretrieved: list[dict[str, object]] = []

    async def offer_twice() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: unretrieved.append(context))
        with live_judging(recipe, run) as judging:
            judging.offer(trace)
            while judging._offered:
                await asyncio.sleep(0.01)
            gc.collect()
            with pytest.raises(StorageError, match="cannot be written"):
                judging.offer(trace)
            with pytest.raises(StorageError, match="cannot be written"):
                await judging.judge(trace)

    asyncio.run(offer_twice())

    assert unretrieved == []
