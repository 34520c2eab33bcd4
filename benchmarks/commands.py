r"""Processes that are measured, and the recipe that `mixdistill` is called with.

What a process used is told by the system when it has ended: its CPU seconds and the most memory that it held,
its own ended children included.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from askers import MAX_TOKENS, MODEL, TIMEOUT_SECONDS, problem
from loopback import Loopback

_ERROR_CHARACTERS = 2000


class Ended(NamedTuple):
    """A process that ended."""

    status: int
    out: str
    told: str
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    others: float
    "Cores that other programs used meanwhile, the loopback server among them."


class Recipe(NamedTuple):
    """A recipe on disk, and the folder of its run."""

    path: Path
    run: Path

    def command(self, verb: str) -> list[str]:
        return [sys.executable, "-m", "mixdistill", verb, str(self.path), "--run", str(self.run), "--json"]


def write_recipe(
    folder: Path, server: Loopback, *, n_problems: int, samples: int, concurrency: int,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Recipe:  # fmt: skip
    """A recipe with one teacher on the server, and its problems."""
    folder.mkdir(exist_ok=True)
    rows = ({"problem": problem(number), "reference": "42"} for number in range(n_problems))
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    teacher = {
        "engine": "openai", "base_url": server.base_url, "model": MODEL, "style": "long", "samples": samples,
        "temperature": 0.0 if samples == 1 else 0.7, "max_tokens": MAX_TOKENS, "concurrency": concurrency,
        "timeout_seconds": timeout_seconds,
    }  # fmt: skip
    recipe = {
        "name": "loopback", "problems": [{"file": "problems.jsonl", "license": "apache-2.0"}],
        "teachers": {"long": teacher}, "mixes": {"long": {"long": 1.0}},
    }  # fmt: skip
    (folder / "recipe.yaml").write_text(json.dumps(recipe))  # JSON is YAML
    return Recipe(folder / "recipe.yaml", folder / "run")


def must(command: Sequence[str]) -> Ended:
    """Runs a command that has to end well."""
    ended = run_process(command)
    if ended.status != 0:
        raise SystemExit(f"{' '.join(command)} ended with {ended.status}:\n{ended.told[-_ERROR_CHARACTERS:]}")
    return ended


def run_process(command: Sequence[str]) -> Ended:
    """Runs a command to its end."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as told:
        busy, started = _busy_seconds(), time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=told)
        _, status, used = os.wait4(process.pid, 0)
        wall_seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)  # it is waited for, and Popen should know
        cpu_seconds = used.ru_utime + used.ru_stime
        others = max(_busy_seconds() - busy - cpu_seconds, 0.0) / wall_seconds
        texts = _text(out), _text(told)
    peak_bytes = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Ended(process.returncode, *texts, wall_seconds, cpu_seconds, peak_bytes, others)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


@contextmanager
def started(command: Sequence[str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A command that runs, and is waited for at the end of the block; what it says is not kept."""
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def _busy_seconds() -> float:
    """Time that all programs have used on all cores: user, nice and system of the first line."""
    ticks = Path("/proc/stat").read_text().split(maxsplit=4)[1:4]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def two_cores() -> tuple[int, int]:
    """A core for the server and one for the client."""
    if not hasattr(os, "sched_setaffinity"):
        raise SystemExit("this system cannot pin a process to a core; run --client on Linux")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("--client needs two cores; this process may use one")
    return cores[0], cores[1]


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Processes that are started in the block run on one core only, and so do their children."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [core])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
