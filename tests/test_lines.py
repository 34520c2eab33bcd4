"""Sampling until enough is right, escalation, budgets, pilots, batches: what is asked, when, and what is not."""

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import no_progress
from fault_server import Asked, FaultServer, Reply, Script, in_turn, refuses, says
from test_traces import generate, lines, problem_number, recipe_of, run_with, served_by

from mixdistill.builders.plan import plan_traces
from mixdistill.builders.traces import ask_pilot, take_results, write_requests
from mixdistill.errors import BudgetReached, RecipeError
from mixdistill.files import write_parquet
from mixdistill.records import Problem, Verdict, polars_schema, to_frame
from mixdistill.run import Figures, Run
from mixdistill.show import Asking, plan
from mixdistill.tables import read_problems, read_traces, read_verdicts
from mixdistill.trace_files import read_index
from mixdistill.verifiers.judge import judge_traces
from mixdistill.verifiers.live import live_judging


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(in_turn(says())) as running:
        yield running


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return run_with(6, tmp_path / "run")


def right(asked: Asked) -> Reply:
    return says(rf"\boxed{{{problem_number(asked) + 2}}}")


def wrong(asked: Asked) -> Reply:
    return says(r"\boxed{0}")


class Tries:
    """A script whose n-th answer to a problem is the n-th letter of its pattern: r right, w wrong, f fails."""

    def __init__(self, patterns: Mapping[int, str]) -> None:
        self._patterns = patterns
        self._times: Counter[tuple[str, int]] = Counter()

    def __call__(self, asked: Asked, before: int) -> Reply:
        number = problem_number(asked)
        time = self._times[asked.request.model, number]
        self._times[asked.request.model, number] += 1
        pattern = self._patterns[number]
        kind = pattern[min(time, len(pattern) - 1)]
        return refuses(400) if kind == "f" else right(asked) if kind == "r" else wrong(asked)


def until(server: FaultServer, k: int, at_most: int, **fields: object) -> dict[str, object]:
    samples = {"until_correct": k, "at_most": at_most}
    return served_by(server, samples=samples, temperature=0.7, **fields)


def drawn(run: Run) -> dict[str, list[int]]:
    """The samples of each problem that came without an error, in the order they were written."""
    found: dict[str, list[int]] = {}
    for line in lines(run):
        if "error" not in line:
            found.setdefault(line["problem_id"], []).append(line["sample"])
    return found


# ---- until enough is right


def test_easy_problems_stop_early_and_hard_ones_go_on(server: FaultServer, run: Run) -> None:
    server.script = Tries({1: "r", 2: "wr", 3: "wwr", 4: "wwwr", 5: "w", 6: "r"})

    counts = generate(recipe_of({"long": until(server, 1, 4)}), run)

    assert drawn(run) == {"p-1": [0], "p-2": [0, 1], "p-3": [0, 1, 2], "p-4": [0, 1, 2, 3], "p-5": [0, 1, 2, 3],
                          "p-6": [0]}  # fmt: skip
    assert counts == {"traces": 15, "asked": 15, "failed": 0, "cut": 0}
    assert read_traces(run).height == 15


def test_a_round_asks_for_as_many_as_are_lacking(server: FaultServer, run: Run) -> None:
    server.script = Tries({1: "r", 2: "wr", 3: "wwr", 4: "w", 5: "rwr", 6: "r"})

    generate(recipe_of({"long": until(server, 2, 4)}), run)

    n_drawn = {problem: len(samples) for problem, samples in drawn(run).items()}
    assert n_drawn == {"p-1": 2, "p-2": 3, "p-3": 4, "p-4": 4, "p-5": 3, "p-6": 2}


def test_a_rerun_draws_nothing_more_and_judges_nothing_twice(server: FaultServer, run: Run) -> None:
    server.script = Tries({1: "r", 2: "wr", 3: "w", 4: "r", 5: "r", 6: "r"})
    recipe = recipe_of({"long": until(server, 1, 3)})
    generate(recipe, run)
    judged = [path.read_bytes() for path in run.verdict_files()]

    counts = generate(recipe, run)

    assert (counts["asked"], len(server.asked)) == (0, 9)
    assert [path.read_bytes() for path in run.verdict_files()] == judged


def test_more_samples_go_on_where_the_draws_ended(server: FaultServer, run: Run) -> None:
    server.script = Tries({1: "r", 2: "wwwr", 3: "w", 4: "r", 5: "r", 6: "r"})
    generate(recipe_of({"long": until(server, 1, 2)}), run)

    counts = generate(recipe_of({"long": until(server, 1, 5)}), run)

    assert counts["asked"] == 2 + 3
    assert drawn(run)["p-2"] == [0, 1, 2, 3]
    assert drawn(run)["p-3"] == [0, 1, 2, 3, 4]


def test_a_failed_draw_is_asked_again_before_any_later_one(server: FaultServer, run: Run) -> None:
    server.script = Tries({1: "r", 2: "wfwr", 3: "r", 4: "r", 5: "r", 6: "r"})
    recipe = recipe_of({"long": until(server, 1, 4)})

    first = generate(recipe, run)
    second = generate(recipe, run)

    assert (first["asked"], first["failed"]) == (7, 1)
    assert (second["asked"], second["failed"]) == (2, 0)
    assert drawn(run)["p-2"] == [0, 1, 2]


def test_traces_that_nobody_judged_yet_are_judged_before_more_is_drawn(server: FaultServer, run: Run) -> None:
    server.script = Tries({1: "r", 2: "w", 3: "r", 4: "r", 5: "r", 6: "r"})
    generate(recipe_of({"long": until(server, 1, 1)}), run)
    for path in run.verdict_files():
        path.unlink()

    counts = generate(recipe_of({"long": until(server, 1, 3)}), run)

    assert counts["asked"] == 2
    assert drawn(run)["p-2"] == [0, 1, 2]


def test_a_reference_that_nobody_can_read_is_not_drawn_for(server: FaultServer, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    problem = Problem(problem_id="p-1", problem="What is 1 + 2?", reference="see the figure, left", source="tests",
                      answer_type="number")  # fmt: skip
    write_parquet(run.problems, to_frame(Problem, [problem]))
    server.script = in_turn(says(r"\boxed{3}"))

    counts = generate(recipe_of({"long": until(server, 1, 8)}), run)

    assert counts["asked"] == 1


def with_reference(run: Run, number: int, reference: str) -> None:
    """The run's problems with another reference for one of them, and with it another id."""
    changed = [
        replace(problem, reference=reference, problem_id=f"p-{number}-changed")
        if problem.problem_id == f"p-{number}"
        else problem
        for problem in read_problems(run)
    ]
    write_parquet(run.problems, to_frame(Problem, changed))


def test_a_changed_reference_is_drawn_for_anew(server: FaultServer, run: Run) -> None:
    server.script = lambda asked, before: right(asked)
    recipe = recipe_of({"long": until(server, 1, 3)})
    generate(recipe, run)
    with_reference(run, 2, "5")

    counts = generate(recipe, run)

    assert counts["asked"] == 2
    assert judge_traces(recipe, run, no_progress)["incorrect"] == 3


def test_a_mended_reference_needs_no_further_draw(server: FaultServer, run: Run) -> None:
    server.script = lambda asked, before: right(asked)
    recipe = recipe_of({"long": until(server, 1, 3)})
    with_reference(run, 2, r"\frac{1}{")
    first = generate(recipe, run)
    with_reference(run, 2, "4")
    changed = [replace(problem, reference="4") if problem.problem_id == "p-2-changed" else problem
               for problem in read_problems(run)]  # fmt: skip
    write_parquet(run.problems, to_frame(Problem, changed))

    second = generate(recipe, run)

    assert (first["asked"], second["asked"]) == (6, 0)


def test_verify_takes_over_what_was_judged_meanwhile(server: FaultServer, run: Run) -> None:
    server.script = Tries({1: "r", 2: "wr", 3: "w", 4: "r", 5: "r", 6: "r"})
    recipe = recipe_of({"long": until(server, 1, 3)})
    generate(recipe, run)

    counts = judge_traces(recipe, run, no_progress)

    assert counts == {"verdicts": 9, "new": 0, "correct": 5, "incorrect": 4}
    verdicts = read_verdicts(run)
    assert dict(verdicts.schema) == dict(polars_schema(Verdict))
    assert set(verdicts["trace_id"]) == set(read_traces(run)["trace_id"])


def test_the_total_shrinks_as_problems_turn_out_right(server: FaultServer, run: Run) -> None:
    server.script = in_turn(says())
    server.script = Tries({number: "r" for number in range(1, 7)})
    shown: list[tuple[int, int]] = []

    def show(done: int, total: int, note: str, figures: Figures | None = None, /) -> None:
        shown.append((done, total))

    generate(recipe_of({"long": until(server, 1, 8)}), run, show)

    assert (shown[0], shown[-1]) == ((0, 48), (6, 6))


# ---- escalation


def chain(server: FaultServer, **fields: object) -> dict[str, Mapping[str, object]]:
    return {
        "small": until(server, 1, 2, model="small", style="short", **fields),
        "big": until(server, 1, 2, model="big", **fields),
        "huge": served_by(server, model="huge", **fields),
    }


def test_only_what_a_teacher_did_not_get_right_goes_on_to_the_next(server: FaultServer, run: Run) -> None:
    def script(asked: Asked, before: int) -> Reply:
        solved = {"small": (1, 2), "big": (1, 2, 3, 4), "huge": (5,)}[asked.request.model]
        return right(asked) if problem_number(asked) in solved else wrong(asked)

    server.script = script
    recipe = recipe_of(chain(server), escalate=["small", "big", "huge"])

    counts = generate(recipe, run)

    assert Counter(asked.request.model for asked in server.asked) == {"small": 2 + 8, "big": 2 + 4, "huge": 2}
    assert counts["traces"] == 18
    assert generate(recipe, run)["asked"] == 0
    assert len(server.asked) == 18


def test_a_killed_escalation_goes_on_where_it_was(server: FaultServer, run: Run) -> None:
    server.script = lambda asked, before: wrong(asked)
    recipe = recipe_of(chain(server), escalate=["small", "big", "huge"])
    with pytest.raises(BudgetReached):
        generate(recipe_of(chain(server, concurrency=1), escalate=["small", "big", "huge"],
                           budget={"tokens": 46 * 7}), run)  # fmt: skip
    before = len(server.asked)

    generate(recipe, run)

    assert 0 < before < 30
    assert Counter(asked.request.model for asked in server.asked) == {"small": 12, "big": 12, "huge": 6}


def test_an_engine_that_nothing_escalates_to_is_never_opened(server: FaultServer, run: Run) -> None:
    server.script = lambda asked, before: right(asked)
    teachers = chain(server) | {"huge": {"engine": "llamacpp", "gguf": "/gone.gguf", "revision": "1",
                                         "style": "long"}}  # fmt: skip

    counts = generate(recipe_of(teachers, escalate=["small", "huge"]), run)

    assert counts["asked"] == 12  # small and big: big stands in no chain


def test_a_budget_ends_a_whole_chain(server: FaultServer, tmp_path: Path) -> None:
    """A teacher that waits for what comes from another one must not wait for ever."""
    run = run_with(12, tmp_path / "run")
    server.script = lambda asked, before: wrong(asked)
    for tokens in (46, 46 * 3, 46 * 14, 46 * 26):
        with pytest.raises(BudgetReached):
            recipe = recipe_of(
                chain(server, concurrency=2), escalate=["small", "big", "huge"], budget={"tokens": tokens}
            )
            generate(recipe, Run(run.folder))


def test_a_teacher_asks_beside_an_escalation_to_its_engine(server: FaultServer, run: Run) -> None:
    """Listed behind one that waits: it must not wait, too."""
    came: list[str] = []

    def script(asked: Asked, before: int) -> Reply:
        came.append(asked.request.model)
        return wrong(asked)

    with FaultServer(in_turn(says(r"\boxed{0}", delay_seconds=0.2))) as slow:
        server.script = script
        teachers = {
            "small": until(slow, 1, 1, concurrency=1), "big": served_by(server, model="big"),
            "other": served_by(server, model="other"),
        }  # fmt: skip
        generate(recipe_of(teachers, escalate=["small", "big"]), run)

    assert came[:6] == ["other"] * 6


# ---- budgets


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        ({"tokens": 46 * 5}, "the budget of 230 tokens is reached: spent 230 tokens of prompts and responses, "),
        ({"usd": 34 * 5e-6}, "the budget of 0.00017 USD is reached: spent 230 tokens of prompts and responses, "),
    ],
)
def test_a_budget_stops_new_requests_and_the_same_command_goes_on(
    server: FaultServer, tmp_path: Path, budget: dict[str, float], told: str
) -> None:
    run = run_with(12, tmp_path / "run")
    recipe = recipe_of({"long": served_by(server, concurrency=1, price={"output": 1.0})}, budget=budget)

    with pytest.raises(BudgetReached) as raised:
        generate(recipe, run)
    assert str(raised.value).startswith(told)
    assert str(raised.value).endswith("; what is finished is kept, and the same command goes on with a new budget")
    assert raised.value.exit_code == 3
    assert len(lines(run)) == 5
    with pytest.raises(BudgetReached):
        generate(recipe, run)
    assert generate(recipe, run) == {"traces": 12, "asked": 2, "failed": 0, "cut": 0}
    assert max(server.times().values()) == 1
    assert {line["cost_usd"] for line in lines(run)} == {34e-6}


def test_what_is_under_way_counts_for_the_budget(server: FaultServer, tmp_path: Path) -> None:
    run = run_with(60, tmp_path / "run")
    server.script = in_turn(says(delay_seconds=0.02))
    recipe = recipe_of({"long": served_by(server, concurrency=8)}, budget={"tokens": 46 * 30})

    with pytest.raises(BudgetReached):
        generate(recipe, run)

    assert 30 <= len(lines(run)) <= 31


def test_before_the_first_answers_a_request_counts_with_all_its_max_tokens(
    server: FaultServer, tmp_path: Path
) -> None:
    """With a budget for 30 requests, 60 places at the server and slow answers, not all 60 are sent at once."""
    run = run_with(60, tmp_path / "run")
    server.script = in_turn(says(delay_seconds=0.1))
    recipe = recipe_of({"long": served_by(server, concurrency=60, max_tokens=92)}, budget={"tokens": 46 * 30})

    with pytest.raises(BudgetReached):
        generate(recipe, run)

    assert 29 <= len(lines(run)) <= 31


def test_a_budget_below_one_answer_is_spent_one_request_at_a_time(server: FaultServer, tmp_path: Path) -> None:
    run = run_with(60, tmp_path / "run")
    server.script = in_turn(says(delay_seconds=0.01))
    recipe = recipe_of({"long": served_by(server, concurrency=60, max_tokens=10_000)}, budget={"tokens": 46 * 5})

    with pytest.raises(BudgetReached):
        generate(recipe, run)

    assert len(lines(run)) == 5


def test_a_server_that_counts_no_tokens_does_not_void_the_budget(server: FaultServer, tmp_path: Path) -> None:
    run = run_with(40, tmp_path / "run")
    answer = {"choices": [{"message": {"content": "4" * 250}, "finish_reason": "stop"}]}
    server.script = in_turn(Reply(json.dumps(answer).encode()))
    recipe = recipe_of({"long": served_by(server, max_tokens=100)}, budget={"tokens": 1_500})

    with pytest.raises(BudgetReached, match="reckoned by length, for the server sent no counts"):
        generate(recipe, run)

    assert 5 <= len(lines(run)) <= 15


def test_hours_are_a_budget(server: FaultServer, run: Run) -> None:
    server.script = in_turn(says(delay_seconds=0.05))
    recipe = recipe_of({"long": served_by(server, concurrency=1)}, budget={"hours": 0.1 / 3600})

    with pytest.raises(BudgetReached, match=r"^the budget of 0\.1s is reached"):
        generate(recipe, run)

    assert 1 <= len(lines(run)) <= 3


def test_hours_end_requests_that_wait_for_another_try(server: FaultServer, run: Run) -> None:
    """They are no failures: the next call asks them."""
    server.script = in_turn(refuses(429))
    recipe = recipe_of({"long": served_by(server)}, budget={"hours": 0.3 / 3600})
    random.seed(0)  # of the jitter

    with pytest.raises(BudgetReached, match=r"^the budget of 0\.3s is reached"):
        generate(recipe, run)

    assert max(server.times().values()) < 5  # which each has at the least
    assert lines(run) == []


def test_a_budget_in_usd_needs_a_price(server: FaultServer, run: Run) -> None:
    with pytest.raises(RecipeError) as raised:
        generate(recipe_of({"long": served_by(server)}, budget={"usd": 1}), run)

    assert str(raised.value) == (
        "budget.usd: no price is known for teacher 'long'; state it: "
        "teachers.long.price: {input: 0.5, output: 1.5} (USD for a million tokens)"
    )
    assert server.asked == []


# ---- the pilot


def test_a_pilot_asks_about_some_problems_and_its_traces_are_kept(server: FaultServer, tmp_path: Path) -> None:
    run = run_with(30, tmp_path / "run")
    server.script = Tries({number: "wr" if number % 2 else "r" for number in range(1, 31)})
    recipe = recipe_of({"long": until(server, 1, 4), "short": served_by(server, model="small", style="short")})

    with live_judging(recipe, run) as judging:
        pilot = ask_pilot(recipe, run, no_progress, judging, 10)

    long, short = pilot.teachers
    assert (long.teacher, short.teacher, short.n_requests) == ("long", "short", 20)
    assert long.n_requests is not None
    assert 20 < long.n_requests < 40
    assert list(short.tokens or ()) == [20 * 46] * 3
    asked = {line["problem_id"] for line in lines(run)}
    assert len(asked) == 10
    assert len(lines(run)) == len(server.asked)
    generate(recipe, run)
    assert max(server.times().values()) == 1
    assert plan_traces(recipe, run).wanted.height == 30 * 4 + 30


def half_right(server: FaultServer, tmp_path: Path) -> Run:
    """A run with 12 problems, of which the teacher `small` got the first six right in one draw."""
    run = run_with(12, tmp_path / "run")
    server.script = lambda asked, before: right(asked) if problem_number(asked) <= 6 else wrong(asked)
    generate(recipe_of({"small": until(server, 1, 1)}), run)
    server.asked.clear()
    return run


def test_a_pilot_asks_about_problems_that_are_not_right_yet(server: FaultServer, tmp_path: Path) -> None:
    run = half_right(server, tmp_path)
    server.script = lambda asked, before: right(asked)
    recipe = recipe_of({"small": until(server, 1, 8)})

    assert plan(recipe, run, ["generate"])[0]["what"] == "at most 42 of 96 requests (small 42)"
    assert plan(recipe, run, ["generate"], Asking(pilot=4))[0]["what"] == (
        "asks about 4 of 6 problems: at most 28 requests (small 28)"
    )
    with live_judging(recipe, run) as judging:
        pilot = ask_pilot(recipe, run, no_progress, judging, 4)

    assert [(row.teacher, row.n_requests) for row in pilot.teachers] == [("small", 2)]
    assert len({problem_number(asked) for asked in server.asked} - {*range(1, 7)}) == 4
    assert generate(recipe, run)["asked"] == 2
    assert plan(recipe, run, ["generate"])[0]["what"] == "none"


def test_a_pilot_of_an_escalation_asks_where_it_has_come_to(server: FaultServer, tmp_path: Path) -> None:
    run = half_right(server, tmp_path)
    teachers = {"small": until(server, 1, 1), "big": served_by(server, model="huge")}
    recipe = recipe_of(teachers, escalate=["small", "big"])

    with live_judging(recipe, run) as judging:
        pilot = ask_pilot(recipe, run, no_progress, judging, 4)

    assert [(row.teacher, row.n_requests) for row in pilot.teachers] == [("big", 2)]
    assert Counter(asked.request.model for asked in server.asked) == {"huge": 4}


def test_a_dry_run_judges_and_writes_nothing(server: FaultServer, tmp_path: Path) -> None:
    run = half_right(server, tmp_path)
    recipe = recipe_of({"small": until(server, 1, 8)})
    for path in run.verdict_files():
        path.unlink()
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")}

    told = [plan(recipe, run, ["generate"], asking)[0]["what"] for asking in (
        None, Asking(pilot=2), Asking(batch_out=tmp_path / "b.jsonl"), Asking(batch_in=tmp_path / "r.jsonl")
    )]  # fmt: skip

    assert told == [
        "at most 84 of 96 requests (small 84)",
        "asks about 2 of 12 problems: at most 14 requests (small 14)",
        f"asks nobody; writes at most 12 requests (small 12) to {tmp_path / 'b.jsonl'}",
        f"asks nobody; takes the results in {tmp_path / 'r.jsonl'}",
    ]
    assert {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")} == before


@pytest.mark.parametrize(
    ("samples", "n_budget", "n_left", "n_done"),
    [(1, 5, 35, 5), (4, 6, 39 * 4, 1)],  # of a problem that was begun nobody knows what it will take
)
def test_a_budget_that_ends_a_pilot_leaves_its_estimate(
    server: FaultServer, tmp_path: Path, samples: int, n_budget: int, n_left: int, n_done: int
) -> None:
    run = run_with(40, tmp_path / "run")
    teacher = served_by(server, concurrency=1, samples=samples, temperature=0.7)
    recipe = recipe_of({"long": teacher}, budget={"tokens": 46 * n_budget})

    with live_judging(recipe, run) as judging:
        pilot = ask_pilot(recipe, run, no_progress, judging, 10)

    assert pilot.ended is not None
    assert pilot.ended.startswith(f"the budget of {46 * n_budget} tokens is reached")
    assert f"from {n_done} of its 10 problems" in pilot.notes[0]
    assert pilot.total.n_requests == n_left
    assert len(lines(run)) == n_budget


# ---- batch files


def answered(path: Path, script: Script) -> Path:
    """The results of a batch file, as a provider writes them."""
    results = path.with_suffix(".results.jsonl")
    with results.open("w", encoding="utf-8") as file:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            assert (row["method"], row["url"]) == ("POST", "/v1/chat/completions")
            reply = script(Asked(row["url"], row["body"], None, ("", 0), {}), 0)
            response = {
                "status_code": reply.status,
                "request_id": "x",
                "body": json.loads(reply.content or b"null"),
            }
            file.write(json.dumps({"id": "b", "custom_id": row["custom_id"], "response": response}) + "\n")
    return results


def test_batches_go_on_in_rounds_until_enough_is_right(server: FaultServer, run: Run, tmp_path: Path) -> None:
    script = Tries({1: "r", 2: "wr", 3: "wwr", 4: "w", 5: "fr", 6: "r"})
    recipe = recipe_of({"long": until(server, 1, 3)})

    n_asked = []
    for number in range(5):
        path = tmp_path / f"requests-{number}.jsonl"
        with live_judging(recipe, run) as judging:
            files = write_requests(recipe, run, judging, path)
        if not files:
            break
        results = answered(path, script)
        with live_judging(recipe, run) as judging:
            counts = take_results(recipe, run, judging, results)
        n_asked.append((files[0].n_requests, counts["asked"], counts["failed"]))

    assert n_asked == [(6, 6, 1), (4, 4, 0), (2, 2, 0)]
    assert server.asked == []
    assert generate(recipe, run)["asked"] == 0
    assert drawn(run)["p-4"] == [0, 1, 2]


def test_results_that_nobody_misses_are_counted(server: FaultServer, run: Run, tmp_path: Path) -> None:
    recipe = recipe_of({"long": served_by(server)})
    path = tmp_path / "requests.jsonl"
    with live_judging(recipe, run) as judging:
        write_requests(recipe, run, judging, path)
        results = answered(path, Tries({number: "r" for number in range(1, 7)}))
        first = take_results(recipe, run, judging, results)
        second = take_results(recipe, run, judging, results)

    assert first == {"asked": 6, "failed": 0, "missing": 0}
    assert second == {"asked": 0, "failed": 0, "missing": 0, "left_out_not_wanted": 6}
    assert read_traces(run)["completion_tokens"].to_list() == [34] * 6


def test_a_result_that_was_cut_by_an_older_limit_is_asked_again(
    server: FaultServer, run: Run, tmp_path: Path
) -> None:
    recipe = recipe_of({"long": served_by(server)})
    path = tmp_path / "requests.jsonl"
    with live_judging(recipe, run) as judging:
        write_requests(recipe, run, judging, path)
    results = answered(path, lambda asked, before: says("We need", finish_reason="length"))
    raised = recipe_of({"long": served_by(server, max_tokens=5000)})
    with live_judging(raised, run) as judging:
        take_results(raised, run, judging, results)

    assert generate(raised, run)["asked"] == 6


def test_batches_need_no_budget_and_no_price(server: FaultServer, run: Run, tmp_path: Path) -> None:
    recipe = recipe_of({"long": served_by(server)}, budget={"usd": 1})
    path = tmp_path / "requests.jsonl"

    with live_judging(recipe, run) as judging:
        (written,) = write_requests(recipe, run, judging, path)
        counts = take_results(recipe, run, judging, answered(path, Tries(dict.fromkeys(range(1, 7), "r"))))

    assert (written.n_requests, counts["missing"]) == (6, 0)


# ---- the index


def test_an_edited_trace_file_is_read_whole(server: FaultServer, tmp_path: Path) -> None:
    run = run_with(130, tmp_path / "run")
    recipe = recipe_of({"long": served_by(server)})
    generate(recipe, run)
    (path,) = run.trace_files()
    whole = path.read_bytes().splitlines(keepends=True)
    index = path.with_suffix(".index")
    index.write_bytes(b"".join(index.read_bytes().splitlines(keepends=True)[:100]))  # as kill -9 leaves it
    assert read_index(run).height == 130

    path.write_bytes(b"".join(whole[:39] + whole[40:]))

    assert read_index(run).height == 129
    assert generate(recipe, run)["asked"] == 1
