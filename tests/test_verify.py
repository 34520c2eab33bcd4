import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from mixdistill.verifiers.verify import Case, verify, verify_many

# An integral is left to SymPy, which needs more than a tenth of a millisecond to see it.
SLOW = (r"x\sin x", r"\int (\sin x + x \cos x) \, dx")


def test_the_reason_names_answer_rule_reference_and_difference() -> None:
    judged = verify("18", "16 - 3 = 13, 13 * 2 = 26\nA: 26")
    assert judged[:5] == (
        "incorrect", "26", "answer_line", "number",
        "found 26 (rule answer_line); the reference is 18; the numbers differ",
    )  # fmt: skip


def test_values_are_compared_before_algebra() -> None:
    judged = verify(r"2\sqrt{2}", r"so \boxed{\sqrt{8}}")
    assert (judged.status, judged.method, judged.rule) == ("correct", "numeric", "boxed")
    assert judged.reason.endswith("the expressions have the same value")


def test_algebra_is_done_where_it_is_needed() -> None:
    judged = verify("x^2", r"so \boxed{\int 2x \, dx}")
    assert (judged.status, judged.method, judged.rule) == ("correct", "symbolic", "boxed")
    assert judged.reason.endswith("the expressions are equal")


def test_leniency_is_passed_on() -> None:
    statuses = [verify("1/3", r"\boxed{0.333}", leniency=name).status for name in ("strict", "default", "lenient")]
    assert statuses == ["incorrect", "incorrect", "correct"]
    assert [j.status for j in verify_many([Case("1/3", "A: 0.333")], leniency="lenient")] == ["correct"]


@pytest.mark.parametrize(
    ("response", "finish_reason", "status"),
    [
        ("so far we have 18", "length", "truncated"),
        ("The answer is 18", "length", "truncated"),  # it may have become 180
        ("The answer is 18. Let me check", "length", "correct"),
        (r"so $18$", "length", "truncated"),
        (r"so \[18\]", "length", "truncated"),
        (r"\boxed{18", "length", "truncated"),
        ("", "length", "truncated"),
        (r"\boxed{18} and then some mo", "length", "correct"),
        (r"\boxed{17} and then some mo", "length", "incorrect"),
        ("so far we have 18", "stop", "correct"),
        ("so far we have 18", None, "correct"),
        ("", "stop", "no_answer"),
        ("I do not know", "stop", "no_answer"),
        ("lorem ipsum " * 42_000, "stop", "no_answer"),
        (r"\boxed{no idea at all + 3}", "stop", "unparsable"),
    ],
)
def test_a_cut_response_counts_only_with_a_strong_rule(response: str, finish_reason: str, status: str) -> None:
    assert verify("18", response, finish_reason=finish_reason).status == status


def test_a_cut_response_has_no_answer_in_its_judgement() -> None:
    judged = verify("18", "so far 17", finish_reason="length")
    assert judged[:4] == ("truncated", None, None, None)
    assert judged.reason == "the response was cut by the length limit before it stated an answer"


def test_a_reference_that_cannot_be_read_is_unscored() -> None:
    judged = verify(r"\oiint x", r"\boxed{1/2}")
    assert judged.status == "unscored"
    assert "the reference cannot be read: '\\oiint' is not known" in judged.reason


def test_a_timeout_is_not_incorrect() -> None:
    judged = verify(SLOW[0], rf"\boxed{{{SLOW[1]}}}", timeout_seconds=0.0001)
    assert (judged.status, judged.method) == ("timeout", "symbolic")
    assert "no answer within 0.0001 seconds" in judged.reason


def test_choices_and_texts_have_their_own_types() -> None:
    assert verify("B", "The answer is (B) 12", answer_type="choice").status == "correct"
    assert verify("Paris", "Answer: paris", answer_type="text").status == "correct"
    assert verify("Paris", "Answer: paris, France", answer_type="text").status == "incorrect"


def test_many_judgements_come_in_the_order_of_the_cases() -> None:
    cases = [
        Case("x^2-1", r"\boxed{(x-1)(x+1)}"),
        Case("18", "A: 18"),
        Case("2x", r"\boxed{x+x+1}"),
        Case("18", "A: 19"),
        Case("18", "18", "length"),
    ] * 20
    judged = list(verify_many(cases, processes=2))
    assert [j.status for j in judged] == ["correct", "correct", "incorrect", "incorrect", "truncated"] * 20


def test_equal_comparisons_are_made_once() -> None:
    cases = [Case(SLOW[0], rf"\boxed{{{SLOW[1]}}}")] * 50
    started = time.perf_counter()
    assert {j.status for j in verify_many(cases, timeout_seconds=0.0001, processes=1)} == {"timeout"}
    assert time.perf_counter() - started < 10


def test_cases_are_read_a_bounded_number_ahead() -> None:
    n_read = itertools.count()

    def cases() -> Iterator[Case]:
        while True:
            next(n_read)
            yield Case("18", "A: 18")

    judgements = verify_many(cases(), processes=1)
    assert [next(judgements).status for _ in range(3)] == ["correct"] * 3
    assert next(n_read) <= 256, "one batch is read for the first judgement, and no more"


def test_a_case_that_breaks_the_judge_is_unscored_and_its_neighbours_are_not_harmed() -> None:
    broken = Case(cast(str, None), r"\boxed{1}")
    for processes in (1, 2):
        judged = list(verify_many([Case("1", "A: 1"), broken, Case("2", "A: 2")], processes=processes))
        assert [j.status for j in judged] == ["correct", "unscored", "correct"]
        assert judged[1].reason.startswith("judging it failed: TypeError: ")


def test_one_process_and_twenty_judge_alike() -> None:
    cases = [Case(str(n % 7), rf"so \boxed{{{n}}}") for n in range(6_000)] + [Case(*SLOW), Case("1", "")]
    one, twenty = ([j[:5] for j in verify_many(cases, processes=n)] for n in (1, 20))
    assert one == twenty
    assert {j[0] for j in one} == {"correct", "incorrect", "no_answer"}


def test_an_option_of_the_problem_counts_by_its_letter_and_by_its_text() -> None:
    problem = "How many eggs?\n(A) 12 (B) 13"
    statuses = [
        verify("B", answer, problem=problem).status for answer in (r"\boxed{13}", r"\boxed{B. 13}", "A: 12")
    ]
    assert statuses == ["correct", "correct", "incorrect"]
    assert verify("13", r"\boxed{\text{(B)}}", problem=problem).status == "correct"


def test_a_percent_sign_behind_a_box_may_be_meant_or_not() -> None:
    verdicts = {ref: verify(ref, r"\boxed{28}\% of all").status for ref in ("28", r"28\%", "0.28", "2800")}
    assert verdicts == {"28": "correct", r"28\%": "correct", "0.28": "correct", "2800": "incorrect"}
    assert verify(r"28\%", r"\boxed{28}\%", answer_type="number").status == "correct"


def test_a_percentage_may_lack_its_sign_where_the_problem_asks_for_one() -> None:
    problem = "What percent of the eggs is sold?"
    assert verify("28 percent", r"\boxed{28}", problem=problem).status == "correct"
    assert verify("28 percent", r"\boxed{28}", problem="How much of it?").status == "incorrect"


def test_no_cases_give_no_judgements() -> None:
    assert list(verify_many([])) == []


def test_verify_works_from_any_thread() -> None:
    statuses: list[str] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(verify("2x", r"\boxed{x+x}").status)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == ["correct"] * 4


@pytest.mark.parametrize(
    "answer",
    [
        "__import__('os').system('touch /tmp/mixdistill-was-hacked-too')",
        "10^{10^{10^{10}}}",
        "(((9!)!)!)!",
        r"\frac{1}{" * 200 + "2" + "}" * 200,
        "(" * 5_000 + "1" + ")" * 5_000,
        "7" * 4_000 + "8",
        "\x00\u200f\ud800 1+",
        "nan",
        "inf",
        r"\infty - \infty",
        "1/0",
        "x^{x^{x^{x^{x}}}}",
        r"\sum_{n=1}^{\infty} 1",
    ],
    ids=lambda answer: repr(answer[:20]),
)
def test_hostile_answers_are_never_correct_and_always_explained(answer: str) -> None:
    judged = verify("18", rf"\boxed{{{answer}}}", timeout_seconds=3.0)
    assert judged.status in ("incorrect", "unparsable", "no_answer")
    assert judged.reason.encode()
    assert not Path("/tmp/mixdistill-was-hacked-too").exists()


def test_a_script_without_a_guard_leaves_no_process_and_ends() -> None:
    code = r"from mixdistill.verifiers.verify import verify; print(verify('2x', '\\boxed{x+x}').status)"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.stderr, run.returncode) == ("correct\n", "", 0)
