"""What a run holds, read for people: verdicts, mixes, example rows, a problem with its traces, what is to do.

In: a run folder. Out: plain values that the command line prints. Changes nothing and calls nobody.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mixdistill.errors import MixdistillError
from mixdistill.files import read_parquet
from mixdistill.mixing import MAX_REPETITION
from mixdistill.recipe import Judge, Recipe
from mixdistill.records import Problem
from mixdistill.run import Run, StageRecord
from mixdistill.street import STAGES, state
from mixdistill.tables import (
    read_mix,
    read_problems,
    read_stats,
    read_suspects,
    read_traces,
    read_verdicts,
)

if TYPE_CHECKING:
    import polars

_SHOWN_CHARS = 600


class VerdictCounts(NamedTuple):
    """The verdicts on the traces of one teacher, or on the answers that one rule found."""

    name: str
    traces: int
    statuses: dict[str, int]
    looping: int
    "Traces that repeat themselves more than `mixing.MAX_REPETITION`."


def verdict_counts(run: Run) -> dict[str, list[VerdictCounts]]:
    """Verdicts by `teacher` and by `rule`."""
    verdicts = read_verdicts(run).select("trace_id", "status", "rule", "repetition")
    judged = read_traces(run).select("trace_id", "teacher").join(verdicts, on="trace_id")
    return {what: _counts_by(what, judged) for what in ("teacher", "rule")}


def _counts_by(what: str, judged: "polars.DataFrame") -> list[VerdictCounts]:
    """In the order of the names; answers that no rule found come last."""
    import polars as pl

    loops = (pl.col("repetition") > MAX_REPETITION).sum()
    counts = judged.group_by(what, "status").agg(pl.len(), loops=loops).sort(what, "status", nulls_last=True)
    return [
        VerdictCounts(
            str(part[what][0] or "no answer found"),
            int(part["len"].sum()),
            {status: n for status, n in part.select("status", "len").iter_rows()},
            int(part["loops"].sum()),
        )
        for part in counts.partition_by(what, maintain_order=True)
    ]


def verdict_examples(run: Run, status: str, n: int = 10) -> list[dict[str, object]]:
    """Up to n verdicts of a status, drawn by their ids: the same ones every time, from all over the run."""
    import polars as pl

    verdicts = read_verdicts(run).filter(pl.col("status") == status).sort("trace_id").head(n)
    problems = {problem.problem_id: problem for problem in read_problems(run)}
    traces = read_traces(run).select("trace_id", "teacher", "sample")
    names = ("answer", "rule", "method", "reason", "judge_status", "judge_reason")
    return [
        {"problem_id": row["problem_id"], "teacher": row["teacher"], "sample": row["sample"],
         "reference": problems[row["problem_id"]].reference, **{name: row[name] for name in names}}
        for row in verdicts.join(traces, on="trace_id", maintain_order="left").iter_rows(named=True)
    ]  # fmt: skip


def suspects(run: Run) -> list[dict[str, object]]:
    """The references that look wrong, one row a problem and kind of evidence."""
    return read_suspects(run).to_dicts()


def judge_counts(run: Run) -> dict[str, int]:
    """How many undecided answers the judge spoke about, by what it said."""
    said = read_verdicts(run)["judge_status"].drop_nulls()
    return dict(sorted(said.value_counts().iter_rows()))


def result(recipe: Recipe, run: Run, records: Sequence[StageRecord]) -> dict[str, object]:
    """What the stages made: counts for one, the whole picture for the whole street."""
    done = {record.stage for record in records}
    parts: dict[str, object] = {
        "run": str(run.folder),
        "stages": {
            record.stage: {
                "counts": record.counts, "seconds": round(record.seconds, 3), "complete": record.complete,
                "skipped": record.skipped,
            }
            for record in records
        },
    }  # fmt: skip
    if "stats" in done:
        parts["teachers"] = read_stats(run)["teachers"]
    if "mix" in done:
        parts["mixes"] = {name: read_mix(run, name) for name in recipe.mixes}
    if "card" in done:
        parts["dataset"] = str(run.dataset)
    return parts


def verdict_result(
    recipe: Recipe, run: Run, records: Sequence[StageRecord], examples: str | None
) -> dict[str, object]:
    """What `verify` found, with the same keys whatever there is; examples of a status only if one is named."""
    return {
        **result(recipe, run, records),
        "verdicts": {what: [row._asdict() for row in rows] for what, rows in verdict_counts(run).items()},
        "judge": judge_counts(run),
        "reference_suspect": suspects(run),
        "examples": verdict_examples(run, examples) if examples else [],
    }


MIX_HEADS = ("mix", "rows", "problems", "steps", "tokens", "shares of rows", "shares of tokens")


def mix_rows(recipe: Recipe, run: Run) -> list[list[str]]:
    """The table of mixes under `MIX_HEADS`: what each of them came out as."""
    rows = []
    for name in recipe.mixes:
        mix = read_mix(run, name)
        tokens = mix["completion_tokens"]
        shares = [f"{part} {mix['shares'][part]:.3g} ({n:,})" for part, n in mix["rows_by_part"].items()]
        of_tokens = [f"{part} {share:.3g}" for part, share in mix["shares_of_tokens"].items()]
        rows.append([
            name, f"{mix['rows']:,}", f"{mix['problems']:,}", f"{mix['steps']:,}",
            _tokens(tokens, mix["rows"]), ", ".join(shares), ", ".join(of_tokens),
        ])  # fmt: skip
    return rows


def _tokens(tokens: dict[str, int], rows: int) -> str:
    """Tokens of a mix, and of how many rows if not of all."""
    if not tokens["n"]:
        return "not counted"
    return f"{tokens['sum']:,}" + ("" if tokens["n"] == rows else f" in {tokens['n']:,} rows")


def mix_notes(recipe: Recipe, run: Run) -> list[str]:
    """What the mixes of each contrast have in common, and how far apart they are in the rest."""
    contrasts = {tuple(read_mix(run, name)["contrast"]) for name in recipe.mixes}
    notes = []
    for contrast in sorted(contrast for contrast in contrasts if len(contrast) > 1):
        mixes = [read_mix(run, name) for name in contrast]
        spread = {
            "rows": _spread([mix["rows"] for mix in mixes]),
            "steps": _spread([mix["steps"] for mix in mixes]),
        }
        if all(mix["completion_tokens"]["n"] == mix["rows"] for mix in mixes):
            spread["tokens"] = _spread([mix["completion_tokens"]["sum"] for mix in mixes])
        told = ", ".join(f"{what} {'equal' if not part else f'{part:.1%} apart'}" for what, part in spread.items())
        notes.append(f"{', '.join(contrast)} (match: {mixes[0]['match']}): {told}")
    one = read_mix(run, next(iter(recipe.mixes)))
    for what, counts in (
        ("that were left out", one["right_traces_left_out"]),
        ("that the student could not score", one["right_traces_not_scored"]),
    ):
        if counts:
            reasons = ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in counts.items())
            notes.append(f"Right traces {what}: {reasons}")
    return notes


def _spread(values: Sequence[int]) -> float:
    """How far apart the least and the most are, as a share of the most."""
    return (max(values) - min(values)) / max(values) if max(values) else 0.0


def example_rows(recipe: Recipe, run: Run, n: int = 3) -> list[tuple[str, str]]:
    """The first rows of the main mix, of different styles or teachers where it has them, as title and text."""
    from mixdistill.cards.card import main_mix

    name = main_mix(recipe)
    frame = read_parquet(run.mixes / name / "train.parquet", "mix")
    first = frame.unique("part", keep="first", maintain_order=True)
    rest = frame.join(first, on="trace_id", how="anti", maintain_order="left")
    rows = [*first.iter_rows(named=True), *rest.head(n).iter_rows(named=True)][:n]
    return [
        (
            f"{name}: {row['teacher']} ({row['style']}), reference {row['reference']}",
            f"{row['problem']}\n\n{_short(row['completion'][0]['content'])}",
        )
        for row in rows
    ]


def find_problem(run: Run, start: str | None) -> Problem:
    """The problem whose id begins so; without a beginning, the first one.

    Raises MixdistillError if there is none, or more than one.
    """
    problems = read_problems(run)
    found = [problem for problem in problems if problem.problem_id.startswith(start or "")]
    if not found or (start and len(found) > 1):
        some = ", ".join(problem.problem_id for problem in (found or problems)[:3])
        what = "no problem's id begins" if not found else f"the ids of {len(found)} problems begin"
        raise MixdistillError(f"{what} with {start!r}; ids look like {some}")
    return found[0]


def traces_of(run: Run, problem_id: str) -> list[dict[str, object]]:
    """The traces of a problem with their verdicts, long ones first."""
    import polars as pl

    traces = read_traces(run).filter(pl.col("problem_id") == problem_id).sort("style", "teacher", "sample")
    if run.verdicts.exists():
        verdicts = read_verdicts(run).select("trace_id", "status", "answer", "reason")
    else:
        verdicts = pl.DataFrame(schema=dict.fromkeys(("trace_id", "status", "answer", "reason"), pl.String()))
    joined = traces.join(verdicts, on="trace_id", how="left", maintain_order="left")
    names = ("trace_id", "teacher", "style", "sample", "status", "answer", "reason", "completion_tokens")
    return [
        {name: row[name] for name in names} | {"status": row["status"] or "not judged", "text": _text(row)}
        for row in joined.iter_rows(named=True)
    ]


class Asking(NamedTuple):
    """How `generate` is to ask, where it is not just for all that is missing; at most one of these."""

    pilot: int | None = None
    "Problems that a pilot is to ask about."
    batch_out: Path | None = None
    "Where the requests are to be written."
    batch_in: Path | None = None
    "Whence results are to be taken."


def plan(recipe: Recipe, run: Run, stages: list[str], asking: Asking | None = None) -> list[dict[str, str]]:
    """For each stage whether it is finished or to do, and what that means where it costs something."""
    rows = []
    changed = False
    for name in stages:
        record = state(STAGES[name], recipe, run)
        if record is not None and record.complete:
            told, what = ("to do if its input changes" if changed else "finished"), ""
        else:
            told, what = "to do", _what_it_costs(name, recipe, run, asking or Asking())
            changed = True
        rows.append({"stage": name, "state": told, "what": what})
    return rows


def _what_it_costs(stage: str, recipe: Recipe, run: Run, asking: Asking) -> str:
    """What a stage asks of models, in words."""
    if stage == "generate":
        return _what_is_asked(recipe, run, asking)
    return _answers_to_ask(recipe.verify.judge, recipe, run) if stage == "verify" and recipe.verify.judge else ""


def _answers_to_ask(judge: Judge, recipe: Recipe, run: Run) -> str:
    from mixdistill.verifiers.judge import plan_verdicts
    from mixdistill.verifiers.opinions import plan_opinions

    if not run.problems.exists() or not run.wanted.exists():
        return "known once 'generate' has run"
    unjudged = plan_verdicts(recipe, run).todo.height
    more = f"the undecided among {unjudged:,} traces that are still to be judged" if unjudged else ""
    if not run.verdicts.exists():
        return f"asks {judge.model} about {more or 'nothing'}"
    asked = plan_opinions(judge, run)
    answers = f"{len(asked.missing):,} undecided answer{'' if len(asked.missing) == 1 else 's'}"
    told = f"asks {judge.model} about {answers} ({asked.known:,} known already)"
    return f"{told}, and {more}" if more else told


def _what_is_asked(recipe: Recipe, run: Run, asking: Asking) -> str:
    from mixdistill.builders.engines import asked_teachers
    from mixdistill.builders.plan import plan_traces
    from mixdistill.builders.traces import may_be_asked, requests_due
    from mixdistill.verifiers.live import kept_judging

    if asking.batch_in is not None:
        return f"asks nobody; takes the results in {asking.batch_in}"
    if not run.problems.exists():
        return "known once 'problems' has run"
    planned = plan_traces(recipe, run)
    with kept_judging(recipe, run) as judging:
        if asking.batch_out is not None:
            due = Counter(request.teacher for request in requests_due(recipe, run, planned, judging))
            return f"asks nobody; writes {_requests(recipe, due)} to {asking.batch_out}"
        missing = may_be_asked(recipe, run, planned, judging)
    if asking.pilot is not None:
        return _pilot_asks(recipe, missing, asking.pilot)
    stored = planned.wanted.filter(
        planned.wanted["request_key"].is_in(list(planned.missing))
        & ~planned.wanted["teacher"].is_in(list(asked_teachers(recipe)))
    )
    by_teacher = Counter([*stored["teacher"], *missing["teacher"]])
    return _requests(recipe, by_teacher, of=planned.wanted.height)


def _pilot_asks(recipe: Recipe, missing: "polars.DataFrame", n_problems: int) -> str:
    import polars as pl

    from mixdistill.builders.traces import pilot_problems

    chosen = pilot_problems(recipe, missing, n_problems)
    asked = missing.filter(pl.col("problem_id").is_in(list(chosen)))
    told = _requests(recipe, Counter(asked["teacher"]))
    return f"asks about {len(chosen):,} of {missing['problem_id'].n_unique():,} problems: {told}"


def _requests(recipe: Recipe, by_teacher: Counter[str], *, of: int | None = None) -> str:
    if not by_teacher:
        return "none" if of is not None else "no requests"
    at_most = "at most " if any(map(recipe.asks_by_verdicts, recipe.teachers)) else ""
    total = f"{by_teacher.total():,}" + (f" of {of:,}" if of is not None else "")
    told = ", ".join(f"{teacher} {n:,}" for teacher, n in sorted(by_teacher.items()))
    return f"{at_most}{total} requests ({told})"


def _text(row: dict[str, object]) -> str:
    if row["error"]:
        return f"failed: {row['error']}"
    return (
        f"[thinking]\n{row['reasoning']}\n[response]\n{row['response']}"
        if row["reasoning"]
        else str(row["response"])
    )


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]} ..."
