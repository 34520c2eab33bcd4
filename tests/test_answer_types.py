"""Choices, numbers with a tolerance, texts, and the JSON that they are compared by."""

import time

import pytest

from mixdistill.verifiers.answer_types import compare_choice, compare_number, compare_text
from mixdistill.verifiers.grading import (
    ChoiceGrading,
    CodeGrading,
    GymGrading,
    MathGrading,
    NumberGrading,
    TextGrading,
    read_grading,
)
from mixdistill.verifiers.options import read_options

OPTIONS = {"A": "12", "B": "13", "C": r"\frac{1}{2}", "D": "New York", "E": "none of these"}


@pytest.mark.parametrize(
    ("reference", "answer", "status", "reason"),
    [
        ("B", "B", "correct", "it is the same choice"),
        ("B", "(B)", "correct", "it is the same choice"),
        ("B", "B.", "correct", "it is the same choice"),
        ("B", "b", "correct", "it is the same choice"),
        ("B", r"\text{(B)}", "correct", "it is the same choice"),
        ("B", r"\textbf{(B)}\ 13", "correct", "it is the same choice"),
        ("B", "**B**", "correct", "it is the same choice"),
        ("B", "option B", "correct", "it is the same choice"),
        ("B", "The correct answer is B", "correct", "it is the same choice"),
        ("B", "B) 13", "correct", "it is the same choice"),
        ("B", "B: 13", "correct", "it is the same choice"),
        ("B", "13", "correct", "it is the same choice"),
        ("B", "13.0", "correct", "it is the same choice"),
        ("13", "B", "correct", "it is the same choice"),
        ("C", "0.5", "correct", "it is the same choice"),
        ("C", r"(C) $\dfrac12$", "correct", "it is the same choice"),
        ("D", "new york.", "correct", "it is the same choice"),
        ("(D) New York", "D", "correct", "it is the same choice"),
        ("D New York", "D", "correct", "it is the same choice"),
        ("D", "D: New York", "correct", "it is the same choice"),
        ("D", "D) New York", "correct", "it is the same choice"),
        ("D", r"\text{D. } New York", "correct", "it is the same choice"),
        ("B", "ب", "correct", "it is the same choice"),
        ("B", "Ｂ", "correct", "it is the same choice"),
        ("A, C", "C and A", "correct", "it is the same choice"),
        ("A, C", "(A), (C)", "correct", "it is the same choice"),
        ("AC", "A", "unscored", "the reference names no choice: the answer is none of the options"),
        ("B", "A", "incorrect", "it is another choice"),
        ("B", "12", "incorrect", "it is another choice"),
        ("B", "A, B", "incorrect", "several choices are named, the reference is one"),
        ("B", "(A) or (B)", "incorrect", "several choices are named"),
        ("B", "(B) 12", "incorrect", "the letter B and the text of option A contradict one another"),
        ("B", "(B) 14", "incorrect", "the letter B and the number behind it contradict one another"),
        ("D", "D. 12", "incorrect", "the letter D and the text of option A contradict one another"),
        ("B", "14", "incorrect", "the answer is none of the options"),
        ("B", "H", "incorrect", "there is no option H"),
        ("B", "", "incorrect", "the answer is none of the options"),
        ("A, C", "A", "incorrect", "it is another choice"),
        ("A, C", "A, B, C", "incorrect", "it is another choice"),
        ("Q", "A", "unscored", "the reference names no choice: there is no option Q"),
        ("yes", "A", "unscored", "the reference names no choice: the answer is none of the options"),
    ],
)
def test_a_choice_is_named_by_its_letter_or_its_text(
    reference: str, answer: str, status: str, reason: str
) -> None:
    assert compare_choice(reference, answer, options=OPTIONS)[::2] == (status, reason)


@pytest.mark.parametrize(
    ("answer", "status"),
    [("(B) 13", "correct"), ("B", "correct"), ("B. x = 42", "correct"), ("C", "incorrect"),
     ("C. x = 42", "incorrect"), ("13", "unparsable"), ("B side", "unparsable"), ("", "unparsable")],
)  # fmt: skip
def test_without_options_only_letters_count(answer: str, status: str) -> None:
    assert compare_choice("B", answer, options={}).status == status


@pytest.mark.parametrize("reference", ["C. x = 42", "C Cecile", "(C) Cecile", "C Cecile\nand more"])
def test_a_reference_may_carry_the_text_of_its_letter(reference: str) -> None:
    assert compare_choice(reference, "C", options={}).status == "correct"
    assert compare_choice(reference, "A", options={}).status == "incorrect"


def test_options_of_the_same_text_are_told_apart_by_letter_only() -> None:
    options = {"A": "1/2", "B": "0.5"}

    assert compare_choice("A", "A", options=options).status == "correct"
    assert compare_choice("A", "0.50", options=options).reason == "the options A and B have the same text"


@pytest.mark.parametrize(
    ("problem", "options"),
    [
        ("How many? (A) 12 (B) 13", {"A": "12", "B": "13"}),
        ("How many?\nA. 12\nB. 13\n\nAnswer with a letter.", {"A": "12", "B": "13"}),
        ("How many?\n**A)** 12\n**B)** 13", {"A": "12", "B": "13"}),
        (r"$\textbf{(A)}\ 12 \qquad\textbf{(B)}\ \frac12\qquad\textbf{(C)} x$",
         {"A": "12", "B": r"\frac12", "C": "x"}),
        ("Pick one: A. red B. blue C. green", {"A": "red", "B": "blue", "C": "green"}),
        ("(A) $x^2$ (B) $x$", {"A": "$x^2$", "B": "$x$"}),
        ("First (A) 1 (B) 2. Now:\n(A) 3\n(B) 4\n(C) 5", {"A": "3", "B": "4", "C": "5"}),
        ("Let (A) be true.", {}),
        ("(A) 1 (C) 2", {}),
        ("(B) 1 (C) 2", {}),
        ("no options", {}),
        ("", {}),
    ],
)  # fmt: skip
def test_options_are_read_out_of_the_problem(problem: str, options: dict[str, str]) -> None:
    assert read_options(problem) == options


@pytest.mark.parametrize(
    ("reference", "answer", "absolute", "relative", "status", "reason"),
    [
        ("3.14159", "3.14", 0.01, None, "correct", "the numbers differ by no more than the tolerance"),
        ("3.14159", "3.14", None, None, "incorrect", "the numbers differ"),
        ("3.14159", "3.14", 0.001, None, "incorrect", "the numbers differ by more than the tolerance"),
        ("0", "0.01", 0.01, None, "correct", "the numbers differ by no more than the tolerance"),
        ("1/3", "1/3+0.01", 0.01, None, "unparsable", "the answer is not a number"),
        ("1000", "1001", None, 0.001, "correct", "the numbers differ by no more than the tolerance"),
        ("1000", "1001.0001", None, 0.001, "incorrect", "the numbers differ by more than the tolerance"),
        ("-1000", "-999", None, 0.001, "correct", "the numbers differ by no more than the tolerance"),
        ("0", "0.0001", None, 0.5, "incorrect", "the numbers differ"),
        ("100", "101", None, None, "incorrect", "the numbers differ"),
        ("100", "101", 1.0, 0.0, "correct", "the numbers differ by no more than the tolerance"),
        ("0.5", r"x = \frac{1}{2}", None, None, "correct", "the numbers are equal"),
        ("6.02e23", r"6.02 \times 10^{23}", None, None, "correct", "the numbers are equal"),
        (r"1\text{ m}", "101 cm", 0.01, None, "correct", "the numbers differ by no more than the tolerance"),
        ("5 cm", "5 kg", 1.0, None, "incorrect", "the units cm and kg differ"),
        ("5", "about five", 1.0, None, "incorrect", "the answer is words, the reference a number"),
        ("5", "nan", 1.0, None, "incorrect", "the answer is words, the reference a number"),
        ("5", "inf", 1.0, None, "incorrect", "the answer is words, the reference a number"),
        ("5", "9" * 4_400, 1.0, None, "unparsable", "the answer is not a number"),
        ("five", "5", 1.0, None, "unscored", "the reference is not a number"),
    ],
)
def test_a_number_may_differ_by_the_tolerance_and_no_more(
    reference: str, answer: str, absolute: float | None, relative: float | None, status: str, reason: str
) -> None:
    equality = compare_number(reference, answer, absolute=absolute, relative=relative)

    assert equality[::2] == (status, reason)


@pytest.mark.parametrize(
    ("reference", "answer", "status"),
    [
        ("Paris", "paris", "correct"),
        ("Paris", r"$\text{Paris}$.", "correct"),
        ("New York", "new\n  york", "correct"),
        ("don't", "“don’t”", "correct"),
        ("ﬁne", "fine", "correct"),
        ("STRASSE", "straße", "correct"),
        ("NYC", "New York", "correct"),
        ("NYC", "Paris", "incorrect"),
        ("résumé", "resume", "incorrect"),
        ("the cat", "cat", "incorrect"),
        ("no", "on", "incorrect"),
        ("true", "not true", "incorrect"),
        ("C++", "C", "incorrect"),
        ("-5", "5", "incorrect"),
        ("100", "101", "incorrect"),
        ("yes", "", "incorrect"),
    ],
)
def test_texts_are_compared_but_for_case_quotes_and_edges(reference: str, answer: str, status: str) -> None:
    assert compare_text(reference, answer, allowed=["New York"] if reference == "NYC" else []).status == status


def test_an_empty_reference_is_no_text() -> None:
    assert compare_text(" . ", "", allowed=[]).status == "unscored"
    assert compare_text("", "b", allowed=["b"]).status == "correct"


def test_long_hostile_text_takes_no_time() -> None:
    started = time.monotonic()
    for hostile in (
        "(" * 100_000,
        r"\text{" * 50_000,
        "A, " * 4_000,
        "A and " * 4_000,
        " " * 200_000,
        "A. " * 1_400,
    ):
        compare_text("a", hostile, allowed=[])
        compare_number("1", hostile, absolute=1, relative=None)
        compare_choice("A", hostile, options=OPTIONS)
        compare_choice("A", hostile[:4_400], options=OPTIONS)
        read_options(hostile)
        read_options(hostile[:49_000])

    assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    ("answer_type", "grading", "expected"),
    [
        ("math", None, MathGrading()),
        ("choice", '{"options": {"A": "1"}}', ChoiceGrading(options={"A": "1"})),
        ("choice", None, ChoiceGrading(options={"A": "x", "B": "y"})),
        ("number", '{"relative": 0.001}', NumberGrading(relative=0.001)),
        ("number", None, NumberGrading()),
        ("text", '{"allowed": ["a", "b"]}', TextGrading(allowed=("a", "b"))),
        ("reasoning_gym", '{"dataset": "d", "entry": {"answer": "1"}}',
         GymGrading(dataset="d", entry='{"answer": "1"}')),
        ("code", '{"tests": ["assert f()", "assert g()"], "memory_mb": 100}',
         CodeGrading(tests="assert f()\nassert g()", memory_mb=100)),
        ("code", '{"stdin_tests": [{"input": "1", "output": "2"}], "timeout_seconds": 3}',
         CodeGrading(stdin_tests=(("1", "2"),), timeout_seconds=3.0)),
    ],
)  # fmt: skip
def test_what_a_comparison_needs_is_read(answer_type: str, grading: str | None, expected: object) -> None:
    assert read_grading(answer_type, grading, "Which? (A) x (B) y") == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer_type", "grading", "reason"),
    [
        ("math", '{"absolute": 1}', "grading: unknown key 'absolute'; math takes none"),
        ("number", '{"absolut": 1}', "grading: unknown key 'absolut'; number takes absolute, relative"),
        ("number", '{"absolute": -1}', "grading: absolute is not a number from 0 on"),
        ("number", '{"absolute": NaN}', "grading: absolute is not a number from 0 on"),
        ("number", '{"absolute": Infinity}', "grading: absolute is not a number from 0 on"),
        ("number", '{"absolute": true}', "grading: absolute is not a number from 0 on"),
        ("number", "[1]", "grading: a JSON list, not an object"),
        ("number", "{", "grading: not JSON: Expecting property name"),
        ("number", "[" * 100_000, "grading: not JSON: "),
        ("choice", '{"options": ["a"]}', "grading: options is not an object of letter: text"),
        ("choice", '{"options": {"AB": "a"}}', "grading: 'AB' is not one of the letters A to Z"),
        ("text", '{"allowed": "a"}', "grading: allowed is not a list of texts"),
        ("reasoning_gym", None, "grading: reasoning_gym needs dataset, a name, and entry, an object"),
        ("code", None, "grading: code needs one of tests, stdin_tests"),
        ("code", '{"tests": " "}', "grading: code needs one of tests, stdin_tests"),
        ("code", '{"tests": "assert 1", "entry": "f(); g"}', "grading: entry is not the name of a function"),
        ("code", '{"stdin_tests": [{"input": "1"}]}', "grading: stdin_tests is not a list of {input: text"),
        ("code", '{"tests": "assert 1", "timeout_seconds": 0}', "grading: timeout_seconds is not a number from"),
    ],
)
def test_what_is_unusable_is_named(answer_type: str, grading: str | None, reason: str) -> None:
    said = read_grading(answer_type, grading)  # type: ignore[arg-type]

    assert isinstance(said, str)
    assert said.startswith(reason)
