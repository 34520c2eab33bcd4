"""The engines by name, and the record of what served a teacher.

In: a teacher of the recipe. Out: its engine, opened; and `traces/engines.json`, for each teacher what answered:
engine, version, revision, flags. Existing traces (engine `dataset`) are read, not asked.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Never, cast

from mixdistill.builders.asking import Engine
from mixdistill.builders.engine_llamacpp import open_llamacpp
from mixdistill.builders.engine_openai import open_openai
from mixdistill.builders.engine_vllm import open_vllm
from mixdistill.files import read_json, write_json
from mixdistill.recipe import Recipe
from mixdistill.run import Run
from mixdistill.teachers import DatasetTeacher, LlamaCppTeacher, OpenAITeacher, VLLMTeacher

AskedTeacher = OpenAITeacher | VLLMTeacher | LlamaCppTeacher

ENGINES: Mapping[str, Callable[[Never], AbstractAsyncContextManager[Engine]]] = {
    "openai": open_openai,
    "vllm": open_vllm,
    "llamacpp": open_llamacpp,
}  # each takes the teachers of its own name


def open_engine(teacher: AskedTeacher) -> AbstractAsyncContextManager[Engine]:
    """The engine of a teacher, loaded or connected; closed on leaving."""
    opener = cast("Callable[[AskedTeacher], AbstractAsyncContextManager[Engine]]", ENGINES[teacher.engine])
    return opener(teacher)


def asked_teachers(recipe: Recipe) -> dict[str, AskedTeacher]:
    """The teachers that are asked now, in the order of the recipe."""
    return {name: teacher for name, teacher in recipe.teachers.items() if not isinstance(teacher, DatasetTeacher)}


def record_engine(run: Run, teachers: Iterable[str], about: Mapping[str, object]) -> None:
    """Notes what serves some teachers, unless it is what served them last."""
    known = read_engines(run)
    for teacher in teachers:
        served = known.setdefault(teacher, [])
        if not served or {name: value for name, value in served[-1].items() if name != "since"} != dict(about):
            served.append({**about, "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
    write_json(run.engines, known)


def read_engines(run: Run) -> dict[str, list[dict[str, object]]]:
    """What served each teacher, the last one last; empty if nothing was asked yet."""
    if not run.engines.exists():
        return {}
    return cast("dict[str, list[dict[str, object]]]", read_json(run.engines, "generate"))
