"""Judges on a Ray cluster: a pool of actors, each with the processes of one machine's verifier.

In: cases with their places in another list. Out: the judgement of each, as they come. A batch whose node dies is
judged by another.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from typing import TypeVar, cast

from mixdistill.cluster import Answer, Answerer, Job, Replica, answers_on_ray
from mixdistill.recipe import Cluster, Verify
from mixdistill.verifiers.verify import Case, Judgement, verify_many

Place = TypeVar("Place")

# Cases of one job: enough to be worth its way, few enough that a dead node costs little.
_BATCH = 64


def judged_on_cluster(
    cluster: Cluster, settings: Verify, places: Iterable[Place], cases: Iterable[Case]
) -> Iterator[tuple[Place, Judgement]]:
    """The judgement of each case with its place, in the order that they come; raises as `answers_on_ray` does."""
    jobs: list[Job] = []
    waiting: dict[str, list[Place]] = {}
    pairs = zip(places, cases, strict=True)
    while batch := list(islice(pairs, _BATCH)):
        key = str(len(jobs))
        waiting[key] = [place for place, _ in batch]
        jobs.append({"key": key, "cases": [tuple(case) for _, case in batch]})
    replica = Replica(in_flight=1, cpus=cluster.cpus, gpus=0)
    for key, answer in answers_on_ray(jobs, partial(_opened, settings), replica, cluster):
        judgements = (Judgement._make(values) for values in cast("list[list[object]]", answer["judgements"]))
        yield from zip(waiting.pop(key), judgements, strict=True)


@asynccontextmanager
async def _opened(settings: Verify) -> AsyncIterator[Answerer]:
    """On a node: the verifier, as what answers jobs."""

    def judge(cases: list[list[object]]) -> list[Judgement]:
        return list(
            verify_many(
                map(Case._make, cases),
                leniency=settings.leniency,
                timeout_seconds=settings.timeout_seconds,
                processes=1,
            )
        )

    async def answer(job: Job) -> Answer:
        return {"judgements": await asyncio.to_thread(judge, cast("list[list[object]]", job["cases"]))}

    yield answer
