"""Pictures: the same numbers give the same bytes, and no set of teachers breaks them."""

import struct
import warnings
import xml.etree.ElementTree
from pathlib import Path

import pytest

from mixdistill.cards.plots import draw_plots
from mixdistill.errors import StorageError
from mixdistill.files import write_json
from mixdistill.run import Run
from mixdistill.tables import Lengths, Stats, TeacherStats

NAMES = [f"{plot}.{kind}" for plot in ("lengths", "difficulty", "pass_rates") for kind in ("svg", "png")]


def teacher(name: str, rate: float | None, style: str = "short") -> TeacherStats:
    return {
        "teacher": name, "model": name, "style": style, "size": None, "traces": 100, "failed": 0,
        "right": round(100 * (rate or 0)), "judged": 0 if rate is None else 100,
        "correct": round(100 * (rate or 0)), "pass_rate": rate,
        "pass_rate_low": None if rate is None else max(0.0, rate - 0.05),
        "pass_rate_high": None if rate is None else min(1.0, rate + 0.05),
        "statuses": {}, "truncated_rate": None, "looping_rate": None, "tokens": {}, "chars": {},
        "reasoning_share": None,
    }  # fmt: skip


def stats(*teachers: TeacherStats) -> Stats:
    styles = sorted({teacher["style"] for teacher in teachers})
    lengths: Lengths = {"unit": "tokens", "bin_width": 40, "styles": {style: [*range(30)] for style in styles}}
    difficulty = {teacher["teacher"]: [5, *[0] * 8, 95] for teacher in teachers if teacher["judged"]}
    return {
        "problems": 100, "traces": 100, "teachers": list(teachers), "lengths": lengths,
        "difficulty": difficulty,
    }  # fmt: skip


def drawn(folder: Path, numbers: Stats) -> dict[str, bytes]:
    """The pictures of these numbers by name; any warning is an error."""
    run = Run(folder)
    write_json(run.stats, numbers)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths = draw_plots(run)
    assert [path.relative_to(run.plots).as_posix() for path in paths] == NAMES
    return {path.name: path.read_bytes() for path in paths}


def png_size(content: bytes) -> tuple[int, int]:
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


@pytest.mark.parametrize(
    "teachers",
    [
        [],
        [teacher("alone", 0.5)],
        [teacher("none", 0.0, "long"), teacher("all", 1.0)],
        [teacher("unjudged", None)],
        [teacher(f"teacher-{number}", number / 20, "long" if number % 2 else "short") for number in range(21)],
        [teacher("a name so long that it would leave no room for the picture " * 3, 0.3), teacher("_hidden", 0.1)],
        [teacher(r"$\frac{1}$ | <b> `x`", 0.3), teacher("日本語の教師", 0.7), teacher("two\nlines", 0.2)],
    ],
    ids=["nobody", "one", "bounds", "unjudged", "many", "long names", "odd names"],
)
def test_pictures_are_whole_for_any_teachers(tmp_path: Path, teachers: list[TeacherStats]) -> None:
    pictures = drawn(tmp_path, stats(*teachers))

    for name, content in pictures.items():
        if name.endswith(".svg"):
            assert xml.etree.ElementTree.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"
        else:
            width, height = png_size(content)
            assert width == 1120
            assert height > 250


def test_the_same_numbers_give_the_same_bytes_whatever_this_machine_sets(tmp_path: Path) -> None:
    import matplotlib

    numbers = stats(teacher("a", 0.25, "long"), teacher("b", 0.75))
    first = drawn(tmp_path / "one", numbers)

    with matplotlib.rc_context({"figure.facecolor": "black", "lines.linewidth": 9, "svg.fonttype": "none"}):
        second = drawn(tmp_path / "two", numbers)
        assert matplotlib.rcParams["lines.linewidth"] == 9

    assert second == first


def test_other_numbers_give_other_pictures(tmp_path: Path) -> None:
    first = drawn(tmp_path / "one", stats(teacher("a", 0.25)))
    second = drawn(tmp_path / "two", stats(teacher("a", 0.5)))

    assert first["pass_rates.svg"] != second["pass_rates.svg"]
    assert first["lengths.svg"] == second["lengths.svg"]


def test_pictures_tell_no_date_and_no_path(tmp_path: Path) -> None:
    for name, content in drawn(tmp_path, stats(teacher("a", 0.25))).items():
        assert str(tmp_path).encode() not in content, name
        assert b"<dc:date>" not in content, name
        assert b"Software" not in content, name


def test_each_teacher_has_a_row_of_its_own(tmp_path: Path) -> None:
    heights = [
        png_size(drawn(tmp_path / str(n), stats(*[teacher(f"t{i}", 0.5) for i in range(n)]))["pass_rates.png"])[1]
        for n in (1, 3, 11)
    ]

    assert [round((height / 160 - 1.3) / 0.45) for height in heights] == [1, 3, 11]


def test_without_stats_the_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"stats\.json: not there yet; run 'mixdistill stats'"):
        draw_plots(Run(tmp_path))
