"""The page of a run: what is maths in a text, what the page holds, and that what a trace says stays data."""

import base64
import gzip
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from made_runs import finish_run, make_problem, make_recipe, make_run, make_trace

from mixdistill.cards.page import make_page
from mixdistill.cards.page_text import MAX_FORMULA_CHARS, cut
from mixdistill.cli import cli
from mixdistill.errors import StorageError
from mixdistill.files import write_parquet
from mixdistill.records import Problem, to_frame
from mixdistill.run import Run

MIXES = {"long": {"long": 1.0}, "mix": {"long": 0.2, "short": 0.8}}


@pytest.mark.parametrize(
    ("text", "formulas", "why"),
    [
        ("so $x^2 = 4$.", ["x^2 = 4"], "the plain case"),
        ("It costs $5 or $6 a day.", [], "money: the second dollar stands before a digit"),
        ("He has $5 and she has $7.", [], "money with words between"),
        ("Pay $3, then $x$ more", ["x"], "a dollar of money does not swallow the formula after it"),
        ("$5 per hour for x hours is 5x$", [], "prose between dollars is no formula"),
        (r"$x \text{ if it is so}$", [r"x \text{ if it is so}"], "words within maths are maths"),
        ("$ x $", [], "a dollar before a space is money"),
        (r"Let $ x^2 $ be", [" x^2 "], "but not where only maths stands"),
        ("In $ABC, AB = AC$ and $3 a b$", ["ABC, AB = AC", "3 a b"], "capitals and single letters are no prose"),
        (r"so $\boxed{$5x$}$.", [r"\boxed{5x}"], "dollars within a box within dollars"),
        (r"\boxed{No such number}", [r"\boxed{\text{No such number}}"], "words in a box keep their spaces"),
        (r"\$5 and $y$", ["y"], "an escaped dollar is a dollar"),
        ("$$a\n+b$$", ["a\n+b"], "display maths over lines"),
        (r"\[a\] and \(b\)", ["a", "b"], "LaTeX's own marks"),
        (r"two\\[2mm] rows", [], "a line break with a length opens nothing"),
        (r"so \boxed{\frac{1}{2}}.", [r"\boxed{\frac{1}{2}}"], "a bare box, braces counted"),
        (r"\boxed{1", [], "a box that is never closed"),
        (r"\begin{align*}a&=b\end{align*}", [r"\begin{align*}a&=b\end{align*}"], "a bare environment"),
        ("```\ncost = '$x$'\n```\n$y$", ["y"], "code has no maths"),
        ("```\n$x$", [], "code that is never closed goes to the end"),
        ("a $x\n\ny$ b", [], "a formula does not go over a blank line"),
        ("$" + "x" * (MAX_FORMULA_CHARS + 1) + "$", [], "a mark that was forgotten"),
        (r"\boxed{" * 20_000, [], "what opens and never closes costs no hours"),
        ("${" * 20_000, [], "nor does this"),
    ],
)
def test_maths_is_told_from_money_and_code(text: str, formulas: list[str], why: str) -> None:
    assert [piece.formula for piece in cut(text) if piece.formula is not None] == formulas, why


@given(
    st.lists(st.sampled_from(["$", "$$", r"\(", r"\]", r"\[", "x", " ", "5", "\n", "```", r"\boxed{", "}", "\\"]))
)
def test_pieces_put_together_are_the_text(parts: list[str]) -> None:
    text = "".join(parts)

    assert "".join(piece.text for piece in cut(text)) == text


def unpacked(page: str) -> list[Any]:
    """The index and the chunks of a page."""
    return [
        json.loads(gzip.decompress(base64.b64decode(text)))
        for text in re.findall(r'<script type="application/gzip\+base64"[^>]*>([^<]*)</script>', page)
    ]


def test_a_page_holds_problems_traces_verdicts_and_numbers(tmp_path: Path) -> None:
    recipe, problems = make_recipe(MIXES), [make_problem(number, level="1") for number in range(10)]
    traces = [make_trace(problem, style, style) for problem in problems for style in ("long", "short")]
    run = make_run(tmp_path / "run", problems, traces, {traces[1].trace_id: "incorrect"})
    finish_run(recipe, run)

    index, chunk = unpacked(make_page(recipe, run))

    assert [problem[0] for problem in index["problems"]] == [problem.problem_id for problem in problems]
    assert index["problems"][0][1:] == ["What is 0 + 2?", 0, None, 0, 0, [[0, 0, 0], [1, 1, 1]]]
    assert (index["teachers"], index["statuses"]) == (["long", "short"], ["correct", "incorrect"])
    assert [teacher["pass_rate"] for teacher in index["stats"]["teachers"]] == [1.0, 0.9]
    assert [(mix["mix"], mix["rows"]) for mix in index["mixes"]] == [("long", 9), ("mix", 9)]
    assert index["missing"] == []
    first = chunk["problems"][0]["traces"][0]
    assert first["response"] == ["long 0: ", 0]
    assert chunk["formulas"][0][0] == r"\boxed{2}" and chunk["formulas"][0][1].startswith("<math>")
    assert (first["reason"], first["finish_reason"]) == ("as the test says", "stop")


def test_the_same_run_gives_the_same_page_without_paths_of_this_machine(tmp_path: Path) -> None:
    recipe, problem = make_recipe(MIXES), make_problem(1)
    traces = [
        replace(make_trace(problem, "long", "long"), model="/home/me/weights/qwen"),
        replace(make_trace(problem, "short"), response="", error="http://10.0.0.7:8000 refused /home/me"),
    ]
    run = make_run(tmp_path / "run", [problem], traces)
    finish_run(make_recipe({"long": {"long": 1.0}}), run)
    page = make_page(recipe, run)

    told = json.dumps(unpacked(page))

    assert page == make_page(recipe, run)
    assert not [word for word in (str(tmp_path), "/home/me", "10.0.0.7", "file:") if word in page + told]
    assert unpacked(page)[0]["statuses"] == ["correct", "failed"]
    assert '"model": "qwen"' in told


def test_what_a_trace_says_is_not_in_the_page_as_markup(tmp_path: Path) -> None:
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    problem = replace(make_problem(1), problem=hostile, subject=hostile, source=hostile, reference=hostile)
    recipe = make_recipe(MIXES)
    run = make_run(tmp_path / "run", [problem], [make_trace(problem, "long", "long", response=hostile)])

    page = make_page(recipe, run)

    assert "alert(" not in page
    assert page.count("<script") == page.count("</script>") == 3
    assert "unsafe" not in page and "http://" not in page.replace("http://www.w3.org/", "")


def test_a_formula_that_cannot_be_drawn_stays_as_it_stands(tmp_path: Path) -> None:
    deep = "x^{" * 700 + "x" + "}" * 700
    problem = make_problem(1)
    traces = [make_trace(problem, "long", "long", response=rf"$\nosuch{{1}}$ and $${deep}$$ and $\sqrt{{2}}$")]

    _, chunk = unpacked(make_page(make_recipe(MIXES), make_run(tmp_path / "run", [problem], traces)))

    assert [[raw[:9], mathml is None] for raw, mathml, _ in chunk["formulas"]] == [
        [r"$\nosuch{", True], ["$$x^{x^{x", True], [r"$\sqrt{2}", False],
    ]  # fmt: skip


def test_a_run_with_only_problems_says_what_is_missing(tmp_path: Path) -> None:
    recipe, run = make_recipe(MIXES), Run(tmp_path / "run")
    write_parquet(run.problems, to_frame(Problem, [make_problem(1)]))

    index, _ = unpacked(make_page(recipe, run))

    assert [row["command"] for row in index["missing"]] == [
        "mixdistill generate", "mixdistill stats", "mixdistill mix",
    ]  # fmt: skip
    assert (index["stats"], index["mixes"], len(index["problems"])) == (None, [], 1)


def test_a_run_without_problems_names_the_stage_to_run(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="mixdistill problems"):
        make_page(make_recipe(MIXES), Run(tmp_path / "run"))


def test_traces_that_are_not_judged_are_shown_so(tmp_path: Path) -> None:
    problem = make_problem(1)
    run = make_run(tmp_path / "run", [problem], [make_trace(problem, "long", "long")])
    run.verdicts.unlink()

    index, _ = unpacked(make_page(make_recipe(MIXES), run))

    assert index["statuses"] == ["not judged"]
    assert index["missing"][0]["command"] == "mixdistill verify"


def test_show_writes_the_page(small_recipe: Path, tmp_path: Path) -> None:
    run = ["--run", str(tmp_path / "run")]
    assert CliRunner().invoke(cli, ["run", str(small_recipe), *run, "--yes"]).exit_code == 0

    shown = CliRunner().invoke(
        cli, ["show", str(small_recipe), *run, "--html", str(tmp_path / "page.html"), "--json"]
    )

    assert shown.exit_code == 0
    page = (tmp_path / "page.html").read_bytes()
    assert json.loads(shown.stdout) == {"html": str(tmp_path / "page.html"), "bytes": len(page)}
    assert len(unpacked(page.decode())[0]["problems"]) == 30


def test_a_page_of_one_problem_is_not_asked_for(small_recipe: Path, tmp_path: Path) -> None:
    shown = CliRunner().invoke(
        cli, ["show", str(small_recipe), "--html", str(tmp_path / "page.html"), "--problem", "p-1"]
    )

    assert shown.exit_code == 2
    assert "leave out --problem" in shown.stderr
    assert not (tmp_path / "page.html").exists()
