"""Asks the teachers on a Ray cluster, in waves: what can be sent now, then, by its verdicts, what follows from it.

In: the plan, the problems, and who judges. Out: every trace into the tally as it comes, written on this machine
under the same keys as without a cluster. The replicas hold the same engines as `lines` does; what runs them is
`mixdistill.cluster`. One engine after the other has the whole cluster.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from typing import Any, cast

from mixdistill.builders.asking import FailureWindow
from mixdistill.builders.completions import Completion, Request
from mixdistill.builders.engines import AskedTeacher, asked_teachers, open_engine, record_engine
from mixdistill.builders.judging import Judging
from mixdistill.builders.lines import due_requests
from mixdistill.builders.plan import Plan, plan_traces
from mixdistill.builders.tally import Tally
from mixdistill.cluster import Answer, Answerer, Job, Replica, answers_on_ray
from mixdistill.recipe import Cluster, Recipe
from mixdistill.records import Problem
from mixdistill.run import Run
from mixdistill.teachers import VLLMTeacher


def ask_on_cluster(
    recipe: Recipe, run: Run, plan: Plan, problems: Sequence[Problem], judging: Judging, tally: Tally
) -> str | None:
    """Asks for all that is missing; returns the budget that stopped it, in words, or None.

    What is under way when a budget is reached is finished and kept: it may be overrun by that. Raises TeacherError
    as `generate_traces` does, and what `answers_on_ray` raises.
    """
    sent: set[str] = set()
    while True:
        now = plan_traces(recipe, run)
        now = now._replace(missing=(now.missing & plan.missing) - sent)
        tally.expect(len(now.missing))
        due = due_requests(recipe, run, now, problems, judging, tally)
        wave = {request.request_key: request for request in due if request.request_key not in sent}
        if not wave:
            return None
        if stopped := tally.ledger.reached():
            return stopped
        _ask_wave(recipe, run, wave, FailureWindow(recipe.failures, plan.failed), tally, sent)


def _ask_wave(
    recipe: Recipe, run: Run, wave: Mapping[str, Request], failures: FailureWindow, tally: Tally, sent: set[str]
) -> None:
    """Asks what can be asked now, one engine after the other, until a budget is reached; adds to `sent`."""
    teachers = asked_teachers(recipe)
    sharing: dict[tuple[object, ...], list[Request]] = {}
    for request in wave.values():
        sharing.setdefault(teachers[request.teacher].connection(), []).append(request)
    for requests in sharing.values():
        if tally.ledger.reached():
            return
        names = sorted({request.teacher for request in requests})
        for name in names:
            tally.ledger.open(name)
        try:
            _ask_engine(recipe, run, teachers[names[0]], requests, failures, tally, sent)
        finally:
            for name in names:
                tally.ledger.close(name)


def _ask_engine(
    recipe: Recipe, run: Run, teacher: AskedTeacher, requests: Sequence[Request], failures: FailureWindow,
    tally: Tally, sent: set[str],
) -> None:  # fmt: skip
    """Asks what one engine is asked."""
    cluster = cast(Cluster, recipe.cluster)
    by_key = {request.request_key: request for request in requests}
    jobs = ({"key": request.request_key, "request": asdict(request)} for request in requests)
    described: set[str] = set()
    answers = answers_on_ray(
        jobs, partial(_opened, teacher), _replica(teacher, cluster), cluster,
        is_over=lambda: tally.ledger.reached() is not None,
    )  # fmt: skip
    for key, answer in answers:
        request = by_key[key]
        sent.add(key)
        completion = Completion(**cast("dict[str, Any]", answer["completion"]))
        tally.ledger.start(request)
        cost = tally.ledger.end(request, completion)
        tally.keep(request.trace(completion, cost_usd=cost))
        tally.show()
        failures.note(request, completion)
        about = answer["about"]
        if isinstance(about, Mapping) and request.teacher not in described:
            described.add(request.teacher)
            record_engine(run, [request.teacher], about)


def _replica(teacher: AskedTeacher, cluster: Cluster) -> Replica:
    gpus = cluster.gpus
    if isinstance(teacher, VLLMTeacher):
        gpus = gpus or teacher.tensor_parallel * teacher.pipeline_parallel
    return Replica(teacher.most_under_way, cluster.cpus, gpus)


@asynccontextmanager
async def _opened(teacher: AskedTeacher) -> AsyncIterator[Answerer]:
    """On a node: the engine of a teacher, as what answers jobs."""
    async with open_engine(teacher) as engine:
        about: dict[str, object] = {}

        async def answer(job: Job) -> Answer:
            completion = await engine.complete(_request(cast("dict[str, Any]", job["request"])))
            if completion.error is None and not about:
                about.update(await engine.describe())
            return {"completion": asdict(completion), "about": about or None}

        yield answer


def _request(values: dict[str, Any]) -> Request:
    return Request(**values | {"messages": tuple(values["messages"])})
