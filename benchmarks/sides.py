r"""Rows of corpora, and the verdicts of both verifiers on them with the time they took.

CPU seconds are those of this process and of its children, which count once they have ended; pools are closed
before the clock is read. Each run of ours starts its worker processes anew, and pays for it.
"""

import json
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from mixdistill.records import Leniency
from mixdistill.verifiers.verify import Case, Judgement, verify_many

NEEDS_ALGEBRA = ("x^2", r"\boxed{\int 2x \, dx}")


class Row(NamedTuple):
    """One labelled case of a corpus."""

    id: str
    source: str
    gold: str
    text: str
    "A response in which the answer is to be found; the answer alone if the form is `pair`."
    label: bool
    problem: str
    form: Literal["pair", "text", "response"]


class Verdict(NamedTuple):
    """What one verifier said about one row, and the time that it took over it."""

    status: str
    reason: str
    seconds: float


class Measured(NamedTuple):
    """Time that something took; CPU is that of this process and its ended children."""

    cpu_seconds: float
    wall_seconds: float


class Run(NamedTuple):
    """Verdicts in the order of the rows, and the time of all of them."""

    verdicts: list[Verdict]
    time: Measured


class Limits(NamedTuple):
    """The settings of our side."""

    leniency: Leniency = "default"
    timeout_seconds: float = 5.0
    processes: int = 1


def load_rows(paths: Sequence[Path], limit: int | None) -> list[Row]:
    """The rows of corpora, which are told apart by their columns; with a limit, the first of each source."""
    rows: list[Row] = []
    seen: Counter[str] = Counter()
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = _row(json.loads(line))
            seen[row.source] += 1
            if limit is None or seen[row.source] <= limit:
                rows.append(row)
    return rows


def _row(fields: dict[str, object]) -> Row:
    form: Literal["pair", "text", "response"] = "response"
    if "prediction" in fields:
        form = "pair" if fields["form"] == "bare" else "text"
    text = fields["response" if form == "response" else "prediction"]
    place = str(fields["id"]), str(fields["source"]), str(fields["gold"]), str(text or "")
    return Row(*place, bool(fields["label"]), str(fields.get("problem") or ""), form)


def run_ours(rows: Sequence[Row], limits: Limits) -> Run:
    """Our verdicts; the answer of a pair goes in as a box, so that finding it is part of the time."""
    with clock() as read:
        verdicts = [Verdict(judged.status, judged.reason, judged.seconds) for judged in verify_rows(rows, limits)]
    return Run(verdicts, read())


def verify_rows(rows: Sequence[Row], limits: Limits) -> Iterator[Judgement]:
    return verify_many(map(to_case, rows), **limits._asdict())


def to_case(row: Row) -> Case:
    return Case(row.gold, row.text, problem=row.problem, is_answer=row.form == "pair")


def run_math_verify(rows: Sequence[Row]) -> Run:
    """math-verify's verdicts as its README does it, with its defaults; imported and warm before the clock."""
    import logging

    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    verify(parse(r"$\frac{1}{2}$"), parse(r"\boxed{0.5}"))
    verdicts = []
    with clock() as read:
        for row in rows:
            started = time.process_time()
            try:
                gold, text = (
                    parse(_in_dollars(row.gold)),
                    _in_dollars(row.text) if row.form == "pair" else row.text,
                )
                status, reason = ("correct", "") if verify(gold, parse(text)) else ("not correct", "")
            except Exception as error:  # whatever it raises is its verdict
                status, reason = "error", repr(error)
            verdicts.append(Verdict(status, reason, time.process_time() - started))
    return Run(verdicts, read())


def _in_dollars(text: str) -> str:
    return text if any(mark in text for mark in ("$", r"\boxed", r"\(", r"\[")) else f"${text}$"


@contextmanager
def clock() -> Iterator[Callable[[], Measured]]:
    """A function that says what has passed since."""

    def cpu_seconds() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(each.ru_utime + each.ru_stime for each in used)

    cpu, wall = cpu_seconds(), time.perf_counter()
    yield lambda: Measured(cpu_seconds() - cpu, time.perf_counter() - wall)


def run_start(limits: Limits) -> Measured:
    """What it costs to start a pool with one process that is ready for algebra."""
    with clock() as read:
        list(verify_many([Case(*NEEDS_ALGEBRA)], **limits._replace(processes=1)._asdict()))
    return read()
