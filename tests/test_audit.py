"""The reference audit: what speaks against a reference, and what does not."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from conftest import no_progress
from made_runs import make_problem, make_recipe, make_run, make_trace

from mixdistill.records import AnswerType, Problem, problem_id
from mixdistill.run import Run
from mixdistill.tables import read_suspects
from mixdistill.verifiers.audit import audit_references
from mixdistill.verifiers.judge import judge_traces

RECIPE = make_recipe({"long": {"long": 1.0}}, verify={"processes": 1})


def problem_of(
    reference: str, *, solution: str | None = None, answer_type: AnswerType = "math", text: str = "2 + 2 = ?"
) -> Problem:
    return replace(
        make_problem(2), problem_id=problem_id(text, reference, answer_type), problem=text, reference=reference,
        solution=solution, answer_type=answer_type,
    )  # fmt: skip


def audit_all(
    folder: Path, rows: Sequence[tuple[Problem, Mapping[str, Sequence[str]]]]
) -> dict[str, list[dict[str, object]]]:
    """The suspects by problem id, where teachers said these answers to the problems, one a sample."""
    traces = [
        make_trace(problem, teacher, sample=sample, response=rf"So \boxed{{{answer}}}" if answer else "No idea.")
        for problem, said in rows
        for teacher, answers in said.items()
        for sample, answer in enumerate(answers)
    ]
    run = make_run(folder, [problem for problem, _ in rows], traces)
    judge_traces(RECIPE, run, no_progress)
    counts = audit_references(RECIPE, run)
    found: dict[str, list[dict[str, object]]] = {problem.problem_id: [] for problem, _ in rows}
    for suspect in read_suspects(run).iter_rows(named=True):
        found[suspect["problem_id"]].append(suspect)
    n_suspect = sum(1 for suspects in found.values() if suspects)
    assert counts == ({"reference_suspect": n_suspect} if n_suspect else {})
    return found


def audit(
    folder: Path, said: Mapping[str, Sequence[str]], problem: Problem | None = None
) -> list[dict[str, object]]:
    """The suspects where teachers said these answers to one problem."""
    problem = problem or problem_of("4")
    return audit_all(folder, [(problem, said)])[problem.problem_id]


AGREEMENTS: list[tuple[str, dict[str, Sequence[str]], str | None]] = [
    # (why, what the teachers say where the reference is 4, the answer that they agree on)
    ("two agree", {"a": ["5"], "b": ["5"]}, "5"),
    ("two agree, written differently", {"a": [r"\frac{1}{2}"], "b": ["0.5"]}, "0.5"),
    ("two agree by algebra", {"a": ["(x+1)^2"], "b": ["x^2+2x+1"]}, "(x+1)^2"),
    ("two of three agree", {"a": ["5"], "b": ["5"], "c": ["6"]}, "5"),
    ("two agree and one says the reference", {"a": ["5"], "b": ["5"], "c": ["4"]}, None),
    ("two agree and two say the reference", {"a": ["5"], "b": ["5"], "c": ["4"], "d": ["4"]}, None),
    ("one teacher alone, however often", {"a": ["5", "5", "5", "5"]}, None),
    ("two that differ", {"a": ["5"], "b": ["6"]}, None),
    ("one of the two says the reference once", {"a": ["5", "5", "4"], "b": ["5"]}, None),
    ("most samples of both", {"a": ["5", "5", "6"], "b": ["7", "5", "5"]}, "5"),
    ("a slip that the other makes always", {"a": ["6", "6", "5"], "b": ["5", "5", "5"]}, None),
    ("no answer is no agreement", {"a": [""], "b": [""]}, None),
    ("both say the reference", {"a": ["4"], "b": ["4"]}, None),
]


def test_teachers_that_agree_on_another_answer_speak_against_a_reference(tmp_path: Path) -> None:
    problems = {why: problem_of("4", text=why) for why, _, _ in AGREEMENTS}

    found = audit_all(tmp_path, [(problems[why], said) for why, said, _ in AGREEMENTS])

    told = {
        why: [(row["kind"], row["answer"]) for row in found[problem.problem_id]]
        for why, problem in problems.items()
    }
    assert told == {why: [("teachers_agree", answer)] if answer else [] for why, _, answer in AGREEMENTS}


def test_the_evidence_says_who_says_what_how_often(tmp_path: Path) -> None:
    (suspect,) = audit(tmp_path, {"a": ["5", "5", "6"], "b": ["5"], "c": ["8", "7"]})

    assert suspect["evidence"] == (
        "2 of 3 teachers say 5 (a in 2 of 3, b in 1 of 1 samples); none says the reference"
    )
    assert (suspect["reference"], suspect["problem"], suspect["source"]) == ("4", "2 + 2 = ?", "made")


def test_programs_do_not_agree(tmp_path: Path) -> None:
    program = problem_of("assert f() == 4", answer_type="code")

    assert [row["kind"] for row in audit(tmp_path, {"a": ["f"], "b": ["f"]}, program)] in ([], ["unreadable"])


REFERENCES: list[tuple[str, AnswerType, bool]] = [
    # (reference, its type, whether it cannot be read)
    (r"\int_{", "math", True),
    (r"\frac{1}{2}", "math", False),
    (r"(1, \infty)", "math", False),
    ("0", "math", False),
    (r"x^2 + y^2 = 1", "math", False),
    ("B", "choice", False),
    ("none of them at all", "choice", True),
    ("Paris", "text", False),
]


def test_a_reference_that_cannot_be_read_is_suspect(tmp_path: Path) -> None:
    problems = [problem_of(reference, answer_type=answer_type) for reference, answer_type, _ in REFERENCES]

    found = audit_all(tmp_path, [(problem, {"a": ["B"]}) for problem in problems])

    told = [[(row["kind"], row["answer"]) for row in found[problem.problem_id]] for problem in problems]
    assert told == [[("unreadable", None)] if is_suspect else [] for _, _, is_suspect in REFERENCES]


def test_an_unreadable_reference_says_how_many_traces_it_spoilt(tmp_path: Path) -> None:
    (suspect,) = audit(tmp_path, {"a": ["1", "2"], "b": [""]}, problem_of(r"\int_{"))

    evidence = str(suspect["evidence"])
    assert evidence.startswith("the reference cannot be read: ")
    assert evidence.endswith("; 2 of 3 traces could not be scored")


SOLUTIONS = [
    (r"We add and get \boxed{5}.", "5"),
    (r"We add and get \boxed{4}.", None),
    (r"We add and get \boxed{\frac{8}{2}}.", None),
    ("We add.\n#### 5", "5"),
    ("Two and three make 5", None),
    ("", None),
]


def test_a_reference_that_is_not_the_end_of_its_solution_is_suspect(tmp_path: Path) -> None:
    problems = [
        problem_of("4", solution=solution, text=f"Number {number}?")
        for number, (solution, _) in enumerate(SOLUTIONS)
    ]

    found = audit_all(tmp_path, [(problem, {"a": ["4"]}) for problem in problems])

    told = [[(row["kind"], row["answer"]) for row in found[problem.problem_id]] for problem in problems]
    assert told == [[("solution_disagrees", answer)] if answer else [] for _, answer in SOLUTIONS]


def test_a_reference_may_be_suspect_for_two_reasons_and_counts_once(tmp_path: Path) -> None:
    found = audit(tmp_path, {"a": ["5"], "b": ["5"]}, problem_of("4", solution=r"\boxed{5}"))

    assert [row["kind"] for row in found] == ["solution_disagrees", "teachers_agree"]


def test_nothing_is_suspect_where_nothing_was_said(tmp_path: Path) -> None:
    assert audit(tmp_path, {}) == []


def test_hostile_answers_and_references_end_within_their_limits(tmp_path: Path) -> None:
    hostile = ["10^{10^{10^{10}}}", "(" * 3_000 + "1" + ")" * 3_000, "}{", "\\boxed{", "9" * 5_000]

    audit(tmp_path, {"a": hostile, "b": list(reversed(hostile))}, problem_of("((9!)!)!"))


def test_the_audit_is_the_same_every_time(tmp_path: Path) -> None:
    said = {"a": ["5", "6"], "b": ["6", "5"], "c": ["7"]}

    assert audit(tmp_path / "1", said) == audit(tmp_path / "2", dict(reversed(said.items())))


def test_the_stage_writes_the_list_also_if_it_is_empty(small_run: tuple[object, Run]) -> None:
    _, run = small_run

    assert read_suspects(run).height == 0
