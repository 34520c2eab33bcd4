"""Writes a run of made-up traces, as `verify` leaves it, for measuring what comes behind.

Four traces a problem: two teachers, a long one that reasons (about 3 KB) and a short one that does not (1 KB), two
samples each. 80% are correct, 3% were cut by the limit on tokens. Words are drawn by Zipf's law from a made-up
language, so that text compresses about three to one, as English does. Each teacher's traces are written one after
the other, out of order by up to a few hundred, as they come from a server. Memory holds ids, and no texts.
"""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from mixdistill.files import write_parquet
from mixdistill.records import (
    Problem,
    Status,
    Style,
    Suspect,
    Trace,
    Verdict,
    digest,
    polars_schema,
    problem_id,
    to_frame,
    trace_id,
)
from mixdistill.run import Run
from mixdistill.trace_files import TraceWriter

_SEED = 7
_N_WORDS = 20_000
_SAMPLES = 2
_TRACES_A_PROBLEM = 2 * _SAMPLES
_CHUNK = 1000
_CORRECT, _CUT, _SUSPECT = 0.80, 0.03, 0.01
_CHARS: dict[Style, tuple[int, int]] = {"long": (2600, 400), "short": (0, 1000)}
"Of reasoning and response."
_MAX_TOKENS = 4096
_SUBJECTS = ("Algebra", "Counting", "Geometry", "Number Theory", "Precalculus")


def write_run(folder: Path, n_traces: int) -> Run:
    """A run folder with that many traces, rounded down to whole problems; the same for the same number."""
    run = Run(folder)
    words = _Words(_SEED)
    problems = [_problem(number, words) for number in range(n_traces // _TRACES_A_PROBLEM)]
    write_parquet(run.problems, to_frame(Problem, problems))
    draw = random.Random(_SEED)
    suspects = [
        Suspect(
            problem_id=each.problem_id, problem=each.problem, reference=each.reference, kind="teachers_agree",
            answer="0", evidence="made up", source=each.source, license=each.license,
        )
        for each in problems
        if draw.random() < _SUSPECT
    ]  # fmt: skip
    write_parquet(run.suspects, to_frame(Suspect, suspects))
    wanted = [
        (_key(style, each, sample), each.problem_id, style, sample)
        for style, sample, each in itertools.product(_CHARS, range(_SAMPLES), problems)
    ]
    names = ("request_key", "problem_id", "teacher", "sample")
    plan = pl.DataFrame(dict(zip(names, zip(*wanted, strict=True), strict=True)))
    plan = plan.with_columns(
        style="teacher", size=pl.lit(None, dtype=pl.String()), max_tokens=pl.lit(_MAX_TOKENS, dtype=pl.Int64())
    )
    columns = ("request_key", "problem_id", "teacher", "style", "size", "sample", "max_tokens")
    write_parquet(run.wanted, plan.select(columns))
    write_parquet(run.verdicts, _write_traces(run, problems, words))
    return run


def _write_traces(run: Run, problems: list[Problem], words: "_Words") -> pl.DataFrame:
    """Writes the traces of each teacher; returns the verdicts."""
    draw = random.Random(_SEED)
    ids: list[str] = []
    answers: list[str] = []
    statuses: list[Status] = []
    of_problems: list[str] = []
    for style in _CHARS:
        writer = TraceWriter(run)
        asked = [(each, sample) for sample in range(_SAMPLES) for each in problems]
        for start in range(0, len(asked), _CHUNK):
            chunk = asked[start : start + _CHUNK]
            draw.shuffle(chunk)
            texts = words.texts(_CHARS[style], len(chunk))
            for (problem, sample), (reasoning, response) in zip(chunk, texts, strict=True):
                chance = draw.random()
                status: Status = (
                    "correct" if chance < _CORRECT else "truncated" if chance < _CORRECT + _CUT else "incorrect"
                )
                answer = problem.reference if status == "correct" else "0"
                trace = _trace(problem, style, sample, reasoning, f"{response} \\boxed{{{answer}}}", status)
                writer.write(trace)
                ids.append(trace.trace_id)
                answers.append(answer)
                statuses.append(status)
                of_problems.append(problem.problem_id)
        writer.close()
    judged = pl.DataFrame({"trace_id": ids, "problem_id": of_problems, "status": statuses, "answer": answers})
    rest = {name: pl.lit(None, dtype=dtype).alias(name) for name, dtype in polars_schema(Verdict).items()}
    known = {"reason": pl.lit("made up"), "verifier": pl.lit("made up"), "seconds": pl.lit(0.0),
             "repetition": pl.lit(0.05)}  # fmt: skip
    return judged.select(
        name if name in judged.columns else known.get(name, rest[name]).alias(name)
        for name in polars_schema(Verdict)
    )


def _problem(number: int, words: "_Words") -> Problem:
    ((_, text),) = words.texts((0, 150), 1)
    text, reference = f"{text} What is {number} + 2?", str(number + 2)
    return Problem(
        problem_id=problem_id(text, reference, "math"), problem=text, reference=reference, source="made",
        license="mit", subject=_SUBJECTS[number % len(_SUBJECTS)], level=str(1 + number % 5),
    )  # fmt: skip


def _key(teacher: str, problem: Problem, sample: int) -> str:
    return "r-" + digest(teacher, problem.problem_id, str(sample))


def _trace(problem: Problem, style: Style, sample: int, reasoning: str, response: str, status: Status) -> Trace:
    key, ended = _key(style, problem, sample), "length" if status == "truncated" else "stop"
    tokens = (len(reasoning) + len(response)) // 4
    return Trace(
        trace_id=trace_id(key, reasoning, response, ended), problem_id=problem.problem_id, teacher=style,
        model=f"{style}-model", style=style, sample=sample,
        prompt=({"role": "user", "content": problem.problem},), reasoning=reasoning or None, response=response,
        finish_reason=ended, prompt_tokens=len(problem.problem) // 4, completion_tokens=tokens,
        max_tokens=_MAX_TOKENS, latency_seconds=1.0, request_key=key,
    )  # fmt: skip


class _Words:
    """A made-up language, and texts in it."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)
        lengths = [min(12, max(1, round(draw.gauss(5.5, 2.5)))) for _ in range(_N_WORDS)]
        letters = "eeeeettttaaaooiinnsshhrrdlcumwfgypbvk"
        made = ["".join(draw.choices(letters, k=length)) for length in lengths]
        shares = 1 / np.arange(1, _N_WORDS + 1)
        # A word stands as often in the table as it is drawn in 65,536 draws, and once at least.
        counts = np.maximum(1, np.round(shares / shares.sum() * (1 << 16))).astype(np.int64)
        self._table = np.repeat(np.array(made, dtype=object), counts)[: 1 << 16]
        self._draw = np.random.default_rng(seed)
        self._word_chars = 1 + sum(map(len, self._table)) / len(self._table)

    def texts(self, chars: tuple[int, int], n: int) -> Iterator[tuple[str, str]]:
        """So many pairs of texts of about so many characters, from half to one and a half of it."""
        most = sum(chars) / self._word_chars
        counts = self._draw.uniform(0.5, 1.5, n) * most
        drawn = self._table[self._draw.integers(0, len(self._table), int(counts.sum()) + n)]
        start, share = 0, chars[0] / sum(chars)
        for count in counts.astype(int).tolist():
            mine = drawn[start : start + count].tolist()
            start += count
            first = int(count * share)
            yield " ".join(mine[:first]), " ".join(mine[first:])
