r"""`mixdistill generate` as a user calls it, against a loopback server: speed, kills, and having nothing to do.

In: sizes. Out: what was measured. Each run has a recipe and a folder of its own, in a folder that is removed
afterwards; the command is a process of its own.
"""

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from commands import Ended, Recipe, must, on_core, run_process, started, two_cores, write_recipe
from loopback import CLIENT_TIMEOUT_SECONDS, Loopback, serving

_FOLDER = Path(__file__).parent
_KILLS = 5
_KILL_CONCURRENCY = 64
# Errors that are left after so many calls are taken to be there for good.
_CALLS_AFTER_KILLS = 10
_SAMPLES = 4
_POLL_SECONDS = 0.01
# A killed client leaves at most what was on its way; the server has seen that by then.
_SETTLE_SECONDS = 0.1
_BLOCK_BYTES = 1 << 20


class Side(NamedTuple):
    """One client in one round."""

    n: int
    seconds: float
    "From the first request to the last answer; for ours, of the whole stage."
    whole: Ended
    versions: Mapping[str, str]

    @property
    def per_second(self) -> float:
        return self.n / self.seconds

    @property
    def per_second_of_command(self) -> float:
        return self.n / self.whole.wall_seconds

    @property
    def per_cpu_second(self) -> float:
        """Imports and starting included."""
        return self.n / self.whole.cpu_seconds


class Asker(NamedTuple):
    """A client that is measured beside ours."""

    name: str
    python: str
    n: int
    "Requests in a round: fewer where each takes longer."


def run_clients(
    folder: Path, askers: Sequence[Asker], n: int | None, concurrency: int, rounds: int, server_python: str
) -> Iterator[dict[str, Side]]:
    """Each round: ours (not if `n` is None), then every other client, on one core and the server on another.

    They take turns, so that a machine that slows down meanwhile slows all.
    """
    server_core, client_core = two_cores()
    with serving(delay_seconds=0.02, core=server_core, python=server_python) as server:
        for number in range(rounds):
            sides: dict[str, Side] = {}
            with on_core(client_core):
                if n is not None:
                    sides["mixdistill"] = _run_ours(folder / f"round-{number}", server, n, concurrency)
                for asker in askers:
                    sides[asker.name] = _run_asker(asker, server, concurrency)
            yield sides


def _run_ours(folder: Path, server: Loopback, n: int, concurrency: int) -> Side:
    recipe = write_recipe(folder, server, n_problems=n, samples=1, concurrency=concurrency)
    must(recipe.command("problems"))
    ended = must(recipe.command("generate"))
    stage = json.loads((recipe.run / "manifest.json").read_text())["generate"]
    if stage["counts"]["traces"] != n:
        raise SystemExit(f"mixdistill: {stage['counts']} of {n} requests")
    return Side(n, stage["seconds"], ended, {name: stage["versions"][name] for name in ("mixdistill", "python")})


def _run_asker(asker: Asker, server: Loopback, concurrency: int) -> Side:
    script = str(_FOLDER / "askers.py")
    ended = must([asker.python, script, asker.name, server.base_url, str(asker.n), str(concurrency)])
    said = json.loads(ended.out.splitlines()[-1])
    if said["n_right"] != asker.n:
        raise SystemExit(f"{asker.name}: {said['n_right']} right answers of {asker.n}")
    return Side(asker.n, said["seconds"], ended, said["versions"])


class Killed(NamedTuple):
    """What was left of a run that was killed again and again, over a server that fails."""

    n: int
    kills: int
    calls: int
    "Of the command, killed ones too, until it had nothing more to mend."
    wall_seconds: float
    good_at_kill: list[int]
    "Good traces on disk after each kill."
    keys_once: int
    "Keys that the recipe asks for and that are there once in the merged view, without an error."
    errors_left: int
    missing: int
    asked_again: int
    "Requests whose good trace was on disk, and that were asked again nevertheless."
    duplicates: int
    "Good lines in the trace files beyond one a key."
    answered_twice: int
    "Good answers beyond one a request: they were lost with the process, or came too late for the client."
    n_asked: int
    faulty: dict[str, int]
    "Requests that failed, by the way in which they did."


def run_killed(folder: Path, n: int, seed: int, server_python: str) -> Killed:
    """Kills the command five times at random moments, then lets it end; three requests in ten fail."""
    draw = random.Random(seed)
    begun = time.perf_counter()
    with serving(delay_seconds=0.02, faulty=True, seed=seed, python=server_python) as server:
        recipe = write_recipe(
            folder, server, n_problems=n // _SAMPLES, samples=_SAMPLES,
            concurrency=min(_KILL_CONCURRENCY, n // 10), timeout_seconds=CLIENT_TIMEOUT_SECONDS,
        )  # fmt: skip
        must(recipe.command("problems"))
        asked_for: list[dict[str, int]] = []
        for _ in range(_KILLS):
            _kill_at(recipe, server, server.counts().n_answered + draw.randint(n // 40, n // 8), draw)
            times = server.counts().asked
            asked_for.append({name: times[name] for name in _good_names(recipe)})
        calls = _KILLS + _finish(recipe)
        counts = server.counts()
    good = _good_names(recipe)
    again = {name for before in asked_for for name, times in before.items() if counts.asked[name] != times}
    keys, errors = _merged(recipe)
    return Killed(
        n=n,
        kills=_KILLS,
        calls=calls,
        wall_seconds=time.perf_counter() - begun,
        good_at_kill=[len(before) for before in asked_for],
        keys_once=sum(times == 1 for times in keys.values()),
        errors_left=errors,
        missing=n - len(keys) - errors,
        asked_again=len(again),
        duplicates=sum(times - 1 for times in good.values()),
        answered_twice=counts.n_answered - len(counts.answered),
        n_asked=counts.n_asked,
        faulty=counts.faults,
    )


def _kill_at(recipe: Recipe, server: Loopback, n_answered: int, draw: random.Random) -> None:
    with started(recipe.command("generate")) as process:
        while process.poll() is None and server.counts().n_answered < n_answered:
            time.sleep(_POLL_SECONDS)
        if process.poll() is not None:
            raise SystemExit(f"mixdistill ended with {process.returncode} before it was killed")
        time.sleep(draw.random() * 2 * _POLL_SECONDS)
        process.send_signal(signal.SIGKILL)
    time.sleep(_SETTLE_SECONDS)


def _finish(recipe: Recipe) -> int:
    """Calls the command until it has nothing to mend, and says how often that was."""
    for calls in range(1, _CALLS_AFTER_KILLS):
        ended = run_process(recipe.command("generate"))
        if ended.status == 0 and not json.loads(ended.out)["stages"]["generate"]["counts"]["failed"]:
            return calls
    run_process(recipe.command("generate"))
    return _CALLS_AFTER_KILLS


def _good_names(recipe: Recipe) -> Counter[str]:
    """Good traces on disk, by what the server knows their requests by; line by line, with nothing of ours."""
    names: Counter[str] = Counter()
    for path in sorted((recipe.run / "traces").glob("*.jsonl")):
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n") and "request_key" in (trace := json.loads(line)) and not trace.get("error"):
                names[json.dumps([trace["prompt"][-1]["content"], trace["seed"]])] += 1
    return names


def _merged(recipe: Recipe) -> tuple[Counter[str], int]:
    """Of the traces as later stages read them: good ones by key, and errors."""
    from mixdistill.run import Run
    from mixdistill.tables import read_traces

    traces = read_traces(Run(recipe.run))
    good = traces.filter(traces["error"].is_null())
    return Counter(good["request_key"]), traces.height - good.height


class Resumed(NamedTuple):
    """The command when all traces are there."""

    n: int
    traces_bytes: int
    made_seconds: float
    unknown: list[Ended]
    "Before the manifest knows of it, as after a kill just at the end."
    known: list[Ended]


def run_resumed(folder: Path, n: int, rounds: int, server_python: str) -> Resumed:
    """Asks for everything, kills the command just after the last answer, and calls it again.

    The run is made by the command itself, so it lies on disk as that leaves it.
    """
    with serving(delay_seconds=0.0, python=server_python) as server:
        recipe = write_recipe(folder, server, n_problems=n, samples=1, concurrency=256)
        must(recipe.command("problems"))
        begun = time.perf_counter()
        _kill_at_end(recipe, server, n)
        made_seconds = time.perf_counter() - begun
        n_asked = server.counts().n_asked
        unknown, known = [], []
        for _ in range(rounds):
            _forget_stage(recipe)
            unknown.append(must(recipe.command("generate")))
            known.append(must(recipe.command("generate")))
        if server.counts().n_asked != n_asked:
            raise SystemExit(f"asked again: {server.counts().n_asked - n_asked} of {n}")
    size = sum(path.stat().st_size for path in (recipe.run / "traces").iterdir())
    return Resumed(n, size, made_seconds, unknown, known)


def _kill_at_end(recipe: Recipe, server: Loopback, n: int) -> None:
    """Kills it when the last trace is written; a short run may have ended by then."""
    with started(recipe.command("generate")) as process:
        while process.poll() is None:
            time.sleep(_POLL_SECONDS)
            if server.counts().n_answered >= n and _n_lines(recipe) >= n:
                process.kill()
                return
        if process.returncode != 0:
            raise SystemExit(f"mixdistill ended with {process.returncode}")


def _n_lines(recipe: Recipe) -> int:
    """Lines of the trace files; block by block, for what this process holds counts in that of its children."""
    n = 0
    for path in (recipe.run / "traces").glob("*.jsonl"):
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                n += block.count(b"\n")
    return n


def _forget_stage(recipe: Recipe) -> None:
    """Takes the stage out of the manifest."""
    manifest = recipe.run / "manifest.json"
    stages = json.loads(manifest.read_text())
    stages.pop("generate", None)
    manifest.write_text(json.dumps(stages))


def run_beside_vllm(python: str, model: str, rounds: int) -> dict[str, list[float]]:
    """Tokens per second of `plain` and `ours`, which take turns, each in a process of its own."""
    rates: dict[str, list[float]] = {"plain": [], "ours": []}
    quiet = {"VLLM_LOGGING_STREAM": "ext://sys.stderr", "VLLM_LOGGING_LEVEL": "ERROR", **os.environ}
    for _ in range(rounds):
        for side, found in rates.items():
            command = [python, str(Path(__file__).with_name("beside_vllm.py")), side, model]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=quiet)
            found += json.loads(done.stdout.splitlines()[-1])
    return rates
