"""Our verifier under load and under attack: two cores, 1% poison, the adversarial suite."""

import os
import random
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from sides import NEEDS_ALGEBRA, Limits, Measured, Row, clock, to_case

from mixdistill.verifiers.verify import Case, verify, verify_many
from mixdistill.verifiers.workers import MEMORY_LIMIT_BYTES

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from adversarial import Attack, attacks

# Cases that take one core about 20 seconds, so that starting the processes, which is measured too, hardly matters.
_CASES_FOR_CORES = {"pairs": 50_000, "responses": 200_000}
# One core and two take turns, so that a machine that slows down meanwhile slows both.
_ROUNDS = 3
_POISON_CASES = 10_000
# A verdict may come this much later than its limit: killing a process takes a moment.
_GRACE_SECONDS = 0.5
_SAMPLE_SECONDS = 0.01


class Round(NamedTuple):
    """Verdicts per second of wall clock on one core and then on two."""

    one: float
    two: float
    others: float
    "Cores that other programs used meanwhile; they slow the run on two cores most."

    @property
    def ratio(self) -> float:
        return self.two / self.one


class Scaling(NamedTuple):
    """What a second core brings."""

    n: int
    rounds: list[Round]
    start_seconds: tuple[float, float]
    "From nothing to the first verdict by algebra, on one core and on two."

    @property
    def quietest(self) -> Round:
        return min(self.rounds, key=lambda each: each.others)


def run_on_cores(rows: Sequence[Row], limits: Limits) -> dict[str, Scaling]:
    """Throughput pinned to one core with one process, and to two with two; starting them is part of it.

    Rows repeat to fill the time, each time with another space behind the reference so that none is remembered.
    What counts is the round that other programs disturbed least.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise SystemExit("this system cannot pin a process to a core; run --cores on Linux")
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise SystemExit("--cores needs two cores; this process may use one")
    scalings = {}
    for name, n_cases in _CASES_FOR_CORES.items():
        group = [row for row in rows if (row.form == "response") == (name == "responses")]
        if group:
            passes = range(-(-n_cases // len(group)))
            cases = [to_case(row._replace(gold=row.gold + " " * k)) for k in passes for row in group]
            try:
                scalings[name] = _scaling(cases, limits, allowed)
            finally:
                os.sched_setaffinity(0, allowed)
    return scalings


def _scaling(cases: Sequence[Case], limits: Limits, cores: Sequence[int]) -> Scaling:
    first = [Case(*NEEDS_ALGEBRA)]
    start_seconds = _run(first, limits, cores[:1]).wall_seconds, _run(first, limits, cores[:2]).wall_seconds
    rounds = []
    for _ in range(_ROUNDS):
        busy_seconds = _busy_seconds()
        one, two = _run(cases, limits, cores[:1]), _run(cases, limits, cores[:2])
        others = _busy_seconds() - busy_seconds - one.cpu_seconds - two.cpu_seconds
        wall_seconds = one.wall_seconds + two.wall_seconds
        speeds = len(cases) / one.wall_seconds, len(cases) / two.wall_seconds
        rounds.append(Round(*speeds, max(others, 0.0) / wall_seconds))
    return Scaling(len(cases), rounds, start_seconds)


def _run(cases: Sequence[Case], limits: Limits, cores: Sequence[int]) -> Measured:
    os.sched_setaffinity(0, cores)
    with clock() as read:
        for _ in verify_many(cases, **limits._replace(processes=len(cores))._asdict()):
            pass
    return read()


def _busy_seconds() -> float:
    """Time that all programs have used on all cores: user, nice and system of the first line."""
    ticks = Path("/proc/stat").read_text().split(maxsplit=4)[1:4]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


class Poisoned(NamedTuple):
    """The same cases without and with one in a hundred from the adversarial suite."""

    clean: Measured
    poisoned: Measured
    statuses: dict[str, int]
    "Of the poison."
    wrong: list[str]
    "Names of poison with a status that it must not get."
    timeout_seconds: float
    "Time limits that were used up; they count in full."

    @property
    def ratio(self) -> float:
        return self.clean.wall_seconds / self.poisoned.wall_seconds


def run_poisoned(rows: Sequence[Row], limits: Limits, *, seed: int, trap: Path) -> Poisoned:
    """Throughput of 10,000 cases drawn from the rows, and of the same with 1% poison."""
    draw = random.Random(seed)
    cases = [to_case(row) for row in draw.choices(rows, k=_POISON_CASES)]
    suite = [attack for attack in attacks(trap) if attack.kind != "near"]
    places = draw.sample(range(len(cases)), len(cases) // 100)
    poison = dict(zip(places, draw.choices(suite, k=len(places)), strict=True))
    mixed = [
        Case(poison[place].reference, poison[place].response) if place in poison else case
        for place, case in enumerate(cases)
    ]
    with clock() as read:
        list(verify_many(cases, **limits._asdict()))
    clean = read()
    with clock() as read:
        judged = list(verify_many(mixed, **limits._asdict()))
    poisoned = read()
    statuses: Counter[str] = Counter(judged[place].status for place in places)
    wrong = [attack.name for place, attack in poison.items() if judged[place].status not in attack.allowed]
    used = statuses["timeout"] * limits.timeout_seconds
    return Poisoned(clean, poisoned, dict(statuses), sorted(set(wrong)), used)


class Attacked(NamedTuple):
    """What one attack did."""

    attack: Attack
    status: str
    reason: str
    wall_seconds: float
    own_bytes: int
    "Peak memory of this process, which runs the cheap tiers."
    worker_bytes: int
    "Peak memory of the worker process; both are 0 where the system does not tell."
    faults: list[str]


def run_attacks(limits: Limits, trap: Path) -> Iterator[Attacked]:
    """Every attack alone, against a worker that is ready."""
    for attack in attacks(trap):
        verify(*NEEDS_ALGEBRA)
        with _Peaks() as peaks, clock() as read:
            judged = verify(
                attack.reference,
                attack.response,
                leniency=limits.leniency,
                timeout_seconds=limits.timeout_seconds,
            )
            seconds = read().wall_seconds
        longest = limits.timeout_seconds + _GRACE_SECONDS
        faults = {
            f"took over {longest:g} s": seconds > longest,
            f"is {judged.status}": judged.status not in attack.allowed,
            "took too much memory": peaks.worker > MEMORY_LIMIT_BYTES,
            "was executed": any(trap.parent.glob(f"{trap.name}*")),
        }
        found = [fault for fault, is_so in faults.items() if is_so]
        yield Attacked(attack, judged.status, judged.reason, seconds, peaks.own, peaks.worker, found)
    if verify(*NEEDS_ALGEBRA).status != "correct":
        raise SystemExit("the worker is not healthy after the attacks")


class _Peaks:
    """Peak memory of this process and of its children while the block runs, from /proc."""

    def __enter__(self) -> "_Peaks":
        self.own = self.worker = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        for pid in ("self", *self._children()):
            with suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")  # forget the peak until now
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while True:
            done = self._done.wait(_SAMPLE_SECONDS)
            self.own = max(self.own, _peak_bytes("self"))
            self.worker = max(self.worker, *map(_peak_bytes, self._children()), 0)
            if done:
                return

    def _children(self) -> list[str]:
        return [pid for task in Path("/proc/self/task").glob("*/children") for pid in _read(task).split()]


def _peak_bytes(pid: str) -> int:
    _, _, tail = _read(Path(f"/proc/{pid}/status")).partition("VmHWM:")
    return int(tail.split()[0]) << 10 if tail else 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the process has ended
        return ""
