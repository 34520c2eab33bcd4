"""Files in and out: every row has a place, and no file is ever half there."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from mixdistill.errors import MixdistillError, RecordError, StorageError
from mixdistill.files import (
    LineWriter,
    _replacing,
    file_digest,
    read_json,
    read_lines,
    read_parquet,
    read_rows,
    write_bytes,
    write_json,
    write_parquet,
    write_text,
)
from mixdistill.records import Verdict, polars_schema

SCHEMA = polars_schema(Verdict)
LINE = b'{"trace_id":"t","problem_id":"p","status":"correct","reason":"r","seconds":1.5}\n'


@contextmanager
def no_file_above(n_bytes: int) -> Iterator[None]:
    """What a full disk does, also to root: a write past the limit fails, after it wrote what fits."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


@contextmanager
def nobody_may_read(path: Path) -> Iterator[None]:
    """Takes the right to read away; root, whom no mode stops, is nobody for as long."""
    user, mode = os.geteuid(), path.stat().st_mode
    path.chmod(0)
    try:
        if user == 0:
            os.seteuid(65_534)
        yield
    finally:
        os.seteuid(user)
        path.chmod(mode)


def message_of(action: Callable[[], object], kind: type[MixdistillError]) -> str:
    with pytest.raises(kind) as raised:
        action()
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("content", "expected", "why"),
    [
        (b'{"a": 1}\n{"a": 2}\n', {1: {"a": 1}, 2: {"a": 2}}, "the plain case"),
        (b'{"a": 1}\n{"a": 2}', {1: {"a": 1}, 2: {"a": 2}}, "no newline at the end"),
        (b'{"a": 1}\r\n{"a": 2}\r\n', {1: {"a": 1}, 2: {"a": 2}}, "Windows newlines"),
        (b'\xef\xbb\xbf{"a": 1}\n', {1: {"a": 1}}, "byte order mark"),
        (b'\n  \n{"a": 1}\n\n', {3: {"a": 1}}, "blank lines have numbers and are no rows"),
        (b"", {}, "an empty file"),
        (b'{"a": "x\\u0000y"}\n', {1: {"a": "x\0y"}}, "NUL in a text"),
        ('{"a": "x\u2028y"}\n'.encode(), {1: {"a": "x\u2028y"}}, "a line separator that is none"),
        (b'{"a": "\\ud800"}\n', {1: {"a": "\ud800"}}, "a lone surrogate is for the reader to judge"),
        (b'{"a": 1, "a": 2}\n', {1: {"a": 2}}, "JSON's last key wins"),
        (b'{"a": ' + b"7" * 4300 + b"}\n", {1: {"a": int("7" * 4300)}}, "a huge number"),
    ],
)
def test_jsonl_is_read(tmp_path: Path, content: bytes, expected: dict[int, object], why: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)

    rows = list(read_rows(path))

    assert {row.place: row.values for row in rows} == {f"rows.jsonl:{n}": v for n, v in expected.items()}, why
    assert [row.fault for row in rows] == [None] * len(expected)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b'{"a": 1', "not JSON: Expecting ',' delimiter"),
        (b"hello", "not JSON: Expecting value"),
        (b'{"a": 1}{"a": 2}', "not JSON: Extra data"),
        (b"\0\0\0", "not JSON: Expecting value"),
        (b'{"a": ' + b"7" * 4301 + b"}", "not JSON: Exceeds the limit (4300 digits)"),
        (b'{"a": ' + b"[" * 100_000, "not JSON: maximum recursion depth exceeded"),
        (b"[1, 2]", "a JSON list, not an object"),
        (b'"text"', "a JSON str, not an object"),
        (b"null", "a JSON NoneType, not an object"),
    ],
    ids=lambda value: str(value[:12]),
)
def test_a_broken_line_in_the_middle_stops_nothing(tmp_path: Path, line: bytes, fault: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b'\n{"a": 3}\n')

    first, broken, last = read_rows(path)

    assert (first.values, last.values, last.place) == ({"a": 1}, {"a": 3}, "rows.jsonl:3")
    assert (broken.place, broken.values, broken.text) == ("rows.jsonl:2", {}, line.decode())
    assert broken.fault is not None
    assert broken.fault.startswith(fault)


@pytest.mark.parametrize(
    ("content", "expected", "why"),
    [
        ("a,b\n1,2\n", [("2", {"a": "1", "b": "2"})], "the plain case"),
        ("\ufeffa,b\r\n1,2\r\n", [("2", {"a": "1", "b": "2"})], "as Excel writes it"),
        ('a,b\n"x ""y"", z","1\n2"\n3,4\n', [("3", {"a": 'x "y", z', "b": "1\n2"}), ("4", {"a": "3", "b": "4"})],
         "quotes, commas and newlines in cells; the place is the last line of the row"),
        ("a,b\n\n1,\n", [("3", {"a": "1", "b": ""})], "a blank line is no row, an empty cell is one"),
        ("a,b\n1,2\0\n", [("2", {"a": "1", "b": "2\0"})], "NUL in a cell"),
        ("a,b\n" + "x" * 200_000 + ",2\n", [("2", {"a": "x" * 200_000, "b": "2"})], "a long cell"),
        ("a,b\n", [], "a header alone"),
        ("", [], "an empty file"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_csv_is_read(tmp_path: Path, content: str, expected: list[tuple[str, object]], why: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(content, encoding="utf-8", newline="")

    rows = [(row.place, row.values) for row in read_rows(path)]

    assert rows == [(f"rows.csv:{line}", values) for line, values in expected], why


@pytest.mark.parametrize(("line", "text"), [("1", '{"a": "1", "b": null}'), ("1,2,3", '"None": ["3"]')])
def test_a_csv_row_with_too_few_or_too_many_fields_is_a_fault(tmp_path: Path, line: str, text: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"a,b\n{line}\n3,4\n", encoding="utf-8")

    broken, good = read_rows(path)

    assert (broken.place, broken.values, broken.fault) == ("rows.csv:2", {}, "not 2 fields")
    assert text in broken.text
    assert good.values == {"a": "3", "b": "4"}


def test_a_quote_that_is_never_closed_does_not_take_in_the_other_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('a,b\n1,2\n3,"4\n5,6\n7,8\n', encoding="utf-8")

    message = message_of(lambda: list(read_rows(path)), RecordError)

    assert message == f"{path}:3: not CSV from here on: unexpected end of data"


def test_parquet_is_read_with_its_types_across_batches(tmp_path: Path) -> None:
    path = tmp_path / "ROWS.PARQUET"
    pl.DataFrame({"n": range(2500), "list": [["a"]] * 2500}).write_parquet(path)

    rows = list(read_rows(path, name="given"))

    assert len(rows) == 2500
    assert (rows[0].place, rows[-1].place) == ("given:1", "given:2500")
    assert rows[-1].values == {"n": 2499, "list": ["a"]}


def test_a_file_that_cannot_be_read_as_a_whole_is_named(tmp_path: Path) -> None:
    frame = pl.DataFrame({"n": range(1000), "text": [f"text {n}" for n in range(1000)]})
    good = tmp_path / "good.parquet"
    frame.write_parquet(good)
    broken_page = bytearray(good.read_bytes())
    broken_page[4:30] = b"\xff" * 26
    contents = {
        "text.parquet": b"not Parquet at all",
        "empty.parquet": b"",
        "cut.parquet": good.read_bytes()[:-20],
        "page.parquet": bytes(broken_page),
    }
    for name, content in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        message = message_of(partial(list, read_rows(path)), RecordError)
        assert message.startswith(f"{path}: not a Parquet file: "), name
        assert "None" not in message


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.jsonl", "no such file"),
        ("folder.jsonl", "no such file"),
        ("rows.json", "not one of .jsonl, .ndjson, .csv, .parquet; convert it or rename it"),
        ("rows", "not one of .jsonl, .ndjson, .csv, .parquet; convert it or rename it"),
        ("rows.jsonl.gz", "not one of .jsonl, .ndjson, .csv, .parquet; convert it or rename it"),
    ],
)
def test_a_missing_file_and_an_unknown_kind_are_named(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "folder.jsonl").mkdir()

    assert message_of(lambda: list(read_rows(tmp_path / name)), RecordError) == f"{tmp_path / name}: {reason}"


def writers(path: Path) -> list[Callable[[], None]]:
    frame = pl.DataFrame({"text": [str(number) * 50 for number in range(5000)]})
    return [
        lambda: write_text(path, "x" * 100_000),
        lambda: write_bytes(path, b"x" * 100_000),
        lambda: write_json(path, ["x"] * 100_000),
        lambda: write_parquet(path, frame),
    ]


@pytest.mark.parametrize("number", range(4))
def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path: Path, number: int) -> None:
    path = tmp_path / "file"
    path.write_text("old", encoding="utf-8")
    write = writers(path)[number]

    with no_file_above(1000):
        message = message_of(write, StorageError)

    reason = "File too large; free space, or choose a folder with --run DIR"
    assert message == f"{path}: cannot be written: {reason}"
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", range(4))
def test_a_write_makes_its_folder_and_leaves_nothing_else(tmp_path: Path, number: int) -> None:
    path = tmp_path / "new" / "folder" / "file"

    for _ in range(2):
        writers(path)[number]()

    assert [found.name for found in path.parent.iterdir()] == ["file"]
    assert path.stat().st_size > 100
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("number", range(4))
def test_a_file_in_the_place_of_a_folder_is_a_storage_error(tmp_path: Path, number: int) -> None:
    (tmp_path / "run").write_text("I am a file", encoding="utf-8")
    path = tmp_path / "run" / "file"

    message = message_of(writers(path)[number], StorageError)

    assert message.startswith(f"{path}: cannot be written: ")
    assert message.endswith("free space, or choose a folder with --run DIR")


def test_a_value_that_is_no_json_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "stats.json"
    write_json(path, {"rate": 0.5, "name": "é"})

    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"rate": float("nan")})

    assert path.read_text(encoding="utf-8") == '{\n  "rate": 0.5,\n  "name": "é"\n}\n'
    assert read_json(path, "stats") == {"rate": 0.5, "name": "é"}


def test_an_interrupted_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old", encoding="utf-8")

    with pytest.raises(KeyboardInterrupt), _replacing(path) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise KeyboardInterrupt

    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old", encoding="utf-8")
    code = f"""if True:
        import os, signal
        from pathlib import Path
        from mixdistill.files import _replacing
        with _replacing(Path({str(path)!r})) as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """

    killed = subprocess.run([sys.executable, "-c", code])

    assert killed.returncode == -signal.SIGKILL
    assert path.read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe", b"7" * 5000])
def test_a_broken_json_file_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(content)

    message = message_of(lambda: read_json(path, "stats"), RecordError)

    assert message.startswith(f"{path}: not JSON: ")
    assert message.endswith("; remove it and run 'mixdistill stats'")


def test_a_missing_json_file_is_named(tmp_path: Path) -> None:
    assert (
        message_of(lambda: read_json(tmp_path / "a.json", "stats"), StorageError)
        == f"{tmp_path / 'a.json'}: not there yet; run 'mixdistill stats' first"
    )


READERS: list[Callable[[Path], object]] = [
    lambda path: read_json(path, "stats"),
    lambda path: read_parquet(path, "verify"),
    lambda path: read_lines(path, SCHEMA),
    lambda path: list(read_rows(path)),
    file_digest,
]


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("folder.parquet", "Is a directory"),
        ("loop.parquet", "Too many levels of symbolic links"),
        ("file/a.parquet", "Not a directory"),
    ],
)
def test_what_cannot_be_opened_is_named(tmp_path: Path, name: str, reason: str, number: int) -> None:
    (tmp_path / "folder.parquet").mkdir()
    (tmp_path / "loop.parquet").symlink_to("loop.parquet")
    (tmp_path / "file").touch()
    path = tmp_path / name

    message = message_of(lambda: READERS[number](path), RecordError)

    rows = READERS[number] is READERS[3]
    assert message == (f"{path}: no such file" if rows else f"{path}: cannot be read: {reason}")


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("locked", ["folder", "folder/file.parquet"])
def test_what_belongs_to_somebody_else_is_named(tmp_path: Path, locked: str, number: int) -> None:
    path = tmp_path / "folder" / "file.parquet"
    path.parent.mkdir()
    pl.DataFrame({"a": [1]}).write_parquet(path)

    with nobody_may_read(tmp_path / locked):
        message = message_of(lambda: READERS[number](path), RecordError)

    assert message == f"{path}: cannot be read: Permission denied"


def test_a_table_that_is_missing_or_broken_names_the_stage_that_makes_it(tmp_path: Path) -> None:
    missing, broken = tmp_path / "missing.parquet", tmp_path / "broken.parquet"
    broken.write_bytes(b"")

    assert message_of(lambda: read_parquet(missing, "verify"), StorageError) == (
        f"{missing}: not there yet; run 'mixdistill verify' first"
    )
    assert message_of(lambda: read_parquet(broken, "verify"), RecordError) == (
        f"{broken}: not a Parquet file; remove it and run 'mixdistill verify'"
    )


@pytest.mark.parametrize("folder", ["run [1]", "a*b", "what?", "{x}", "Größe ü", "100%25"])
def test_a_folder_may_have_any_name(tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder / "table.parquet"
    frame = pl.DataFrame({"a": [1, None], "b": ["x", "é\0"]})

    write_parquet(path, frame)

    assert read_parquet(path, "problems").equals(frame)
    assert [row.values for row in read_rows(path)] == frame.to_dicts()


def test_lines_are_there_as_soon_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "traces" / "1.jsonl"
    writer = LineWriter(path)
    assert not path.exists(), "nothing was written yet"

    writer.write(json.loads(LINE) | {"reason": "é\u2028\n\0\ud800"})
    writer.write({"trace_id": "u"})

    frame = read_lines(path, SCHEMA)
    writer.close()
    assert frame["trace_id"].to_list() == ["t", "u"]
    assert frame["reason"].to_list() == ["é\u2028\n\0?", None]
    assert frame.schema == SCHEMA


def test_lines_survive_the_death_of_their_writer(tmp_path: Path) -> None:
    path = tmp_path / "1.jsonl"
    code = f"""if True:
        from pathlib import Path
        from mixdistill.files import LineWriter
        writer, number = LineWriter(Path({str(path)!r})), 0
        while True:
            writer.write({{"trace_id": str(number), "reason": "x" * 5000}})
            number += 1
            print(number, flush=True)
    """
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(50)]
        process.kill()
        told += process.stdout.readlines()
    n_told = len([line for line in told if line.endswith("\n")])

    found = read_lines(path, SCHEMA)["trace_id"].to_list()

    assert found == [str(number) for number in range(len(found))]
    assert len(found) >= n_told >= 50


@pytest.mark.parametrize("torn", [b"", b"{", LINE[:-1], b'{"trace_id":"\xc3', b"\0\0\0"], ids=repr)
def test_a_torn_last_line_is_left_out(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "1.jsonl"

    path.write_bytes(LINE * 2 + torn)
    assert read_lines(path, SCHEMA)["trace_id"].to_list() == ["t", "t"]
    path.write_bytes(torn)
    assert read_lines(path, SCHEMA).equals(pl.DataFrame(schema=SCHEMA))


@pytest.mark.parametrize(
    "line",
    [
        b"{", b"hello", b"[]", b"3", b"null", b"\0\0\0", LINE[:-1] + LINE[:-1], b'{"trace_id":"\xff"}',
        b'{"trace_id":"t","seconds":"soon"}',
    ],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("before", [0, 1, 6])
def test_a_broken_line_in_the_middle_is_an_error_that_names_it(tmp_path: Path, line: bytes, before: int) -> None:
    path = tmp_path / "1.jsonl"
    path.write_bytes(LINE * before + line + b"\n" + LINE * 3)

    message = message_of(lambda: read_lines(path, SCHEMA), RecordError)

    assert message == f"{path}:{before + 1}: not a trace; remove that line"


def test_a_full_disk_loses_no_line_that_was_written_and_ends_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "1.jsonl"
    writer = LineWriter(path)
    with no_file_above(1000):
        writer.write({"trace_id": "a" * 500})
        message = message_of(lambda: writer.write({"trace_id": "b" * 900}), StorageError)
    again = message_of(lambda: writer.write({"trace_id": "c"}), StorageError)
    writer.close()

    assert message == (f"{path}: cannot be written: File too large; free space, or choose a folder with --run DIR")
    assert "File exists" in again, "a line behind the torn one would break the file"
    assert read_lines(path, SCHEMA)["trace_id"].to_list() == ["a" * 500]


def test_two_writers_do_not_share_a_file_and_a_closed_one_writes_no_more(tmp_path: Path) -> None:
    path = tmp_path / "1.jsonl"
    writer, other = LineWriter(path), LineWriter(path)
    writer.write({"trace_id": "a"})

    assert "File exists" in message_of(lambda: other.write({"trace_id": "b"}), StorageError)
    for _ in range(2):
        writer.close()
    assert "File exists" in message_of(lambda: writer.write({"trace_id": "c"}), StorageError)
    assert path.read_bytes() == b'{"trace_id":"a"}\n'


def test_a_digest_is_that_of_the_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")

    assert file_digest(path) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    missing = tmp_path / "missing"
    message = f"{missing}: cannot be read: No such file or directory"
    assert message_of(lambda: file_digest(missing), RecordError) == message
    path.write_bytes(b"x" * (3 << 20))
    first = file_digest(path)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert file_digest(path) != first
