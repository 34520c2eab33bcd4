"""How a stage goes: rates of late, as a line, a panel and events."""

import io
import json
import os
import pty
import select
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from mixdistill.cli import cli
from mixdistill.progress import Pace, Panel, event, line
from mixdistill.run import Figures, StageRecord, TeacherFigures
from mixdistill.terminal import Reporter

LONG = TeacherFigures("long", asked=60, failed=0, tokens=3000, judged=18, correct=11)
SHORT = TeacherFigures("short", asked=60, failed=1, tokens=1000, judged=0, correct=0)


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def figures(*teachers: TeacherFigures, cost_usd: float | None = None) -> Figures:
    tokens = sum(row.tokens for row in teachers)
    return Figures(in_flight=64, retries=3, tokens=tokens, cost_usd=cost_usd, teachers=teachers)


def paced(done: int, total: int, figures: Figures | None = None, note: str = "", seconds: float = 10.0) -> Pace:
    """A stage that has done so many in so many seconds."""
    clock = Clock()
    pace = Pace("generate", clock)
    pace.tell(0, total, "")
    clock.now += seconds
    pace.tell(done, total, note, figures)
    return pace


def told(pace: Pace) -> str:
    moment = pace.moment()
    assert moment is not None
    return line(moment)


def panel(pace: Pace, width: int) -> list[str]:
    moment = pace.moment()
    assert moment is not None
    screen = io.StringIO()
    Console(file=screen, width=width).print(Panel(moment))
    return [text.rstrip() for text in screen.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("done", "total", "expected"),
    [
        (120, 2000, "generate  120 of 2,000, 12.0/s, ETA 2m 36s, ok"),
        (0, 2000, "generate  0 of 2,000, 0.0/s, ok"),  # nothing moves: no time is known
        (1, 10, "generate  1 of 10, 0.10/s, ETA 1m 30s, ok"),
        (0, 0, "generate  0 of 0, 0.0/s, ETA 0s, ok"),
        (12, 10, "generate  12 of 10, 1.2/s, ETA 0s, ok"),  # fewer are needed than were asked
    ],
)
def test_a_line_tells_rate_and_what_is_left(done: int, total: int, expected: str) -> None:
    assert told(paced(done, total, note="ok")) == expected


def test_a_line_with_figures_tells_them() -> None:
    assert told(paced(120, 2000, figures(LONG, SHORT, cost_usd=0.12))) == (
        "generate  120 of 2,000, 12.0/s, 400 tokens/s, 64 in flight, 3 retries, 1 failed, ETA 2m 36s, $0.12, "
        "right so far: long 61% of 18"
    )


def test_a_line_says_why_few_are_in_flight() -> None:
    waits = figures(LONG)._replace(in_flight=2, waiting=62)

    assert ", 2 in flight, 62 wait for room in the budget, 3 retries" in told(paced(120, 2000, waits))


def test_a_line_has_no_control_characters() -> None:
    text = told(paced(1, 2, note="model\x1b[2J\r\nof \u202e mine"))

    assert text.isprintable()
    assert text.endswith("model\N{REPLACEMENT CHARACTER}[2J of \N{REPLACEMENT CHARACTER} mine")


def test_a_stall_shows() -> None:
    clock = Clock()
    pace = Pace("generate", clock)
    rates = []
    for second in range(241):
        clock.now = 100.0 + second
        pace.tell(min(second, 120) * 10, 5000, "")
        if second in (60, 120, 150, 240):
            moment = pace.moment()
            assert moment is not None
            rates.append(round(moment.rate, 1))

    assert rates == [10.0, 10.0, 0.3, 0.1]


def test_a_rate_of_slow_requests_is_over_ten_of_them() -> None:
    clock = Clock()
    pace = Pace("generate", clock)
    for minute in range(31):
        clock.now = 100.0 + 60 * minute
        pace.tell(minute, 100, "")
    clock.now += 50

    moment = pace.moment()
    assert moment is not None
    assert moment.rate == pytest.approx(10 / 650)


def test_the_second_part_of_a_stage_has_a_rate_of_its_own() -> None:
    clock = Clock()
    pace = Pace("verify", clock)
    pace.tell(5000, 5000, "judged")
    clock.now += 5
    pace.tell(0, 20, "asking")
    clock.now += 10
    pace.tell(10, 20, "asking")

    assert told(pace) == "verify    10 of 20, 1.0/s, ETA 10s, asking"


def test_a_panel_has_a_row_for_each_teacher() -> None:
    shown = panel(paced(120, 2000, figures(LONG, SHORT, cost_usd=0.0123)), 80)

    assert shown[0].startswith("generate  ━")
    assert shown[0].endswith(" 120/2,000  0:00:10  ETA 0:02:36")
    assert [text.strip() for text in shown[1:]] == [
        "12.0/s  400 tokens/s  64 in flight  3 retries  1 failed  $0.0123",
        "teacher  asked  failed  tokens/s  right so far",
        "long        60       0       300  61% of 18 judged",
        "short       60       1       100  -",
    ]


@pytest.mark.parametrize("width", [10, 20, 40, 80, 120])
def test_a_panel_fits(width: int) -> None:
    teachers = [LONG._replace(teacher=f"a-very-long-name-of-a-teacher-{n}") for n in range(10)]
    shown = panel(paced(123_456, 2_000_000, figures(*teachers, cost_usd=123.4)), width)

    assert max(map(len, shown)) < width or width < 20
    assert any("+2 more" in text for text in shown) or width < 40
    assert len([text for text in shown if text.strip().startswith("a-")]) == 8 or width < 40


def test_a_narrow_panel_breaks_between_figures() -> None:
    shown = panel(paced(120, 2000, figures(LONG, SHORT, cost_usd=0.12)), 40)

    assert [text.strip() for text in shown[1:]] == [
        "0:00:10  ETA 0:02:36",
        "12.0/s  400 tokens/s  64 in flight",
        "3 retries  1 failed  $0.12",
        "teacher  asked  failed  right",
        "long        60       0  61% of 18",
        "short       60       1  -",
    ]


def test_a_panel_without_figures_is_one_line() -> None:
    (shown,) = panel(paced(0, 0, note="3 [red]correct"), 120)

    assert shown.endswith("━ 0/0  0:00:10  ETA 0:00:00  0.0/s  3 [red]correct")


def test_an_event_has_the_same_keys_whatever_is_known() -> None:
    bare, full = paced(0, 10).moment(), paced(120, 2000, figures(LONG)).moment()
    assert bare is not None and full is not None

    assert list(event(bare)) == list(event(full))
    assert event(full) == {
        "event": "progress", "stage": "generate", "done": 120, "total": 2000, "seconds": 10.0, "rate": 12.0,
        "eta_seconds": 156.7, "tokens_per_second": 300.0, "in_flight": 64, "waiting": 0, "retries": 3,
        "tokens": 3000, "cost_usd": None,
        "teachers": {"long": {"asked": 60, "failed": 0, "tokens": 3000, "judged": 18, "correct": 11}},
    }  # fmt: skip
    assert (event(bare)["eta_seconds"], event(bare)["in_flight"], event(bare)["teachers"]) == (None, None, {})


def test_events_come_at_most_once_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Reporter(as_json=True, clock=clock) as reporter:
        progress = reporter("generate")
        for done in range(21):  # four times a second
            progress(done, 20, "", figures(LONG))
            clock.now += 0.25
        reporter.done(StageRecord("generate", {"traces": 20}, 4.2, complete=True, skipped=False))
        reporter.warn("1 requests failed")

    shown = capsys.readouterr()
    *events, stage, warning = [json.loads(text) for text in shown.err.splitlines()]
    assert [row["done"] for row in events] == [0, 4, 8, 12, 16, 20]
    assert stage == {
        "event": "stage", "stage": "generate", "seconds": 4.2, "skipped": False, "counts": {"traces": 20}
    }  # fmt: skip
    assert warning == {"event": "warning", "message": "1 requests failed"}
    assert shown.out == ""


def test_json_of_a_command_is_events_on_stderr_and_one_object_on_stdout(
    small_recipe: Path, tmp_path: Path
) -> None:
    done = CliRunner().invoke(cli, ["problems", str(small_recipe), "--json", "--run", str(tmp_path / "run")])

    assert list(json.loads(done.stdout)["stages"]) == ["problems"]
    (stage,) = [json.loads(text) for text in done.stderr.splitlines()]
    assert (stage["event"], stage["stage"], stage["counts"]["kept"]) == ("stage", "problems", 30)


def test_lines_come_after_two_seconds_and_then_every_ten(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Reporter(clock=clock) as reporter:
        progress = reporter("verify")
        for done in range(25):
            progress(done, 100, "")
            clock.now += 1
        reporter.done(StageRecord("verify", {"verdicts": 100}, 25.0, complete=True, skipped=False))
        reporter.warn("mind")

    assert capsys.readouterr().err.splitlines() == [
        "verify    2 of 100, 1.0/s, ETA 1m 38s",
        "verify    12 of 100, 1.0/s, ETA 1m 28s",
        "verify    22 of 100, 1.0/s, ETA 1m 18s",
        "verify    100 verdicts  (25.0 s)",
        "Warning: mind",
    ]


def test_a_terminal_shows_the_panel_and_then_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    shown = on_a_terminal(monkeypatch)

    assert "ETA" in shown and "\x1b[1A\x1b[2K" in shown  # drawn, and taken away
    assert shown.rindex("generate  2 traces  (1.0 s)") > shown.rindex("ETA")


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")

    assert on_a_terminal(monkeypatch) == "generate  2 traces  (1.0 s)\r\n"


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> str:
    """What a stage of two traces writes on a real terminal."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal, monkeypatch.context() as patch:
        patch.setattr("sys.stderr", terminal)
        with Reporter() as reporter:
            progress = reporter("generate")
            progress(2, 2, "", figures(LONG))
            if reporter._live is not None:
                reporter._live.refresh()
            reporter.done(StageRecord("generate", {"traces": 2}, 1.0, complete=True, skipped=False))
        terminal.flush()
        shown = b""
        while select.select([ours], [], [], 0.05)[0]:
            shown += os.read(ours, 65536)
    os.close(ours)
    return shown.decode()
