r"""Measures `mixdistill generate`: its client beside others, kills over a failing server, having nothing to do.

    python benchmarks/generate.py --client --openai-python PATH --curator-python PATH --distilabel-python PATH
    python benchmarks/generate.py --libraries --openai-python PATH
    python benchmarks/generate.py --kill
    python benchmarks/generate.py --resume 100000
    python benchmarks/generate.py --vllm .venv-vllm/smollm2 --vllm-python .venv-vllm/bin/python

All but the last is asked of a server on loopback that answers with 400 tokens; no key and no network is needed. A
PATH is the Python of an environment that has the peer: openai (for --libraries also httpx, httpx2 and urllib3),
bespokelabs-curator, or distilabel[openai] with requests. uvloop in this environment, or in that of openai, makes
the server faster.
"""

import importlib.util
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import click
from commands import Ended
from generating import Asker, Killed, Resumed, Side, run_beside_vllm, run_clients, run_killed, run_resumed
from rich import box
from rich.console import Console
from rich.table import Table

_MEGABYTE = 1_000_000
# What the figures are to be at least: ours to the other client's, requests per second.
_GOALS = {"aiohttp": 0.7, "openai": 4.0, "curator": 5.0, "distilabel": 5.0}
_VLLM_GOAL = 0.97
_RESUME_SECONDS = 2.0
_RESUME_BYTES = 500 * _MEGABYTE
# Of the requests of ours, so that each side takes about the same time.
_SHARES = {"raw": 2.0, "aiohttp": 1.0, "urllib3": 0.5}
_SLOW_SHARE = 0.2

Report = dict[str, object]
"What `--json` prints; the tables show the same."


@click.command()
@click.option("--client", is_flag=True, help="Requests per second beside other clients.")
@click.option("--libraries", is_flag=True, help="Requests per second of HTTP libraries alone.")
@click.option(
    "--kill", is_flag=True, help="Kill it five times while three requests in ten fail; exit 1 if it errs."
)
@click.option("--resume", type=click.IntRange(min=1), metavar="N", help="Time it when N traces are all there.")
@click.option("--vllm", "model", metavar="MODEL", help="Tokens per second of the engine vllm beside LLM.chat.")
@click.option("--vllm-python", metavar="PATH", help="Python that has vLLM and mixdistill, as of make test-vllm.")
@click.option("--requests", type=click.IntRange(min=50), help="[default: 20,000; with --kill 2,000]")
@click.option(
    "--concurrency", type=click.IntRange(min=1), default=256, show_default=True, help="Requests at once."
)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--openai-python", metavar="PATH", help="Python that has openai.")
@click.option("--curator-python", metavar="PATH", help="Python that has bespokelabs-curator.")
@click.option("--distilabel-python", metavar="PATH", help="Python that has distilabel[openai].")
@click.option("--seed", default=0, show_default=True, help="Of the faults and kills.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(
    client: bool, libraries: bool, kill: bool, resume: int | None, model: str | None, vllm_python: str | None,
    requests: int | None, concurrency: int,
    rounds: int, openai_python: str | None, curator_python: str | None, distilabel_python: str | None,
    seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Measure `mixdistill generate` against a server on loopback, or its engine vllm beside vLLM itself."""
    if client + libraries + kill + (resume is not None) + (model is not None) != 1:
        raise click.UsageError("name one of --client, --libraries, --kill, --resume N, --vllm MODEL")
    console = Console(highlight=False, quiet=as_json, width=None if sys.stdout.isatty() else 160)
    server_python = _with_uvloop(openai_python)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if model is not None:
            report = _report_vllm(console, run_beside_vllm(vllm_python or sys.executable, model, rounds))
        elif kill:
            report = _report_kill(console, run_killed(folder, requests or 2_000, seed, server_python))
        elif resume is not None:
            report = _report_resume(console, run_resumed(folder, resume, rounds, server_python))
        else:
            n = requests or 20_000
            askers = [Asker(side, python, _share(side, n)) for side, python in (
                ("raw", sys.executable), ("aiohttp", sys.executable), ("openai", openai_python),
                *(((name, openai_python) for name in ("httpx", "httpx2", "urllib3")) if libraries else ()),
                ("curator", None if libraries else curator_python),
                ("distilabel", None if libraries else distilabel_python),
            ) if python]  # fmt: skip
            done = run_clients(folder, askers, None if libraries else n, concurrency, rounds, server_python)
            report = _report_clients(console, list(done))
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False, indent=2))
    if report.get("faults"):
        raise SystemExit(1)


def _with_uvloop(other_python: str | None) -> str:
    return sys.executable if importlib.util.find_spec("uvloop") or other_python is None else other_python


def _share(side: str, n: int) -> int:
    return max(1, round(n * _SHARES.get(side, _SLOW_SHARE)))


def _report_clients(console: Console, rounds: Sequence[dict[str, Side]]) -> Report:
    reference = "mixdistill" if "mixdistill" in rounds[0] else "aiohttp"
    columns = ("client", "n", "requests/s", "all rounds", "of command", "per CPU-s", "peak MB", "others")
    table = _table("Requests per second", *columns, f"{reference} / it", "of command", "per CPU-s", "goal")
    report: Report = {}
    for name in rounds[0]:
        sides = [each[name] for each in rounds]
        ratios = {
            what: _median([read(each[reference]) / read(each[name]) for each in rounds])
            for what, read in _SPEEDS.items()
        }
        speeds = {what: [read(side) for side in sides] for what, read in _SPEEDS.items()}
        goal = _GOALS.get(name) if reference == "mixdistill" else None
        table.add_row(
            name,
            f"{sides[0].n:,}",
            f"{_median(speeds['per_second']):,.0f}",
            ", ".join(f"{speed:,.0f}" for speed in speeds["per_second"]),
            f"{_median(speeds['per_second_of_command']):,.0f}",
            f"{_median(speeds['per_cpu_second']):,.0f}",
            f"{max(side.whole.peak_bytes for side in sides) / _MEGABYTE:,.0f}",
            ", ".join(f"{side.whole.others:.2f}" for side in sides),
            *("" if name == reference else f"{ratio:.2f}" for ratio in ratios.values()),
            "" if goal is None else f"{goal:g}",
        )
        report[name] = {
            "n": sides[0].n, **speeds, "ratios": ratios, "goal": goal, "versions": sides[0].versions,
            "others": [side.whole.others for side in sides],
        }  # fmt: skip
    console.print(table)
    for name, side in rounds[0].items():
        if side.versions:
            used = ", ".join(f"{package} {number}" for package, number in side.versions.items())
            console.print(f"{name}: {used}")
    console.print(
        "Medians of the rounds, in which all take turns; all clients on one core, the server on another. "
        "requests/s: of ours, of the whole stage; of the others, from the first request to the last answer. "
        "of command and per CPU-s: with starting and imports. raw: what the server can serve. "
        "others: cores that everything else used, the server too."
    )
    return report


_SPEEDS: dict[str, Callable[[Side], float]] = {
    "per_second": lambda side: side.per_second,
    "per_second_of_command": lambda side: side.per_second_of_command,
    "per_cpu_second": lambda side: side.per_cpu_second,
}


def _report_kill(console: Console, killed: Killed) -> Report:
    faults = {
        "asked again though they were on disk": killed.asked_again,
        "keys not there exactly once": killed.n - killed.keys_once - killed.errors_left,
        "duplicates": killed.duplicates,
    }
    table = _table(f"{killed.n:,} requests, {killed.kills} kills, 3 in 10 fail", "what", "number")
    for what, number in (
        ("keys that are there once, without an error", killed.keys_once),
        ("errors left", killed.errors_left),
        *faults.items(),
        ("good answers beyond one a request, lost on the way", killed.answered_twice),
        ("requests that the server got", killed.n_asked),
        ("calls of the command, killed ones too", killed.calls),
    ):
        table.add_row(what, f"{number:,}")
    console.print(table)
    console.print(f"good traces on disk after each kill: {', '.join(f'{n:,}' for n in killed.good_at_kill)}")
    console.print(f"faults: {', '.join(f'{name} {n}' for name, n in killed.faulty.items())}")
    console.print(f"{killed.wall_seconds:.1f} s")
    return {**killed._asdict(), "faults": [what for what, number in faults.items() if number]}


def _report_resume(console: Console, resumed: Resumed) -> Report:
    table = _table(f"Nothing to do: {resumed.n:,} traces are there", "the manifest", "s", "all", "peak MB", "goal")
    cases = {"does not know of it": resumed.unknown, "knows of it": resumed.known}
    for what, ends in cases.items():
        table.add_row(
            what,
            f"{_median([end.wall_seconds for end in ends]):.2f}",
            ", ".join(f"{end.wall_seconds:.2f}" for end in ends),
            f"{max(end.peak_bytes for end in ends) / _MEGABYTE:,.0f}",
            f"{_RESUME_SECONDS:g} s, {_RESUME_BYTES / _MEGABYTE:,.0f} MB",
        )
    console.print(table)
    console.print(
        f"Seconds of the whole command. The traces, {resumed.traces_bytes / _MEGABYTE:,.0f} MB, were made by the "
        f"command itself in {resumed.made_seconds:.0f} s, and it was killed after the last one."
    )
    return {
        "n": resumed.n,
        "traces_bytes": resumed.traces_bytes,
        "made_seconds": resumed.made_seconds,
        "unknown": [_measured(end) for end in resumed.unknown],
        "known": [_measured(end) for end in resumed.known],
    }


def _report_vllm(console: Console, rates: dict[str, list[float]]) -> Report:
    ratio = _median(rates["ours"]) / _median(rates["plain"])
    table = _table("Tokens per second, in this process and environment", "side", "median", "all")
    for side, name in (("ours", "the engine vllm"), ("plain", "LLM.chat")):
        table.add_row(name, f"{_median(rates[side]):,.0f}", ", ".join(f"{rate:,.0f}" for rate in rates[side]))
    console.print(table)
    console.print(f"ours / plain: {ratio:.3f} (goal {_VLLM_GOAL:g})")
    return {"tokens_per_second": rates, "ratio": ratio, "goal": _VLLM_GOAL}


def _measured(ended: Ended) -> Report:
    return {"wall_seconds": ended.wall_seconds, "cpu_seconds": ended.cpu_seconds, "peak_bytes": ended.peak_bytes}


def _median(numbers: Sequence[float]) -> float:
    return statistics.median(numbers)


def _table(title: str, *columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column in ("client", "what", "the manifest") else "right")
    return table


if __name__ == "__main__":
    main()
