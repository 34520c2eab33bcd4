"""The stage `verify` and its optional judge: verdicts are kept, the undecided are asked about once."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from conftest import no_progress
from fault_server import Asked, FaultServer, Reply, in_turn, refuses, says
from made_runs import make_problem, make_recipe, make_run, make_trace

from mixdistill.errors import MixdistillError, RecipeError, TeacherError
from mixdistill.files import write_parquet
from mixdistill.recipe import Recipe
from mixdistill.recipe_file import load_recipe
from mixdistill.records import Status
from mixdistill.run import Figures, Run
from mixdistill.show import plan, verdict_counts
from mixdistill.street import STAGES, run_stage
from mixdistill.tables import read_opinions, read_verdicts
from mixdistill.verifiers.judge import judge_traces
from mixdistill.verifiers.opinions import plan_opinions

PROBLEMS = [make_problem(number) for number in range(4)]
UNREADABLE = r"no idea at all + 3"


def with_judge(server: FaultServer | None, **more: object) -> Recipe:
    judge = {
        "engine": "openai",
        "model": "wise",
        "base_url": server.base_url if server else "http://127.0.0.1:9/v1",
    }
    return make_recipe({"long": {"long": 1.0}}, verify={"processes": 1, "judge": judge | more})


def made(folder: Path, answers: Sequence[str] = ("2", "9", UNREADABLE, UNREADABLE)) -> Run:
    """A run with one trace a problem, of which problem n has the reference n + 2."""
    traces = [
        make_trace(problem, "long", "long", response=rf"\boxed{{{answer}}}")
        for problem, answer in zip(PROBLEMS, answers, strict=True)
    ]
    run = make_run(folder, PROBLEMS, traces)
    run.verdicts.unlink()
    return run


def verify(recipe: Recipe, run: Run) -> Mapping[str, int]:
    return run_stage(STAGES["verify"], recipe, run, no_progress).counts


def column(run: Run, name: str) -> list[object]:
    """A column of the verdicts, in the order of the problems."""
    by_problem = dict(read_verdicts(run).select("problem_id", name).iter_rows())
    return [by_problem[problem.problem_id] for problem in PROBLEMS]


def test_only_the_undecided_are_asked_about_and_no_status_changes(tmp_path: Path) -> None:
    with FaultServer(in_turn(says("EQUIVALENT"))) as server:
        run = made(tmp_path)
        counts = verify(with_judge(server), run)

        assert column(run, "status") == ["correct", "incorrect", "unparsable", "unparsable"]
        assert column(run, "judge_status") == [None, None, "equivalent", "equivalent"]
        assert column(run, "judge_reason")[2] == "wise says EQUIVALENT"
        assert (counts["asked"], counts["failed"], counts["judge_equivalent"]) == (2, 0, 2)
        assert (counts["correct"], len(server.asked)) == (1, 2)


def test_a_question_holds_problem_reference_and_answer_as_data(tmp_path: Path) -> None:
    with FaultServer(in_turn(says("UNSURE"))) as server:
        verify(with_judge(server), made(tmp_path))

        body = server.asked[0].body
        text = body["messages"][0]["content"]
        texts = json.JSONDecoder().raw_decode(text[text.index("{") :])[0]
        assert texts["found_answer"] == UNREADABLE
        assert (texts["problem"], texts["reference_answer"]) in {(p.problem, p.reference) for p in PROBLEMS}
        assert (body["temperature"], body["model"]) == (0.0, "wise")


SAID = [
    ("EQUIVALENT", "equivalent", "wise says EQUIVALENT"),
    (" DIFFERENT\n", "different", "wise says DIFFERENT"),
    ("<think>EQUIVALENT?</think>\nDIFFERENT", "different", "wise says DIFFERENT"),
    ("UNSURE", "unsure", "wise says UNSURE"),
    ("equivalent", "unscored", 'wise says "equivalent", which is none of EQUIVALENT, DIFFERENT, UNSURE'),
    ("NOT EQUIVALENT", "unscored", 'wise says "NOT EQUIVALENT", which is none of EQUIVALENT, DIFFERENT, UNSURE'),
    ("EQUIVALENT.", "unscored", 'wise says "EQUIVALENT.", which is none of EQUIVALENT, DIFFERENT, UNSURE'),
    ("EQUIVALENT\nDIFFERENT", "unscored", None),
    ("", "unscored", 'wise says "", which is none of EQUIVALENT, DIFFERENT, UNSURE'),
    ("\x1b[2J\u202e" + "x" * 9_000, "unscored", None),
]


def test_a_reply_is_one_word_or_nothing(tmp_path: Path) -> None:
    problems = [make_problem(number) for number in range(len(SAID))]
    traces = [make_trace(problem, "long", response=rf"\boxed{{{UNREADABLE}}}") for problem in problems]
    run = make_run(tmp_path, problems, traces)
    run.verdicts.unlink()

    def by_problem(asked: Asked, before: int) -> Reply:
        text = asked.body["messages"][0]["content"]
        return says(next(SAID[n][0] for n, problem in enumerate(problems) if f'"{problem.problem}"' in text))

    with FaultServer(by_problem) as server:
        verify(with_judge(server), run)

    found = {row["problem_id"]: row for row in read_verdicts(run).iter_rows(named=True)}
    for problem, (said, status, reason) in zip(problems, SAID, strict=True):
        row = found[problem.problem_id]
        assert (row["judge_status"], row["judge_reason"]) == (status, reason or row["judge_reason"]), said
        assert len(row["judge_reason"]) < 300


def test_nothing_is_asked_twice(tmp_path: Path) -> None:
    with FaultServer(in_turn(says("DIFFERENT"))) as server:
        recipe, run = with_judge(server), made(tmp_path)
        verify(recipe, run)
        for change in ({"leniency": "lenient"}, {"timeout_seconds": 4.0}):
            verify(recipe.model_copy(update={"verify": recipe.verify.model_copy(update=change)}), run)
        run.verdicts.unlink()
        counts = verify(recipe, run)

        assert len(server.asked) == 2
        assert (counts["asked"], counts["judge_different"]) == (0, 2)
        assert column(run, "judge_status")[2:] == ["different"] * 2


def test_the_same_answer_to_the_same_problem_is_asked_about_once(tmp_path: Path) -> None:
    traces = [make_trace(PROBLEMS[0], "long", sample=n, response=rf"\boxed{{{UNREADABLE}}}") for n in range(5)]
    run = make_run(tmp_path, PROBLEMS, traces)
    run.verdicts.unlink()
    with FaultServer(in_turn(says("DIFFERENT"))) as server:
        counts = verify(with_judge(server), run)

    assert (counts["asked"], counts["judge_different"], len(server.asked)) == (1, 5, 1)


def test_another_model_is_asked_anew_and_the_first_is_remembered(tmp_path: Path) -> None:
    def by_model(asked: Asked, before: int) -> Reply:
        return says("DIFFERENT" if asked.body["model"] == "wise" else "UNSURE")

    with FaultServer(by_model) as server:
        run = made(tmp_path)
        for model, status, n in (("wise", "different", 2), ("wiser", "unsure", 4), ("wise", "different", 4)):
            verify(with_judge(server, model=model), run)
            assert column(run, "judge_status")[2:] == [status] * 2
            assert len(server.asked) == n


def test_without_a_judge_nothing_is_asked_and_nothing_of_it_stays(tmp_path: Path) -> None:
    with FaultServer(in_turn(says("DIFFERENT"))) as server:
        recipe, run = with_judge(server), made(tmp_path)
        verify(recipe, run)
    none = recipe.model_copy(update={"verify": recipe.verify.model_copy(update={"judge": None})})

    verify(none, run)

    assert column(run, "judge_status") == [None] * 4


def test_a_reply_cut_by_the_limit_is_asked_for_again_only_with_a_higher_one(tmp_path: Path) -> None:
    def by_limit(asked: Asked, before: int) -> Reply:
        cut = asked.body["max_tokens"] < 100
        return says("EQUIV", finish_reason="length") if cut else says("EQUIVALENT")

    with FaultServer(by_limit) as server:
        run = made(tmp_path)
        verify(with_judge(server, max_tokens=10), run)
        assert column(run, "judge_reason")[2] == "wise was cut at 10 tokens before it said anything"
        verify(with_judge(server, max_tokens=9), run)
        assert len(server.asked) == 2
        verify(with_judge(server, max_tokens=100), run)

        assert (column(run, "judge_status")[2:], len(server.asked)) == (["equivalent"] * 2, 4)


def test_a_request_that_fails_is_counted_and_asked_again(tmp_path: Path) -> None:
    first = f'"{PROBLEMS[2].problem}"'

    def once(asked: Asked, before: int) -> Reply:
        is_first = first in asked.body["messages"][0]["content"]
        return refuses(400, "a secret of this server") if is_first and before == 0 else says("UNSURE")

    with FaultServer(once) as server:
        recipe, run = with_judge(server), made(tmp_path)
        counts = verify(recipe, run)
        assert (counts["asked"], counts["failed"]) == (2, 1)
        assert column(run, "judge_status")[2:] == [None, "unsure"]
        assert column(run, "judge_reason")[2] is None

        counts = verify(recipe, run)

        assert (counts["asked"], counts["failed"]) == (1, 0)
        assert column(run, "judge_status")[2:] == ["unsure"] * 2


def test_a_request_that_fails_for_good_does_not_stop_the_stage(tmp_path: Path) -> None:
    first = f'"{PROBLEMS[2].problem}"'

    def never(asked: Asked, before: int) -> Reply:
        return refuses(400) if first in asked.body["messages"][0]["content"] else says("UNSURE")

    with FaultServer(never) as server:
        recipe, run = with_judge(server), made(tmp_path)
        verify(recipe, run)
        counts = verify(recipe, run)

    assert (counts["asked"], counts["failed"]) == (1, 1)
    assert column(run, "judge_status")[2:] == [None, "unsure"]


def test_a_judge_that_always_fails_is_an_error_and_the_verdicts_are_kept(tmp_path: Path) -> None:
    with FaultServer(in_turn(refuses(400))) as server:
        run = made(tmp_path)
        with pytest.raises(TeacherError, match=r"verify.judge: all 2 requests failed.*--set verify.judge=null"):
            verify(with_judge(server), run)

    assert column(run, "status") == ["correct", "incorrect", "unparsable", "unparsable"]


def test_a_judge_that_is_not_there_is_an_error_and_the_verdicts_are_kept(tmp_path: Path) -> None:
    run = made(tmp_path)

    with pytest.raises(TeacherError, match=r"verify.judge.*127.0.0.1:9/v1/.*--set verify.judge=null"):
        verify(with_judge(None), run)

    assert column(run, "status") == ["correct", "incorrect", "unparsable", "unparsable"]


def test_a_reply_that_came_is_kept_also_if_the_call_ends_there(tmp_path: Path) -> None:
    def stop(done: int, total: int, note: str, figures: Figures | None = None, /) -> None:
        if "asking" in note and done == 1:
            raise KeyboardInterrupt

    with FaultServer(in_turn(says("UNSURE"))) as server:
        recipe, run = with_judge(server, concurrency=1), made(tmp_path)
        with pytest.raises(KeyboardInterrupt):
            run_stage(STAGES["verify"], recipe, run, stop)
        assert read_opinions(run)["status"].to_list() == ["unsure"]
        assert column(run, "judge_status").count("unsure") == 1

        verify(recipe, run)

        assert len(server.asked) == 2


def test_a_timeout_and_a_disagreement_of_tiers_are_undecided_too(tmp_path: Path) -> None:
    recipe, run = with_judge(None), made(tmp_path)
    judge_traces(recipe, run, no_progress)
    judge = recipe.verify.judge
    assert judge is not None
    method = pl.when(pl.col("problem_id") == PROBLEMS[0].problem_id).then(pl.lit("disagreement"))
    status = pl.when(pl.col("problem_id") == PROBLEMS[1].problem_id).then(pl.lit("timeout"))
    changed = read_verdicts(run).with_columns(
        method.otherwise("method").alias("method"), status.otherwise("status").alias("status")
    )
    write_parquet(run.verdicts, changed)

    assert {question.answer for question in plan_opinions(judge, run).missing.values()} == {"2", "9", UNREADABLE}


def test_the_plan_says_how_many_would_be_asked_and_asks_nobody(tmp_path: Path) -> None:
    recipe, run = with_judge(None), made(tmp_path)

    before = plan(recipe, run, ["verify"])[0]["what"]
    judge_traces(recipe, run, no_progress)

    assert before == "asks wise about the undecided among 4 traces that are still to be judged"
    assert plan(recipe, run, ["verify"])[0]["what"] == "asks wise about 2 undecided answers (0 known already)"


def test_the_judge_has_its_keys_and_its_place_is_no_part_of_what_is_published(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "name: r\nproblems: [{file: p.jsonl}]\nteachers: {a: {engine: dataset, file: p.jsonl, style: long}}\n"
        "mixes: {a: {a: 1}}\n"
        "verify: {judge: {engine: openai, base_url: http://10.0.0.1/v1, api_key_env: MINE, model: /me/wise}}\n"
    )

    assert load_recipe(str(path)).public()["verify"] == {"judge": {"engine": "openai", "model": "wise"}}
    with pytest.raises(RecipeError, match=r"unknown key 'verify.judge.modle'; did you mean 'model'"):
        load_recipe(str(path), ["verify.judge.modle=x"])
    assert load_recipe(str(path), ["verify.judge=null"]).verify.judge is None


def with_leniency(recipe: Recipe, leniency: str) -> Recipe:
    return recipe.model_copy(update={"verify": recipe.verify.model_copy(update={"leniency": leniency})})


def test_another_leniency_judges_all_anew_also_after_an_interrupt(tmp_path: Path) -> None:
    recipe, run = make_recipe({"long": {"long": 1.0}}, verify={"processes": 1}), made(tmp_path)
    judge_traces(recipe, run, no_progress)
    assert judge_traces(recipe, run, no_progress)["new"] == 0

    def interrupt(done: int, total: int, note: str, figures: Figures | None = None, /) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge_traces(with_leniency(recipe, "strict"), run, interrupt)

    assert judge_traces(with_leniency(recipe, "strict"), run, no_progress)["new"] == 2
    assert judge_traces(recipe, run, no_progress)["new"] == 4


@pytest.mark.parametrize(
    ("status", "is_tried_again"), [("timeout", True), ("unscored", True), ("unparsable", False)]
)
def test_what_says_nothing_about_a_response_is_tried_again(
    tmp_path: Path, status: Status, is_tried_again: bool
) -> None:
    recipe, run = make_recipe({"long": {"long": 1.0}}, verify={"processes": 1}), made(tmp_path)
    judge_traces(recipe, run, no_progress)
    write_parquet(run.verdicts, read_verdicts(run).with_columns(pl.lit(status).alias("status")))

    assert judge_traces(recipe, run, no_progress)["new"] == (4 if is_tried_again else 0)


@pytest.mark.parametrize("lacking", [("verifier", "judge_status", "judge_reason"), ("repetition",)])
def test_verdicts_of_an_older_kind_are_judged_anew(tmp_path: Path, lacking: tuple[str, ...]) -> None:
    recipe, run = make_recipe({"long": {"long": 1.0}}, verify={"processes": 1}), made(tmp_path)
    judge_traces(recipe, run, no_progress)
    write_parquet(run.verdicts, read_verdicts(run).drop(*lacking))

    assert judge_traces(recipe, run, no_progress)["new"] == 4
    assert column(run, "repetition") == [0.0] * 4


def test_a_trace_that_loops_is_told_beside_its_status(tmp_path: Path) -> None:
    recipe = make_recipe({"long": {"long": 1.0}}, verify={"processes": 1})
    loop = "Wait, let me check again. " * 40
    texts = [(loop, r"\boxed{2}"), (None, loop), (None, r"\boxed{4}"), (None, r"\boxed{4}")]
    traces = [
        replace(make_trace(problem, "long", "long", response=response), reasoning=reasoning)
        for problem, (reasoning, response) in zip(PROBLEMS, texts, strict=True)
    ]
    run = make_run(tmp_path, PROBLEMS, traces)
    run.verdicts.unlink()
    judge_traces(recipe, run, no_progress)

    (counts,) = verdict_counts(run)["teacher"]
    assert counts.statuses == {"correct": 2, "incorrect": 1, "no_answer": 1}
    assert (counts.traces, counts.looping) == (4, 2)
    assert [round(float(str(share)), 2) for share in column(run, "repetition")] == [0.99, 1.0, 0.0, 0.0]


def test_no_opinions_are_read_where_nobody_was_asked(tmp_path: Path) -> None:
    assert read_opinions(Run(tmp_path)).height == 0
    with pytest.raises(MixdistillError, match="run 'mixdistill problems' first"):
        plan_opinions(with_judge(None).verify.judge, Run(tmp_path))  # type: ignore[arg-type]
