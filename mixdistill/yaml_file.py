"""A YAML file that a person writes, and what to tell them when it is wrong.

In: a path; `key=value` settings; what pydantic found. Out: the mapping with the line of each key; one line that
names file, line, key and near match. Only plain YAML is read: a tag that would make a Python object is a fault.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError

from mixdistill.errors import RecipeError

Place = tuple[str, ...]
"Keys that lead to a value, outermost first; the place in a list as digits."


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they stand, not in quotes."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def dump_yaml(value: object) -> str:
    """The value as YAML, keys in their order, lines unbroken.

    >>> print(dump_yaml({"problem": "one\\ntwo"}), end="")
    problem: |-
      one
      two
    """
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=float("inf"))


class _Loader(yaml.SafeLoader):
    """Says where a value stands that has the form of a date or number, or a tag for one, and is none."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError) as error:  # of 2024-02-30, !!bool maybe, !!timestamp soon
            if not isinstance(node, yaml.ScalarNode):
                raise
            problem = f"{node.value[:50]!r} is no {node.tag.rpartition(':')[2]}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error


class PlacedError(ValueError):
    """A fault that pydantic finds on a whole, and that belongs to one place inside it."""

    def __init__(self, place: tuple[str, ...], message: str) -> None:
        super().__init__(message)
        self.place = place


def read_yaml(path: Path) -> tuple[dict[str, object], dict[Place, int]]:
    """The mapping in a YAML file, and the line of each key."""
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.load(text, Loader=_Loader)
        lines = dict(_key_lines(node, set())) if node else {}
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise RecipeError(f"{path}: nested too deeply") from error
    except _DuplicateKeyError as error:
        raise RecipeError(f"{path}:{error.line}: key {error.key!r} stands here a second time") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{path}: not a mapping of keys to values")
    return content, lines


class _DuplicateKeyError(Exception):
    def __init__(self, key: str, line: int) -> None:
        super().__init__(key)
        self.key, self.line = key, line


def _key_lines(node: yaml.Node, known: set[int], place: Place = ()) -> Iterator[tuple[Place, int]]:
    """The line of each key; what stands behind an alias was seen at its anchor, and is not entered again."""
    if id(node) in known:
        return
    known.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise _DuplicateKeyError(key.value, line)
            seen.add(key.value)
            yield (*place, key.value), line
            yield from _key_lines(value, known, (*place, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield (*place, str(number)), value.start_mark.line + 1
            yield from _key_lines(value, known, (*place, str(number)))


def set_key(content: dict[str, object], setting: str) -> None:
    """Sets a dotted key: `teachers.long.samples=8`, `problems.0.split=test`."""
    key, mark, text = setting.partition("=")
    if not mark or not key:
        raise RecipeError(f"--set {setting}: not of the form key=value")
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {setting}: the value is not YAML") from error
    *parents, last = key.split(".")
    place: object = content
    for parent in parents:
        place = _step(place, parent, setting)
    if isinstance(place, list) and last.isdecimal() and int(last) < len(place):
        place[int(last)] = value
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise RecipeError(f"--set {setting}: the recipe has no {key}")


def put_text(content: str, key: str, text: str) -> str:
    """The YAML of a mapping with another text as the value of an outermost key; all else stays as it stands.

    >>> put_text("name: old  # mine\\nseed: 1\\n", "name", "1.5")
    "name: '1.5'  # mine\\nseed: 1\\n"
    """
    node = yaml.compose(content, Loader=yaml.SafeLoader)
    assert isinstance(node, yaml.MappingNode)
    value = next(value for name, value in node.value if name.value == key)
    quoted = dump_yaml({key: text}).removeprefix(f"{key}: ").rstrip("\n")
    return content[: value.start_mark.index] + quoted + content[value.end_mark.index :]


def _step(place: object, key: str, setting: str) -> object:
    if isinstance(place, list) and key.isdecimal() and int(key) < len(place):
        return place[int(key)]
    if isinstance(place, dict):
        return place.setdefault(key, {})
    raise RecipeError(f"--set {setting}: the recipe has no {key} there")


def near(name: str, known: Sequence[str]) -> str:
    """What to say behind an unknown name: the nearest known one, else all of them."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f" (there are: {', '.join(map(str, known))})"


def explain(
    error: ValidationError, path: Path, lines: Mapping[Place, int], known_keys: Callable[[Place], Sequence[str]]
) -> str:
    """The first fault in one line: file, line, key, what is wrong, and for an unknown key the nearest known one.

    An unknown key comes first: that another one is missing may be because this one is misspelt.
    """
    faults = error.errors(include_url=False)
    # A list with a faulty entry also counts as too short.
    faults = [fault for fault in faults if fault["type"] != "too_short" or len(faults) == 1]
    fault = min(faults, key=lambda each: each["type"] != "extra_forbidden")
    cause = fault.get("ctx", {}).get("error")
    # Parts in <> are no keys: the tags by which pydantic tells the models of a union apart.
    place = tuple(str(part) for part in fault["loc"] if not str(part).startswith("<"))
    place += cause.place if isinstance(cause, PlacedError) else ()
    line = next((lines[place[:end]] for end in range(len(place), 0, -1) if place[:end] in lines), None)
    where = f"{path}:{line}" if line else str(path)
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    if fault["type"] == "extra_forbidden":
        return f"{where}: unknown key {'.'.join(place)!r}{near(place[-1], known_keys(place))}{more}"
    return f"{where}: {_fault_text(fault['type'], '.'.join(place), fault)}{more}"


def _fault_text(kind: str, key: str, fault: Mapping[str, object]) -> str:
    if kind == "missing":
        return f"{key} is missing"
    message = str(fault["msg"]).removeprefix("Value error, ").replace("Tuple", "List").replace("tuple", "list")
    return f"{key}: {message}" if key else message
