"""Asking teachers: what is asked, what is not asked again, what is kept when something breaks."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import no_progress
from fault_server import HELD, Asked, FaultServer, Reply, Request, in_turn, refuses, says

from mixdistill.builders.engines import ENGINES
from mixdistill.builders.plan import plan_traces
from mixdistill.builders.traces import generate_traces
from mixdistill.errors import RecipeError, StorageError, TeacherError
from mixdistill.files import write_parquet
from mixdistill.recipe import Recipe
from mixdistill.records import Problem, to_frame
from mixdistill.run import Figures, Progress, Run
from mixdistill.street import STAGES, run_stage
from mixdistill.tables import read_traces
from mixdistill.verifiers.live import live_judging

KEY = "sk-secret-0123456789"
KEY_ENV = "TEACHER_KEY"
ALWAYS_DOWN = "http://127.0.0.1:1/v1"  # tcpmux: nobody listens

# A shell may have made this process ignore SIGINT, and a child inherits that.
CLI = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import mixdistill.cli as c; c.main()"
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    monkeypatch.setenv(KEY_ENV, KEY)
    with FaultServer(in_turn(says())) as running:
        yield running


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with the problems 1 + 2, 2 + 2 ... 10 + 2."""
    return run_with(10, tmp_path / "run")


def run_with(n_problems: int, folder: Path) -> Run:
    made = Run(folder)
    write_parquet(made.problems, to_frame(Problem, problems(n_problems)))
    return made


def problems(n: int) -> list[Problem]:
    return [
        Problem(problem_id=f"p-{i}", problem=f"What is {i} + 2?", reference=str(i + 2), source="tests")
        for i in range(1, n + 1)
    ]


def served_by(server: FaultServer | str, **fields: object) -> dict[str, object]:
    """A teacher as a recipe has it."""
    base_url = server if isinstance(server, str) else server.base_url
    return {
        "engine": "openai", "base_url": base_url, "api_key_env": KEY_ENV, "concurrency": 4, "model": "big",
        "style": "long", "max_tokens": 100, **fields,
    }  # fmt: skip


def recipe_of(teachers: Mapping[str, Mapping[str, object]], **fields: object) -> Recipe:
    return Recipe.model_validate(recipe_content(teachers) | fields)


def recipe_content(teachers: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    first = next(iter(teachers))
    return {
        "name": "asked",
        "problems": [{"file": "problems.jsonl"}],
        "teachers": teachers,
        "mixes": {"all": {first: 1.0}},
    }


def generate(recipe: Recipe, run: Run, progress: Progress = no_progress) -> dict[str, int]:
    """What the stage does."""
    with live_judging(recipe, run) as judging:
        return generate_traces(recipe, run, progress, judging)


def lines(run: Run) -> list[dict[str, Any]]:
    """The finished lines of all trace files."""
    whole = [line for path in run.trace_files() for line in path.read_bytes().split(b"\n")[:-1]]
    return [json.loads(line) for line in whole]


def request_of(line: Mapping[str, Any]) -> Request:
    """The request that a trace answers, as the server knows it."""
    return Request(line["model"], line["prompt"][-1]["content"], line["seed"])


def problem_number(asked: Asked) -> int:
    return int(asked.request.text.partition("What is ")[2].partition(" + 2?")[0])


# ---- what is asked, and what is not asked again


def test_several_teachers_answer_in_one_run(server: FaultServer, run: Run, tmp_path: Path) -> None:
    server.script = lambda asked, before: says(f"by {asked.request.model}", reasoning="2 + 2")
    rows = [{"problem": "What is 3 + 2?", "response": "5"}, {"problem": "What is love?", "response": "?"}]
    old = tmp_path / "old.jsonl"
    old.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = recipe_of({
        "long": served_by(server, samples=2, temperature=0.7, size="large"),
        "short": served_by(server, model="small", style="short"),
        "old": {"engine": "dataset", "file": str(old), "style": "short"},
    })  # fmt: skip

    counts = generate(recipe, run)

    assert counts == {"traces": 31, "asked": 31, "failed": 0, "cut": 0, "left_out_unknown_problem": 1}
    traces = read_traces(run)
    assert Counter(traces["teacher"]) == {"long": 20, "short": 10, "old": 1}
    assert set(traces.select("teacher", "style", "size", "model", "response").iter_rows()) == {
        ("long", "long", "large", "big", "by big"),
        ("short", "short", None, "small", "by small"),
        ("old", "short", None, "old", "5"),
    }
    assert traces["problem_id"][:4].to_list() == ["p-1", "p-1", "p-2", "p-2"]
    assert traces["completion_tokens"].sum() == 30 * 34


def test_what_is_there_is_not_asked_again(server: FaultServer, run: Run) -> None:
    recipe = recipe_of({"long": served_by(server)})

    first = generate(recipe, run)
    second = generate(recipe, run)

    assert (first["asked"], second) == (10, {"traces": 10, "asked": 0, "failed": 0, "cut": 0})
    assert set(server.times().values()) == {1}
    assert len(run.trace_files()) == 1


def test_more_problems_samples_and_teachers_ask_only_for_what_is_new(server: FaultServer, tmp_path: Path) -> None:
    run = run_with(3, tmp_path / "run")
    sampled = served_by(server, temperature=0.7)
    generate(recipe_of({"long": sampled}, limit=2), run)

    asked = [
        generate(recipe_of(teachers, **fields), run)["asked"]
        for teachers, fields in (
            ({"long": sampled}, {}),
            ({"long": {**sampled, "samples": 3}}, {}),
            ({"renamed": {**sampled, "samples": 3}, "short": served_by(server, model="small")}, {}),
            ({"long": sampled}, {"limit": 1}),
        )
    ]

    assert asked == [1, 6, 3, 0]
    assert set(server.times().values()) == {1}
    assert read_traces(run)["teacher"].to_list() == ["long"]


def test_a_teacher_that_was_renamed_has_its_new_name_in_the_table(server: FaultServer, run: Run) -> None:
    generate(recipe_of({"old": served_by(server)}), run)
    generate(recipe_of({"new": served_by(server, style="short")}), run)

    assert set(read_traces(run).select("teacher", "style").iter_rows()) == {("new", "short")}


def test_raising_max_tokens_asks_again_only_for_what_was_cut(server: FaultServer, run: Run) -> None:
    def cuts_odd_ones(asked: Asked, before: int) -> Reply:
        is_cut = problem_number(asked) % 2 and asked.body["max_tokens"] < 200
        return says("cut" if is_cut else "whole", finish_reason="length" if is_cut else "stop")

    server.script = cuts_odd_ones

    counts = [
        generate(recipe_of({"long": served_by(server, max_tokens=limit)}), run)
        for limit in (100, 100, 50, 150, 200, 400)
    ]

    assert [(count["asked"], count["cut"]) for count in counts] == [
        (10, 5),
        (0, 5),
        (0, 5),
        (5, 5),
        (5, 0),
        (0, 0),
    ]
    assert [count["traces"] for count in counts] == [10] * 6
    assert sorted(server.times().values()) == [1] * 5 + [3] * 5
    assert set(read_traces(run)["response"]) == {"whole"}


def test_a_cut_trace_stays_when_asking_again_fails(server: FaultServer, run: Run) -> None:
    server.script = in_turn(says("cut", finish_reason="length"), refuses(400), says("whole"))
    generate(recipe_of({"long": served_by(server)}, limit=1), run)
    raised = recipe_of({"long": served_by(server, max_tokens=200)}, limit=1)

    failed = generate(raised, run)
    kept = read_traces(run)["response"].to_list()
    counts = generate(raised, run)

    assert (failed, kept) == ({"traces": 1, "asked": 1, "failed": 1, "cut": 1}, ["cut"])
    assert (counts["asked"], read_traces(run)["response"].to_list()) == (1, ["whole"])


def test_a_request_that_failed_is_asked_again(server: FaultServer, run: Run) -> None:
    server.script = lambda asked, before: refuses(400) if problem_number(asked) <= 3 and not before else says("4")
    recipe = recipe_of({"long": served_by(server)})

    counts = [generate(recipe, run) for _ in range(3)]

    assert [(count["asked"], count["failed"], count["traces"]) for count in counts] == [
        (10, 3, 10), (3, 0, 10), (0, 0, 10)
    ]  # fmt: skip
    assert read_traces(run)["error"].null_count() == 10
    assert sorted(server.times().values()) == [1] * 7 + [2] * 3


def test_a_failed_request_is_a_row_with_its_reason(server: FaultServer, run: Run) -> None:
    server.script = lambda asked, before: refuses(400, "too long") if problem_number(asked) == 4 else says("4")

    generate(recipe_of({"long": served_by(server)}), run)

    traces = read_traces(run)
    assert traces.filter(traces["error"].is_not_null()).select("problem_id", "error", "response").rows() == [
        ("p-4", 'HTTP 400: {"error": {"message": "too long"}}', "")
    ]


def test_a_line_that_was_being_written_is_asked_for_again(server: FaultServer, run: Run) -> None:
    recipe = recipe_of({"long": served_by(server)})
    generate(recipe, run)
    (path,) = run.trace_files()
    path.write_bytes(path.read_bytes()[:-20])
    before = lines(run)

    counts = generate(recipe, run)

    assert (len(before), counts["asked"], counts["traces"]) == (9, 1, 10)
    assert Counter(line["request_key"] for line in lines(run)).most_common(1)[0][1] == 1


def test_the_plan_counts_what_is_missing_and_asks_nobody(server: FaultServer, run: Run) -> None:
    recipe = recipe_of({"long": served_by(server, samples=2, temperature=1.0)})

    plan = plan_traces(recipe, run)

    assert (plan.wanted.height, len(plan.missing), server.asked) == (20, 20, [])
    assert plan.wanted.select("problem_id", "teacher", "style", "size", "sample", "max_tokens").row(1) == (
        "p-1", "long", "long", None, 1, 100
    )  # fmt: skip


def test_the_plan_needs_the_weights_of_a_teacher_without_a_revision(run: Run, tmp_path: Path) -> None:
    gguf = tmp_path / "tiny.gguf"
    teacher = {"engine": "llamacpp", "gguf": str(gguf), "style": "short"}

    with pytest.raises(TeacherError, match=r"tiny\.gguf: no such GGUF file; mend 'gguf' of the teacher$"):
        plan_traces(recipe_of({"short": teacher}), run)

    assert plan_traces(recipe_of({"short": {**teacher, "revision": "v1"}}), run).wanted.height == 10


def test_other_weights_under_the_same_name_are_asked_anew(run: Run, tmp_path: Path) -> None:
    gguf = tmp_path / "tiny.gguf"
    recipe = recipe_of({"short": {"engine": "llamacpp", "gguf": str(gguf), "style": "short"}})

    plans = []
    for weights in (b"first", b"other", b"first"):
        gguf.write_bytes(weights)
        plans.append(plan_traces(recipe, run).missing)

    assert plans[0] == plans[2]
    assert not plans[0] & plans[1]


def test_without_problems_nothing_is_asked(server: FaultServer, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"problems\.parquet: not there yet; run 'mixdistill problems' first"):
        generate(recipe_of({"long": served_by(server)}), Run(tmp_path / "run"), no_progress)

    assert server.asked == []


def test_progress_counts_requests_tokens_and_failures(server: FaultServer, tmp_path: Path) -> None:
    run = run_with(3, tmp_path / "run")
    server.script = lambda asked, before: refuses(400) if problem_number(asked) == 2 else says(r"\boxed{5}")
    shown: list[tuple[int, int, str]] = []
    figures: list[Figures] = []

    def show(done: int, total: int, note: str, told: Figures | None = None, /) -> None:
        shown.append((done, total, note))
        assert told is not None
        figures.append(told)

    generate(recipe_of({"long": served_by(server, concurrency=1, price={"output": 2.0})}), run, show)

    assert (shown[0], shown[-1]) == ((0, 3, "0 tokens"), (3, 3, "68 tokens, 1 failed"))
    ((teacher, *asked, n_judged, n_correct),) = figures[-1].teachers
    assert (teacher, asked) == ("long", [3, 1, 68])
    assert n_correct <= n_judged <= 2
    assert (figures[-1].in_flight, figures[-1].retries, figures[-1].tokens) == (0, 0, 68)
    assert figures[-1].cost_usd == pytest.approx(68 * 2e-6)


def test_two_teachers_that_would_send_the_same_are_refused(server: FaultServer, run: Run) -> None:
    recipe = recipe_of({"long": served_by(server), "twin": served_by(ALWAYS_DOWN, style="short")})

    with pytest.raises(RecipeError) as raised:
        generate(recipe, run)

    assert str(raised.value) == (
        "teachers 'long' and 'twin' would send the same requests; "
        "let them differ in model, prompt or sampling, or leave one out"
    )
    assert server.asked == []


def test_seeds_differ_by_sample_and_are_the_same_in_another_run(server: FaultServer, tmp_path: Path) -> None:
    recipe = recipe_of({"long": served_by(server, samples=4, temperature=0.7)})
    runs = [run_with(10, tmp_path / name) for name in ("one", "two")]

    for run in runs:
        generate(recipe, run)

    one, two = (read_traces(run).select("request_key", "seed", "sample").rows() for run in runs)
    assert one == two
    assert len({seed for _, seed, _ in one}) == 40
    assert Counter(asked.body["seed"] for asked in server.asked) == {seed: 2 for _, seed, _ in one}


# ---- traces that exist already


def existing(folder: Path, rows: Iterable[tuple[str, object]], **fields: object) -> dict[str, object]:
    """A teacher whose traces exist: pairs of a problem and its response."""
    path = folder / "old.jsonl"
    texts = [json.dumps({"problem": problem, "response": response}) for problem, response in rows]
    path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    return {"engine": "dataset", "file": str(path), "style": "short", **fields}


def test_existing_traces_are_written_before_a_teacher_is_asked(
    server: FaultServer, run: Run, tmp_path: Path
) -> None:
    n_written: list[int] = []

    def counts_lines(asked: Asked, before: int) -> Reply:
        n_written.append(len(lines(run)))
        return refuses(401)

    server.script = counts_lines
    rows = [(problem.problem, [f"{n}" for n in range(100)]) for problem in problems(10)]
    recipe = recipe_of({"long": served_by(server, concurrency=1), "old": existing(tmp_path, rows)})

    with pytest.raises(TeacherError, match=r"answered 401"):
        generate(recipe, run)

    assert n_written == [1000]
    assert set(ENGINES) == {"openai", "vllm", "llamacpp"}


def test_ctrl_c_among_existing_traces_keeps_what_was_written(run: Run, tmp_path: Path) -> None:
    recipe = recipe_of({"old": existing(tmp_path, [(problem.problem, "4") for problem in problems(10)])})
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    shown: list[tuple[int, int, str]] = []

    def interrupts(done: int, total: int, note: str, figures: Figures | None = None, /) -> None:
        shown.append((done, total, note))
        if done == 4:
            signal.raise_signal(signal.SIGINT)

    try:
        with pytest.raises(KeyboardInterrupt):
            generate(recipe, run, interrupts)
    finally:
        signal.signal(signal.SIGINT, before)
    kept = len(lines(run))
    counts = generate(recipe, run)

    assert shown == [(done, 10, "0 tokens") for done in range(5)]
    assert kept == 4
    assert counts == {"traces": 10, "asked": 6, "failed": 0, "cut": 0}
    assert Counter(line["request_key"] for line in lines(run)).most_common(1)[0][1] == 1


@pytest.mark.parametrize(
    ("n_problems", "limit", "left_out", "why"),
    [
        (5, None, {"left_out_unknown_problem": 2}, "all problems are there"),
        (5, 3, {}, "the table holds problems beyond the limit"),
        (5, 5, {}, "nobody read further, so the two may be problems"),
        (5, 9, {"left_out_unknown_problem": 2}, "the limit cut nothing"),
    ],
)
def test_a_row_of_a_problem_beyond_the_limit_is_not_unknown(
    tmp_path: Path, n_problems: int, limit: int | None, left_out: dict[str, int], why: str
) -> None:
    run = run_with(n_problems, tmp_path / "run")
    rows = [(problem.problem, "4") for problem in problems(7)] + [("What is 1 + 2?", "")]
    recipe = recipe_of({"old": existing(tmp_path, rows)}, limit=limit)

    counts = generate(recipe, run)

    told = {name: n for name, n in counts.items() if name.startswith("left_out")}
    assert told == {"left_out_no_response": 1, **left_out}, why
    assert counts["traces"] == min(n_problems, limit or n_problems)


# ---- engines


def test_teachers_of_one_server_share_its_connections(server: FaultServer, run: Run) -> None:
    recipe = recipe_of({
        "long": served_by(server, concurrency=1),
        "short": served_by(server, concurrency=1, model="small", style="short"),
    })  # fmt: skip

    generate(recipe, run)

    assert (len(server.asked), len({asked.connection for asked in server.asked})) == (20, 1)


def test_a_model_that_is_a_path_is_asked_for_by_it_and_recorded_without_folders(
    server: FaultServer, run: Run
) -> None:
    generate(recipe_of({"long": served_by(server, model="/home/me/models/QwQ-32B")}), run)

    assert {asked.body["model"] for asked in server.asked} == {"/home/me/models/QwQ-32B"}
    assert set(read_traces(run)["model"]) == {"QwQ-32B"}
    assert "/home/me" not in "".join(path.read_text() for path in run.trace_files())


def test_as_many_requests_are_under_way_as_the_recipe_says(server: FaultServer, run: Run) -> None:
    five = threading.Barrier(5, timeout=30)

    def answers_five_at_once(asked: Asked, before: int) -> Reply:
        five.wait()
        return says("4")

    server.script = answers_five_at_once

    assert generate(recipe_of({"long": served_by(server, concurrency=5)}), run)["failed"] == 0


def test_servers_work_at_the_same_time(server: FaultServer, run: Run) -> None:
    both = threading.Barrier(2, timeout=30)

    def answers_one_of_each(asked: Asked, before: int) -> Reply:
        both.wait()
        return says("4")

    server.script = answers_one_of_each
    with FaultServer(answers_one_of_each) as other:
        recipe = recipe_of({
            "long": served_by(server, concurrency=1),
            "short": served_by(other, concurrency=1, model="small"),
        })  # fmt: skip

        assert generate(recipe, run)["failed"] == 0
        assert (len(server.asked), len(other.asked)) == (10, 10)


@pytest.mark.parametrize(
    "moved",
    [
        served_by(ALWAYS_DOWN, revision="v1"),
        {"engine": "llamacpp", "gguf": "/gone.gguf", "model": "big", "revision": "v1", "style": "long"},
    ],
    ids=["a server that is down", "a model that is gone"],
)
def test_an_engine_with_nothing_to_do_is_not_opened(
    server: FaultServer, run: Run, moved: dict[str, object]
) -> None:
    generate(recipe_of({"long": served_by(server, revision="v1")}), run)

    recipe = recipe_of({"long": moved, "short": served_by(server, model="small")})
    counts = generate(recipe, run)

    assert counts == {"traces": 20, "asked": 10, "failed": 0, "cut": 0}


def test_the_manifest_says_what_served(server: FaultServer, run: Run) -> None:
    recipe = recipe_of({"long": served_by(server), "short": served_by(server, model="small", style="short")})

    run_stage(STAGES["generate"], recipe, run, no_progress)

    engines = run.stages()["generate"]["engines"]
    assert isinstance(engines, dict)
    assert set(engines) == {"long", "short"}
    (served,) = engines["long"]
    assert served["engine"] == "openai"
    assert set(served) >= {"engine", "since"}
    assert "127.0.0.1" not in json.dumps(engines)


# ---- what breaks a run


def test_many_failures_of_late_stop_the_run_and_what_was_finished_is_kept(
    server: FaultServer, tmp_path: Path
) -> None:
    run = run_with(40, tmp_path / "run")
    server.script = lambda asked, before: says("4") if len(server.asked) <= 5 else refuses(400, "broken")
    recipe = recipe_of({"long": served_by(server, concurrency=1)}, failures={"window": 20, "rate": 0.75})

    with pytest.raises(TeacherError) as raised:
        generate(recipe, run)
    stopped_after = len(server.asked)
    kept = [line for line in lines(run) if "error" not in line]
    server.script = in_turn(says("4"))
    counts = generate(recipe, run)

    assert str(raised.value) == (
        "teacher 'long': 16 of the last 20 requests failed, 16 of them with: "
        'HTTP 400: {"error": {"message": "broken"}}; '
        "what is finished is kept, run again when it is mended"
    )
    assert (stopped_after, len(kept)) == (21, 5)
    assert counts == {"traces": 40, "asked": 35, "failed": 0, "cut": 0}
    assert [server.times()[request_of(line)] for line in kept] == [1] * 5


def test_failures_below_the_rate_do_not_stop_the_run(server: FaultServer, tmp_path: Path) -> None:
    run = run_with(40, tmp_path / "run")
    server.script = lambda asked, before: refuses(400) if problem_number(asked) % 2 else says("4")
    recipe = recipe_of({"long": served_by(server, concurrency=1)}, failures={"window": 10, "rate": 0.5})

    assert generate(recipe, run) == {"traces": 40, "asked": 40, "failed": 20, "cut": 0}


def test_requests_that_fail_for_good_do_not_stop_a_rerun(server: FaultServer, tmp_path: Path) -> None:
    run = run_with(40, tmp_path / "run")
    server.script = lambda asked, before: refuses(400) if problem_number(asked) % 4 else says("4")
    teacher = served_by(server, concurrency=1)

    first = generate(recipe_of({"long": teacher}, failures={"rate": 0.8}), run)
    later = [generate(recipe_of({"long": teacher}, failures={"window": 10}), run) for _ in range(2)]

    assert [(count["asked"], count["failed"], count["traces"]) for count in (first, *later)] == [
        (40, 30, 40), (30, 30, 40), (30, 30, 40)
    ]  # fmt: skip


def test_what_failed_before_is_not_counted_as_a_failure_of_the_engine(server: FaultServer, tmp_path: Path) -> None:
    run = run_with(40, tmp_path / "run")
    server.script = lambda asked, before: refuses(400) if problem_number(asked) % 2 else says("4")
    teacher = served_by(server, concurrency=1)
    generate(recipe_of({"long": teacher}, limit=10), run)
    server.script = in_turn(refuses(400))

    with pytest.raises(TeacherError, match=r"^teacher 'long': 20 of the last 20 requests failed"):
        generate(recipe_of({"long": teacher}, failures={"window": 20}), run)

    assert len(server.asked) == 10 + 5 + 20


def test_a_cut_trace_that_failed_when_it_was_asked_again_has_failed_before(
    server: FaultServer, tmp_path: Path
) -> None:
    run = run_with(25, tmp_path / "run")
    server.script = in_turn(says("cut", finish_reason="length"), refuses(400, "max_tokens is too large"))
    generate(recipe_of({"long": served_by(server, concurrency=1)}), run)
    raised = recipe_of({"long": served_by(server, concurrency=1, max_tokens=200)}, failures={"window": 20})

    with pytest.raises(TeacherError, match=r"^teacher 'long': 20 of the last 20 requests failed"):
        generate(raised, run)

    assert generate(raised, run) == {"traces": 25, "asked": 25, "failed": 25, "cut": 25}


def test_if_all_requests_failed_that_is_an_error(server: FaultServer, tmp_path: Path) -> None:
    run = run_with(3, tmp_path / "run")
    server.script = in_turn(refuses(400, "too long"))

    with pytest.raises(TeacherError) as raised:
        generate(recipe_of({"long": served_by(server)}), run)

    assert str(raised.value) == (
        'all 3 requests failed, the last with: HTTP 400: {"error": {"message": "too long"}}'
    )
    assert sorted(line["problem_id"] for line in lines(run) if line["error"]) == ["p-1", "p-2", "p-3"]
    with pytest.raises(TeacherError, match=r"^all 3 requests failed"):
        generate(recipe_of({"long": served_by(server)}), run)


def test_a_server_that_is_down_is_one_clear_error(run: Run) -> None:
    recipe = recipe_of({"long": served_by(ALWAYS_DOWN), "short": served_by(ALWAYS_DOWN, model="small")})

    with pytest.raises(TeacherError) as raised:
        generate(recipe, run)

    message = str(raised.value)
    assert (
        message.removeprefix("teacher 'long'")
        .removeprefix("teacher 'short'")
        .startswith(": http://127.0.0.1:1/v1/chat/completions: ClientConnectorError: Cannot connect to host")
    )
    assert message.endswith("; start the server, or look at base_url and the network")
    assert lines(run) == []


def test_a_wrong_key_is_one_clear_error_before_more_is_sent(server: FaultServer, run: Run) -> None:
    server.script = lambda asked, before: refuses(401, f"Incorrect API key provided: {asked.authorization}")

    with pytest.raises(TeacherError) as raised:
        generate(recipe_of({"long": served_by(server, concurrency=1)}), run)

    assert str(raised.value) == (
        f"teacher 'long': {server.base_url}/chat/completions answered 401: "
        "the key is refused; set the environment variable TEACHER_KEY"
    )
    assert (len(server.asked), lines(run)) == (1, [])


def test_a_server_that_breaks_keeps_what_the_other_server_finished(server: FaultServer, run: Run) -> None:
    with FaultServer(lambda asked, before: refuses(401)) as broken:
        ten = threading.Event()

        def refuses_after_ten(asked: Asked, before: int) -> Reply:
            assert ten.wait(30)
            return refuses(401)

        def counted(done: int, total: int, note: str, figures: Figures | None = None, /) -> None:
            if done >= 10:
                ten.set()

        broken.script = refuses_after_ten
        recipe = recipe_of({"long": served_by(server), "short": served_by(broken, model="small")})

        with pytest.raises(TeacherError, match=r"answered 401"):
            generate(recipe, run, counted)

    assert sorted(line["problem_id"] for line in lines(run)) == sorted(f"p-{i}" for i in range(1, 11))


def test_the_key_is_in_no_file_of_the_run(server: FaultServer, run: Run) -> None:
    def says_it_back(asked: Asked, before: int) -> Reply:
        fault = Reply(json.dumps({"error": asked.authorization}).encode(), 400 + 100 * (problem_number(asked) % 2))
        return fault if problem_number(asked) > 8 else says("4")

    server.script = says_it_back

    run_stage(STAGES["generate"], recipe_of({"long": served_by(server)}), run, no_progress)

    files = [path for path in run.folder.rglob("*") if path.is_file()]
    errors = {line["problem_id"]: line["error"] for line in lines(run) if "error" in line}
    assert {path.name for path in files} >= {"manifest.json", "recipe.yaml", "wanted.parquet"}
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
    assert errors == {
        "p-9": 'HTTP 500: {"error": "Bearer ***"} (5 tries)',
        "p-10": 'HTTP 400: {"error": "Bearer ***"}',
    }
    assert {asked.authorization for asked in server.asked} == {f"Bearer {KEY}"}


# ---- processes that die


@pytest.fixture
def started(server: FaultServer, tmp_path: Path) -> Iterator["Started"]:
    """Starts `mixdistill generate` on 120 requests, and leaves no process behind."""
    with Started(server, tmp_path) as processes:
        yield processes


class Started:
    def __init__(self, server: FaultServer, folder: Path) -> None:
        self.run = run_with(40, folder / "run")
        self._recipe = folder / "recipe.yaml"
        teachers = {
            "long": served_by(server, samples=2, temperature=0.7),
            "short": served_by(server, model="small", style="short"),
        }
        self._recipe.write_text(json.dumps(recipe_content(teachers)), encoding="utf-8")  # JSON is YAML
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> "Started":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            with process:
                process.kill()

    def generate(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", CLI, "generate", str(self._recipe), "--run", str(self.run.folder)]
        process = subprocess.Popen(
            [*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
        )
        self._processes.append(process)
        return process


def test_nothing_that_was_written_is_asked_again_after_kill_9(server: FaultServer, started: Started) -> None:
    draw = random.Random(20_260)
    answered_until = 0
    server.script = lambda asked, before: says("4") if len(server.asked) <= answered_until else HELD
    written_before: list[tuple[Request, int]] = []

    for _ in range(5):
        answered_until = len(server.asked) + draw.randint(5, 20)
        process = started.generate()
        server.wait_for(answered_until)
        time.sleep(draw.random() * 0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        times = server.times()
        written_before += [(request_of(line), times[request_of(line)]) for line in lines(started.run)]
    answered_until = 10_000
    out, _ = started.generate().communicate(timeout=60)

    counts = json.loads(out)["stages"]["generate"]["counts"]
    keys = Counter(line["request_key"] for line in lines(started.run))
    assert (counts["traces"], counts["failed"]) == (120, 0)
    assert (len(keys), set(keys.values())) == (120, {1})
    assert set(keys) == set(read_traces(started.run)["request_key"])
    times = server.times()
    assert len(set(written_before)) > 20
    assert [request for request, n in written_before if times[request] != n] == []
    under_way = 5 * 4  # kills x concurrency
    assert 120 <= len(server.asked) <= 120 + under_way


def test_ctrl_c_keeps_what_was_finished_and_says_so(server: FaultServer, started: Started) -> None:
    server.script = lambda asked, before: says("4") if len(server.asked) <= 10 else HELD

    process = started.generate()
    server.wait_for(14)  # all four workers wait again, so ten traces are written
    process.send_signal(signal.SIGINT)
    out, told = process.communicate(timeout=60)
    kept = lines(started.run)
    server.script = in_turn(says("4"))
    again = started.generate()
    out_again, _ = again.communicate(timeout=60)

    assert (process.returncode, out) == (130, "")
    interrupted = "Interrupted. What was finished is kept; the same command goes on from there."
    assert json.loads(told.splitlines()[-1]) == {"event": "error", "message": interrupted, "exit_code": 130}
    assert len(kept) == 10
    assert (again.returncode, json.loads(out_again)["stages"]["generate"]["counts"]) == (
        0, {"traces": 120, "asked": 110, "failed": 0, "cut": 0}
    )  # fmt: skip
    assert Counter(server.times().values()) == {1: 116, 2: 4}
    assert [server.times()[request_of(line)] for line in kept] == [1] * 10


def test_a_rerun_of_what_fails_for_good_ends_well_and_says_how_many_failed(
    server: FaultServer, started: Started
) -> None:
    server.script = lambda asked, before: refuses(400) if problem_number(asked) == 7 else says("4")

    for n_asked in (120, 3):
        process = started.generate()
        out, told = process.communicate(timeout=60)

        counts = json.loads(out)["stages"]["generate"]["counts"]
        assert (process.returncode, counts) == (0, {"traces": 120, "asked": n_asked, "failed": 3, "cut": 0})
        warning = {"event": "warning", "message": "3 requests failed; the same command asks for them again."}
        assert json.loads(told.splitlines()[-1]) == warning
