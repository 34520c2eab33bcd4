"""Recipes as files: found by path or name, read, changed by `key=value`, checked, copied.

In: a path or the name of a shipped recipe, and settings. Out: a frozen Recipe. Every mistake is a RecipeError
that names the key, the line and, for an unknown key, the nearest known one. What a recipe may say is
`mixdistill.recipe`.
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from mixdistill.decontamination import Benchmark, Decontaminate
from mixdistill.errors import RecipeError
from mixdistill.files import write_text
from mixdistill.mixing import Caps, Difficulty, Mixing
from mixdistill.prompt import PROMPT_SUFFIX, SHIPPED, is_file
from mixdistill.prompt import known_keys as known_prompt_keys
from mixdistill.recipe import (
    Budget,
    Cluster,
    Columns,
    Failures,
    Judge,
    ProblemSource,
    Procedural,
    Publish,
    Recipe,
    Stats,
    Verify,
)
from mixdistill.recipe_part import Name
from mixdistill.scoring import Scoring
from mixdistill.teachers import (
    DatasetTeacher,
    LlamaCppTeacher,
    OpenAITeacher,
    Price,
    TraceColumns,
    UntilCorrect,
    VLLMTeacher,
)
from mixdistill.yaml_file import Place, explain, near, put_text, read_yaml, set_key


def load_recipe(name: str, settings: Sequence[str] = ()) -> Recipe:
    """The recipe at a path, or the shipped one of that name, with `key=value` settings on top.

    Raises RecipeError for anything that is wrong with it.
    """
    path = _find_recipe(name)
    content, lines = read_yaml(path)
    for setting in settings:
        set_key(content, setting)
    try:
        return Recipe.model_validate(content, context={"folder": path.parent.absolute()})
    except ValidationError as error:
        raise RecipeError(explain(error, path, lines, _known_keys)) from error


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with mixdistill, by name."""
    paths = sorted(SHIPPED.glob("*.yaml"))
    return {path.stem: path for path in paths if not path.name.endswith(PROMPT_SUFFIX)}


def copy_recipe(name: str, folder: Path) -> list[Path]:
    """Copies a shipped recipe with its prompts and problem files into a new folder; returns the copies.

    The copy has the folder's name, so that its run has a folder of its own; its old one if that is no valid name.
    Raises RecipeError if there is no such recipe or the folder is not empty, StorageError if it cannot be written.
    """
    shipped = shipped_recipes()
    if name not in shipped:
        raise RecipeError(f"no shipped recipe {name!r}{near(name, list(shipped))}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RecipeError(f"{folder}: is there already and not empty; choose another folder")
    text = shipped[name].read_text(encoding="utf-8")
    needed = [path for path in sorted(SHIPPED.iterdir()) if path.name.partition(".")[0] in text]
    files = {path.name: path for path in needed if path.name.endswith((PROMPT_SUFFIX, ".jsonl"))}
    texts = {"recipe.yaml": _named_after(folder, text)}
    texts |= {target: path.read_text(encoding="utf-8") for target, path in files.items()}
    for target, content in texts.items():
        write_text(folder / target, content)
    return [folder / target for target in texts]


def _named_after(folder: Path, text: str) -> str:
    try:
        name = TypeAdapter[str](Name).validate_python(folder.resolve().name)
    except ValidationError:
        return text
    return put_text(text, "name", name)


def _find_recipe(name: str) -> Path:
    path = Path(name)
    if is_file(path / "recipe.yaml"):
        return path / "recipe.yaml"
    if is_file(path):
        return path
    shipped = shipped_recipes()
    if name in shipped:
        return shipped[name]
    raise RecipeError(f"{name}: no such file, and no shipped recipe{near(name, list(shipped))}")


def _known_keys(place: Place) -> list[str]:
    """The keys that may stand where an unknown one stood."""
    if len(place) == 1:
        return [*Recipe.model_fields]
    if "prompt" in place[:-1]:
        return known_prompt_keys(place[place.index("prompt") + 1 :])
    named = place[0] in ("problems", "teachers")  # what follows is a name or a number
    for parent in reversed([place[0], *place[2 if named else 1 : -1]]):
        key = f"{place[0]}.columns" if parent == "columns" else str(parent)
        if key in _MODELS:
            return [*dict.fromkeys(name for model in _MODELS[key] for name in model.model_fields)]
    return []


_MODELS: dict[str, list[type[BaseModel]]] = {
    "problems": [ProblemSource], "problems.columns": [Columns], "generate": [Procedural],
    "teachers": [OpenAITeacher, VLLMTeacher, LlamaCppTeacher, DatasetTeacher], "teachers.columns": [TraceColumns],
    "decontaminate": [Decontaminate], "against": [Benchmark],
    "samples": [UntilCorrect], "price": [Price], "failures": [Failures], "budget": [Budget], "cluster": [Cluster],
    "verify": [Verify], "judge": [Judge], "stats": [Stats], "mixing": [Mixing],
    "at_most": [Caps], "difficulty": [Difficulty], "scoring": [Scoring], "publish": [Publish],
}  # fmt: skip
"What may stand under a key."
