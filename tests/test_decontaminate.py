"""Decontamination: which problems a benchmark drops, which a near-duplicate of theirs does, and the evidence."""

import json
from pathlib import Path

import polars as pl
import pytest
from loopback_hub import LoopbackHub

from mixdistill.builders.benchmarks import BenchmarkProblem, read_benchmarks
from mixdistill.builders.contamination import Contamination, Hit
from mixdistill.builders.decontaminate import NearDuplicates
from mixdistill.builders.problems import build_problems, load_problems
from mixdistill.builders.similarity import tokenise
from mixdistill.decontamination import BENCHMARKS, Benchmark, Decontaminate
from mixdistill.errors import MixdistillError, RecipeError, RecordError
from mixdistill.recipe import ProblemSource, Recipe
from mixdistill.recipe_file import load_recipe
from mixdistill.records import Problem
from mixdistill.run import Run

GARDEN = (
    r"A gardener plants $12$ rows of tulips, each with $\frac{3}{4}$ as many bulbs as the row before it. If the "
    r"first row holds $x^{2}$ bulbs and \(x \leq 1{,}000\), how many bulbs does the gardener plant altogether?"
)
FERRY = (
    "A ferry crosses the strait in 50 minutes against the current and in 40 minutes with it. How long would the "
    "crossing take in still water?"
)
MEETING = "Two cyclists 90 miles apart ride towards each other. When do they meet?"
SINE = r"Compute $\sin 60^\circ$."
ITEMS = [
    BenchmarkProblem("mine", name, text) for name, text in zip("gfms", (GARDEN, FERRY, MEETING, SINE), strict=True)
]


def hits(text: str, **settings: object) -> list[Hit]:
    return Contamination(ITEMS, Decontaminate.model_validate(settings)).hits(text)


@pytest.mark.parametrize(
    ("text", "item", "kind", "why"),
    [
        (GARDEN, "g", "exact", "as it stands"),
        (GARDEN.replace(" ", "\n ").upper().replace("\\FRAC", "\\frac").replace("\\LEQ", "\\leq"), "g", "exact",
         "case and white space"),
        (GARDEN.replace("\\frac", "\\dfrac").replace(r"\(x \leq 1{,}000\)", "$x\\leqslant 1000$")
         .replace("{2}", "2"), "g", "exact", "the spelling of LaTeX"),
        (GARDEN.replace(r"\frac{3}{4}", "¾").replace("$x^{2}$", "x²").replace("\\leq", "≤"), "g", "exact",
         "Unicode"),
        (GARDEN.replace(r"\frac{3}{4}", r"(3)/(4)"), "g", "exact", "a slash"),
        (GARDEN.replace(r"\frac{3}{4}", r"{3 \over 4}"), "g", "exact", "old TeX"),
        (SINE, "s", "exact", "short, but the same"),
        (FERRY.replace("50", "75").replace("40", "60.5"), "f", "renumbered", "other numbers"),
        (FERRY.replace("50", "fifty").replace("40", "forty"), "f", "renumbered", "numbers as words"),
        (" ".join(FERRY.split()[:18]), "f", "ngram", "the first part"),
        ("Think step by step. " + FERRY + " Give your answer in minutes, rounded to one place.", "f", "ngram",
         "with more around it"),
        ("Here is a puzzle for you and your friends. " + MEETING + " Write it down.", "m", "ngram",
         "a short one, wholly inside"),
        (FERRY.replace("crosses", "passes").replace("long", "much time").replace("current", "stream")
         .replace("still", "quiet").replace("50", "31").replace("minutes with", "min with"), "f", "fuzzy",
         "reworded"),
        ("How long would the crossing take in still water? A ferry crosses the strait in 51 minutes against the "
         "current and in 41 minutes with it.", "f", "fuzzy", "the question first, and other numbers"),
    ],
)  # fmt: skip
def test_a_copy_is_found_whatever_was_altered(text: str, item: str, kind: str, why: str) -> None:
    (hit,) = hits(text)

    assert (hit.problem.item, hit.kind) == (item, kind), why
    assert 0.3 <= hit.score <= 1


def test_minhash_finds_what_the_letters_do_not_show() -> None:
    text = FERRY.replace("ferry", "transatlantic steamboat") + " It is a question of speeds. " * 2

    assert [hit.kind for hit in hits(text, fuzzy=None, ngram=40)] == ["minhash"]
    assert hits(text, fuzzy=None, minhash=None, ngram=40) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (r"Compute $\sin 45^\circ$.", "too short to be known by its form"),
        (
            "A ferry carries 50 cars and 40 lorries. How many wheels does it carry?",
            "another problem about a ferry",
        ),
        (
            "How long would the crossing take in still water?",
            "a part that is too short to tell, with nothing else",
        ),
        ("", "nothing"),
        ("?!", "nothing but punctuation"),
        ("()", "nothing but brackets"),
    ],
)
def test_what_is_no_copy_is_not_found(text: str, why: str) -> None:
    found = hits(text)

    assert [hit.kind for hit in found] == (["ngram"] if text.startswith("How long") else []), why


@pytest.mark.parametrize(
    ("form", "other"),
    [
        ("What is 3 + 4?", "What is 17 + 25?"),
        ("What is the sum of 3 and 4?", "What is the sum of 8 and 2?"),
        ("Solve for x: 3 * x + 2 = 11", "Solve for x: 5 * x + 7 = 22"),
    ],
)
def test_a_form_is_no_problem(form: str, other: str) -> None:
    contamination = Contamination([BenchmarkProblem("mine", "1", form)], Decontaminate())

    assert [hit.kind for hit in contamination.hits(form)] == ["exact"]
    assert contamination.hits(other) == []


def test_what_contests_always_say_is_no_evidence() -> None:
    ending = " can be written as $m/n$, where $m$ and $n$ are relatively prime positive integers. Find $m+n$."
    one = "The probability that a fair coin shows heads exactly three times in seven independent throws" + ending
    other = (
        "The area of the region that is enclosed by a parabola, its axis and the tangent at its vertex" + ending
    )

    assert Contamination([BenchmarkProblem("mine", "1", one)], Decontaminate()).hits(other) == []


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (r"\tfrac12 \cdot \frac{n}{n^{2}-1}", "1 / 2 * n / n ^ 2 - 1"),
        (r"$\left[0,\,1\right)$ \quad \text{and} \mathbf{A}", "[ 0 1 ) and a"),
        (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", "1 2 3 4"),
        ("1,000,000 and 1\\,000 but 1,2,3", "1000000 and 1000 but 1 2 3"),
        ("x²≥½", "x ^ 2 >= 1 / 2"),
        ("5! is not 5. Wow!", "5 ! is not 5 wow"),
        ("f'(x) isn't f(x)", "f ' ( x ) isn t f ( x )"),
        ("A# #B", "a # # b"),
        ("求解方程", "求 解 方 程"),
        (r"\frac{{{x", "x"),
        ("\\" * 50 + "{" * 50, ""),
    ],
)
def test_a_text_is_taken_apart(text: str, tokens: str) -> None:
    assert " ".join(tokenise(text)) == tokens


def problem(text: str, reference: str = "1") -> Problem:
    return Problem(problem_id=text, problem=text, reference=reference, source="test")


@pytest.mark.parametrize(
    ("text", "reference", "detail", "why"),
    [
        (FERRY.replace("minutes", "Minutes").replace(".", ";"), "44", "(similarity 1.00)", "case and punctuation"),
        (FERRY.upper(), "7", "(similarity 1.00); the reference is '7' here and '44' there", "another reference"),
        (FERRY.replace("would", "will"), "44", "(similarity 0.85)", "a word, and the same reference"),
        (FERRY.replace("the current", "a current"), "9", "the reference is '9' here and '44' there", "an article"),
        (FERRY.replace("would", "will"), "9", None, "a word, and another reference"),
        (FERRY.replace("50", "60"), "44", None, "another number"),
    ],
)
def test_of_near_duplicates_the_first_is_kept(text: str, reference: str, detail: str | None, why: str) -> None:
    seen = NearDuplicates(0.8)
    assert seen.check(problem(FERRY, "44"), "p.jsonl:1") is None

    objection = seen.check(problem(text, reference), "p.jsonl:2")

    if detail is None:
        assert objection is None, why
    else:
        assert objection is not None, why
        assert objection.reason == "near_duplicate"
        assert objection.detail.startswith("near-duplicate of p.jsonl:1, which is kept")
        assert objection.detail.endswith(detail)


def test_problems_of_one_template_are_no_duplicates() -> None:
    seen = NearDuplicates(0.8)
    template = (
        "In the old town every house has a {} door and all people who live there keep a {} cat. Who is right?"
    )
    colours = ["red", "blue", "green", "white", "black", "grey"]
    texts = [template.format(one, other) for one in colours for other in colours]

    objections = [seen.check(problem(text, "AB"[(n + n // 6) % 2]), str(n)) for n, text in enumerate(texts)]

    assert objections == [None] * 36
    assert seen.check(problem(texts[-1] + "!", "A"), "copy") is not None


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def made(tmp_path: Path, **decontaminate: object) -> tuple[Recipe, Run]:
    """A run of five problems: of two benchmark copies, a near-duplicate and two that stay."""
    write(tmp_path / "bench.jsonl", {"id": 7, "question": FERRY}, {"id": 8, "question": GARDEN})
    texts = [FERRY.upper(), "What is 3 + 4?", "What is 3 + 5?", "what is 3 + 4", FERRY.replace("50", "52")]
    write(tmp_path / "p.jsonl", *({"problem": text, "reference": "7"} for text in texts))
    write(tmp_path / "recipe.yaml", {
        "name": "r", "problems": [{"file": "p.jsonl"}], "decontaminate": decontaminate,
        "teachers": {"t": {"engine": "dataset", "file": "p.jsonl", "style": "long"}}, "mixes": {"m": {"t": 1}},
    })  # fmt: skip
    return load_recipe(str(tmp_path / "recipe.yaml")), Run(tmp_path / "run")


def test_dropped_problems_say_why_and_the_evidence_is_kept(tmp_path: Path) -> None:
    recipe, run = made(tmp_path, against=[{"file": "bench.jsonl", "name": "mine"}])

    counts = build_problems(recipe, run)

    assert counts == {"kept": 2, "dropped": 3, "dropped_contaminated": 2, "dropped_near_duplicate": 1}
    dropped = pl.read_parquet(run.dropped_problems)
    assert dropped.select("place", "reason", "detail").rows() == [
        ("p.jsonl:1", "contaminated", "stands in mine 7 (exact, 1.00)"),
        ("p.jsonl:4", "near_duplicate", "near-duplicate of p.jsonl:2, which is kept (similarity 1.00)"),
        ("p.jsonl:5", "contaminated", "stands in mine 7 (renumbered, 1.00)"),
    ]
    evidence = pl.read_parquet(run.contamination)
    assert evidence.select("problem_id", "place", "benchmark", "item", "item_problem", "kind", "score").rows() == [
        (dropped["problem_id"][0], "p.jsonl:1", "mine", "7", FERRY, "exact", 1.0),
        (dropped["problem_id"][2], "p.jsonl:5", "mine", "7", FERRY, "renumbered", 1.0),
    ]
    assert evidence["problem"].to_list() == [FERRY.upper(), FERRY.replace("50", "52")]
    assert evidence["shared"][1].startswith("a ferry crosses the strait in ... minutes against the current")


def test_without_benchmarks_and_duplicates_all_problems_stay(tmp_path: Path) -> None:
    recipe, run = made(tmp_path, duplicates=None)

    assert build_problems(recipe, run) == {"kept": 5, "dropped": 0}
    assert pl.read_parquet(run.contamination).height == 0


def test_a_limit_counts_the_problems_that_are_kept(tmp_path: Path) -> None:
    recipe, run = made(tmp_path, against=[{"file": "bench.jsonl"}])

    counts = build_problems(recipe.model_copy(update={"limit": 2}), run)

    assert counts == {"kept": 2, "dropped": 1, "dropped_contaminated": 1}


def test_problems_of_generators_are_compared_with_benchmarks_only() -> None:
    source = ProblemSource.model_validate({"generate": {"reasoning_gym": "gcd", "size": 5}})
    (first, *_), _ = load_problems([source])
    shown: list[str] = []

    load_problems([source], screen=lambda problem, place: shown.append(problem.answer_type))

    assert shown == ["reasoning_gym"] * 5
    contamination = Contamination([BenchmarkProblem("mine", "1", first.problem)], Decontaminate())
    assert [hit.kind for hit in contamination.hits(first.problem)] == ["exact"]


def test_a_benchmark_is_known_by_its_name(hub: LoopbackHub) -> None:
    hub.put("HuggingFaceH4/MATH-500", {"test.jsonl": json.dumps(
        {"problem": FERRY, "unique_id": "test/algebra/1.json", "answer": "44"}).encode() + b"\n"})  # fmt: skip
    hub.put("openai/gsm8k", {
        "README.md": b"---\nconfigs:\n- config_name: main\n  data_files:\n  - {split: test, path: m.jsonl}\n---\n",
        "m.jsonl": json.dumps({"question": GARDEN, "answer": "#### 1"}).encode() + b"\n",
    })  # fmt: skip

    settings = Decontaminate.model_validate({"against": ["math-500", "gsm8k"]})

    assert read_benchmarks(settings.against) == [
        BenchmarkProblem("math-500", "test/algebra/1.json", FERRY), BenchmarkProblem("gsm8k", "1", GARDEN),
    ]  # fmt: skip


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_every_known_benchmark_is_a_valid_one(name: str) -> None:
    (benchmark,) = Decontaminate.model_validate({"against": [name]}).against

    assert benchmark == Benchmark.model_validate({"name": name} | BENCHMARKS[name])
    assert benchmark.title == name


@pytest.mark.parametrize(
    ("decontaminate", "message"),
    [
        ({"against": ["math500"]}, "decontaminate.against.0: no benchmark 'math500'; did you mean 'math-500'?"),
        ({"against": [{"name": "x"}]}, "decontaminate.against.0: needs exactly one of file, hub"),
        ({"against": [{"file": "a/x.csv"}, {"file": "b/x.csv"}]}, "two benchmarks are called 'x'; give one"),
        ({"against": [{"file": "x.csv", "colum": "q"}]}, "unknown key 'decontaminate.against.0.colum'"),
        ({"fuzz": 80}, "unknown key 'decontaminate.fuzz'; did you mean 'fuzzy'?"),
        ({"ngram": 3}, "decontaminate.ngram: "),
    ],
)  # fmt: skip
def test_a_mistake_in_the_recipe_is_named(tmp_path: Path, decontaminate: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError) as raised:
        made(tmp_path, **decontaminate)

    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("rows", "settings", "kind", "message"),
    [
        (
            [{"text": "x"}],
            {},
            RecipeError,
            "benchmark b: no column 'problem or question or prompt' (there are: text)",
        ),
        (
            [{"text": "x"}],
            {"problem": "q"},
            RecipeError,
            "benchmark b: no column 'q' (there are: text); name it in",
        ),
        (
            [{"problem": "x"}, {"problem": " "}],
            {},
            RecordError,
            "benchmark b: b.jsonl:2: no problem in this row; mend",
        ),
        ([], {}, RecordError, "decontaminate: benchmark b has no problem"),
    ],
)
def test_a_benchmark_that_cannot_be_read_stops_the_stage(
    tmp_path: Path, rows: list[object], settings: dict[str, object], kind: type[MixdistillError], message: str
) -> None:
    benchmark = Benchmark.model_validate({"file": write(tmp_path / "b.jsonl", *rows), **settings})

    with pytest.raises(kind) as raised:
        read_benchmarks([benchmark])

    assert str(raised.value).startswith(message)


def test_the_public_recipe_names_no_folder(tmp_path: Path) -> None:
    recipe, _ = made(tmp_path, against=["gsm8k", {"file": "bench.jsonl"}])

    public = recipe.public()["decontaminate"]

    assert str(tmp_path) not in str(public)
    assert public == {"against": [
        {"name": "gsm8k", "hub": "openai/gsm8k", "config": "main", "problem": "question"}, {"file": "bench.jsonl"},
    ]}  # fmt: skip
