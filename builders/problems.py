"""Problems in: from files, the Hub and reasoning-gym, normalised, with the reason for every row left out.

In: the recipe's `problems`. Out: `problems.parquet` (Problem), `problems.dropped.parquet` (DroppedProblem) and
`problems.contaminated.parquet` (BenchmarkHit), the evidence of what `decontaminate` said.
A bad row is written with its reason and counted, never raised; a source that cannot be read at all, or that
lacks a column in its first 100 readable rows, stops the stage. Problems whose text stands twice with different
references are all dropped, for nothing here can tell which is right. Numbers are compared by value, so `1/2` and
`0.5` do not differ; other spellings of one answer do.
"""

import importlib.machinery
import importlib.util
import json
import math
import re
import sys
import types
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from fractions import Fraction
from functools import partial
from typing import NamedTuple

from mixdistill.boxes import boxed_reference
from mixdistill.builders.decontaminate import Decontamination, Screen, no_objection
from mixdistill.builders.grading import Unusable, as_json, read_choice, read_json, read_tests
from mixdistill.builders.hub_rows import read_hub_rows
from mixdistill.errors import MissingExtraError, RecipeError, RecordError
from mixdistill.files import Row, read_rows, with_columns, write_parquet
from mixdistill.recipe import ProblemSource, Procedural, Recipe
from mixdistill.records import (
    BenchmarkHit,
    DroppedProblem,
    DropReason,
    Problem,
    normalise_text,
    problem_id,
    same_text_key,
    to_frame,
)
from mixdistill.run import Run
from mixdistill.text import after_hashes
from mixdistill.yaml_file import near

_USUAL_NAMES = {
    "problem": ("problem", "question", "prompt"),
    "reference": ("reference", "answer", "final_answer", "expected_answer"),
    "solution": ("solution",),
    "source_id": ("source_id", "unique_id", "uuid", "id"),
    "subject": ("subject", "type", "problem_type"),
    "level": ("level", "difficulty"),
    "license": ("license",),
}
# Looked for only where the answers are of the type that needs them.
_USUAL_NAMES_BY_TYPE: dict[str, dict[str, tuple[str, ...]]] = {
    "choice": {"options": ("options", "choices")},
    "code": {"tests": ("tests", "test_list", "test")},
    "reasoning_gym": {"grading": ("grading",)},
}
_GENERATOR_LICENSE = "apache-2.0"  # of reasoning-gym, which makes the problems
_ROW_CHARS = 10_000
_NUMBER_CHARS = 100
# Short exponents only: Fraction writes 1e999999999 out.
_PLAIN_NUMBER = re.compile(
    r"[+-]?(?:\d+/\d+|(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?(?:e[+-]?\d{1,2})?|\.\d+)", re.ASCII | re.IGNORECASE
)


class LoadedProblems(NamedTuple):
    """What the sources gave."""

    kept: list[Problem]
    dropped: list[DroppedProblem]


def build_problems(recipe: Recipe, run: Run) -> dict[str, int]:
    """Writes the run's problems; returns counts: `kept`, `dropped`, and `dropped_<reason>` for each reason."""
    screen = Decontamination(recipe.decontaminate)
    loaded = load_problems(recipe.problems, seed=recipe.seed, limit=recipe.limit, screen=screen)
    if not loaded.kept:
        first = f"; the first: {loaded.dropped[0].place}: {loaded.dropped[0].detail}" if loaded.dropped else ""
        raise RecordError(f"no problem was kept of {len(loaded.dropped)} rows{first}")
    write_parquet(run.problems, to_frame(Problem, loaded.kept))
    write_parquet(run.dropped_problems, to_frame(DroppedProblem, loaded.dropped))
    write_parquet(run.contamination, to_frame(BenchmarkHit, screen.hits))
    reasons = Counter(f"dropped_{row.reason}" for row in loaded.dropped)
    return {"kept": len(loaded.kept), "dropped": len(loaded.dropped), **dict(sorted(reasons.items()))}


def load_problems(
    sources: Iterable[ProblemSource], *, seed: int = 42, limit: int | None = None, screen: Screen = no_objection
) -> LoadedProblems:
    """The problems of some sources, in order, at most `limit` of them. `screen` says which others to leave out.

    Raises RecordError or HubError if a source cannot be read, RecipeError if it lacks a column.
    """
    first_of: dict[str, tuple[Problem, Row]] = {}
    conflicting: set[str] = set()
    dropped: list[DroppedProblem] = []
    for source, row in ((each, row) for each in sources for row in _rows(each, seed)):
        if limit is not None and len(first_of) - len(conflicting) >= limit:
            break
        problem = _read_problem(row, source)
        if isinstance(problem, DroppedProblem):
            dropped.append(problem)
            continue
        key = same_text_key(problem.problem)
        if key not in first_of and (objection := screen(problem, row.place)):
            dropped.append(_drop(row, *objection, problem.problem_id))
            continue
        first, first_row = first_of.setdefault(key, (problem, row))
        if first is problem:
            continue
        if _is_same_reference(first, problem):
            dropped.append(_drop(row, "duplicate", f"same as {first_row.place}", problem.problem_id))
            continue
        if key not in conflicting:
            dropped.append(_conflict(first, first_row, row.place, problem.reference))
        conflicting.add(key)
        dropped.append(_conflict(problem, row, first_row.place, first.reference))
    kept = [problem for key, (problem, _) in first_of.items() if key not in conflicting]
    return LoadedProblems(kept, dropped)


def _is_same_reference(one: Problem, other: Problem) -> bool:
    """Whether two problems of the same text have the same reference: as a text, or both as a plain number."""
    if same_text_key(one.reference) == same_text_key(other.reference):
        return True
    if one.answer_type != "math" or other.answer_type != "math":  # there the spelling counts
        return False
    number = _plain_number(one.reference)
    return number is not None and number == _plain_number(other.reference)


def _plain_number(text: str) -> Fraction | None:
    """The value of a whole, decimal or broken number, with or without commas between thousands."""
    if len(text) > _NUMBER_CHARS or not _PLAIN_NUMBER.fullmatch(text):
        return None
    try:
        return Fraction(text.replace(",", ""))
    except ZeroDivisionError:
        return None


def _conflict(problem: Problem, row: Row, other_place: str, other_reference: str) -> DroppedProblem:
    detail = f"the reference is {problem.reference!r} here and {other_reference!r} at {other_place}"
    return _drop(row, "conflicting_reference", detail, problem.problem_id)


def _drop(row: Row, reason: DropReason, detail: str, identity: str | None = None) -> DroppedProblem:
    text = row.text or json.dumps(row.values, ensure_ascii=False, default=str)
    return DroppedProblem(
        place=row.place,
        reason=reason,
        detail=detail,
        problem_id=identity,
        row=normalise_text(text[:_ROW_CHARS]),
    )


def _rows(source: ProblemSource, seed: int) -> Iterator[Row]:
    """The rows of a source that has the columns that are needed."""
    if source.generate is not None:
        rows = _procedural_rows(source.generate, seed)
    elif source.file is not None:
        rows = read_rows(source.file)
    else:
        rows = read_hub_rows(str(source.hub), config=source.config, split=source.split, revision=source.revision)
    return with_columns(rows, partial(_lacking, source))


def _procedural_rows(generator: Procedural, seed: int) -> Iterator[Row]:
    """Problems made by reasoning-gym: the n-th is a function of generator, options, seed and n."""
    name = generator.reasoning_gym
    _allow_import_without_pycosat(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # cellpylib's, when it is compiled for the first time
            import reasoning_gym
    except ImportError as error:
        raise MissingExtraError(error.name or "reasoning-gym", 'pip install "mixdistill[gym]"') from error
    from reasoning_gym.factory import DATASETS

    if name not in DATASETS:
        raise RecipeError(f"problems: reasoning-gym has no generator {name!r}{near(name, list(DATASETS))}")
    try:
        made = reasoning_gym.create_dataset(name, seed=seed, size=generator.size, **generator.options)
    except (TypeError, AssertionError, ValueError) as error:
        raise RecipeError(f"problems: reasoning-gym's {name} does not take these options: {error}") from error
    for number, entry in enumerate(made):
        yield Row(
            f"reasoning_gym/{name}:{number}",
            {
                "problem": entry["question"],
                "reference": entry["answer"],
                "source_id": f"{name}/{seed}/{number}",
                "grading": {"dataset": name, "entry": {key: entry[key] for key in ("answer", "metadata")}},
            },
        )


def _allow_import_without_pycosat(generator: str) -> None:
    """Lets reasoning-gym be imported without pycosat: that is C source on PyPI, and one generator uses it.

    Raises MissingExtraError for that generator.
    """
    found = importlib.util.find_spec("pycosat")
    if found is None or found.loader is None:
        if generator == "zebra_puzzles":
            raise MissingExtraError("pycosat", "pip install pycosat (it needs a C compiler)")
        empty = types.ModuleType("pycosat")
        empty.__spec__ = importlib.machinery.ModuleSpec("pycosat", loader=None)
        sys.modules.setdefault("pycosat", empty)


def _lacking(source: ProblemSource, columns: Collection[str]) -> str | None:
    """The first column that is needed and not among these, in words."""
    names = _column_names(columns, source)
    lacking = [name for name in source.columns.model_dump().values() if name and name not in columns]
    for field, known in (
        ("problem", [names["problem"]]),
        ("reference", [names["reference"], names["solution"]]),
    ):
        if not any(known):
            lacking.append(" or ".join(_USUAL_NAMES[field]))
    if not lacking:
        return None
    return (
        f"{_source_name(source)}: no column {lacking[0]!r} (there are: {', '.join(columns)}); "
        "name it in the recipe: problems: - {..., columns: {problem: ..., reference: ...}}"
    )


def _column_names(columns: Collection[str], source: ProblemSource) -> dict[str, str | None]:
    """For each field the column that holds it: the one that the recipe names, else one with a usual name."""
    named: dict[str, str | None] = source.columns.model_dump()
    taken = {name for name in named.values() if name}
    for field, usual in (_USUAL_NAMES | _USUAL_NAMES_BY_TYPE.get(source.answer_type, {})).items():
        if not named[field]:
            free = (name for name in usual if name in columns and name not in taken)
            named[field] = next(free, None)
    return named


def _read_problem(row: Row, source: ProblemSource) -> Problem | DroppedProblem:
    """The problem in a row, or why there is none."""
    if row.fault:
        return _drop(row, "unreadable_row", row.fault)
    names = _column_names(row.values, source)
    cells: dict[str, str | None] = {}
    for field, name in names.items():
        value = row.values.get(name) if name else None
        cells[field] = _cell_text(value)
        if cells[field] is None and value is not None and field in ("problem", "reference", "solution"):
            kind = type(value).__name__
            return _drop(row, "wrong_type", f"column {name!r} holds a {kind}, not a text or a number")
    text = cells["problem"]
    if not text:
        return _drop(row, "empty_problem", "the problem is empty")
    if source.answer_type in ("choice", "code"):  # a letter or a program, not a worked solution
        reference, solution = cells["reference"], cells["solution"]
    else:
        reference, solution = _reference(cells["reference"], cells["solution"])
    if not reference:
        return _drop(row, "no_reference", "no reference, and none stands boxed or after #### in a solution")
    try:
        text, reference, grading = _with_grading(row, names, text, reference)
    except _WrongCell as error:
        return _drop(row, "wrong_type", str(error))
    return Problem(
        problem_id=problem_id(text, reference, source.answer_type, grading),
        problem=text,
        reference=reference,
        solution=solution,
        source=source.name or _source_name(source),
        source_id=cells["source_id"] or row.place.rpartition(":")[2],
        license=cells["license"] or source.license or (_GENERATOR_LICENSE if source.generate else None),
        subject=cells["subject"] or None,
        level=cells["level"] or None,
        answer_type=source.answer_type,
        grading=grading,
    )


class _WrongCell(ValueError):
    pass


def _with_grading(
    row: Row, names: dict[str, str | None], text: str, reference: str
) -> tuple[str, str, str | None]:
    """The problem, the reference and the grading, where a row has columns for it."""
    values: dict[str, object] = {}
    cells = {field: row.values.get(name) for field in ("grading", "options", "tests") if (name := names[field])}
    for field, cell in cells.items():
        try:
            if field == "grading":
                values |= read_json(cell)
            elif field == "tests":
                values |= read_tests(cell)
            else:
                stated = row.values.get(names["reference"] or "")
                text, reference, options = read_choice(
                    text, stated if isinstance(stated, int) else reference, cell
                )
                values["options"] = options
        except Unusable as error:
            raise _WrongCell(f"column {names[field]!r} {error}") from error
    return text, reference, as_json(values) if values else None


def _source_name(source: ProblemSource) -> str:
    if source.generate is not None:
        return f"reasoning_gym/{source.generate.reasoning_gym}"
    return source.file.name if source.file is not None else str(source.hub)


def _cell_text(value: object) -> str | None:
    """The text of a cell; None if it is empty or of a type that is neither text nor number.

    A float without a fraction loses its point (AMC23 gives 27.0 for 27); a list is joined by commas
    (OlympiadBench gives its answers so).
    """
    if isinstance(value, str):
        return normalise_text(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else (repr(value) if math.isfinite(value) else None)
    if isinstance(value, list) and value:
        texts = [None if isinstance(part, list) else _cell_text(part) for part in value]
        return ", ".join(text for text in texts if text) if all(texts) else None
    return None


def _reference(reference: str | None, solution: str | None) -> tuple[str | None, str | None]:
    """The reference and the solution. A worked solution in the place of either gives the reference."""
    worked = boxed_reference(reference or "") or after_hashes(reference or "")
    if worked:
        return normalise_text(worked), solution or reference
    if not reference and solution:
        found = boxed_reference(solution) or after_hashes(solution)
        return (normalise_text(found) if found else None), solution
    return reference, solution
