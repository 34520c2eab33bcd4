"""Generating and verifying on a real Ray cluster of two nodes on this machine, one of which dies."""

import logging
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import no_progress
from fault_server import FaultServer, in_turn, refuses, says
from test_lines import Tries, until
from test_traces import generate, lines, recipe_of, run_with, served_by

from mixdistill.errors import BudgetReached, TeacherError
from mixdistill.recipe import Budget
from mixdistill.run import Figures
from mixdistill.tables import read_traces, read_verdicts
from mixdistill.verifiers.judge import judge_traces

# Ray's own modules and its clean-up raise warnings that are not ours.
pytestmark = pytest.mark.filterwarnings("ignore")
# A dead node is noticed sooner than by default.
_HEALTH = {
    "health_check_initial_delay_ms": 500, "health_check_period_ms": 500, "health_check_timeout_ms": 500,
    "health_check_failure_threshold": 3,
}  # fmt: skip
_NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}


@dataclass
class TwoNodes:
    """A cluster of two nodes, of which the second may be killed."""

    cluster: Any
    second: Any

    def kill_second(self) -> None:
        """Kills -9 the second node's raylet and all its workers."""
        raylet = self.second.all_processes["raylet"][0].process.pid
        children = Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split()
        for pid in [raylet, *map(int, children)]:
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def nodes() -> Iterator[TwoNodes]:
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    patch.delenv("RAY_ADDRESS", raising=False)
    import ray
    from ray.cluster_utils import Cluster

    head = {**_NODE, "include_dashboard": False, "_system_config": _HEALTH}
    cluster: Any = Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(**_NODE)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    yield TwoNodes(cluster, second)
    ray.shutdown()
    cluster.shutdown()
    patch.undo()


EMBEDDED = {
    "engine": "llamacpp", "style": "short", "slots": 2, "context_tokens": 256, "threads": 1, "max_tokens": 24,
    "temperature": 1.0, "prompt": {"problem": "{{problem}}"},
}  # fmt: skip
CLUSTER = {"replicas": [2, 2]}


def test_until_correct_and_escalation_go_in_waves(nodes: TwoNodes, tmp_path: Path) -> None:
    """The same draws as on one machine, and the same verdicts."""
    patterns = {1: "r", 2: "wr", 3: "w", 4: "r", 5: "wwr", 6: "r"}
    found = []
    for name, fields in (("one", {}), ("two", {"cluster": {"replicas": [1, 2]}})):
        run = run_with(6, tmp_path / name)
        with FaultServer(Tries(patterns)) as server:
            recipe = recipe_of(
                {"long": until(server, 1, 2), "huge": served_by(server, model="huge")},
                escalate=["long", "huge"], verify={"processes": 1}, **fields,
            )  # fmt: skip
            counts = generate(recipe, run)
            judged = judge_traces(recipe, run, no_progress)
        traces = read_traces(run).select("request_key", "teacher", "sample").rows()
        verdicts = read_verdicts(run).drop("seconds").rows()
        found.append((counts, judged | {"new": 0}, traces, verdicts))

    assert found[0] == found[1]
    assert found[0][0]["asked"] == 9 + 2


def test_a_draw_that_failed_is_asked_again_by_the_next_call(nodes: TwoNodes, tmp_path: Path) -> None:
    run = run_with(3, tmp_path / "run")
    with FaultServer(Tries({1: "r", 2: "fr", 3: "wr"})) as server:
        recipe = recipe_of({"long": until(server, 1, 3)}, cluster={"replicas": [1, 1]})
        counts = [generate(recipe, run) for _ in range(2)]

    assert [(each["asked"], each["failed"]) for each in counts] == [(4, 1), (1, 0)]


def test_a_budget_ends_no_request_that_was_begun(nodes: TwoNodes, tmp_path: Path) -> None:
    """What was paid is kept; what was not begun is asked by the next call."""
    run = run_with(30, tmp_path / "run")
    with FaultServer(in_turn(says(delay_seconds=0.05))) as server:
        recipe = recipe_of(
            {"long": served_by(server, concurrency=2)}, budget={"tokens": 46 * 5}, cluster={"replicas": [1, 1]}
        )
        with pytest.raises(BudgetReached, match=r"the budget of 230 tokens is reached"):
            generate(recipe, run)
        n_asked = len(server.asked)
        kept = len(lines(run))
        generate(recipe.model_copy(update={"budget": Budget()}), run)
        times = server.times()

    assert kept == n_asked
    assert 5 <= n_asked <= 12
    assert sorted(times.values()) == [1] * 30


def test_what_is_wrong_with_all_requests_is_one_clear_error(nodes: TwoNodes, tmp_path: Path) -> None:
    told = r"^teacher 'long': .* answered 401: the key is refused"
    with FaultServer(in_turn(refuses(401))) as server, pytest.raises(TeacherError, match=told):
        generate(recipe_of({"long": served_by(server)}, cluster=CLUSTER), run_with(4, tmp_path / "run"))


def test_a_killed_node_loses_no_request(nodes: TwoNodes, tmp_path: Path) -> None:
    """Last in this file: afterwards the cluster has one node."""
    run = run_with(20, tmp_path / "remote")
    here = run_with(20, tmp_path / "here")
    killed: list[int] = []

    def kill(done: int, total: int, note: str, figures: Figures | None = None, /) -> None:
        if done == 6 and not killed:
            killed.append(done)
            nodes.kill_second()

    counts = generate(recipe_of({"short": EMBEDDED}, cluster=CLUSTER), run, kill)
    generate(recipe_of({"short": EMBEDDED}), here)

    assert killed == [6]
    assert (counts["traces"], counts["asked"], counts["failed"]) == (20, 20, 0)
    assert len(lines(run)) == 20
    assert read_traces(run)["request_key"].to_list() == read_traces(here)["request_key"].to_list()
    recipe = recipe_of({"short": EMBEDDED}, cluster={"replicas": [1, 1]})
    assert judge_traces(recipe, run, no_progress)["verdicts"] == 20
