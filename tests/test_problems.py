"""Problems in: what is kept, what is dropped and why, from files, generators and the Hub."""

import datetime
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from loopback_hub import LoopbackHub

from mixdistill.builders.hub_rows import read_hub_rows
from mixdistill.builders.problems import LoadedProblems, build_problems, load_problems
from mixdistill.errors import HubError, MissingExtraError, MixdistillError, RecipeError, RecordError
from mixdistill.files import read_parquet
from mixdistill.recipe import ProblemSource, Recipe
from mixdistill.records import DroppedProblem, Problem, polars_schema, problem_id
from mixdistill.run import Run
from mixdistill.tables import read_problems


def load(tmp_path: Path, *rows: object, limit: int | None = None, **keys: object) -> LoadedProblems:
    """The problems in a JSONL file with these rows; a row that is bytes is a line as it stands."""
    path = tmp_path / "p.jsonl"
    path.write_bytes(
        b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)
    )
    return load_problems([ProblemSource.model_validate({"file": path} | keys)], limit=limit)


def refusal(tmp_path: Path, *rows: object, kind: type[MixdistillError] = RecipeError, **keys: object) -> str:
    with pytest.raises(kind) as raised:
        load(tmp_path, *rows, limit=None, **keys)
    return str(raised.value)


@pytest.mark.parametrize(
    ("reference", "expected", "why"),
    [
        ("5", "5", "a text"),
        (" 1/2\r\n", "1/2", "blank edges"),
        (5, "5", "a number"),
        (10**30, "1" + "0" * 30, "a huge number"),
        (27.0, "27", "AMC23 writes whole numbers so"),
        (-0.0, "0", "minus nothing"),
        (0.5, "0.5", "a fraction"),
        (1e22, "1" + "0" * 22, "a whole number beyond 2^53"),
        (["1", 2.0, "x"], "1, 2, x", "OlympiadBench writes several answers so"),
        (r"so \boxed{\frac{1}{2}}.", r"\frac{1}{2}", "a worked solution in the answer column"),
        ("16 - 7 = 9\n#### 1,018\n", "1,018", "GSM8K's answer column"),
        (r"\boxed{3} then" + "\n#### 4", "3", "a box goes before hashes"),
        ("issue #### 5", "issue #### 5", "hashes inside a line mark nothing"),
        ("\ud800", "?", "half a character can be written to no file"),
        ("a\0b", "a\0b", "NUL"),
    ],
    ids=lambda value: repr(value)[:25],
)
def test_a_reference_is_read_from_its_cell(tmp_path: Path, reference: object, expected: str, why: str) -> None:
    (problem,), dropped = load(tmp_path, {"problem": "p", "reference": reference})

    assert (problem.reference, dropped) == (expected, []), why
    assert problem.problem_id == problem_id("p", expected, "math")


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        (b'{"problem": "x"', "unreadable_row", "not JSON: Expecting ',' delimiter: line 1 column 16 (char 15)"),
        (b"[1]", "unreadable_row", "a JSON list, not an object"),
        (b'{"problem": "x", "reference": ' + b"9" * 5000 + b"}", "unreadable_row", "not JSON: Exceeds the limit"),
        ({"problem": "", "reference": "1"}, "empty_problem", "the problem is empty"),
        ({"problem": " \n", "reference": "1"}, "empty_problem", "the problem is empty"),
        ({"problem": None, "reference": "1"}, "empty_problem", "the problem is empty"),
        ({"reference": "1"}, "empty_problem", "the problem is empty"),
        ({"problem": "x", "reference": ""}, "no_reference", "no reference, and none stands boxed or after ####"),
        ({"problem": "x", "reference": None}, "no_reference", "no reference, and none stands boxed or after ####"),
        ({"problem": "x"}, "no_reference", "no reference, and none stands boxed or after ####"),
        ({"problem": "x", "reference": True}, "wrong_type", "column 'reference' holds a bool, not a text or a"),
        ({"problem": "x", "reference": {"a": 1}}, "wrong_type", "column 'reference' holds a dict, not a text"),
        ({"problem": "x", "reference": ["1", None]}, "wrong_type", "column 'reference' holds a list"),
        ({"problem": "x", "reference": ["1", ["2"]]}, "wrong_type", "column 'reference' holds a list"),
        ({"problem": [{"role": "user"}], "reference": "1"}, "wrong_type", "column 'problem' holds a list"),
        (b'{"problem": "x", "reference": Infinity}', "wrong_type", "column 'reference' holds a float"),
        (b'{"problem": ' + b"[" * 900 + b"]" * 900 + b"}", "wrong_type", "column 'problem' holds a list"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_row_is_dropped_with_its_reason(tmp_path: Path, row: object, reason: str, detail: str) -> None:
    loaded = load(tmp_path, {"problem": "a", "reference": "1"}, row, {"problem": "b", "reference": "2"})

    (dropped,) = loaded.dropped
    assert [problem.problem for problem in loaded.kept] == ["a", "b"]
    assert (dropped.place, dropped.reason, dropped.problem_id) == ("p.jsonl:2", reason, None)
    assert dropped.detail.startswith(detail)
    assert 0 < len(dropped.row) <= 10_000


def test_a_dropped_row_is_kept_as_text(tmp_path: Path) -> None:
    loaded = load(
        tmp_path, {"problem": "é", "reference": None, "n": [1.5]}, b"broken \xc3\xa9", b"x" * 20_000,
        {"problem": "\ud800", "reference": None},
    )  # fmt: skip

    rows = [dropped.row for dropped in loaded.dropped]
    assert rows[:2] == ['{"problem": "é", "reference": null, "n": [1.5]}', "broken é"]
    assert rows[2:] == ["x" * 10_000, '{"problem": "?", "reference": null}']


def test_cells_of_any_type_stand_beside_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    columns = {
        "problem": ["a", None], "answer": [1.0, 2.0], "when": [[datetime.datetime(2020, 1, 1)], []],
        "price": [Decimal("1.5")] * 2, "raw": [b"\xff", b""], "level": [3, None], "subject": [["x", "y"], None],
    }  # fmt: skip
    pl.DataFrame(columns).write_parquet(path)

    (kept,), (dropped,) = load_problems([ProblemSource(file=path)])

    assert (kept.reference, kept.level, kept.subject, kept.source, kept.source_id) == (
        "1", "3", "x, y", "p.parquet", "1",
    )  # fmt: skip
    assert (dropped.place, dropped.reason) == ("p.parquet:2", "empty_problem")
    assert json.loads(dropped.row)["answer"] == 2.0


@pytest.mark.parametrize(
    ("row", "reference", "solution"),
    [
        ({"solution": r"so \boxed{3}"}, "3", r"so \boxed{3}"),
        ({"solution": "so\n#### 3"}, "3", "so\n#### 3"),
        ({"solution": r"so \boxed{3}", "answer": None}, "3", r"so \boxed{3}"),
        ({"solution": r"so \boxed{3}", "answer": "4"}, "4", r"so \boxed{3}"),
        ({"answer": "so\n#### 3"}, "3", "so\n#### 3"),
        ({"answer": "so\n#### 3", "solution": "other"}, "3", "other"),
    ],
)
def test_a_worked_solution_gives_the_reference(
    tmp_path: Path, row: dict[str, object], reference: str, solution: str
) -> None:
    (problem,), _ = load(tmp_path, {"question": "p"} | row)

    assert (problem.reference, problem.solution) == (reference, solution)


def test_the_same_problem_twice_is_kept_once(tmp_path: Path) -> None:
    texts = ["What is  1?", " What is 1?\r\n", "What\nis 1?", "what is 1?"]

    loaded = load(tmp_path, *({"problem": text, "reference": "1"} for text in texts))

    assert [problem.problem for problem in loaded.kept] == ["What is  1?", "what is 1?"]
    assert [(row.place, row.reason, row.detail) for row in loaded.dropped] == [
        ("p.jsonl:2", "duplicate", "same as p.jsonl:1"),
        ("p.jsonl:3", "duplicate", "same as p.jsonl:1"),
    ]
    assert {row.problem_id for row in loaded.dropped} == {loaded.kept[0].problem_id}


def test_of_conflicting_references_none_is_kept(tmp_path: Path) -> None:
    rows = [("p", "1"), ("q", "1"), (" p", "2"), ("p ", "1"), ("p", "3")]

    loaded = load(tmp_path, *({"problem": problem, "reference": reference} for problem, reference in rows))

    assert [problem.problem for problem in loaded.kept] == ["q"]
    assert [(row.place, row.reason, row.detail) for row in loaded.dropped] == [
        ("p.jsonl:1", "conflicting_reference", "the reference is '1' here and '2' at p.jsonl:3"),
        ("p.jsonl:3", "conflicting_reference", "the reference is '2' here and '1' at p.jsonl:1"),
        ("p.jsonl:4", "duplicate", "same as p.jsonl:1"),
        ("p.jsonl:5", "conflicting_reference", "the reference is '3' here and '1' at p.jsonl:1"),
    ]


@pytest.mark.parametrize(
    ("one", "other", "same", "why"),
    [
        ("1/2", "0.5", True, "a fraction and a decimal"),
        ("1,000", "1000", True, "commas between thousands"),
        ("1,234,567.50", "1234567.5", True, "commas and zeros behind the point"),
        ("+7", "7.0", True, "a sign that says nothing"),
        ("-.5", "-1/2", True, "a sign before a bare point"),
        (".5", "2/4", True, "a fraction that is not in lowest terms"),
        ("1e3", "1000", True, "an exponent"),
        ("1/3", "0.3333333333333333", False, "nearly is not equal"),
        ("9007199254740993", "9007199254740992", False, "beyond what a float tells apart"),
        ("1,00", "100", False, "no comma between thousands: two numbers"),
        ("1, 000", "1000", False, "two numbers"),
        ("1e999999999", "1e999999998", False, "an exponent that nobody may write out"),
        ("9" * 5000, "9" * 4999, False, "too long for int"),
        ("1/0", "2/0", False, "no numbers at all"),
        ("1/0", "1/0", True, "the same text is the same, whatever it means"),
        ("½", "0.5", False, "not plain"),
        ("٣", "3", False, "digits of another script"),
        (r"\frac{1}{2}", "1/2", False, "LaTeX is not read here"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_equal_numbers_do_not_conflict(tmp_path: Path, one: str, other: str, same: bool, why: str) -> None:
    loaded = load(tmp_path, {"problem": "p", "reference": one}, {"problem": " p", "reference": other})

    found = ([problem.reference for problem in loaded.kept], [row.reason for row in loaded.dropped])
    conflict: list[str] = ["conflicting_reference"] * 2
    assert found == (([one], ["duplicate"]) if same else ([], conflict)), why


@pytest.mark.parametrize(
    ("one", "other", "kept", "reasons"),
    [
        (("1/2", "text"), ("0.5", "text"), 0, ["conflicting_reference"] * 2),
        (("1/2", "math"), ("0.5", "text"), 0, ["conflicting_reference"] * 2),
        (("A", "choice"), ("A", "text"), 1, ["duplicate"]),
    ],
)
def test_where_spelling_counts_equal_numbers_conflict(
    tmp_path: Path, one: tuple[str, str], other: tuple[str, str], kept: int, reasons: list[str]
) -> None:
    sources = []
    for name, (reference, answer_type) in {"a.jsonl": one, "b.jsonl": other}.items():
        (tmp_path / name).write_text(json.dumps({"problem": "p", "reference": reference}), encoding="utf-8")
        sources.append(ProblemSource.model_validate({"file": tmp_path / name, "answer_type": answer_type}))

    loaded = load_problems(sources)

    assert (len(loaded.kept), [row.reason for row in loaded.dropped]) == (kept, reasons)


def test_duplicates_are_found_across_sources(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.jsonl"
    first.write_text('problem,reference\n"one, two",3\n', encoding="utf-8")
    second.write_text('{"question": "one,  two", "answer": 3.0}\n{"question": "four", "answer": "4"}\n', "utf-8")

    loaded = load_problems([ProblemSource(file=first, license="mit"), ProblemSource(file=second, name="B")])

    assert [(each.problem, each.source, each.license) for each in loaded.kept] == [
        ("one, two", "a.csv", "mit"), ("four", "B", None),
    ]  # fmt: skip
    assert [row.detail for row in loaded.dropped] == ["same as a.csv:2"]


@pytest.mark.parametrize(
    ("limit", "kept", "dropped"),
    [(1, ["a"], 0), (2, ["a", "b"], 1), (3, ["b", "c", "d"], 3), (9, ["b", "c", "d"], 3)],
)
def test_a_limit_keeps_the_first_problems_that_can_be_kept(
    tmp_path: Path, limit: int, kept: list[str], dropped: int
) -> None:
    rows = [("a", "1"), ("", "1"), ("b", "1"), ("a", "2"), ("c", "1"), ("d", "1")]

    loaded = load(tmp_path, *({"problem": text, "reference": ref} for text, ref in rows), limit=limit)

    assert ([problem.problem for problem in loaded.kept], len(loaded.dropped)) == (kept, dropped)


def test_what_the_row_says_goes_before_what_the_recipe_says(tmp_path: Path) -> None:
    row = {"q": "p", "a": "1", "id": 7, "level": 5, "type": "algebra", "license": "cc0-1.0"}
    columns = {"problem": "q", "reference": "a", "subject": "type"}
    rest = {"q": "p2", "a": "2", "license": None}

    loaded = load(tmp_path, row, rest, columns=columns, license="mit", name="mine", answer_type="choice")

    assert loaded.kept == [
        Problem(
            problem_id=problem_id("p", "1", "choice"), problem="p", reference="1", source="mine", source_id="7",
            license="cc0-1.0", subject="algebra", level="5", answer_type="choice",
        ),
        Problem(
            problem_id=problem_id("p2", "2", "choice"), problem="p2", reference="2", source="mine", source_id="2",
            license="mit", answer_type="choice",
        ),
    ]  # fmt: skip


def test_a_column_that_is_named_is_not_taken_for_another(tmp_path: Path) -> None:
    row = {"question": "p", "answer": "the worked solution", "final_answer": "5"}

    (problem,), _ = load(tmp_path, row, columns={"solution": "answer"})

    assert (problem.reference, problem.solution) == ("5", "the worked solution")


HINT = "; name it in the recipe: problems: - {..., columns: {problem: ..., reference: ...}}"


@pytest.mark.parametrize(
    ("row", "columns", "message"),
    [
        ({"q": "p", "reference": "1"}, {}, "no column 'problem or question or prompt' (there are: q, reference)"),
        ({"problem": "p", "r": "1"}, {},
         "no column 'reference or answer or final_answer or expected_answer' (there are: problem, r)"),
        ({"problem": "p", "reference": "1"}, {"problem": "qq"}, "no column 'qq' (there are: problem, reference)"),
        ({"problem": "p", "reference": "1"}, {"level": "l"}, "no column 'l' (there are: problem, reference)"),
    ],
)  # fmt: skip
def test_a_missing_column_is_named_with_those_that_are_there(
    tmp_path: Path, row: dict[str, str], columns: dict[str, str], message: str
) -> None:
    assert refusal(tmp_path, b"broken", row, columns=columns) == f"p.jsonl: {message}{HINT}"


@pytest.mark.parametrize(
    ("first", "columns", "reason"),
    [
        ({"problem": "a"}, {}, "no_reference"),
        ({"reference": "1"}, {}, "empty_problem"),
        ({"id": 7}, {}, "empty_problem"),
        ({"q": "a"}, {"problem": "q", "reference": "a"}, "no_reference"),
    ],
)
def test_a_first_row_without_a_column_is_one_bad_row(
    tmp_path: Path, first: dict[str, object], columns: dict[str, str], reason: str
) -> None:
    names = {"problem": "problem", "reference": "reference"} | columns
    rest = [{names["problem"]: f"p{i}", names["reference"]: "1"} for i in range(3)]

    loaded = load(tmp_path, b"broken", first, *rest, columns=columns)

    assert [problem.problem for problem in loaded.kept] == ["p0", "p1", "p2"]
    assert [(row.place, row.reason) for row in loaded.dropped] == [
        ("p.jsonl:1", "unreadable_row"), ("p.jsonl:2", reason),
    ]  # fmt: skip


def test_a_column_may_stand_in_the_first_hundred_readable_rows(tmp_path: Path) -> None:
    without = [b"broken", *({"problem": f"p{i}", "n": i} for i in range(99))]
    late = {"problem": "late", "answer": "1"}

    (problem,), dropped = load(tmp_path, *without, late)

    assert problem.problem == "late"
    assert Counter(row.reason for row in dropped) == {"unreadable_row": 1, "no_reference": 99}
    assert refusal(tmp_path, *without, {"problem": "one more"}, late).endswith(
        f"(there are: problem, n){HINT}"
    )  # the hundred-and-first row comes too late


@pytest.mark.parametrize("name", ["missing.jsonl", "p.txt"])
def test_a_source_that_cannot_be_read_stops_the_stage(tmp_path: Path, name: str) -> None:
    message = refusal(tmp_path, kind=RecordError, file=tmp_path / name)

    assert message.startswith(f"{tmp_path / name}: ")


def recipe_of(*sources: dict[str, object], **keys: object) -> Recipe:
    teachers = {"t": {"engine": "dataset", "file": "t.jsonl", "style": "long"}}
    mixes = {"m": {"t": 1.0}}
    return Recipe.model_validate({"name": "x", "problems": sources, "teachers": teachers, "mixes": mixes} | keys)


def test_problems_are_written_with_all_that_was_dropped(tmp_path: Path) -> None:
    path, run = tmp_path / "p.jsonl", Run(tmp_path / "run")
    rows = [("a", "1"), ("a", "1"), ("b", "\ud800"), ("", "2"), ("c\0é\u2028", "3")]
    path.write_text(
        "".join(json.dumps({"problem": text, "reference": ref}) + "\n" for text, ref in rows), encoding="utf-8"
    )

    counts = build_problems(recipe_of({"file": path}), run)

    assert counts == {"kept": 3, "dropped": 2, "dropped_duplicate": 1, "dropped_empty_problem": 1}
    assert read_problems(run) == load_problems([ProblemSource(file=path)]).kept
    dropped = read_parquet(run.dropped_problems, "problems")
    assert dropped.schema == polars_schema(DroppedProblem)
    assert dropped["reason"].to_list() == ["duplicate", "empty_problem"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no problem was kept of 0 rows"),
        ("\n\n", "no problem was kept of 0 rows"),
        ("x\ny\n", "no problem was kept of 2 rows; the first: p.jsonl:1: not JSON: "),
    ],
)
def test_a_run_without_problems_is_an_error_that_names_the_first_fault(
    tmp_path: Path, content: str, message: str
) -> None:
    path, run = tmp_path / "p.jsonl", Run(tmp_path / "run")
    path.write_text(content, encoding="utf-8")

    with pytest.raises(RecordError) as raised:
        build_problems(recipe_of({"file": path}), run)

    assert str(raised.value).startswith(message)
    assert not run.folder.exists()


def generate(keys: Mapping[str, object], size: int, seed: int = 42, limit: int | None = None) -> LoadedProblems:
    source = ProblemSource.model_validate({"generate": {"size": size} | dict(keys)})
    return load_problems([source], seed=seed, limit=limit)


def test_problems_are_generated_the_same_for_the_same_seed() -> None:
    sampled = {"reasoning_gym": "chain_sum", "options": {"min_terms": 2, "max_terms": 2}}

    loaded = generate(sampled, 20)

    first = loaded.kept[0]
    assert len(loaded.kept) + len(loaded.dropped) == 20
    assert {row.reason for row in loaded.dropped} <= {"duplicate"}
    assert (first.source, first.source_id, first.license) == (
        "reasoning_gym/chain_sum", "chain_sum/42/0", "apache-2.0",
    )  # fmt: skip
    left, sign, right = first.problem.rpartition(":")[2].rstrip(" =").split()
    assert int(left) + int(f"{sign}{right}") == int(first.reference)
    assert generate(sampled, 20) == loaded
    assert generate(sampled, 30).kept[:5] == loaded.kept[:5]
    assert generate(sampled, 20, limit=3).kept == loaded.kept[:3]
    assert generate(sampled, 20, seed=43).kept != loaded.kept


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"reasoning_gym": "chain_summ"},
            "reasoning-gym has no generator 'chain_summ'; did you mean 'chain_sum'?",
        ),
        ({"reasoning_gym": "zzz"}, "reasoning-gym has no generator 'zzz'"),
        ({"reasoning_gym": "chain_sum", "options": {"min_terms": -1}}, "min_terms must be positive"),
        ({"reasoning_gym": "chain_sum", "options": {"min_trems": 1}}, "unexpected keyword argument 'min_trems'"),
        ({"reasoning_gym": "chain_sum", "options": {"min_terms": "two"}}, "not supported between instances"),
        ({"reasoning_gym": "chain_sum", "options": {"size": 1}}, "multiple values for keyword argument 'size'"),
        ({"reasoning_gym": "chain_sum", "options": {"seed": 1}}, "multiple values for keyword argument 'seed'"),
    ],
)
def test_a_generator_that_cannot_work_is_named(keys: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError) as raised:
        generate(keys, 3)

    assert str(raised.value).startswith("problems: reasoning-gym")
    assert message in str(raised.value)


def test_without_pycosat_all_generators_but_one_work() -> None:
    code = """if True:
        import importlib.machinery, sys

        class WithoutPycosat(importlib.machinery.PathFinder):
            @classmethod
            def find_spec(cls, name, path=None, target=None):
                return None if name == "pycosat" else super().find_spec(name, path, target)

        finders = {importlib.machinery.PathFinder: WithoutPycosat}
        sys.meta_path[:] = [finders.get(finder, finder) for finder in sys.meta_path]

        from mixdistill.builders.problems import load_problems
        from mixdistill.errors import MissingExtraError
        from mixdistill.recipe import ProblemSource

        for name in ("zebra_puzzles", "chain_sum", "zebra_puzzles", "knights_knaves", "gsm_symbolic"):
            source = ProblemSource.model_validate({"generate": {"reasoning_gym": name, "size": 2}})
            try:
                print(name, len(load_problems([source]).kept))
            except MissingExtraError as error:
                print(error)
    """

    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)

    zebra = str(MissingExtraError("pycosat", "pip install pycosat (it needs a C compiler)"))
    assert done.stdout.splitlines() == [zebra, "chain_sum 2", zebra, "knights_knaves 2", "gsm_symbolic 2"], (
        done.stderr
    )


CARD = b"""---
configs:
- config_name: algebra
  data_files: [{split: train, path: a.jsonl}]
- config_name: geometry
  data_files: [{split: train, path: b.jsonl}, {split: test, path: a.jsonl}]
---
"""


def jsonl(name: str, n: int) -> bytes:
    return b"".join(json.dumps({"problem": f"{name}{i}", "answer": str(i)}).encode() + b"\n" for i in range(n))


def read(
    hub_id: str, config: str | None = None, split: str = "train", revision: str | None = None
) -> Counter[str]:
    """How many rows have each problem, after a check of their places."""
    rows = list(read_hub_rows(hub_id, config=config, split=split, revision=revision))
    places = [row.place for row in rows]
    assert all(place.startswith(f"{hub_id}/") and f"/{split}:" in place for place in places)
    assert len(set(places)) == len(places)
    return Counter(str(row.values["problem"]) for row in rows)


def test_all_configs_of_a_dataset_are_read_in_turn(hub: LoopbackHub) -> None:
    hub.put("tester/two", {"README.md": CARD, "a.jsonl": jsonl("a", 2), "b.jsonl": jsonl("b", 1)})

    assert read("tester/two") == Counter(["a0", "a1", "b0"])
    assert read("tester/two", config="algebra") == Counter(["a0", "a1"])
    assert read("tester/two", config="geometry", split="test") == Counter(["a0", "a1"])


@pytest.mark.parametrize("usual", ["default", "main"])
def test_the_usual_config_is_read_alone(hub: LoopbackHub, usual: str) -> None:
    card = CARD.replace(b"geometry", usual.encode())
    hub.put("tester/usual", {"README.md": card, "a.jsonl": jsonl("a", 2), "b.jsonl": jsonl("b", 1)})

    assert read("tester/usual") == Counter(["b0"])


def test_a_revision_is_read_as_it_was(hub: LoopbackHub) -> None:
    old = hub.put("tester/old", {"train.jsonl": jsonl("old", 1)})
    hub.put("tester/old", {"train.jsonl": jsonl("new", 2)})

    assert read("tester/old", revision=old) == Counter(["old0"])
    assert read("tester/old") == Counter(["new0", "new1"])


def test_problems_come_from_the_hub(hub: LoopbackHub) -> None:
    hub.put("tester/gsm", {"train.jsonl": b'{"question": "p", "answer": "so\\n#### 18"}\n{"question": "q"}\n'})

    loaded = load_problems([ProblemSource(hub="tester/gsm", license="mit")])

    (problem,), (dropped,) = loaded
    assert (problem.problem, problem.reference, problem.source, problem.source_id, problem.license) == (
        "p", "18", "tester/gsm", "1", "mit",
    )  # fmt: skip
    assert (dropped.place, dropped.reason) == ("tester/gsm/default/train:2", "no_reference")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            {"hub": "tester/none"},
            "tester/none: Dataset 'tester/none' doesn't exist on the Hub or cannot be accessed.",
        ),
        ({"hub": "tester/private"}, "tester/private: Dataset 'tester/private' doesn't exist on the Hub or cannot"),
        ({"hub": "tester/two", "config": "x"}, "tester/two: BuilderConfig 'x' not found. Available: ['algebra',"),
        ({"hub": "tester/two", "split": "test"}, "tester/two: Bad split: test. Available splits: ['train']"),
        ({"hub": "tester/two", "revision": "v9"}, "tester/two: Revision 'v9' doesn't exist for dataset"),
        ({"hub": "tester/nothing"}, "tester/nothing: The directory at hf://datasets/tester/nothing@"),
        ({"hub": "tester/empty"}, "tester/empty: a file of split train is empty"),
        ({"hub": "tester/broken"}, "tester/broken: Parquet magic bytes not found in footer."),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_dataset_that_cannot_be_had_is_named(hub: LoopbackHub, source: dict[str, str], message: str) -> None:
    hub.put("tester/two", {"README.md": CARD, "a.jsonl": jsonl("a", 2), "b.jsonl": jsonl("b", 1)})
    hub.put("tester/private", {"train.jsonl": jsonl("a", 1)}, private=True)
    hub.put("tester/nothing", {"README.md": b"# Nothing"})
    hub.put("tester/empty", {"train.jsonl": b""})
    hub.put("tester/broken", {"train.parquet": b"no Parquet at all"})

    with pytest.raises(HubError) as raised:
        load_problems([ProblemSource.model_validate(source)])

    assert str(raised.value).startswith(message)
    assert ("See 'hf auth login'" in str(raised.value)) is ("exist" in message)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (500, "tester/x: the Hub answered 500; see 'hf auth login', or the name of the dataset"),
        (429, "tester/x: the Hub answered 429; see 'hf auth login', or the name of the dataset"),
        ("drop", "tester/x: Server disconnected without sending a response."),
    ],
)
def test_a_hub_that_fails_is_told(hub: LoopbackHub, action: object, message: str) -> None:
    hub.put("tester/x", {"train.jsonl": jsonl("a", 1)})
    hub.fault("GET", "/api/datasets/tester/x", action, times=1000)  # type: ignore[arg-type]

    with pytest.raises(HubError) as raised:
        read("tester/x")
    hub.faults.clear()

    assert str(raised.value) == message


def test_only_the_rows_that_are_needed_are_read(hub: LoopbackHub) -> None:
    hub.put("tester/a", {"train.jsonl": jsonl("a", 5)})

    loaded = load_problems([ProblemSource(hub="tester/a"), ProblemSource(hub="tester/not-there")], limit=2)

    assert [problem.problem for problem in loaded.kept] == ["a0", "a1"]


@pytest.mark.parametrize(
    ("row", "problem", "reference", "options", "why"),
    [
        ({"question": "q", "choices": ["x", "y"], "answer": 1}, "q\n\nA. x\nB. y", "B", ["x", "y"], "MMLU"),
        ({"question": "q", "choices": ["x", "y"], "answer": "1"}, "q\n\nA. x\nB. y", "B", ["x", "y"], "from CSV"),
        ({"question": "q", "choices": '["x", "y"]', "answer": 0}, "q\n\nA. x\nB. y", "A", ["x", "y"], "JSON text"),
        ({"question": "q", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answer": "B"},
         "q\n\nA. x\nB. y", "B", ["x", "y"], "ARC"),
        ({"question": "q", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answer": "2"},
         "q\n\nA. x\nB. y", "B", ["x", "y"], "ARC with numbers"),
        ({"question": "q", "options": {"A": "x", "B": "y"}, "answer": "(b)"}, "q\n\nA. x\nB. y", "B", ["x", "y"],
         "letters to texts"),
        ({"question": "q", "options": ["x", "y"], "answer": "y "}, "q\n\nA. x\nB. y", "B", ["x", "y"], "the text"),
        ({"question": "q", "options": ["2", "1", "0"], "answer": "1"}, "q\n\nA. 2\nB. 1\nC. 0", "B",
         ["2", "1", "0"], "a text goes before a place"),
        ({"question": "q", "options": [2, 1, 0], "answer": 0}, "q\n\nA. 2\nB. 1\nC. 0", "A", ["2", "1", "0"],
         "a number is a place"),
        ({"question": "(A) x (B) y?", "options": ["x", "y"], "answer": "B"}, "(A) x (B) y?", "B", ["x", "y"],
         "the options stand there"),
    ],
)  # fmt: skip
def test_a_choice_has_its_options_and_a_letter(
    tmp_path: Path, row: object, problem: str, reference: str, options: list[str], why: str
) -> None:
    (kept,), dropped = load(tmp_path, row, answer_type="choice")

    assert (kept.problem, kept.reference, dropped) == (problem, reference, []), why
    assert json.loads(str(kept.grading)) == {"options": dict(zip("ABC", options, strict=False))}
    assert kept.problem_id == problem_id(problem, reference, "choice", kept.grading)


@pytest.mark.parametrize(
    ("row", "detail"),
    [
        (
            {"choices": ["x", "y"], "answer": 2},
            "column 'choices' has no option that the reference 2 names; there are 2",
        ),
        ({"choices": ["x", "y"], "answer": -1}, "column 'choices' has no option that the reference -1 names"),
        ({"choices": ["x", "y"], "answer": "z"}, "column 'choices' has no option that the reference 'z' names"),
        ({"choices": ["x", "x"], "answer": "x"}, "column 'choices' has no option that the reference 'x' names"),
        ({"choices": ["x"], "answer": 0}, "column 'choices' holds 1 options, not 2 to 26"),
        ({"choices": "x, y", "answer": 0}, "column 'choices' is not JSON: "),
        ({"choices": None, "answer": 0}, "column 'choices' holds a NoneType, not a list or an object of options"),
        (
            {"choices": [["x"], ["y"]], "answer": 0},
            "column 'choices' holds a list, not a list or an object of options",
        ),
    ],
)
def test_a_choice_that_cannot_be_read_is_dropped(tmp_path: Path, row: dict[str, object], detail: str) -> None:
    good = {"question": "p", "choices": ["x", "y"], "answer": 0}

    loaded = load(tmp_path, good, {"question": "q"} | row, answer_type="choice")

    (dropped,) = loaded.dropped
    assert (dropped.place, dropped.reason, dropped.detail[: len(detail)]) == ("p.jsonl:2", "wrong_type", detail)


def test_a_choice_without_a_column_of_options_stays_as_it_is(tmp_path: Path) -> None:
    (kept,), _ = load(tmp_path, {"question": "(A) 1 (B) 2", "answer": "B"}, answer_type="choice")

    assert (kept.problem, kept.reference, kept.grading) == ("(A) 1 (B) 2", "B", None)


@pytest.mark.parametrize("cell", [{"absolute": 0.01}, '{"absolute": 0.01}', {"absolute": 0.01, "relative": None}])
def test_grading_is_taken_from_its_column(tmp_path: Path, cell: object) -> None:
    row = {"problem": "p", "answer": "3.14", "how": cell}

    (kept,), _ = load(tmp_path, row, answer_type="number", columns={"grading": "how"})

    assert kept.grading == '{"absolute": 0.01}'
    assert kept.problem_id == problem_id("p", "3.14", "number", kept.grading)


def test_a_grading_that_is_no_object_is_dropped_and_an_empty_one_is_none(tmp_path: Path) -> None:
    rows = [{"problem": f"p{i}", "answer": "1", "how": how} for i, how in enumerate((None, "[1]", 5, "{"))]

    loaded = load(tmp_path, *rows, answer_type="number", columns={"grading": "how"})

    assert [kept.grading for kept in loaded.kept] == [None]
    assert [row.detail.partition(": ")[0] for row in loaded.dropped] == [
        "column 'how' holds a list, not a JSON object",
        "column 'how' holds a int, not a JSON object",
        "column 'how' is not JSON",
    ]


def test_code_has_its_tests_and_keeps_its_lines(tmp_path: Path) -> None:
    code = "def f():\n    return 1  #### 2"
    row = {"prompt": "p", "code": code, "test_list": ["assert f() == 1", "assert f()"]}

    (kept,), _ = load(tmp_path, row, answer_type="code", columns={"reference": "code"})

    assert kept.reference == code
    assert json.loads(str(kept.grading)) == {"tests": "assert f() == 1\nassert f()"}


@pytest.mark.parametrize("name", ["n_queens", "tower_of_hanoi", "word_ladder", "calendar_arithmetic"])
def test_generated_problems_carry_their_puzzle(name: str) -> None:
    kept = generate({"reasoning_gym": name}, 3).kept

    for problem in kept:
        grading = json.loads(str(problem.grading))
        assert problem.answer_type == "reasoning_gym"
        assert (grading["dataset"], grading["entry"].keys()) == (name, {"answer", "metadata"})


def test_generated_problems_may_be_mathematics() -> None:
    source = {"generate": {"reasoning_gym": "chain_sum", "size": 2}, "answer_type": "math"}

    kept = load_problems([ProblemSource.model_validate(source)]).kept

    assert {(problem.answer_type, problem.grading) for problem in kept} == {("math", None)}
