"""The engine `dataset`: traces that exist already, in a file or on the Hub.

In: rows with a problem and a response (or a list of responses: samples). Out: Requests whose answer is stored
with them, so that they take the same way as traces that are asked for now. A row whose problem is not among
the run's problems, or that has no response, is left out and counted.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from functools import partial

from mixdistill.builders.completions import Completion, Request
from mixdistill.builders.hub_rows import read_hub_rows
from mixdistill.builders.reasoning import split_text
from mixdistill.files import Row, read_rows, with_columns
from mixdistill.records import (
    Message,
    Problem,
    Size,
    Style,
    digest,
    normalise_text,
    request_key,
    same_text_key,
)
from mixdistill.teachers import DatasetTeacher


def stored_requests(
    name: str, teacher: DatasetTeacher, problems: Iterable[Problem], left_out: Counter[str]
) -> Iterator[Request]:
    """The traces of a source that belong to the problems; counts the other rows in `left_out` by reason.

    Raises RecordError or HubError if the source cannot be read, RecipeError if it lacks a column.
    """
    wanted = {same_text_key(problem.problem): problem for problem in problems}
    samples: Counter[tuple[str, str]] = Counter()
    for row in with_columns(_rows(teacher), partial(_lacking, name, teacher)):
        if row.fault:
            left_out["unreadable_row"] += 1
            continue
        text = row.values.get(teacher.columns.problem)
        problem = wanted.get(same_text_key(text)) if isinstance(text, str) else None
        if problem is None:
            left_out["unknown_problem"] += 1
            continue
        for number, response in enumerate(_responses(row, teacher)):
            request = _request(name, teacher, row, problem, response, number, samples)
            if isinstance(request, str):
                left_out[request] += 1
            else:
                yield request


def _request(
    name: str, teacher: DatasetTeacher, row: Row, problem: Problem, response: object, number: int,
    samples: Counter[tuple[str, str]],
) -> Request | str:  # fmt: skip
    """The request with its stored answer, or the reason to leave it out."""
    columns = teacher.columns
    if not isinstance(response, str) or not response.strip():
        return "no_response"
    label = _cell(row, columns.teacher) if columns.teacher else name
    if not label:
        return "no_teacher"
    style, size = _cell(row, columns.style) or teacher.style, _cell(row, columns.size) or teacher.size
    if style not in ("long", "short") or size not in ("large", "small", None):
        return "unknown_style_or_size"
    sample = samples[problem.problem_id, label]
    samples[problem.problem_id, label] += 1
    model = teacher.model or label
    reasoning = normalise_text(_part(row, columns.reasoning, number) or "")
    text = split_text(normalise_text(response))
    answer = Completion(
        response=text.response,
        reasoning=reasoning or text.reasoning,
        finish_reason=_part(row, columns.finish_reason, number),
    )
    messages: tuple[Message, ...] = ({"role": "user", "content": problem.problem},)
    stored = {"stored": digest(answer.reasoning or "", answer.response)}
    typed_style: Style = "long" if style == "long" else "short"
    typed_size: Size | None = None if size is None else ("large" if size == "large" else "small")
    return Request(
        request_key=request_key(messages, f"{label}:{model}", teacher.revision, stored, sample),
        problem_id=problem.problem_id, teacher=label, model=model, revision=teacher.revision,
        style=typed_style, size=typed_size, sample=sample, messages=messages, stored=answer,
    )  # fmt: skip


def _rows(teacher: DatasetTeacher) -> Iterator[Row]:
    if teacher.file is not None:
        return read_rows(teacher.file)
    return read_hub_rows(str(teacher.hub), config=teacher.config, split=teacher.split, revision=teacher.revision)


def _lacking(name: str, teacher: DatasetTeacher, columns: Collection[str]) -> str | None:
    """The first column of the recipe that is not among these, in words."""
    for field, column in teacher.columns.model_dump().items():
        if column is not None and column not in columns:
            return (
                f"teachers.{name}.columns.{field}: {teacher.file or teacher.hub} has no column {column!r} "
                f"(there are: {', '.join(columns)})"
            )
    return None


def _responses(row: Row, teacher: DatasetTeacher) -> list[object]:
    """The responses of a row, one for each sample; an empty list counts as one that is missing."""
    value = row.values.get(teacher.columns.response)
    return value or [None] if isinstance(value, list) else [value]


def _cell(row: Row, column: str | None) -> str | None:
    value = row.values.get(column) if column else None
    return normalise_text(value) or None if isinstance(value, str) else None


def _part(row: Row, column: str | None, number: int) -> str | None:
    """The cell, or its entry of that number where it is a list like the responses."""
    value = row.values.get(column) if column else None
    if isinstance(value, list):
        value = value[number] if number < len(value) else None
    return value if isinstance(value, str) else None
