"""Mixes: which problem's trace comes from which teacher, in exact ratios, the same every time.

In: problems, traces, verdicts, and the recipe's mixes. Out: for each mix `train.parquet` (one row a problem,
in the conversational form that TRL reads) and `mix.json` (counts, shares, what was left out and why). Only
traces that are judged correct and were not cut are taken, and none of a problem whose reference looks wrong.
The mixes of one contrast hold the same problems in the same order, so that they differ in nothing but their
traces. Method: Mix Distillation (arXiv 2502.12143, section 4): ratios over rows at constant size; the rule by
which a problem gets its part is ours.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

from mixdistill.builders.chat_template import reasoning_form
from mixdistill.builders.reasoning import ReasoningForm, join_reasoning
from mixdistill.errors import MixdistillError, RecipeError
from mixdistill.files import write_json, write_parquet
from mixdistill.prompt import fill
from mixdistill.recipe import Recipe
from mixdistill.records import Message, MixRow, Problem, Size, Style, digest, to_frame
from mixdistill.run import Run
from mixdistill.tables import read_problems, read_suspects, read_traces, read_verdicts

if TYPE_CHECKING:
    import polars

Candidates = Mapping[str, Mapping[str, list[dict[str, object]]]]
"Traces that may be taken: by part of a mix, then by problem id."


class Arm(NamedTuple):
    """One mix, drawn."""

    name: str
    shares: dict[str, float]
    parts: dict[str, str]
    "For each problem id, in the order of the rows, the part of the mix that it takes its trace from."
    left_out: dict[str, int]
    "Problems that are not in the mix, by reason."


def build_mixes(recipe: Recipe, run: Run) -> dict[str, int]:
    """Writes every mix of the recipe; returns the rows of each.

    Raises RecipeError for a part that no teacher has, MixdistillError if a contrast has no problem left, and what
    `reasoning_form` raises.
    """
    problems = {problem.problem_id: problem for problem in read_problems(run, recipe.limit)}
    suspects = _suspects(recipe, run) & problems.keys()
    trusted = [problem for problem in problems if problem not in suspects]
    eligible = _eligible(read_traces(run), read_verdicts(run))
    candidates = _candidates(recipe, eligible.filter(~eligible["problem_id"].is_in(sorted(suspects))))
    form = _form(recipe, eligible)
    counts: dict[str, int] = {}
    for contrast in _contrasts(recipe):
        for arm in _arms(recipe, contrast, trusted, candidates, len(suspects)):
            rows = [
                _row(problems[problem], part, _pick(candidates[part][problem], recipe.seed, problem), recipe, form)
                for problem, part in arm.parts.items()
            ]
            frame = _to_frame(rows, form)
            folder = run.mixes / arm.name
            write_parquet(folder / "train.parquet", frame)
            write_json(folder / "mix.json", _describe(arm, contrast, frame, form))
            counts[arm.name] = frame.height
    return counts


def _arms(
    recipe: Recipe, contrast: Sequence[str], problems: Sequence[str], candidates: Candidates, n_suspects: int
) -> list[Arm]:
    """The mixes of a contrast; the problems left out for their references are among those that each left out."""
    try:
        arms = draw_contrast(recipe, contrast, problems, candidates)
    except RecipeError:
        raise
    except MixdistillError as error:
        told = f"; {n_suspects} more are left out for their references, see 'mixdistill verify --audit'"
        raise MixdistillError(f"{error}{told if n_suspects else ''}") from error
    if not n_suspects:
        return arms
    return [arm._replace(left_out=arm.left_out | {"the reference looks wrong": n_suspects}) for arm in arms]


def draw_contrast(
    recipe: Recipe, contrast: Sequence[str], problems: Sequence[str], candidates: Candidates
) -> list[Arm]:
    """The mixes of one contrast: which problems, in which order, each from which part.

    A function of the seed, the problem ids and who got them right; the order of the input does not matter.
    """
    shares = {name: {part: share for part, share in recipe.mixes[name].items() if share > 0} for name in contrast}
    needed = {name: set(shares[name]) for name in contrast}
    if recipe.mixing.match == "problems":
        needed = {name: set().union(*needed.values()) for name in contrast}
    pools = {name: _pool(problems, needed[name], candidates, recipe.seed) for name in contrast}
    size = _size(recipe, contrast, {name: len(pool) for name, pool in pools.items()}, candidates)
    arms = []
    for name in contrast:
        chosen = pools[name][:size]
        parts = _assign(chosen, shares[name], recipe.seed)
        order = sorted(chosen, key=lambda problem: digest(str(recipe.seed), "order", problem))
        left_out = Counter(_why_left_out(problem, needed[name], candidates) for problem in problems)
        left_out["beyond the size of the mix"] = left_out.pop("", 0) - size
        reasons = {reason: n for reason, n in sorted(left_out.items()) if n}
        arms.append(Arm(name, shares[name], {problem: parts[problem] for problem in order}, reasons))
    return arms


def largest_remainder(shares: Mapping[str, float], rows: int) -> dict[str, int]:
    """Whole counts that sum to `rows` and are each within one of their share (Hamilton's method).

    Equal remainders go to the part that stands first.

    >>> largest_remainder({"long": 0.2, "short": 0.8}, 24)
    {'long': 5, 'short': 19}
    """
    exact = {part: share * rows for part, share in shares.items()}
    counts = {part: math.floor(quota) for part, quota in exact.items()}
    by_remainder = sorted(exact, key=lambda part: round(counts[part] - exact[part], 9))  # floats blur equal ones
    for part in by_remainder[: rows - sum(counts.values())]:
        counts[part] += 1
    return counts


def _contrasts(recipe: Recipe) -> list[tuple[str, ...]]:
    """The contrasts that the recipe names, and one of all the mixes that it does not."""
    named = [tuple(contrast) for contrast in recipe.mixing.contrasts]
    taken = Counter(name for contrast in named for name in contrast)
    twice = [name for name, n in taken.items() if n > 1]
    if twice:
        raise RecipeError(f"mixing.contrasts: mix {twice[0]!r} stands in two contrasts; give it a second name")
    rest = tuple(name for name in recipe.mixes if name not in taken)
    return [*named, rest] if rest else named


def _suspects(recipe: Recipe, run: Run) -> set[str]:
    """The problems that are left out because their references look wrong."""
    return set(read_suspects(run)["problem_id"]) if recipe.mixing.suspect_references == "leave_out" else set()


def _eligible(traces: "polars.DataFrame", verdicts: "polars.DataFrame") -> "polars.DataFrame":
    """Traces that may be trained on: judged correct, not cut."""
    import polars as pl

    correct = verdicts.filter(pl.col("status") == "correct").select("trace_id", "answer")
    whole = traces.filter(pl.col("finish_reason").is_null() | (pl.col("finish_reason") != "length"))
    return whole.join(correct, on="trace_id", how="inner", maintain_order="left")


def _candidates(recipe: Recipe, eligible: "polars.DataFrame") -> Candidates:
    """The eligible traces of every part of every mix: of the teacher of that name, else of that style or size."""
    found: dict[str, dict[str, list[dict[str, object]]]] = {}
    names = set(eligible["teacher"].unique())
    for part in dict.fromkeys(part for shares in recipe.mixes.values() for part in shares):
        if part in names or part in recipe.teachers:
            mine = eligible.filter(eligible["teacher"] == part)
        elif part in ("long", "short"):
            mine = eligible.filter(eligible["style"] == part)
        elif part in ("large", "small"):
            mine = eligible.filter(eligible["size"] == part)
        else:
            raise RecipeError(f"mixes: no teacher, style or size {part!r} (teachers: {', '.join(sorted(names))})")
        by_problem: dict[str, list[dict[str, object]]] = {}
        for row in mine.iter_rows(named=True):
            by_problem.setdefault(row["problem_id"], []).append(row)
        found[part] = by_problem
    return found


def _pool(problems: Iterable[str], parts: set[str], candidates: Candidates, seed: int) -> list[str]:
    """The problems that all the parts got right, in the order in which they are drawn."""
    right = [problem for problem in problems if all(problem in candidates[part] for part in parts)]
    return sorted(right, key=lambda problem: digest(str(seed), "draw", problem))


def _size(recipe: Recipe, contrast: Sequence[str], pools: Mapping[str, int], candidates: Candidates) -> int:
    """The rows of each mix of a contrast: as many as the smallest pool has, rounded as the recipe says."""
    there = min(pools.values())
    step = recipe.mixing.multiple_of
    wanted = recipe.mixing.rows
    if wanted is not None and wanted < step:
        raise RecipeError(f"mixing.rows is {wanted}, less than mixing.multiple_of, which is {step}; raise rows")
    feasible = there // step * step
    if feasible == 0:
        right = ", ".join(f"{part} {len(found)}" for part, found in candidates.items())
        raise MixdistillError(
            f"mixes {', '.join(contrast)}: only {there} problems that all their teachers got right, and at least "
            f"{step} are needed (right by part: {right}); take more samples, easier problems, or mixing.match=none"
        )
    if wanted is not None and wanted > there:
        raise MixdistillError(
            f"mixes {', '.join(contrast)}: mixing.rows is {wanted}, and there are {there} problems that all their "
            f"teachers got right; set mixing.rows={feasible} or take more samples"
        )
    return feasible if wanted is None else wanted // step * step


def _assign(problems: Sequence[str], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """The part of each problem: the counts are exact, who gets which part hangs on seed and problem id alone.

    Of two mixes of the same two parts, the one with more of a part has it for all the problems that the other has
    it for.
    """
    counts = largest_remainder(shares, len(problems))
    ordered = sorted(problems, key=lambda problem: digest(str(seed), "part", problem))
    parts = [part for part, count in sorted(counts.items()) for _ in range(count)]
    return dict(zip(ordered, parts, strict=True))


def _pick(traces: list[dict[str, object]], seed: int, problem: str) -> dict[str, object]:
    """One of several right traces: a draw by seed and problem id over the traces in the order of their ids."""
    ordered = sorted(traces, key=lambda trace: str(trace["trace_id"]))
    return ordered[int(digest(str(seed), "trace", problem), 16) % len(ordered)]


def _why_left_out(problem: str, parts: set[str], candidates: Candidates) -> str:
    wrong = sorted(part for part in parts if problem not in candidates[part])
    return f"no right trace by {' nor by '.join(wrong)}" if wrong else ""


def _form(recipe: Recipe, eligible: "polars.DataFrame") -> ReasoningForm:
    """How the reasoning is joined; a student is not asked where no trace has any."""
    reasons = eligible["reasoning"].fill_null("") != ""
    return reasoning_form(recipe.mixing.student if reasons.any() else None, all_reason=reasons.all())


def _row(problem: Problem, part: str, trace: Mapping[str, object], recipe: Recipe, form: ReasoningForm) -> MixRow:
    question = fill(recipe.mixing.prompt, problem.problem)
    user: Message = {"role": "user", "content": question}
    assistant = join_reasoning(cast("str | None", trace["reasoning"]), str(trace["response"]), form)
    return MixRow(
        problem_id=problem.problem_id,
        trace_id=str(trace["trace_id"]),
        prompt=(user,),
        completion=(assistant,),
        messages=(user, assistant),
        problem=problem.problem,
        reference=problem.reference,
        answer=str(trace["answer"]),
        part=part,
        teacher=str(trace["teacher"]),
        model=str(trace["model"]),
        style=cast("Style", trace["style"]),
        size=cast("Size | None", trace["size"]),
        completion_tokens=cast("int | None", trace["completion_tokens"]),
        completion_chars=sum(len(str(text)) for key, text in assistant.items() if key != "role" and text),
        source=problem.source,
        license=problem.license,
        subject=problem.subject,
        level=problem.level,
    )


def _to_frame(rows: Sequence[MixRow], form: ReasoningForm) -> "polars.DataFrame":
    """The rows, their messages with the field of the reasoning where the form has one."""
    import polars as pl

    frame = to_frame(MixRow, rows)
    if form.field is None:
        return frame
    turn = pl.Struct({"role": pl.String(), form.field: pl.String(), "content": pl.String()})
    columns = {"completion": [row.completion for row in rows], "messages": [row.messages for row in rows]}
    return frame.with_columns(pl.Series(name, turns, pl.List(turn)) for name, turns in columns.items())


def _describe(
    arm: Arm, contrast: Sequence[str], frame: "polars.DataFrame", form: ReasoningForm
) -> dict[str, object]:
    parts = Counter(arm.parts.values())
    tokens = frame["completion_tokens"].drop_nulls()
    return {
        "mix": arm.name,
        "contrast": list(contrast),
        "rows": frame.height,
        "shares_wanted": arm.shares,
        "rows_by_part": {part: parts[part] for part in arm.shares},
        "shares": {part: parts[part] / frame.height for part in arm.shares},
        "rows_by_teacher": dict(sorted(frame["teacher"].value_counts().iter_rows())),
        "completion_tokens": {"n": len(tokens), "sum": int(tokens.sum())},
        "completion_chars": int(frame["completion_chars"].sum()),
        "reasoning": str(form),
        "problems_left_out": arm.left_out,
    }
