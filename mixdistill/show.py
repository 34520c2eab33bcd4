"""What a run holds, read for people: teachers, mixes, example rows, a problem with its traces, what is to do.

In: a run folder. Out: plain values that the command line prints. Changes nothing and calls nobody.
"""

from mixdistill.errors import MixdistillError
from mixdistill.files import read_parquet
from mixdistill.recipe import Recipe
from mixdistill.records import Problem
from mixdistill.run import Run
from mixdistill.street import STAGES, state
from mixdistill.tables import read_mix, read_problems, read_traces, read_verdicts

_SHOWN_CHARS = 600


def mix_rows(recipe: Recipe, run: Run) -> list[list[str]]:
    """The table of mixes: name, rows, shares, tokens."""
    rows = []
    for name in recipe.mixes:
        mix = read_mix(run, name)
        tokens = mix["completion_tokens"]
        counts = mix["rows_by_part"].items()
        told = ", ".join(f"{part} {mix['shares'][part]:.3g} ({count})" for part, count in counts)
        rows.append([name, f"{mix['rows']:,}", told, f"{tokens['sum']:,}" if tokens["n"] else "not counted"])
    return rows


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


def plan(recipe: Recipe, run: Run, stages: list[str]) -> list[dict[str, str]]:
    """For each stage whether it is finished or to do, and what that means where it costs something."""
    rows = []
    changed = False
    for name in stages:
        record = state(STAGES[name], recipe, run)
        if record is not None and record.complete:
            told, what = ("to do if its input changes" if changed else "finished"), ""
        else:
            told, what = "to do", _requests_to_ask(recipe, run) if name == "generate" else ""
            changed = True
        rows.append({"stage": name, "state": told, "what": what})
    return rows


def _requests_to_ask(recipe: Recipe, run: Run) -> str:
    from mixdistill.builders.traces import plan_traces

    if not run.problems.exists():
        return "known once 'problems' has run"
    asked = plan_traces(recipe, run)
    missing = asked.wanted.filter(asked.wanted["request_key"].is_in(list(asked.missing)))
    by_teacher = ", ".join(
        f"{teacher} {n:,}" for teacher, n in sorted(missing["teacher"].value_counts().iter_rows())
    )
    return f"{missing.height:,} of {asked.wanted.height:,} requests ({by_teacher})" if missing.height else "none"


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
