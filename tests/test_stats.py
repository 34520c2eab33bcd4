"""Numbers: each rate with its n, and what does not belong into the n."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from loopback_hub import LoopbackHub
from made_runs import make_problem, make_recipe, make_run, make_trace

from mixdistill.builders.stats import Interval, compute_stats, wilson
from mixdistill.errors import HubError, RecordError, StorageError
from mixdistill.recipe import Recipe
from mixdistill.records import Problem, Status, Trace
from mixdistill.run import Run

MIXES = {"short": {"short": 1.0}}
STATUSES: list[Status] = [
    "correct", "correct", "correct", "incorrect", "no_answer", "truncated", "unparsable", "timeout", "unscored"
]  # fmt: skip


def stats_of(run: Run, recipe: Recipe | None = None) -> dict[str, Any]:
    compute_stats(recipe or make_recipe(MIXES), run)
    read: dict[str, Any] = json.loads(run.stats.read_text(encoding="utf-8"))
    return read


def run_of(tmp_path: Path, traces: list[Trace], problems: list[Problem] | None = None) -> Run:
    return make_run(tmp_path / "run", problems or [make_problem(1)], traces)


def tokenizer_json() -> str:
    """Splits at white space; and, as some models' files do, cuts to two tokens and pads to ten."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit

    made = Tokenizer(WordLevel({"?": 0}, unk_token="?"))
    made.pre_tokenizer = WhitespaceSplit()
    made.enable_truncation(2)
    made.enable_padding(length=10)
    return str(made.to_str())


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_intervals_are_the_published_ones(successes: int, n: int, low: float, high: float) -> None:
    found = wilson(successes, n)

    assert found.rate == successes / n
    assert found[1:] == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("successes", "n"), [(1, 2), (3, 7), (500, 1000), (999_999, 1_000_000)])
def test_a_wilson_bound_is_a_rate_that_the_score_test_just_rejects(successes: int, n: int) -> None:
    rate, *bounds = wilson(successes, n)
    assert rate is not None

    for bound in bounds:
        assert bound is not None
        assert abs(rate - bound) / math.sqrt(bound * (1 - bound) / n) == pytest.approx(1.959964, rel=1e-5)


def test_nothing_judged_has_no_rate() -> None:
    assert wilson(0, 0) == Interval(None, None, None)


def test_all_wrong_and_all_right_keep_their_rate_inside_of_the_interval() -> None:
    for n in range(1, 200):
        none, every = wilson(0, n), wilson(n, n)
        assert none.high is not None
        assert every.low is not None
        assert (none.rate, none.low, every.rate, every.high) == (0, 0, 1, 1)
        assert none.high == pytest.approx(1.959964**2 / (n + 1.959964**2), rel=1e-6)
        assert every.low == pytest.approx(1 - none.high)


def test_a_pass_rate_leaves_out_what_failed_timed_out_or_has_no_usable_reference(tmp_path: Path) -> None:
    problem, unusable = make_problem(1), make_problem(2)
    traces = [
        make_trace(unusable if status == "unscored" else problem, "short", sample=number)
        for number, status in enumerate(STATUSES)
    ]
    failed = replace(make_trace(problem, "short", sample=99, response=""), error="HTTP 503", finish_reason=None)
    statuses = {trace.trace_id: status for trace, status in zip(traces, STATUSES, strict=True)}
    run = make_run(tmp_path / "run", [problem, unusable], [*traces, failed], statuses)

    counts = compute_stats(make_recipe(MIXES), run)
    (teacher,) = stats_of(run)["teachers"]

    assert counts == {"teachers": 1, "problems": 2, "traces": 10, "correct": 3}
    assert (teacher["traces"], teacher["failed"], teacher["problems"]) == (10, 1, 2)
    assert (teacher["judged"], teacher["correct"], teacher["pass_rate"]) == (7, 3, 3 / 7)
    assert (teacher["pass_rate_low"], teacher["pass_rate_high"]) == wilson(3, 7)[1:]
    assert teacher["statuses"] == {
        "correct": 3, "incorrect": 1, "no_answer": 1, "timeout": 1, "truncated": 1, "unparsable": 1, "unscored": 1
    }  # fmt: skip
    assert teacher["no_answer_rate"] == 1 / 9
    assert teacher["chars"]["n"] == 9


def test_the_pass_rate_of_sampling_until_correct_is_that_of_the_first_draws(tmp_path: Path) -> None:
    """With all draws a teacher that is right half the time on every problem would seem right less often."""
    problems = [make_problem(number) for number in range(4)]
    draws = ["c", "c", "ic", "iic"]  # correct, incorrect: the last one ended it
    traces = {
        (number, sample): make_trace(problem, "short", sample=sample)
        for number, problem in enumerate(problems)
        for sample in range(len(draws[number]))
    }
    statuses: dict[str, Status] = {
        trace.trace_id: "correct" if draws[number][sample] == "c" else "incorrect"
        for (number, sample), trace in traces.items()
    }
    run = make_run(tmp_path / "run", problems, [*traces.values()], statuses)
    until = {"until_correct": 1, "at_most": 8}
    teacher = {"engine": "openai", "model": "m", "style": "short", "temperature": 0.7, "samples": until}
    recipe = make_recipe(MIXES, teachers={"short": teacher})

    stats = stats_of(run, recipe)

    (found,) = stats["teachers"]
    assert (found["traces"], found["right"]) == (7, 4)
    assert (found["judged"], found["correct"], found["pass_rate"]) == (4, 2, 0.5)
    assert sum(row["judged"] for row in stats["subjects"]) in (0, 4)
    # How hard one problem is says most by all its draws.
    rates = dict(pl.read_parquet(run.difficulty).select("problem_id", "pass_rate").rows())
    assert [rates[problem.problem_id] for problem in problems] == [1, 1, 1 / 2, 1 / 3]


def test_a_problem_with_an_unusable_reference_is_judged_for_nobody(tmp_path: Path) -> None:
    problem = make_problem(1)
    traces = [make_trace(problem, "short", sample=number) for number in range(3)]
    statuses: list[Status] = ["unscored", "no_answer", "truncated"]
    run = make_run(
        tmp_path / "run", [problem], traces, dict(zip([trace.trace_id for trace in traces], statuses, strict=True))
    )

    compute_stats(make_recipe(MIXES), run)

    assert [teacher["judged"] for teacher in stats_of(run)["teachers"]] == [0]


def test_the_difficulty_of_a_problem_is_its_pass_rate_by_teacher(tmp_path: Path) -> None:
    problem, unscored = make_problem(1), make_problem(2)
    samples = [make_trace(problem, "short", sample=number) for number in range(10)]
    other = [make_trace(problem, "long", "long"), make_trace(unscored, "long", "long")]
    statuses: dict[str, Status] = {trace.trace_id: "incorrect" for trace in samples[3:]}
    statuses[other[1].trace_id] = "unscored"
    run = make_run(tmp_path / "run", [problem, unscored], [*samples, *other], statuses)

    histograms = stats_of(run)["difficulty"]

    assert pl.read_parquet(run.difficulty).rows() == [
        (problem.problem_id, "short", 10, 3, 0.3),
        (problem.problem_id, "long", 1, 1, 1.0),
        (unscored.problem_id, "long", 0, 0, None),
    ]
    assert histograms == {"long": [0] * 9 + [1], "short": [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]}


def test_levels_and_subjects_have_their_own_rates(tmp_path: Path) -> None:
    problems = [make_problem(1, "1", "Algebra"), make_problem(2, "2", "Algebra"), make_problem(3)]
    traces = [make_trace(problem, teacher) for teacher in ("b", "a") for problem in problems]
    wrong: dict[str, Status] = {traces[0].trace_id: "incorrect", traces[1].trace_id: "timeout"}
    run = make_run(tmp_path / "run", problems, traces, wrong)

    stats = stats_of(run)
    levels = [(row["level"], row["teacher"], row["judged"], row["pass_rate"]) for row in stats["levels"]]
    subjects = [(row["subject"], row["teacher"], row["judged"], row["pass_rate"]) for row in stats["subjects"]]

    assert levels == [("1", "a", 1, 1.0), ("1", "b", 1, 0.0), ("2", "a", 1, 1.0), ("2", "b", 0, None)]
    assert subjects == [("Algebra", "a", 2, 1.0), ("Algebra", "b", 1, 0.0)]


def test_quantiles_are_lengths_that_occur(tmp_path: Path) -> None:
    problem = make_problem(1)
    traces = [
        replace(make_trace(problem, "short", sample=number, response="x" * number), completion_tokens=2 * number)
        for number in range(1, 101)
    ]

    (teacher,) = stats_of(run_of(tmp_path, traces))["teachers"]

    assert teacher["chars"] == {"n": 100, "mean": 50.5, "p50": 51, "p90": 90, "p99": 99}
    assert teacher["tokens"] == {"n": 100, "mean": 101.0, "p50": 102, "p90": 180, "p99": 198}
    assert teacher["completion_tokens"] == 10_100


def test_lengths_that_nobody_counted_are_none_and_not_zero(tmp_path: Path) -> None:
    stats = stats_of(run_of(tmp_path, [make_trace(make_problem(1), "short", response="four")]))

    assert stats["teachers"][0]["tokens"] == {"n": 0, "mean": None, "p50": None, "p90": None, "p99": None}
    assert stats["tokens_by"] == "the teacher's own count"
    assert stats["lengths"] == {"unit": "chars", "bin_width": 1, "styles": {"short": [0] * 4 + [1] + [0] * 25}}


def test_the_last_bin_holds_all_that_are_longer(tmp_path: Path) -> None:
    problem = make_problem(1)
    lengths = [10] * 200 + [1_000_000]
    traces = [
        replace(make_trace(problem, "short", sample=number), completion_tokens=tokens)
        for number, tokens in enumerate(lengths)
    ]

    found = stats_of(run_of(tmp_path, traces))["lengths"]

    assert found == {"unit": "tokens", "bin_width": 1, "styles": {"short": [0] * 10 + [200] + [0] * 18 + [1]}}


def test_cut_traces_are_a_share_of_those_whose_end_is_known(tmp_path: Path) -> None:
    problem = make_problem(1)
    ends = ["stop", "length", "stop", "stop", None]
    traces = [make_trace(problem, "a", sample=n, finish_reason=end) for n, end in enumerate(ends)]

    known, unknown = stats_of(run_of(tmp_path, [*traces, make_trace(problem, "b", finish_reason=None)]))[
        "teachers"
    ]

    assert (known["truncated_rate"], unknown["truncated_rate"]) == (0.25, None)


def test_looping_traces_are_a_share_of_those_whose_repetition_was_measured(tmp_path: Path) -> None:
    problem = make_problem(1)
    traces = [make_trace(problem, "a", sample=n) for n in range(4)]
    run = run_of(tmp_path, [*traces, make_trace(problem, "b")])
    measured = dict(zip([trace.trace_id for trace in traces], [0.9, 0.1, 0.95, 0.0], strict=True))
    repetition = pl.col("trace_id").replace_strict(measured, default=None, return_dtype=pl.Float64())
    pl.read_parquet(run.verdicts).with_columns(repetition=repetition).write_parquet(run.verdicts)

    looping, unmeasured = stats_of(run)["teachers"]

    assert (looping["looping_rate"], unmeasured["looping_rate"]) == (0.5, None)


def test_the_share_of_reasoning_is_by_characters(tmp_path: Path) -> None:
    problem = make_problem(1)
    with_reasoning = replace(make_trace(problem, "a", response="abc"), reasoning="x" * 9)

    first, second = stats_of(run_of(tmp_path, [with_reasoning, make_trace(problem, "b")]))["teachers"]

    assert (first["reasoning_share"], second["reasoning_share"]) == (0.75, 0.0)


def test_tokens_are_counted_by_a_tokenizer_file_in_full_and_without_padding(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(), encoding="utf-8")
    recipe = make_recipe(MIXES, stats={"tokenizer": str(tmp_path / "tokenizer.json")})
    problem = make_problem(1)
    traces = [
        replace(make_trace(problem, "short", response="four more words here"), reasoning="one two three"),
        replace(make_trace(problem, "short", sample=1, response="one"), completion_tokens=1000),
    ]

    stats = stats_of(run_of(tmp_path, traces), recipe)

    assert stats["teachers"][0]["tokens"] == {"n": 2, "mean": 4.0, "p50": 7, "p90": 7, "p99": 7}
    assert stats["tokens_by"] == str(tmp_path / "tokenizer.json")


def test_tokens_are_counted_by_the_tokenizer_of_a_model_on_the_hub(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.put("tester/student", {"tokenizer.json": tokenizer_json().encode()}, kind="models")
    recipe = make_recipe(MIXES, stats={"tokenizer": "tester/student"})
    run = run_of(tmp_path, [make_trace(make_problem(1), "short", response="one two three")])

    stats = stats_of(run, recipe)

    assert (stats["teachers"][0]["tokens"]["p50"], stats["tokens_by"]) == (3, "tester/student")


def test_a_tokenizer_that_the_hub_does_not_have_is_a_hub_error(hub: LoopbackHub, tmp_path: Path) -> None:
    recipe = make_recipe(MIXES, stats={"tokenizer": "tester/missing"})
    run = run_of(tmp_path, [make_trace(make_problem(1), "short")])

    with pytest.raises(
        HubError, match=r"^stats\.tokenizer: tester/missing: cannot be had from the Hub: 401 Client Error\. "
    ):
        compute_stats(recipe, run)


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file or directory"), ("{}", "Model missing")])
def test_a_file_that_is_no_tokenizer_is_a_record_error(tmp_path: Path, content: str | None, reason: str) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    recipe = make_recipe(MIXES, stats={"tokenizer": str(path)})
    run = run_of(tmp_path, [make_trace(make_problem(1), "short")])

    with pytest.raises(RecordError, match=rf"tokenizer\.json: not a tokenizer\.json: .*{reason}"):
        compute_stats(recipe, run)


def test_a_run_without_a_trace_has_numbers_too(tmp_path: Path) -> None:
    run = run_of(tmp_path, [])

    assert compute_stats(make_recipe(MIXES), run) == {"teachers": 0, "problems": 1, "traces": 0, "correct": 0}
    assert stats_of(run)["lengths"] == {"unit": "chars", "bin_width": 1, "styles": {}}


def test_a_teacher_whose_requests_all_failed_has_no_rates(tmp_path: Path) -> None:
    failed = replace(make_trace(make_problem(1), "short", response="", finish_reason=None), error="HTTP 503")

    (teacher,) = stats_of(run_of(tmp_path, [failed]))["teachers"]

    assert (teacher["failed"], teacher["judged"], teacher["statuses"]) == (1, 0, {})
    rates = ("pass_rate", "pass_rate_low", "pass_rate_high", "truncated_rate", "no_answer_rate", "reasoning_share")
    assert [teacher[rate] for rate in rates] == [None] * 6


def test_a_teacher_in_two_styles_stands_there_twice(tmp_path: Path) -> None:
    problem = make_problem(1)
    traces = [make_trace(problem, "a", "short"), make_trace(problem, "a", "long", sample=1)]

    stats = stats_of(run_of(tmp_path, traces))

    assert [(row["teacher"], row["style"], row["traces"]) for row in stats["teachers"]] == [
        ("a", "long", 1),
        ("a", "short", 1),
    ]


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    problems = [make_problem(number, level=str(number % 3)) for number in range(20)]
    traces = [make_trace(problem, teacher) for problem in problems for teacher in ("b", "a")]
    run = make_run(tmp_path / "run", problems, traces)
    compute_stats(make_recipe(MIXES), run)
    first = run.stats.read_bytes(), run.difficulty.read_bytes()

    compute_stats(make_recipe(MIXES), run)

    assert (run.stats.read_bytes(), run.difficulty.read_bytes()) == first


def test_without_verdicts_the_way_out_is_named(tmp_path: Path) -> None:
    run = run_of(tmp_path, [])
    run.verdicts.unlink()

    with pytest.raises(StorageError, match=r"verdicts\.parquet: not there yet; run 'mixdistill verify' first"):
        compute_stats(make_recipe(MIXES), run)
