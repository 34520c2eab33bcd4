"""The run folder: what was done is not done again, and what changed is."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mixdistill.errors import RecordError, StorageError
from mixdistill.files import read_json, write_json
from mixdistill.run import Run, StageRecord

SETTINGS = {"seed": 42, "mixes": {"a": 0.2}}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run whose stage `mix` read one file of its own and one from outside, and wrote one."""
    run = Run(tmp_path / "run")
    source, trace, mix = files(run)
    for path, text in ((source, "source"), (trace, "trace"), (mix, "mixed")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    reads, writes = run.identities([source, trace]), run.identities([mix])
    run.record("mix", SETTINGS, reads=reads, writes=writes, counts={"rows": 3}, seconds=0.25, complete=True)
    return run


def files(run: Run) -> tuple[Path, Path, Path]:
    folder = run.folder
    return folder.parent / "source.jsonl", folder / "traces" / "1.jsonl", folder / "mixes" / "a" / "train.parquet"


def finished(run: Run) -> StageRecord | None:
    return run.finished("mix", SETTINGS, list(files(run)[:2]))


def test_a_stage_that_read_and_wrote_the_same_is_finished(run: Run) -> None:
    assert finished(run) == StageRecord("mix", {"rows": 3}, 0.25, complete=True, skipped=True)


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def rewrite(path: Path) -> None:
    """Another text of the same length."""
    path.write_text(path.read_text(encoding="utf-8").upper(), encoding="utf-8")
    os.utime(path, ns=(2, 2))


def append(path: Path) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("x")


@pytest.mark.parametrize("number", [0, 1, 2], ids=["read outside", "read inside", "written"])
@pytest.mark.parametrize(
    ("change", "is_finished"),
    [(touch, True), (rewrite, False), (append, False), (Path.unlink, False)],
    ids=["touched", "rewritten", "grown", "deleted"],
)
def test_only_a_change_of_content_makes_it_unfinished(
    run: Run, number: int, change: Callable[[Path], None], is_finished: bool
) -> None:
    change(files(run)[number])

    assert (finished(run) is not None) is is_finished


def test_a_folder_in_the_place_of_an_output_is_no_output(run: Run) -> None:
    output = files(run)[2]
    output.unlink()
    output.mkdir()

    assert finished(run) is None


@pytest.mark.parametrize(
    ("stage", "settings", "read"),
    [
        ("mix", SETTINGS | {"seed": 43}, (0, 1)),
        ("mix", SETTINGS | {"new": None}, (0, 1)),
        ("mix", SETTINGS, (0,)),
        ("mix", SETTINGS, (0, 1, 2)),
        ("card", SETTINGS, (0, 1)),
    ],
    ids=["changed setting", "new setting", "reads less", "reads more", "other stage"],
)
def test_other_settings_or_other_inputs_make_it_unfinished(
    run: Run, stage: str, settings: object, read: tuple[int, ...]
) -> None:
    assert run.finished(stage, settings, [files(run)[number] for number in read]) is None


def test_the_order_of_keys_and_of_files_does_not_matter(run: Run) -> None:
    source, trace, _ = files(run)

    assert run.finished("mix", dict(reversed(SETTINGS.items())), [trace, source]) is not None


def test_a_stage_that_failed_in_part_is_known_as_such(run: Run) -> None:
    record = run.record("mix", SETTINGS, reads={}, writes={}, counts={"failed": 1}, seconds=1.0, complete=False)

    again = run.finished("mix", SETTINGS, {})

    assert (record.complete, record.skipped) == (False, False)
    assert again is not None
    assert (again.complete, again.skipped) == (False, True)


def test_a_run_may_be_moved_with_its_files(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, _, _ = files(run)
    moved = Run(tmp_path / "moved")
    run.folder.rename(moved.folder)
    monkeypatch.chdir(moved.folder.parent)

    for there in (moved, Run(Path("moved"))):
        assert there.finished("mix", SETTINGS, [source, there.folder / "traces" / "1.jsonl"]) is not None


def test_the_manifest_keeps_what_other_stages_noted(run: Run) -> None:
    run.record("card", 1, reads={}, writes={}, counts={}, seconds=0.12345, complete=True)

    stages = run.stages()
    mix = stages["mix"]
    assert list(stages) == ["mix", "card"]
    assert mix["counts"] == {"rows": 3}
    assert stages["card"]["seconds"] == 0.123
    assert list(dict_of(mix["reads"])) == [str(files(run)[0]), "traces/1.jsonl"]
    assert dict_of(dict_of(mix["writes"])["mixes/a/train.parquet"])["bytes"] == 5
    assert {"python", "mixdistill", "polars"} <= set(dict_of(mix["versions"]))


def dict_of(value: object) -> dict[str, object]:
    assert isinstance(value, dict)
    return value


def test_a_run_without_a_manifest_has_no_stages_and_makes_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")

    assert run.stages() == {}
    assert run.finished("mix", SETTINGS, []) is None
    assert run.trace_files() == []
    assert not run.folder.exists()


@pytest.mark.parametrize("content", ["{", "[]", "null", '"x"'])
def test_a_broken_manifest_says_what_to_do(run: Run, content: str) -> None:
    run.manifest.write_text(content, encoding="utf-8")

    with pytest.raises(RecordError) as raised:
        finished(run)

    assert str(raised.value).startswith(f"{run.manifest}: not ")
    assert str(raised.value).endswith("; remove it and run 'mixdistill run'")


def test_trace_files_are_in_the_order_of_their_writers(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.traces.mkdir()
    for name in ("00000000000000000010-7.jsonl", "00000000000000000009-8.jsonl", "wanted.parquet", ".x.jsonl.tmp"):
        (run.traces / name).touch()

    names = [path.name for path in run.trace_files()]

    assert names == ["00000000000000000009-8.jsonl", "00000000000000000010-7.jsonl"]


LOCKER = """if True:
    import sys
    from pathlib import Path
    from mixdistill.run import Run
    with Run(Path(sys.argv[1])).locked():
        print("locked", flush=True)
        sys.stdin.read()
"""


def test_a_run_is_held_by_one_process_until_it_ends_or_is_killed(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    with subprocess.Popen(
        [sys.executable, "-c", LOCKER, str(run.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(StorageError) as raised, run.locked():
            pass
        process.kill()

    assert str(raised.value) == (
        f"{run.folder}: another mixdistill is working here; wait for it, or choose another --run DIR"
    )
    with run.locked():
        pass


def test_a_lock_is_given_back_after_an_error_and_does_not_change_it(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")

    for error in (ConnectionResetError("by peer"), FileNotFoundError(2, "a bug"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as raised, run.locked():
            raise error
        assert raised.value is error
    with run.locked(), pytest.raises(StorageError, match="another mixdistill is working here"), run.locked():
        pass


def test_a_file_in_the_place_of_the_folder_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    (tmp_path / "dir").mkdir()

    for folder in (tmp_path / "run", tmp_path / "run" / "below"):
        with pytest.raises(StorageError) as raised, Run(folder).locked():
            pass
        assert str(raised.value).startswith(f"{folder}: cannot be written: ")
    (tmp_path / "dir" / ".lock").mkdir()
    with pytest.raises(StorageError, match="Is a directory"), Run(tmp_path / "dir").locked():
        pass


def test_the_manifest_is_json_that_people_can_read(run: Run) -> None:
    assert isinstance(read_json(run.manifest, "run"), dict)
    assert '\n  "mix": {\n    "complete": true,\n' in run.manifest.read_text(encoding="utf-8")


def test_a_manifest_of_something_else_says_what_to_do(run: Run) -> None:
    write_json(run.manifest, {"mix": {"rows": 3}})

    with pytest.raises(RecordError, match=r"manifest\.json: no record of a run; remove it"):
        finished(run)


def test_a_file_that_changes_while_a_stage_works_counts_as_not_read(run: Run) -> None:
    source, trace, _ = files(run)
    before = run.identities([source, trace])
    source.write_text("changed", encoding="utf-8")
    run.record("mix", SETTINGS, reads=before, writes={}, counts={}, seconds=1.0, complete=True)

    assert finished(run) is None


def test_outcomes_leave_out_how_a_run_came_to_be(run: Run) -> None:
    counts = {"traces": 60, "asked": 20, "failed": 0, "new": 3}
    run.record("generate", 1, reads={}, writes={}, counts=counts, seconds=1.0, complete=True)

    assert run.outcomes() == {"mix": {"rows": 3}, "generate": {"traces": 60}}
