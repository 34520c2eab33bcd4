"""What a run holds, as people see it."""

from dataclasses import replace
from pathlib import Path

import pytest
from made_runs import finish_run, make_problem, make_recipe, make_run, make_trace

from mixdistill.errors import MixdistillError, StorageError
from mixdistill.recipe import Recipe
from mixdistill.records import Trace
from mixdistill.run import Run
from mixdistill.show import example_rows, find_problem, mix_rows, plan, traces_of
from mixdistill.tables import read_stats

PROBLEMS = [make_problem(number) for number in range(10)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Run]:
    """Ten problems with a long and a short trace each, all correct, mixed and counted; not to be changed."""
    recipe = make_recipe({"long": {"long": 1.0}, "mix": {"long": 0.2, "short": 0.8}})
    traces = [make_trace(problem, "long", "long") for problem in PROBLEMS]
    traces += [
        make_trace(problem, "short", "short", response=f"{problem.reference}" * 700) for problem in PROBLEMS
    ]
    run = make_run(tmp_path_factory.mktemp("made"), PROBLEMS, traces)
    finish_run(recipe, run)
    return recipe, run


def test_the_table_of_mixes_has_rows_shares_and_tokens(made: tuple[Recipe, Run]) -> None:
    recipe, run = made

    assert mix_rows(recipe, run) == [
        ["long", "10", "10", "1", "not counted", "long 1 (10)", ""],
        ["mix", "10", "10", "1", "not counted", "long 0.2 (2), short 0.8 (8)", ""],
    ]
    assert [row[0] for row in mix_rows(recipe, run)] == ["long", "mix"]


def test_tokens_are_summed_where_they_were_counted(tmp_path: Path) -> None:
    recipe = make_recipe({"long": {"long": 1.0}})
    traces = [replace(make_trace(problem, "long", "long"), completion_tokens=1234) for problem in PROBLEMS]
    run = make_run(tmp_path / "run", PROBLEMS, traces)
    finish_run(recipe, run)

    assert mix_rows(recipe, run) == [["long", "10", "10", "1", "12,340", "long 1 (10)", "long 1"]]


def test_the_numbers_of_teachers_come_from_the_stats(made: tuple[Recipe, Run]) -> None:
    _, run = made

    assert [(row["teacher"], row["traces"]) for row in read_stats(run)["teachers"]] == [
        ("long", 10),
        ("short", 10),
    ]


def test_examples_show_each_part_of_the_main_mix_and_are_cut(made: tuple[Recipe, Run]) -> None:
    recipe, run = made

    examples = example_rows(recipe, run)

    assert len(examples) == 3
    assert {title.partition(",")[0] for title, _ in examples[:2]} == {"mix: long (long)", "mix: short (short)"}
    for title, text in examples:
        question, _, completion = text.partition("\n\n")
        assert question in {problem.problem for problem in PROBLEMS}
        assert completion.endswith(" ...") is ("short" in title)
        assert len(completion) <= 604
    assert example_rows(recipe, run, 1) == examples[:1]
    assert len(example_rows(recipe, run, 99)) == 10


def test_a_problem_is_found_by_the_beginning_of_its_id(made: tuple[Recipe, Run]) -> None:
    _, run = made
    identity = PROBLEMS[3].problem_id

    assert find_problem(run, identity) == PROBLEMS[3]
    assert find_problem(run, identity[:12]) == PROBLEMS[3]
    assert find_problem(run, None) == PROBLEMS[0]
    assert find_problem(run, "") == PROBLEMS[0]


def test_a_beginning_that_fits_none_or_several_is_told(made: tuple[Recipe, Run]) -> None:
    _, run = made
    some = ", ".join(problem.problem_id for problem in PROBLEMS[:3])

    for start, what in (("x-", "no problem's id begins"), ("p-", "the ids of 10 problems begin")):
        with pytest.raises(MixdistillError) as raised:
            find_problem(run, start)
        assert str(raised.value) == f"{what} with {start!r}; ids look like {some}"


def test_the_traces_of_a_problem_are_shown_long_ones_first_with_their_verdicts(tmp_path: Path) -> None:
    problem, other = PROBLEMS[:2]
    thinking = replace(make_trace(problem, "z", "long", response="So 2."), reasoning="1 and 1")
    failed = replace(make_trace(problem, "b", sample=1, response=""), error="HTTP 500")
    traces: list[Trace] = [
        make_trace(problem, "b", sample=2), make_trace(other, "b"), failed, make_trace(problem, "a"), thinking,
    ]  # fmt: skip
    run = make_run(tmp_path, [problem, other], traces, {thinking.trace_id: "incorrect"})

    shown = traces_of(run, problem.problem_id)

    assert [(row["teacher"], row["sample"], row["status"]) for row in shown] == [
        ("z", 0, "incorrect"), ("a", 0, "correct"), ("b", 1, "not judged"), ("b", 2, "correct"),
    ]  # fmt: skip
    assert shown[0]["text"] == "[thinking]\n1 and 1\n[response]\nSo 2."
    assert shown[1]["text"] == r"a 0: \boxed{2}"
    assert shown[2]["text"] == "failed: HTTP 500"
    assert (shown[0]["reason"], shown[0]["answer"], shown[2]["reason"]) == ("as the test says", "an answer", None)
    assert traces_of(run, "p-unknown") == []


def test_traces_are_shown_before_they_are_judged(tmp_path: Path) -> None:
    run = make_run(tmp_path, PROBLEMS, [make_trace(problem, "long") for problem in PROBLEMS])
    run.verdicts.unlink()

    assert {row["status"] for row in traces_of(run, PROBLEMS[0].problem_id)} == {"not judged"}


def test_what_is_not_there_yet_is_an_error(tmp_path: Path) -> None:
    run, recipe = Run(tmp_path), make_recipe({"long": {"long": 1.0}})

    for read in (
        lambda: read_stats(run),
        lambda: mix_rows(recipe, run),
        lambda: example_rows(recipe, run),
        lambda: find_problem(run, None),
        lambda: traces_of(run, "p"),
    ):
        with pytest.raises(StorageError, match=r"no such file|not there yet; run 'mixdistill"):
            read()


def test_the_plan_says_what_is_finished_and_what_would_be_asked(
    small_recipe: Path, small_run: tuple[Recipe, Run], tmp_path: Path
) -> None:
    recipe, run = small_run
    stages = ["problems", "generate", "verify"]

    assert plan(recipe, run, stages) == [{"stage": name, "state": "finished", "what": ""} for name in stages]
    assert plan(recipe, Run(tmp_path / "new"), stages) == [
        {"stage": "problems", "state": "to do", "what": ""},
        {"stage": "generate", "state": "to do", "what": "known once 'problems' has run"},
        {"stage": "verify", "state": "to do", "what": ""},
    ]
    (path,) = run.trace_files()
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:25]))
    assert plan(recipe, run, ["generate"])[0]["what"] == "35 of 60 requests (long 5, short 30)"
    path.unlink()
    assert plan(recipe, run, ["generate"])[0]["what"] == "60 of 60 requests (long 30, short 30)"
