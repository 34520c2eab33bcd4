"""Mixes: exact ratios, the same problems in all arms, the same draw every time."""

import itertools
import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from made_runs import finish_run, make_problem, make_recipe, make_run, make_suspect, make_trace

from mixdistill.builders.mix import Arm, Candidates, build_mixes, draw_contrast, largest_remainder
from mixdistill.errors import MixdistillError, RecipeError
from mixdistill.records import Problem, Status, Trace
from mixdistill.run import Run

MIXES = {"long": {"long": 1.0}, "short": {"short": 1.0}, "mix-long": {"long": 0.2, "short": 0.8}}
PROBLEMS = [make_problem(number) for number in range(30)]
BOTH = [
    *(make_trace(problem, "long", "long") for problem in PROBLEMS),
    *(make_trace(problem, "short") for problem in PROBLEMS),
]


def draw(
    mixes: Mapping[str, Mapping[str, float]], right: Mapping[str, Iterable[str]], **more: object
) -> dict[str, Arm]:
    """The arms of one contrast of all the mixes; `right` says which problems each part got right."""
    recipe = make_recipe(mixes, **more)
    problems = sorted({problem for found in right.values() for problem in found})
    return {arm.name: arm for arm in draw_contrast(recipe, list(mixes), problems, candidates(right))}


def candidates(right: Mapping[str, Iterable[str]]) -> Candidates:
    return {part: {problem: [{"trace_id": problem}] for problem in found} for part, found in right.items()}


def names(n: int) -> list[str]:
    return [f"p-{number}" for number in range(n)]


def taken(arm: Arm, part: str) -> set[str]:
    return {problem for problem, its_part in arm.parts.items() if its_part == part}


def build(run: Run, mixes: Mapping[str, Mapping[str, float]] = MIXES, **more: object) -> dict[str, pl.DataFrame]:
    """Builds the mixes; returns the frame of each."""
    counts = build_mixes(make_recipe(mixes, **more), run)
    frames = {name: pl.read_parquet(run.mixes / name / "train.parquet") for name in mixes}
    assert counts == {name: frame.height for name, frame in frames.items()}
    return frames


def told(run: Run, mix: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((run.mixes / mix / "mix.json").read_text(encoding="utf-8"))
    return read


def files_of(run: Run) -> dict[str, bytes]:
    return {str(path.relative_to(run.mixes)): path.read_bytes() for path in run.mixes.rglob("*.*")}


def counts_by_hand(shares: Sequence[str], rows: int) -> list[int]:
    """Hamilton's method on exact fractions."""
    quotas = [Fraction(share) * rows for share in shares]
    counts = [quota.numerator // quota.denominator for quota in quotas]
    places = sorted(range(len(shares)), key=lambda place: (counts[place] - quotas[place], place))
    for place in places[: rows - sum(counts)]:
        counts[place] += 1
    return counts


@pytest.mark.parametrize(
    "shares",
    [
        ("0.2", "0.8"), ("0.8", "0.2"), ("0.1", "0.9"), ("0.05", "0.95"), ("0.35", "0.65"), ("0.5", "0.5"),
        ("0.1", "0.2", "0.7"), ("0.15", "0.15", "0.7"), ("0.3", "0.3", "0.3", "0.1"), ("1.0",),
    ],
)  # fmt: skip
def test_counts_are_those_of_the_largest_remainder_in_exact_arithmetic(shares: tuple[str, ...]) -> None:
    by_part = {f"part {number}": float(share) for number, share in enumerate(shares)}

    for rows in [*range(1, 400), 10_000, 94_733, 1_000_001]:
        assert [*largest_remainder(by_part, rows).values()] == counts_by_hand(shares, rows), rows


@pytest.mark.parametrize(
    ("shares", "rows", "counts"),
    [  # thirds have no exact share; the counts sum up all the same
        ({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, 10, {"a": 4, "b": 3, "c": 3}),
        ({"a": 1 / 3, "b": 2 / 3}, 9, {"a": 3, "b": 6}),
        ({"a": 0.5, "b": 0.5}, 1, {"a": 1, "b": 0}),
        ({"a": 0.001, "b": 0.999}, 100, {"a": 0, "b": 100}),
        ({"a": 0.2, "b": 0.8}, 0, {"a": 0, "b": 0}),
    ],
)
def test_counts_sum_to_the_rows(shares: dict[str, float], rows: int, counts: dict[str, int]) -> None:
    assert largest_remainder(shares, rows) == counts


def test_each_problem_stands_once_in_each_arm_and_all_arms_hold_the_same_in_the_same_order() -> None:
    arms = draw(MIXES, {"long": names(30)[3:], "short": names(28)})

    problems = [list(arm.parts) for arm in arms.values()]
    assert problems[0] == problems[1] == problems[2]
    assert sorted(problems[0]) == sorted(names(28)[3:])
    assert Counter(arms["mix-long"].parts.values()) == {"long": 5, "short": 20}
    assert taken(arms["long"], "long") == set(problems[0])
    assert [arm.left_out for arm in arms.values()] == [
        {"no right trace by long": 3, "no right trace by short": 2}
    ] * 3


@pytest.mark.parametrize("long_first", [True, False])
def test_an_arm_with_more_long_rows_holds_all_of_one_with_less(long_first: bool) -> None:
    mixes = {}
    for tenths in range(11):
        shares = {"long": tenths / 10, "short": 1 - tenths / 10}
        turned = dict(reversed(shares.items()))
        mixes[f"long-{tenths}"] = shares if long_first or tenths % 2 else turned

    arms = draw(mixes, {"long": names(50), "short": names(50)})

    long_rows = [taken(arm, "long") for arm in arms.values()]
    assert [len(rows) for rows in long_rows] == [5 * tenths for tenths in range(11)]
    assert all(less < more for less, more in itertools.pairwise(long_rows))


def test_which_problems_are_long_is_no_matter_of_their_place_among_the_rows() -> None:
    arm = draw({"mix": {"long": 0.5, "short": 0.5}}, {"long": names(200), "short": names(200)})["mix"]

    first_half = Counter(list(arm.parts.values())[:100])

    assert 30 < first_half["long"] < 70


def test_the_draw_does_not_depend_on_the_order_of_the_input() -> None:
    recipe = make_recipe(MIXES, mixing={"rows": 17})
    shuffled = names(30)
    random.Random(1).shuffle(shuffled)

    def arms(problems: list[str]) -> list[tuple[str, list[tuple[str, str]]]]:
        drawn = draw_contrast(recipe, list(MIXES), problems, candidates({"long": problems, "short": problems}))
        return [(arm.name, list(arm.parts.items())) for arm in drawn]

    assert arms(shuffled) == arms(names(30))


def test_another_seed_is_another_draw() -> None:
    right = {"long": names(30), "short": names(30)}

    def mix(seed: int) -> Arm:
        return draw(MIXES, right, seed=seed, mixing={"rows": 20})["mix-long"]

    assert mix(1) == mix(1)
    assert set(mix(1).parts) != set(mix(2).parts)
    assert list(mix(1).parts) != list(mix(2).parts)
    assert taken(mix(1), "long") != taken(mix(2), "long")


def test_another_seed_is_another_order_of_the_same_problems() -> None:
    first, second = (draw(MIXES, {"long": names(30), "short": names(30)}, seed=seed)["long"] for seed in (1, 2))

    assert sorted(first.parts) == sorted(second.parts)
    assert list(first.parts) != list(second.parts)


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
        "rows": 30,
        "shares_wanted": {"long": 0.2, "short": 0.8},
        "rows_by_part": {"long": 6, "short": 24},
        "shares": {"long": 0.2, "short": 0.8},
        "rows_by_teacher": {"long": 6, "short": 24},
        "completion_tokens": {"n": 6, "sum": 42},
        "completion_chars": sum(len(row["completion"][0]["content"]) for row in frame.iter_rows(named=True)),
        "reasoning": "<think>...</think>",
        "problems_left_out": {},
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


@pytest.mark.parametrize(
    ("mixing", "rows"),
    [({}, 24), ({"rows": 7}, 7), ({"multiple_of": 5}, 20), ({"rows": 14, "multiple_of": 5}, 10)],
)
def test_rows_are_as_many_as_asked_in_whole_multiples(mixing: dict[str, int], rows: int) -> None:
    arms = draw(MIXES, {"long": names(24), "short": names(30)}, mixing=mixing)

    assert [len(arm.parts) for arm in arms.values()] == [rows] * 3
    expected = {"beyond the size of the mix": 24 - rows, "no right trace by long": 6}
    assert arms["long"].left_out == {reason: n for reason, n in expected.items() if n}


@pytest.mark.parametrize(
    ("mixing", "kind", "message"),
    [
        (
            {"rows": 25, "multiple_of": 5}, MixdistillError,
            "mixes long, short, mix-long: mixing.rows is 25, and there are 24 problems that all their teachers "
            "got right; set mixing.rows=20 or take more samples",
        ),
        (
            {"multiple_of": 25}, MixdistillError,
            "mixes long, short, mix-long: only 24 problems that all their teachers got right, and at least 25 are "
            "needed (right by part: long 24, short 30); take more samples, easier problems, or mixing.match=none",
        ),
        (
            {"rows": 30, "multiple_of": 25}, MixdistillError,
            "mixes long, short, mix-long: only 24 problems that all their teachers got right, and at least 25 are "
            "needed (right by part: long 24, short 30); take more samples, easier problems, or mixing.match=none",
        ),
        (
            {"rows": 3, "multiple_of": 5}, RecipeError,
            "mixing.rows is 3, less than mixing.multiple_of, which is 5; raise rows",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_refused_with_what_can(
    mixing: dict[str, int], kind: type[MixdistillError], message: str
) -> None:
    with pytest.raises(MixdistillError) as refused:
        draw(MIXES, {"long": names(24), "short": names(30)}, mixing=mixing)

    assert (type(refused.value), str(refused.value)) == (kind, message)


def test_the_rows_that_a_refusal_names_can_be_had() -> None:
    arms = draw(MIXES, {"long": names(24), "short": names(30)}, mixing={"rows": 20, "multiple_of": 5})

    assert Counter(arms["mix-long"].parts.values()) == {"long": 4, "short": 16}


def test_a_contrast_that_nobody_got_right_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", PROBLEMS, [make_trace(PROBLEMS[0], "long", "long")])

    with pytest.raises(MixdistillError, match=r"only 0 problems .* \(right by part: long 1, short 0\)"):
        build(run)


def test_without_matching_each_arm_draws_from_what_its_own_teachers_got_right() -> None:
    arms = draw(MIXES, {"long": names(30)[:10], "short": names(30)[5:]}, mixing={"match": "none"})

    assert [len(arm.parts) for arm in arms.values()] == [5, 5, 5]
    assert set(arms["long"].parts) <= set(names(10))
    assert set(arms["short"].parts) <= set(names(30)[5:])
    assert set(arms["mix-long"].parts) == set(names(10)[5:])
    assert arms["long"].left_out == {"beyond the size of the mix": 5, "no right trace by long": 20}
    assert Counter(arms["mix-long"].parts.values()) == {"long": 1, "short": 4}


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

    with pytest.raises(RecipeError, match="mix 'long' stands in two contrasts; give it a second name"):
        build(run, mixing={"contrasts": [["long", "short"], ["long", "mix-long"]]})


def test_a_part_with_no_share_asks_nothing_of_its_teacher() -> None:
    arms = draw({"short": {"long": 0.0, "short": 1.0}}, {"long": [], "short": names(5)})

    assert sorted(arms["short"].parts) == names(5)
    assert arms["short"].shares == {"short": 1.0}


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

    with pytest.raises(
        MixdistillError, match="; 30 more are left out for their references, see 'mixdistill verify"
    ):
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
