"""Mixes: exact ratios, the same problems in all arms, the same draw every time."""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from made_runs import finish_run, make_problem, make_recipe, make_run, make_suspect, make_trace, silent

from mixdistill.builders.mix import build_mixes
from mixdistill.builders.stats import compute_stats
from mixdistill.errors import MixdistillError, RecipeError, RecordError, StorageError
from mixdistill.records import Problem, Status, Trace
from mixdistill.run import Run
from mixdistill.trace_files import TraceWriter

MIXES = {"long": {"long": 1.0}, "short": {"short": 1.0}, "mix-long": {"long": 0.2, "short": 0.8}}
PROBLEMS = [make_problem(number) for number in range(30)]
BOTH = [
    *(make_trace(problem, "long", "long") for problem in PROBLEMS),
    *(make_trace(problem, "short") for problem in PROBLEMS),
]


def build(run: Run, mixes: Mapping[str, Mapping[str, Any]] = MIXES, **more: object) -> dict[str, pl.DataFrame]:
    """Builds the mixes; returns the frame of each."""
    recipe = make_recipe(mixes, **more)
    compute_stats(recipe, run)
    rows = build_mixes(recipe, run, silent)
    frames = {name: pl.read_parquet(run.mixes / name / "train.parquet") for name in mixes}
    assert rows == {name: frame.height for name, frame in frames.items()}
    return frames


def told(run: Run, mix: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((run.mixes / mix / "mix.json").read_text(encoding="utf-8"))
    return read


def files_of(run: Run) -> dict[str, bytes]:
    return {str(path.relative_to(run.mixes)): path.read_bytes() for path in run.mixes.rglob("*.*")}


def test_the_same_run_gives_the_same_bytes_in_whatever_order_traces_came(tmp_path: Path) -> None:
    samples = [make_trace(problem, "short", sample=1) for problem in PROBLEMS]
    one = make_run(tmp_path / "one", PROBLEMS, [*BOTH, *samples])
    other = make_run(tmp_path / "other", reversed(PROBLEMS), reversed([*BOTH, *samples]))

    build(one)
    build(other)
    first = files_of(one)
    build(one)

    assert len(first) == 6
    assert files_of(other) == first
    assert files_of(one) == first


def test_only_right_traces_that_were_not_cut_are_taken(tmp_path: Path) -> None:
    problem, other = PROBLEMS[:2]
    statuses: list[Status] = ["incorrect", "no_answer", "truncated", "unparsable", "timeout", "unscored"]
    wrong = [make_trace(problem, "short", sample=number) for number in range(len(statuses))]
    good = make_trace(problem, "short", sample=10)
    unknown_end = make_trace(problem, "short", sample=11, finish_reason=None)
    cut = [make_trace(other, "short", finish_reason="length")]
    failed = [replace(make_trace(other, "short", sample=1, response=""), error="HTTP 503")]
    run = make_run(
        tmp_path / "run", [problem, other], [*wrong, good, unknown_end, *cut, *failed],
        {trace.trace_id: status for trace, status in zip(wrong, statuses, strict=True)},
    )  # fmt: skip

    drawn = {build(run, {"short": {"short": 1.0}}, seed=seed)["short"]["trace_id"].item() for seed in range(20)}

    assert drawn == {good.trace_id, unknown_end.trace_id}
    assert told(run, "short")["problems_left_out"] == {"no right trace by short": 1}


def test_a_problem_brings_the_same_trace_into_every_arm(tmp_path: Path) -> None:
    samples = [make_trace(problem, "long", "long", sample=number) for number in (1, 2) for problem in PROBLEMS]
    frames = build(make_run(tmp_path / "run", PROBLEMS, [*BOTH, *samples]))

    alone = dict(frames["long"].select("problem_id", "trace_id").iter_rows())
    mixed = frames["mix-long"].filter(pl.col("part") == "long")

    assert mixed.height == 6
    assert all(alone[row["problem_id"]] == row["trace_id"] for row in mixed.iter_rows(named=True))


def test_shares_in_the_frame_are_those_that_mix_json_tells(tmp_path: Path) -> None:
    traces = [replace(trace, completion_tokens=7) if trace.style == "long" else trace for trace in BOTH]
    run = make_run(tmp_path / "run", PROBLEMS, traces)

    frame = build(run)["mix-long"]

    assert dict(frame["teacher"].value_counts().iter_rows()) == {"long": 6, "short": 24}
    assert told(run, "mix-long") == {
        "mix": "mix-long",
        "contrast": ["long", "short", "mix-long"],
        "match": "problems",
        "by": "rows",
        "rows": 30,
        "problems": 30,
        "steps": 2,
        "batch_size": 16,
        "shares_wanted": {"long": 0.2, "short": 0.8},
        "rows_by_part": {"long": 6, "short": 24},
        "shares": {"long": 0.2, "short": 0.8},
        "shares_of_tokens": {},
        "rows_by_band": {"easy": 30},
        "rows_by_teacher": {"long": 6, "short": 24},
        "completion_tokens": {"n": 6, "sum": 42},
        "completion_chars": sum(len(row["completion"][0]["content"]) for row in frame.iter_rows(named=True)),
        "reasoning": "<think>...</think>",
        "problems_left_out": {},
        "right_traces_left_out": {},
        "right_traces_not_scored": {},
    }


def test_a_row_is_a_conversation_with_the_reasoning_in_think(tmp_path: Path) -> None:
    problem = make_problem(1, "3", "Algebra")
    trace = replace(
        make_trace(problem, "long", "long", response=r"\boxed{3}"), reasoning="One, two.", size="large"
    )
    run = make_run(tmp_path / "run", [problem], [trace])

    row = build(run, {"long": {"long": 1.0}}, mixing={"prompt": "Q: {{problem}} A:"})["long"].row(0, named=True)

    user = {"role": "user", "content": "Q: What is 1 + 2? A:"}
    assistant = {"role": "assistant", "content": "<think>\nOne, two.\n</think>\n\n\\boxed{3}"}
    assert (row["prompt"], row["completion"], row["messages"]) == ([user], [assistant], [user, assistant])
    assert (row["problem"], row["reference"], row["answer"]) == ("What is 1 + 2?", "3", "an answer")
    assert (row["part"], row["teacher"], row["model"], row["style"], row["size"]) == (
        "long", "long", "long-model", "long", "large"
    )  # fmt: skip
    assert (row["source"], row["license"], row["subject"], row["level"]) == ("made", "mit", "Algebra", "3")
    assert row["completion_chars"] == len(assistant["content"])


def test_a_trace_without_reasoning_has_no_think(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", PROBLEMS, BOTH)

    assert not build(run)["short"]["completion"].list.first().struct.field("content").str.contains("<think>").any()


def template_file(folder: Path, assistant: str) -> str:
    """A file with a chat template that writes an assistant's turn like this."""
    path = folder / "student.jinja"
    turn = f"{{%- if m.role == 'assistant' %}}A: {assistant}{{%- else %}}U: {{{{ m.content }}}}{{%- endif %}}"
    path.write_text(f"{{%- for m in messages %}}{turn}{{%- endfor %}}", encoding="utf-8")
    return str(path)


KNOWS_THE_FIELD = (
    "{%- if m.reasoning_content is string %}<think>{{ m.reasoning_content }}</think>{%- endif %}{{ m.content }}"
)
DROPS_THINKING = "{{ m.content.split('</think>')[-1] }}"


def test_reasoning_stands_in_the_field_that_the_student_knows(tmp_path: Path) -> None:
    traces = [replace(trace, reasoning="One, two.") if trace.style == "long" else trace for trace in BOTH]
    run = make_run(tmp_path / "run", PROBLEMS, traces)

    frames = build(run, mixing={"student": template_file(tmp_path, KNOWS_THE_FIELD)})

    (turn,) = frames["long"]["completion"][0]
    assert list(turn) == ["role", "reasoning_content", "content"]
    assert turn["reasoning_content"] == "One, two."
    assert "One, two." not in turn["content"]
    row = frames["short"].row(0, named=True)
    assert row["completion"][0]["reasoning_content"] is None
    assert [sorted(turn) for turn in row["prompt"]] == [["content", "role"]]
    assert [turn["role"] for turn in row["messages"]] == ["user", "assistant"]
    assert row["messages"][1] == row["completion"][0]
    assert frames["long"]["completion_chars"][0] == len("One, two.") + len(turn["content"])
    assert told(run, "long")["reasoning"] == "reasoning_content"
    assert frames["long"].schema == frames["short"].schema


def test_a_student_whose_template_drops_reasoning_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    traces = [replace(trace, reasoning="One, two.") for trace in BOTH]
    run = make_run(tmp_path / "run", PROBLEMS, traces)

    with pytest.raises(RecipeError, match=r"^mixing.student: the chat template of .* drops the reasoning"):
        build(run, mixing={"student": template_file(tmp_path, DROPS_THINKING)})

    assert not run.mixes.exists()


def test_a_student_is_not_asked_where_no_trace_has_reasoning(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", PROBLEMS, BOTH)

    frames = build(run, mixing={"student": template_file(tmp_path, DROPS_THINKING)})

    assert frames["long"].height == 30


def test_a_student_on_the_hub_is_published_by_its_name_and_one_on_disk_without_its_folder(tmp_path: Path) -> None:
    def published(student: str) -> object:
        return make_recipe(MIXES, mixing={"student": student}).public()["mixing"]

    (tmp_path / "qwen").mkdir()

    assert published("Qwen/Qwen3-0.6B") == {"student": "Qwen/Qwen3-0.6B"}
    assert published(str(tmp_path / "qwen")) == {"student": "qwen"}


def test_a_dataset_whose_reasoning_stands_in_a_field_is_read_by_load_dataset(tmp_path: Path) -> None:
    import datasets

    traces = [replace(trace, reasoning="One, two.") if trace.style == "long" else trace for trace in BOTH]
    run = make_run(tmp_path / "run", PROBLEMS, traces)
    recipe = make_recipe(MIXES, mixing={"student": template_file(tmp_path, KNOWS_THE_FIELD)})

    finish_run(recipe, run)

    loaded = datasets.load_dataset(str(run.dataset), "long", split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded[0]["completion"][0]["reasoning_content"] == "One, two."
    card = (run.dataset / "README.md").read_text(encoding="utf-8")
    assert "One, two.\n\n" in card
    manifest = json.loads((run.dataset / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["recipe"]["mixing"] == {"student": "student.jinja"}


def traces_of(teacher: str, style: Any, size: Any, problems: Iterable[Problem] = PROBLEMS) -> list[Trace]:
    return [replace(make_trace(problem, teacher, style), size=size) for problem in problems]


@pytest.mark.parametrize(
    ("part", "teachers"),
    [  # a part is a teacher if there is one of that name, else a style or a size
        ("qwq", {"qwq"}),
        ("long", {"qwq", "r1"}),
        ("small", {"qwq", "short"}),
        ("large", {"r1"}),
        ("short", {"short"}),
    ],
)
def test_a_part_is_a_teacher_a_style_or_a_size(tmp_path: Path, part: str, teachers: set[str]) -> None:
    named = {
        name: {"engine": "dataset", "file": "t", "style": style, "size": size}
        for name, style, size in (
            ("qwq", "long", "small"), ("r1", "long", "large"), ("short", "long", "small"), ("v", "short", None)
        )
    }  # fmt: skip
    traces = [
        *traces_of("qwq", "long", "small"), *traces_of("r1", "long", "large", PROBLEMS[:15]),
        *traces_of("short", "short", "small"), *traces_of("v", "short", None),
    ]  # fmt: skip
    run = make_run(tmp_path / "run", PROBLEMS, traces)

    frame = build(run, {"mix": {part: 1.0}}, teachers=named)["mix"]

    assert set(frame["teacher"]) == teachers
    assert set(frame["part"]) == {part}


def test_a_part_that_no_teacher_has_is_named_with_the_teachers_that_there_are(tmp_path: Path) -> None:
    teachers = {"all": {"engine": "dataset", "file": "t", "style": "short", "columns": {"teacher": "by"}}}
    run = make_run(tmp_path / "run", PROBLEMS, traces_of("6b", "short", None) + traces_of("175b", "short", None))

    with pytest.raises(RecipeError, match=r"^mixes: no teacher, style or size '7b' \(teachers: 175b, 6b\)$"):
        build(run, {"mix": {"7b": 1.0}}, teachers=teachers)


def test_a_contrast_that_nobody_got_right_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", PROBLEMS, [make_trace(PROBLEMS[0], "long", "long")])

    with pytest.raises(MixdistillError, match=r"only 0 problems .* \(right by part: long 1, short 0\)"):
        build(run)


def test_mixes_of_different_contrasts_need_not_hold_the_same_problems(tmp_path: Path) -> None:
    mixes = MIXES | {"short-alone": {"short": 1.0}}
    run = make_run(tmp_path / "run", PROBLEMS, BOTH[10:])

    frames = build(run, mixes, mixing={"contrasts": [["long", "mix-long"], ["short-alone"]]})

    assert {name: frame.height for name, frame in frames.items()} == {
        "long": 20, "short": 30, "mix-long": 20, "short-alone": 30
    }  # fmt: skip
    assert frames["long"]["problem_id"].to_list() == frames["mix-long"]["problem_id"].to_list()
    assert told(run, "short")["contrast"] == ["short"]


def test_a_mix_in_two_contrasts_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", PROBLEMS, BOTH)

    with pytest.raises(RecipeError, match="mix 'long' stands there twice; give it a second name"):
        build(run, mixing={"contrasts": [["long", "short"], ["long", "mix-long"]]})


def test_problems_with_a_suspect_reference_are_left_out_and_counted(tmp_path: Path) -> None:
    suspects = [make_suspect(PROBLEMS[3]), make_suspect(PROBLEMS[3], "unreadable"), make_suspect(PROBLEMS[8])]
    run = make_run(tmp_path, PROBLEMS, BOTH, suspects=suspects)

    frames = build(run)

    assert [frame.height for frame in frames.values()] == [28] * 3
    assert {PROBLEMS[3].problem_id, PROBLEMS[8].problem_id} & set(frames["long"]["problem_id"]) == set()
    assert told(run, "mix-long")["problems_left_out"] == {"the reference looks wrong": 2}


def test_problems_with_a_suspect_reference_stay_if_the_recipe_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path, PROBLEMS, BOTH, suspects=[make_suspect(PROBLEMS[3])])

    frames = build(run, mixing={"suspect_references": "keep"})

    assert [frame.height for frame in frames.values()] == [30] * 3
    assert told(run, "long")["problems_left_out"] == {}


def test_leaving_suspects_out_moves_no_other_problem_to_another_part(tmp_path: Path) -> None:
    all_of_them = build(make_run(tmp_path / "all", PROBLEMS, BOTH))["long"]
    run = make_run(tmp_path / "some", PROBLEMS, BOTH, suspects=[make_suspect(PROBLEMS[3])])

    rest = all_of_them.filter(pl.col("problem_id") != PROBLEMS[3].problem_id)
    assert build(run)["long"].equals(rest)


def test_a_mix_that_suspects_leave_empty_says_why(tmp_path: Path) -> None:
    run = make_run(tmp_path, PROBLEMS, BOTH, suspects=[make_suspect(problem) for problem in PROBLEMS])

    with pytest.raises(MixdistillError, match=r"; left out before: 30 problems: the reference looks wrong$"):
        build(run)


def test_a_run_that_was_not_audited_is_told_to_be(tmp_path: Path) -> None:
    run = make_run(tmp_path, PROBLEMS, BOTH)
    run.suspects.unlink()

    with pytest.raises(
        MixdistillError, match=r"references.suspect.parquet: not there yet; run 'mixdistill verify'"
    ):
        build(run)


def test_what_a_judge_says_brings_no_trace_into_a_mix(tmp_path: Path) -> None:
    run = make_run(tmp_path, PROBLEMS, BOTH, {BOTH[0].trace_id: "unparsable"})
    verdicts = pl.read_parquet(run.verdicts).with_columns(pl.lit("equivalent").alias("judge_status"))
    verdicts.write_parquet(run.verdicts)

    assert PROBLEMS[0].problem_id not in build(run)["long"]["problem_id"]


def told_rows(frame: pl.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return frame.select(columns).rows()


def with_lengths(problem: Problem, *tokens: int) -> list[Trace]:
    """Short traces of a problem, one a number of tokens."""
    return [
        replace(make_trace(problem, "short", sample=number), completion_tokens=n)
        for number, n in enumerate(tokens)
    ]


@pytest.mark.parametrize(("select", "tokens"), [("shortest", [10, 5]), ("longest", [30, 9]), ("first", [20, 9])])
def test_of_several_right_traces_the_one_that_the_recipe_asks_for_is_taken(
    tmp_path: Path, select: str, tokens: list[int]
) -> None:
    one, other = PROBLEMS[:2]
    run = make_run(tmp_path, [one, other], [*with_lengths(one, 20, 10, 30), *with_lengths(other, 9, 5)])

    frame = build(run, {"short": {"short": 1.0}}, mixing={"select": select})["short"]

    taken = dict(told_rows(frame, "problem_id", "completion_tokens"))
    assert [taken[one.problem_id], taken[other.problem_id]] == tokens


def test_a_problem_gives_up_to_k_traces_and_each_only_once(tmp_path: Path) -> None:
    one, other = PROBLEMS[:2]
    run = make_run(tmp_path, [one, other], [*with_lengths(one, 20, 10, 30), *with_lengths(other, 9)])

    frame = build(run, {"short": {"short": 1.0}}, mixing={"per_problem": 2, "select": "shortest"})["short"]

    assert sorted(told_rows(frame, "problem_id", "completion_tokens")) == sorted(
        [(one.problem_id, 10), (one.problem_id, 20), (other.problem_id, 9)]
    )
    assert (told(run, "short")["rows"], told(run, "short")["problems"]) == (3, 2)


def test_traces_of_another_length_and_those_that_loop_are_left_out_and_counted(tmp_path: Path) -> None:
    kept, short, long, looping = PROBLEMS[:4]
    traces = [with_lengths(problem, n)[0] for problem, n in ((kept, 50), (short, 3), (long, 900), (looping, 50))]
    run = make_run(tmp_path, PROBLEMS[:4], traces)
    loops = pl.when(pl.col("trace_id") == traces[3].trace_id).then(0.9).otherwise(0.1)
    pl.read_parquet(run.verdicts).with_columns(repetition=loops).write_parquet(run.verdicts)

    frame = build(run, {"short": {"short": 1.0}}, mixing={"min_tokens": 10, "max_tokens": 100})["short"]

    assert frame["problem_id"].to_list() == [kept.problem_id]
    assert told(run, "short")["right_traces_left_out"] == {
        "longer than max_tokens": 1, "loops": 1, "shorter than min_tokens": 1
    }  # fmt: skip
    assert told(run, "short")["problems_left_out"] == {"no right trace by short": 3}


def test_limits_in_tokens_are_refused_where_nobody_counted_them(tmp_path: Path) -> None:
    run = make_run(tmp_path, PROBLEMS, BOTH)

    with pytest.raises(RecipeError, match=r"min_tokens and max_tokens goes by tokens, .* set stats.tokenizer"):
        build(run, mixing={"max_tokens": 100})


def sampled(problem: Problem, right: int, of: int) -> tuple[list[Trace], dict[str, Status]]:
    """Short traces of a problem, of which only the first ones are right."""
    traces = [make_trace(problem, "short", sample=number) for number in range(of)]
    return traces, {trace.trace_id: "incorrect" for trace in traces[right:]}


def test_problems_whose_pass_rate_lies_elsewhere_are_left_out_and_counted(tmp_path: Path) -> None:
    traces: list[Trace] = []
    wrong: dict[str, Status] = {}
    for problem, right in zip(PROBLEMS[:5], (4, 3, 2, 1, 0), strict=True):
        more, more_wrong = sampled(problem, right, 4)
        traces, wrong = traces + more, wrong | more_wrong
    run = make_run(tmp_path, PROBLEMS[:5], traces, wrong)

    frame = build(run, {"short": {"short": 1.0}}, mixing={"difficulty": {"keep": [0.25, 0.75]}})["short"]

    assert set(frame["problem_id"]) == {problem.problem_id for problem in PROBLEMS[1:4]}
    assert told(run, "short")["problems_left_out"] == {"pass rate not between 0.25 and 0.75": 2}


def test_easy_problems_get_short_traces_and_hard_ones_long(tmp_path: Path) -> None:
    traces = [make_trace(problem, "long", "long") for problem in PROBLEMS]
    wrong: dict[str, Status] = {}
    for place, problem in enumerate(PROBLEMS):
        more, more_wrong = sampled(problem, 1 if place % 3 else 4, 4)
        traces, wrong = traces + more, wrong | more_wrong
    run = make_run(tmp_path, PROBLEMS, traces, wrong)
    adaptive = {"easy": {"short": 1.0}, "hard": {"long": 0.5, "short": 0.5}}

    frame = build(run, {"adaptive": adaptive}, mixing={"difficulty": {"by": ["short"]}})["adaptive"]

    easy = {problem.problem_id for problem in PROBLEMS[::3]}
    parts = Counter((row["problem_id"] in easy, row["part"]) for row in frame.iter_rows(named=True))
    assert parts == {(True, "short"): 10, (False, "long"): 10, (False, "short"): 10}
    assert told(run, "adaptive")["rows_by_band"] == {"easy": 10, "hard": 20}
    assert told(run, "adaptive")["shares_wanted"] == adaptive


@pytest.mark.parametrize("order", ["short_first", "long_first"])
def test_rows_stand_in_the_order_of_a_curriculum(tmp_path: Path, order: str) -> None:
    traces = [replace(make_trace(problem, "short"), completion_tokens=n) for n, problem in enumerate(PROBLEMS, 5)]
    run = make_run(tmp_path, PROBLEMS, traces)

    frame = build(run, {"short": {"short": 1.0}}, mixing={"order": order})["short"]

    lengths = frame["completion_tokens"].to_list()
    assert lengths == sorted(range(5, 35), reverse=order == "long_first")


def test_texts_are_found_where_the_index_of_the_traces_is_lost(tmp_path: Path) -> None:
    run = make_run(tmp_path, PROBLEMS, BOTH)
    for path in run.trace_files():
        path.unlink()
    writer = TraceWriter(run)
    for trace in BOTH:
        writer.write(trace)
    writer.close()
    with_index = build(run)
    for index in run.traces.glob("*.index"):
        index.unlink()

    assert all(frame.equals(with_index[name]) for name, frame in build(run).items())
    assert with_index["long"]["completion"][0][0]["content"].startswith("long 0: ")


def test_lengths_are_compared_in_characters_where_one_trace_has_no_tokens(tmp_path: Path) -> None:
    problem = PROBLEMS[0]
    counted = replace(make_trace(problem, "short", response="long text " * 30), completion_tokens=60)
    uncounted = make_trace(
        problem, "short", sample=1, response="a text of some sixty-five characters, more than sixty tokens. 2"
    )
    run = make_run(tmp_path, [problem], [counted, uncounted])

    frame = build(run, {"short": {"short": 1.0}}, mixing={"select": "shortest"})["short"]

    assert frame["trace_id"].to_list() == [uncounted.trace_id]


def test_parts_that_share_traces_are_refused_with_several_traces_a_problem(tmp_path: Path) -> None:
    teachers = {name: {"engine": "dataset", "file": "t", "style": "long"} for name in ("qwq", "r1")}
    traces = [make_trace(problem, name, "long") for problem in PROBLEMS for name in teachers]
    run = make_run(tmp_path, PROBLEMS, traces)

    apart = build(run, {"mix": {"qwq": 0.5, "r1": 0.5}}, teachers=teachers, mixing={"per_problem": 2})["mix"]
    one_each = build(run, {"mix": {"qwq": 0.5, "long": 0.5}}, teachers=teachers)["mix"]

    assert (apart.height, one_each.height) == (30, 30)
    with pytest.raises(RecipeError, match=r"^mixes.mix: parts 'qwq' and 'long' share traces"):
        build(run, {"mix": {"qwq": 0.5, "long": 0.5}}, teachers=teachers, mixing={"per_problem": 2})


@pytest.mark.parametrize("damage", ["not json", '{"end": null}', "{}"])
def test_an_index_that_cannot_be_believed_is_passed_over(tmp_path: Path, damage: str) -> None:
    run = make_run(tmp_path, PROBLEMS, BOTH)
    (path,) = run.trace_files()
    whole = build(run)
    index = path.with_suffix(".index")
    index.write_text(f"{damage}\n", encoding="utf-8")

    assert all(frame.equals(whole[name]) for name, frame in build(run).items())


def test_an_index_that_lacks_a_line_is_named_with_the_way_out(tmp_path: Path) -> None:
    run = make_run(tmp_path, PROBLEMS, BOTH)
    (path,) = run.trace_files()
    whole = build(run)
    rows = pl.read_ndjson(path)
    ends = list(itertools.accumulate(len(line) for line in path.read_bytes().splitlines(keepends=True)))
    index = path.with_suffix(".index")
    known = rows.select("request_key", "trace_id", "problem_id", "teacher", "finish_reason").with_columns(
        end=pl.Series(ends)
    )
    known.filter(pl.int_range(pl.len()) != 3).write_ndjson(index)

    with pytest.raises(RecordError, match=r"a trace is not where its index says; remove the .index files there"):
        build(run)
    index.unlink()
    assert all(frame.equals(whole[name]) for name, frame in build(run).items())


def test_a_teacher_that_no_mix_uses_needs_no_counts(tmp_path: Path) -> None:
    counted = [replace(trace, completion_tokens=10) for trace in BOTH]
    other = [make_trace(problem, "b") for problem in PROBLEMS]
    teachers = {name: {"engine": "dataset", "file": "t", "style": name} for name in ("long", "short")}
    run = make_run(tmp_path, PROBLEMS, [*counted, *(replace(trace, style="long") for trace in other)])

    frames = build(run, {"short": {"short": 1.0}}, mixing={"by": "tokens", "max_tokens": 20}, teachers=teachers)

    assert frames["short"].height == 30


def test_lengths_that_are_older_than_the_traces_are_told(tmp_path: Path) -> None:
    run = make_run(tmp_path, PROBLEMS, BOTH)
    recipe = make_recipe(MIXES)
    compute_stats(recipe, run)
    pl.read_parquet(run.lengths).head(40).write_parquet(run.lengths)

    with pytest.raises(StorageError, match=r"lengths\.parquet: older than the traces; run 'mixdistill stats'"):
        build_mixes(recipe, run, silent)


def test_a_seed_may_be_any_number(tmp_path: Path) -> None:
    run = make_run(tmp_path, PROBLEMS, BOTH)

    assert build(run, seed=-(10**70))["long"].height == 30
