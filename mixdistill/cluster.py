"""Answers jobs on a Ray cluster: replicas of what answers on its nodes, and each answer here as it comes.

In: jobs (JSON objects with a `key`) and what opens the thing that answers them. Out: the key and the answer of
each, once, in the order in which they are finished. Ray Data streams the jobs through an autoscaled pool of
actors; a node that dies takes none with it: what it was working on is answered by another. Not here: what a job
means, and what is kept.
"""

import asyncio
import contextlib
import json
import logging
import os
import sys
import warnings
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, NamedTuple

from mixdistill.errors import ClusterError, MissingExtraError, MixdistillError, TeacherError
from mixdistill.recipe import Cluster

Job = Mapping[str, object]
"What is to be answered; JSON, since a column of Arrow would unify the fields of all jobs."
Answer = Mapping[str, object]
Answerer = Callable[[Job], Awaitable[Answer]]
Opener = Callable[[], AbstractAsyncContextManager[Answerer]]
"Opens what answers, on the node that it runs on; pickled: a function of an installed module, or a partial of one."

_FATAL = "fatal"
_LEFT = "left"


class Replica(NamedTuple):
    """What one copy takes."""

    in_flight: int
    "Jobs that it works on at once."
    cpus: float
    gpus: float


def answers_on_ray(
    jobs: Iterable[Job], opened: Opener, replica: Replica, cluster: Cluster,
    is_over: Callable[[], bool] | None = None,
) -> Iterator[tuple[str, Answer]]:  # fmt: skip
    """The key and the answer of each job, within a second of its end.

    Once `is_over`, which is asked after each answer, no job is begun any more; those under way still come.
    Joins the cluster that this process is connected to, else that of the recipe or of RAY_ADDRESS, else starts one
    of this machine. Closing the iterator gives up what is under way. Raises TeacherError with what an answerer
    says is wrong with all jobs, ClusterError for what the cluster could not do, MissingExtraError without Ray.
    """
    rows = [{"key": str(job["key"]), "job": json.dumps(dict(job), ensure_ascii=False)} for job in jobs]
    if not rows:
        return
    with joined(cluster):
        seen: set[str] = set()
        for key, answer in _stream(rows, opened, replica, cluster, is_over):
            if _FATAL in answer:
                raise TeacherError(str(answer[_FATAL]))
            if (
                key not in seen and _LEFT not in answer
            ):  # Ray gives each block once; this is what the promise rests on
                seen.add(key)
                yield key, answer


@contextmanager
def joined(cluster: Cluster) -> Iterator[None]:
    """Connects to the cluster, or starts one; turns its errors into ClusterError, and keeps it off stdout."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("ray", 'pip install "mixdistill[ray]"') from error
    with _quiet():
        import ray.data

        try:
            if not ray.is_initialized():
                # Without an address Ray would join whatever cluster this machine started last.
                address = cluster.address or os.environ.get("RAY_ADDRESS") or "local"
                dashboard = False if address == "local" else None  # only for one that is started here
                ray.init(address, include_dashboard=dashboard, log_to_driver=False, logging_level=logging.ERROR)
            yield
        except (ray.exceptions.RayError, ConnectionError) as error:
            told = str(error).strip().splitlines() or [type(error).__name__]
            raise ClusterError(f"the Ray cluster stopped: {told[-1]}; what is finished is kept") from error


def _stream(
    rows: list[dict[str, str]], opened: Opener, replica: Replica, cluster: Cluster,
    is_over: Callable[[], bool] | None,
) -> Iterator[tuple[str, Answer]]:  # fmt: skip
    import ray.data

    flag: Any = is_over and _flag()
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.enable_auto_log_stats = False
    context.execution_options.preserve_order = False  # a long trace holds up no other
    context.max_errored_blocks = 0
    with ray.data.DataContext.current(context):
        # A job is a block, and a block a task: the outputs of a task come in their order and are redone together.
        jobs = ray.data.from_items(rows, override_num_blocks=len(rows))
        at_least, at_most = cluster.replicas
        pool = ray.data.ActorPoolStrategy(
            min_size=at_least,
            max_size=at_most,
            max_concurrent_calls_per_actor=replica.in_flight,
            # Above it a pool never looks busy enough to grow (threshold 1.75 tasks a slot).
            max_tasks_in_flight_per_actor=2 * replica.in_flight,
        )
        answers = jobs.map_batches(
            _copies_of(opened, flag), batch_size=1, compute=pool,
            num_cpus=replica.cpus, num_gpus=replica.gpus or None,
        )  # fmt: skip
        # prefetch_batches: with the default a finished row waits here for the next one
        for batch in answers.iter_batches(batch_size=None, prefetch_batches=0):
            for key, answer in zip(batch["key"], batch["answer"], strict=True):
                yield str(key), json.loads(answer)
                if is_over is not None and is_over():
                    ray.get(flag.up.remote())


class _Flag:
    """One actor: whether it is over."""

    def __init__(self) -> None:
        self._is_up = False

    def up(self) -> None:
        self._is_up = True

    def is_up(self) -> bool:
        return self._is_up


def _flag() -> Any:
    """A flag on the node of this process, which the other nodes may die without."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(_Flag).options(num_cpus=0, scheduling_strategy=here).remote()


class _Copy:
    """One actor: what answers, opened at the first job in the event loop that Ray Data runs all jobs in."""

    opened: Opener
    flag: Any

    def __init__(self) -> None:
        self._answerer: asyncio.Task[Answerer] | None = None

    async def __call__(self, batch: dict[str, list[str]]) -> dict[str, list[str]]:
        if self._answerer is None:  # no `await` before it is set: opened once
            self._context = type(self).opened()
            self._answerer = asyncio.ensure_future(self._context.__aenter__())
        answers: list[Answer] = []
        try:
            answerer = await self._answerer
            for job in batch["job"]:
                is_over = self.flag is not None and await self.flag.is_up.remote()
                answers.append({_LEFT: True} if is_over else await answerer(json.loads(job)))
        except MixdistillError as error:  # wrong for all jobs; an exception would come out as Ray's own
            answers = [{_FATAL: str(error)} for _ in batch["job"]]
        return {"key": batch["key"], "answer": [json.dumps(answer, ensure_ascii=False) for answer in answers]}


def _copies_of(opened: Opener, flag: Any) -> type[_Copy]:
    """The actor class with its opener: as an argument, it would be lost with the node that holds it."""
    return type("Copy", (_Copy,), {"opened": staticmethod(opened), "flag": flag})


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what Ray prints off stdout (it is our result), and its notes and deprecations off stderr."""
    logger = logging.getLogger("ray.data")
    level = logger.level
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        import ray.data  # noqa: F401  configures its logger

        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
