"""The folder that a recipe fills: where each file lies, and what has been done.

`Run` knows the paths and keeps `manifest.json`: for each stage the hashes of what it read and wrote, counts,
seconds and versions. A stage is finished when it read the same then as it would read now and its files are
still the ones that it wrote; then it need not run again.
"""

import platform
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple, Protocol, TypedDict, cast

from mixdistill.errors import RecordError, StorageError
from mixdistill.files import cannot_write, file_digest, read_json, write_json
from mixdistill.records import canonical_json, digest


class TeacherFigures(NamedTuple):
    """What one teacher did in this call."""

    teacher: str
    asked: int
    "Requests that ended, failed ones too."
    failed: int
    tokens: int
    "Tokens of reasoning and responses."
    judged: int
    "Traces that were judged meanwhile."
    correct: int


class Figures(NamedTuple):
    """How asking goes, in this call."""

    in_flight: int
    "Requests under way."
    retries: int
    tokens: int
    "Tokens of reasoning and responses."
    cost_usd: float | None
    "None where no price is known."
    teachers: tuple[TeacherFigures, ...]
    waiting: int = 0
    "Requests that wait until the budget has room for them."


class Progress(Protocol):
    """Called with how many are done, how many there are, and a few words or figures about it."""

    def __call__(self, done: int, total: int, note: str, figures: Figures | None = None, /) -> None: ...


_VERSIONS = ("mixdistill", "datasets", "huggingface-hub", "polars", "pyarrow", "sympy", "xllamacpp")


# Counts of what a call did: the same run in one go or in two has others.
_EFFORT = frozenset({"asked", "failed", "new"})


class Identity(TypedDict):
    """What a file was when a stage read or wrote it."""

    sha256: str
    bytes: int
    mtime_ns: int


class StageRecord(NamedTuple):
    """What a stage did: how many of what, and whether it had been done before."""

    stage: str
    counts: dict[str, int]
    seconds: float
    complete: bool
    "False if something failed that another try could mend."
    skipped: bool
    "True if there was nothing to do."


@dataclass(frozen=True)
class Run:
    """A run folder. Paths only: nothing is made until a stage writes."""

    folder: Path

    @cached_property
    def recipe(self) -> Path:
        return self.folder / "recipe.yaml"

    @cached_property
    def problems(self) -> Path:
        return self.folder / "problems.parquet"

    @cached_property
    def dropped_problems(self) -> Path:
        return self.folder / "problems.dropped.parquet"

    @cached_property
    def contamination(self) -> Path:
        return self.folder / "problems.contaminated.parquet"

    @cached_property
    def traces(self) -> Path:
        return self.folder / "traces"

    @cached_property
    def wanted(self) -> Path:
        return self.folder / "traces" / "wanted.parquet"

    @cached_property
    def engines(self) -> Path:
        return self.folder / "traces" / "engines.json"

    @cached_property
    def verdicts(self) -> Path:
        return self.folder / "verdicts.parquet"

    @cached_property
    def verdicts_so_far(self) -> Path:
        return self.folder / "verdicts"

    @cached_property
    def suspects(self) -> Path:
        return self.folder / "references.suspect.parquet"

    @cached_property
    def opinions(self) -> Path:
        return self.folder / "opinions"

    @cached_property
    def stats(self) -> Path:
        return self.folder / "stats.json"

    @cached_property
    def difficulty(self) -> Path:
        return self.folder / "difficulty.parquet"

    @cached_property
    def lengths(self) -> Path:
        return self.folder / "lengths.parquet"

    @cached_property
    def plots(self) -> Path:
        return self.folder / "plots"

    @cached_property
    def mixes(self) -> Path:
        return self.folder / "mixes"

    @cached_property
    def scores(self) -> Path:
        return self.folder / "scores"

    @cached_property
    def scored(self) -> Path:
        return self.folder / "scores.parquet"

    @cached_property
    def dataset(self) -> Path:
        return self.folder / "dataset"

    @cached_property
    def manifest(self) -> Path:
        return self.folder / "manifest.json"

    def trace_files(self) -> list[Path]:
        """The append-only files of finished traces, oldest writer first."""
        return sorted(self.traces.glob("*.jsonl"))

    def verdict_files(self) -> list[Path]:
        """The append-only files of what was judged while traces were still written, oldest writer first."""
        return sorted(self.verdicts_so_far.glob("*.jsonl"))

    def opinion_files(self) -> list[Path]:
        """The append-only files of what the judge said, oldest writer first."""
        return sorted(self.opinions.glob("*.jsonl"))

    def score_files(self) -> list[Path]:
        """The append-only files of scores under students, oldest writer first."""
        return sorted(self.scores.glob("*.jsonl"))

    def stages(self) -> dict[str, dict[str, object]]:
        """What manifest.json says, by stage; empty if there is none."""
        if not self.manifest.exists():
            return {}
        stages = read_json(self.manifest, "run")
        if not isinstance(stages, dict):
            raise RecordError(f"{self.manifest}: not a JSON object; remove it and run 'mixdistill run'")
        return cast("dict[str, dict[str, object]]", stages)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the folder for this process. Raises StorageError if another one has it."""
        import filelock

        lock = filelock.FileLock(self.folder / ".lock", blocking=False)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except filelock.Timeout:
            raise StorageError(
                f"{self.folder}: another mixdistill is working here; wait for it, or choose another --run DIR"
            ) from None
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        try:
            yield  # not in the block above: an error of the caller is not one of the lock
        finally:
            lock.release()

    def finished(self, stage: str, settings: object, reads: Iterable[Path]) -> StageRecord | None:
        """The record of the stage if it ran on these settings and files and its own files are still there.

        It may be incomplete: then something failed that another try could mend.
        """
        entry = self.stages().get(stage)
        if entry is None:
            return None
        try:
            known = cast("Mapping[str, Identity]", entry["reads"])
            written = cast("Mapping[str, Identity]", entry["writes"])
            same = entry["settings"] == _settings_digest(settings) and set(known) == {
                self._name(path) for path in reads if path.is_file()
            }
            if not same or not all(
                self._unchanged(name, file) for name, file in [*known.items(), *written.items()]
            ):
                return None
            counts, seconds = cast("dict[str, int]", entry["counts"]), cast("float", entry["seconds"])
            return StageRecord(stage, counts, seconds, complete=bool(entry["complete"]), skipped=True)
        except (KeyError, TypeError, AttributeError) as error:
            raise RecordError(
                f"{self.manifest}: no record of a run; remove it and run 'mixdistill run'"
            ) from error

    def record(
        self,
        stage: str,
        settings: object,
        *,
        reads: Mapping[str, Identity],
        writes: Mapping[str, Identity],
        counts: Mapping[str, int],
        seconds: float,
        complete: bool,
        about: Mapping[str, object] | None = None,
    ) -> StageRecord:
        """Notes in manifest.json that a stage ran. `reads` are the files as they were before it did.

        `about` is what else is worth knowing of it.
        """
        entry: dict[str, object] = {
            "complete": complete,
            "settings": _settings_digest(settings),
            "reads": dict(reads),
            "writes": dict(writes),
            "counts": dict(counts),
            "seconds": round(seconds, 3),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "versions": versions(),
            **(about or {}),
        }
        write_json(self.manifest, self.stages() | {stage: entry})
        return StageRecord(stage, dict(counts), seconds, complete, skipped=False)

    def outcomes(self) -> dict[str, dict[str, int]]:
        """The counts of each stage that tell what the run holds, without those that tell how it came to be."""
        counts = {stage: cast("dict[str, int]", entry["counts"]) for stage, entry in self.stages().items()}
        return {
            stage: {name: n for name, n in found.items() if name not in _EFFORT} for stage, found in counts.items()
        }

    def identities(self, paths: Iterable[Path]) -> dict[str, Identity]:
        """The files among the paths as they are now, by the name that the manifest knows them by."""
        return {self._name(path): self._identity(path) for path in paths if path.is_file()}

    def _name(self, path: Path) -> str:
        """The path inside the folder, or the whole path of a file outside."""
        if path.is_relative_to(self.folder):
            return path.relative_to(self.folder).as_posix()
        return str(path.resolve())

    def _identity(self, path: Path) -> Identity:
        status = path.stat()
        return {"sha256": file_digest(path), "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}

    def _unchanged(self, name: str, known: Identity) -> bool:
        """Whether the file is still the same: by size and time, and only if these differ by its hash."""
        path = self.folder / name
        if not path.is_file():
            return False
        status = path.stat()
        if status.st_size != known["bytes"]:
            return False
        return status.st_mtime_ns == known["mtime_ns"] or file_digest(path) == known["sha256"]


def versions() -> dict[str, str]:
    """Python and the installed packages that can change what a stage makes."""
    found = {"python": platform.python_version()}
    for package in _VERSIONS:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _settings_digest(settings: object) -> str:
    return digest(canonical_json(settings))
