"""The card: a head that the Hub takes, a body that no text of a model can break, nothing of this machine."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
import yaml
from loopback_hub import LoopbackHub
from made_runs import finish_run, make_problem, make_recipe, make_run, make_suspect, make_trace
from markdown_it import MarkdownIt
from markdown_it.token import Token

from mixdistill.cards.card import Config, main_mix, make_card
from mixdistill.cards.licences import Licence, resulting_licence
from mixdistill.recipe import Recipe
from mixdistill.records import MixRow, Problem, Trace, polars_schema
from mixdistill.run import Run

MIXES = {"long": {"long": 1.0}, "short": {"short": 1.0}, "mix-long": {"long": 0.2, "short": 0.8}}
HEADINGS = [
    "One row of each part", "How it was made", "Teachers", "Pass rates", "Lengths", "Difficulty",
    "What was left out, and why", "Sources and licence", "Make it again",
]  # fmt: skip
TEMPLATE = Path(__file__).parents[1] / "cards" / "card.md"


class Made(NamedTuple):
    recipe: Recipe
    run: Run

    @property
    def card(self) -> str:
        return (self.run.dataset / "README.md").read_text(encoding="utf-8")

    @property
    def head(self) -> dict[str, Any]:
        read: dict[str, Any] = yaml.safe_load(self.card.split("---\n")[1])
        return read

    @property
    def body(self) -> str:
        return self.card.split("---\n", 2)[2]


def made(folder: Path, problems: Sequence[Problem], traces: Sequence[Trace], recipe: Recipe) -> Made:
    run = make_run(folder / "run", problems, traces)
    finish_run(recipe, run)
    return Made(recipe, run)


PROBLEMS = [make_problem(number) for number in range(10)]
TRACES = [
    *(make_trace(problem, "long", "long", finish_reason=None) for problem in PROBLEMS[:5]),
    *(make_trace(problem, "short") for problem in PROBLEMS),
]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A dataset of ten problems, of which a long trace got five right."""
    return made(tmp_path_factory.mktemp("plain"), PROBLEMS, TRACES, make_recipe(MIXES))


def tables(body: str) -> dict[str, list[list[str]]]:
    """The tables of a body by their second head: rows of cells, as a reader sees them."""
    found: dict[str, list[list[str]]] = {}
    rows: list[list[str]] = []
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    for before, token in itertools.pairwise(tokens):
        if token.type == "table_open":
            rows = []
        elif token.type == "tr_open":
            rows.append([])
        elif before.type in ("th_open", "td_open"):
            rows[-1].append("".join(child.content for child in token.children or []))
        elif token.type == "table_close":
            found[rows[0][1]] = rows
    return found


def parsed(body: str) -> list[Token]:
    """All tokens of a body, those inside of lines too."""
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    return [inner for token in tokens for inner in (token, *(token.children or []))]


def headings(body: str) -> list[str]:
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    return [token.content for before, token in itertools.pairwise(tokens) if before.type == "heading_open"]


def test_the_head_names_configs_sizes_and_licence(plain: Made) -> None:
    head = plain.head

    assert {key: head[key] for key in head if key not in ("configs", "dataset_info", "tags")} == {
        "pretty_name": "made",
        "language": ["en"],
        "license": "mit",
        "task_categories": ["text-generation"],
        "annotations_creators": ["machine-generated"],
        "language_creators": ["machine-generated"],
        "size_categories": ["n<1K"],
    }
    assert head["configs"] == [
        {
            "config_name": name,
            **({"default": True} if name == "mix-long" else {}),
            "data_files": [{"split": "train", "path": f"data/{name}/train-00000-of-00001.parquet"}],
        }
        for name in ("long", "short", "mix-long", "traces")
    ]
    assert {"mixdistill", "synthetic", "chain-of-thought"} <= set(head["tags"])


def test_the_head_types_every_column_and_gives_real_sizes(plain: Made) -> None:
    infos = {info["config_name"]: info for info in plain.head["dataset_info"]}

    assert {name: info["splits"][0]["num_examples"] for name, info in infos.items()} == {
        "long": 5, "short": 5, "mix-long": 5, "traces": 15
    }  # fmt: skip
    assert [feature["name"] for feature in infos["long"]["features"]] == list(polars_schema(MixRow))
    for name, info in infos.items():
        path = plain.run.dataset / "data" / name / "train-00000-of-00001.parquet"
        assert info["download_size"] == path.stat().st_size
        assert info["dataset_size"] == info["splits"][0]["num_bytes"] > 1000


def test_the_hub_takes_the_head(plain: Made, hub: LoopbackHub) -> None:
    from huggingface_hub import DatasetCard

    card = DatasetCard(plain.card)
    card.validate(repo_type="dataset")

    told = vars(card.data)
    assert (told["license"], told["pretty_name"]) == ("mit", "made")
    assert [(seen.path, seen.status) for seen in hub.requests] == [("/api/validate-yaml", 200)]


@pytest.mark.parametrize(
    ("rows", "category"),
    [(1, "n<1K"), (999, "n<1K"), (1_000, "1K<n<10K"), (94_733, "10K<n<100K"), (10**8, "n>100M")],
)
def test_the_size_category_is_that_of_the_largest_config(plain: Made, rows: int, category: str) -> None:
    import datasets

    configs = [Config(name, "p", n, 1, 1, datasets.Features()) for name, n in (("long", rows), ("traces", 1))]

    head = yaml.safe_load(make_card(plain.recipe, plain.run, configs).split("---\n")[1])

    assert head["size_categories"] == [category]


def test_the_default_config_is_the_first_mix_that_mixes() -> None:
    assert main_mix(make_recipe(MIXES)) == "mix-long"
    assert main_mix(make_recipe({"long": {"long": 1.0}, "short": {"short": 1.0}})) == "long"


def test_the_body_has_all_its_sections_and_no_slot_left(plain: Made) -> None:
    assert headings(plain.body) == ["made", *HEADINGS]
    assert re.findall(r"\[\[\w+\]\]", plain.body) == []


def test_every_slot_of_the_template_is_filled() -> None:
    assert set(re.findall(r"\[\[(\w+)\]\]", TEMPLATE.read_text(encoding="utf-8"))) == {
        "title", "purpose", "mix_rows", "repo", "main_mix", "match", "examples", "funnel", "version",
        "teacher_rows", "pass_rate_rows", "length_note", "length_rows", "left_out_rows", "source_rows",
        "licence_note", "recipe", "judge_note", "suspects_note", "contamination_note",
    }  # fmt: skip


def test_the_tables_tell_what_was_counted(plain: Made) -> None:
    found = tables(plain.body)

    mixes, what = found["shares"], found["why"]
    assert [row[:3] for row in mixes] == [
        ["mix", "shares", "rows"],
        ["long", "1 long (5 rows)", "5"],
        ["short", "1 short (5 rows)", "5"],
        ["mix-long", "0.2 long (1 row), 0.8 short (4 rows)", "5"],
    ]
    assert what == [
        ["what", "why", "how many"],
        ["problems, from long, short, mix-long", "no right trace by long", "5"],
    ]
    assert found["licence"] == [["source", "licence", "problems"], ["made", "mit", "10"]]
    assert "10 problems -> 15 traces -> 15 judged correct -> 5 rows in each mix." in plain.body
    assert "These mixes hold the same problems in the same order: `long`, `short`, `mix-long`." in plain.body


def test_a_pass_rate_has_its_n_and_interval_and_an_unknown_one_is_said_to_be(plain: Made) -> None:
    assert "| `long` | long | 5 | 5 | 100.0% | 56.6% to 100.0% | not known |" in plain.body
    assert "| `short` | short | 10 | 10 | 100.0% | 72.2% to 100.0% | 0.0% |" in plain.body


def test_numbers_stand_to_the_right(plain: Made) -> None:
    lines = plain.body.splitlines()
    rules = {line: rule for line, rule in itertools.pairwise(lines) if rule.startswith("| ---")}

    assert rules == {
        "| mix | shares | rows | problems | tokens | characters |": "| --- | --- | ---: | ---: | ---: | ---: |",
        "| teacher | model | style | size | how it was asked |": "| --- | --- | --- | --- | --- |",
        "| teacher | style | judged | correct | pass rate | 95% interval | cut by limit |":
            "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
        "| teacher | unit | p50 | p90 | p99 | reasoning |": "| --- | --- | ---: | ---: | ---: | ---: |",
        "| what | why | how many |": "| --- | --- | ---: |",
        "| source | licence | problems |": "| --- | --- | ---: |",
    }  # fmt: skip


def test_one_row_of_each_part_of_the_main_mix_is_shown(plain: Made) -> None:
    frame = pl.read_parquet(plain.run.mixes / "mix-long" / "train.parquet")

    shown = re.findall(r"\*\*Part `(\w+)`\*\*: (\w+), by `(\w+)`; the reference is `(\d+)`\.", plain.body)

    assert [row[:3] for row in shown] == [("long", "long", "long"), ("short", "short", "short")]
    for part, _, _, reference in shown:
        references = frame.filter((pl.col("part") == part) & (pl.col("reference") == reference))
        assert references.height == 1
        assert f"```text\n{references['problem'].item()}\n```" in plain.body


def test_a_long_row_is_shown_in_part(tmp_path: Path) -> None:
    trace = make_trace(PROBLEMS[0], "short", response="x" * 1_501)
    found = made(tmp_path, PROBLEMS[:1], [trace], make_recipe({"short": {"short": 1.0}}))

    assert f"```text\n{'x' * 1_500} [...]\n```" in found.body


EVIL = "a|b`c``d [[repo]] <b>x</b> [l](http://e.vil) \\| *s* &amp; #"
EVIL_TEXT = "# Not a heading\n---\nlicense: evil\n---\n```\n````\n| a |\n| --- |\n[[title]] <!-- </pre><script>"


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A dataset in which every text that comes from outside tries to break out of its place."""
    problem = replace(make_problem(1), problem=EVIL_TEXT, source=EVIL, license=EVIL, reference="1`|\n2")
    other = replace(make_problem(2), source=EVIL, license=EVIL)
    trace = make_trace(problem, EVIL, response=f"{EVIL_TEXT}\n`````\nend")
    traces = [replace(trace, model=EVIL, reasoning=EVIL_TEXT)]
    recipe = make_recipe(
        {"mix": {EVIL: 1.0}},
        teachers={"all": {"engine": "dataset", "file": "t.jsonl", "style": "short", "columns": {"teacher": "by"}}},
        problems=[{"file": "p.jsonl", "name": EVIL}],
    )
    return made(tmp_path_factory.mktemp("evil"), [problem, other], traces, recipe)


def test_no_text_from_outside_changes_the_build_of_the_card(evil: Made) -> None:
    tokens = parsed(evil.body)

    assert headings(evil.body) == ["made", *HEADINGS]
    assert [token.type for token in tokens if token.type in ("html_block", "html_inline", "hr")] == []
    assert [token.attrGet("href") for token in tokens if token.type == "link_open"] == [
        "https://arxiv.org/abs/2502.12143"
    ]
    assert [*tables(evil.body)] == ["shares", "model", "style", "unit", "why", "licence"]
    assert [token.info for token in tokens if token.type == "fence"] == ["python", "text", "text", "yaml"]


def test_text_from_outside_is_shown_as_it_is(evil: Made) -> None:
    found = tables(evil.body)
    line = " ".join(EVIL.split())
    fences = [token.content for token in parsed(evil.body) if token.type == "fence"]

    assert [row[:2] for row in found["shares"][1:]] == [["mix", f"1 {line} (1 row)"]]
    assert found["licence"][1:] == [[line, line, "2"]]
    assert found["why"][1:] == [["problems, from mix", f"no right trace by {line}", "1"]]
    assert found["model"][1][:2] == [line, line]
    assert [found[head][1][0] for head in ("style", "unit")] == [line, line]
    assert fences[1] == f"{EVIL_TEXT}\n"
    assert fences[2] == f"<think>\n{EVIL_TEXT}\n</think>\n\n{EVIL_TEXT}\n`````\nend\n"
    assert yaml.safe_load(fences[3])["problems"] == [{"file": "p.jsonl", "name": EVIL}]


def test_text_from_outside_does_not_get_into_the_head(evil: Made) -> None:
    assert (evil.head["license"], evil.head["pretty_name"]) == (EVIL.lower(), "made")


def everything(dataset: Path) -> dict[str, str]:
    """The content of every file of a dataset as text; Parquet as JSON."""
    return {
        path.relative_to(dataset).as_posix(): pl.read_parquet(path).write_json()
        if path.suffix == ".parquet"
        else path.read_bytes().decode("utf-8", "replace")
        for path in dataset.rglob("*")
        if path.is_file()
    }


def test_nothing_of_this_machine_gets_out(tmp_path: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    tokenizer = tmp_path / "tokenizer.json"
    Tokenizer(WordLevel({"?": 0}, unk_token="?")).save(str(tokenizer))
    sampled = {
        "engine": "openai", "base_url": "http://10.11.12.13:8000/v1", "api_key_env": "SECRET_KEY_ENV",
        "model": "m", "style": "long", "samples": 4, "temperature": 0.7, "top_p": None,
        "limit_field": "max_tokens",
    }  # fmt: skip
    recipe = make_recipe(
        MIXES,
        teachers={
            "long": sampled,
            "short": {"engine": "dataset", "file": str(tmp_path / "t.jsonl"), "style": "short"},
            "local": {"engine": "llamacpp", "gguf": str(tmp_path / "m.gguf"), "style": "short", "threads": 17},
        },
        problems=[{"file": str(tmp_path / "p.jsonl")}],
        stats={"tokenizer": str(tokenizer)},
    )
    error = f"ClientConnectorError: Cannot connect to host 10.11.12.13:8000 ({tmp_path}, SECRET_KEY_ENV)"
    failed = replace(make_trace(PROBLEMS[0], "long", "long", sample=3, response=""), error=error)

    found = made(tmp_path, PROBLEMS, [*TRACES, failed], recipe)

    told = everything(found.run.dataset)
    assert len(told) == 12
    for secret in (str(tmp_path), "10.11.12.13", "SECRET_KEY_ENV"):
        assert [name for name, content in told.items() if secret in content] == []
    assert "Tokens of reasoning and response, counted by the tokenizer `tokenizer.json`." in found.body
    assert "4 samples a problem, temperature 0.7, top-p the server's own, at most 16,384 tokens |" in found.body
    assert "| traces by `long` | the request failed | 1 |" in found.body
    recipe_told = yaml.safe_load(next(t.content for t in parsed(found.body) if t.info == "yaml"))
    assert recipe_told["teachers"]["local"]["gguf"] == "m.gguf"
    assert "threads" not in recipe_told["teachers"]["local"]
    assert "limit_field" not in recipe_told["teachers"]["long"]
    assert (recipe_told["problems"], recipe_told["stats"]) == (
        [{"file": "p.jsonl"}],
        {"tokenizer": "tokenizer.json"},
    )


def test_lengths_that_nobody_counted_are_characters_and_the_card_says_how_to_count(plain: Made) -> None:
    note = "Nobody counted tokens, so lengths are in characters; set `stats.tokenizer` in the recipe"

    assert note in plain.body
    assert [row[4] for row in tables(plain.body)["shares"][1:]] == ["not counted"] * 3


def test_tokens_that_only_some_teachers_counted_are_told_with_their_rows(tmp_path: Path) -> None:
    traces = [replace(trace, completion_tokens=100) if trace.style == "long" else trace for trace in TRACES]

    body = made(tmp_path, PROBLEMS, traces, make_recipe(MIXES)).body

    assert [row[4] for row in tables(body)["shares"][1:]] == ["500", "not counted", "100 in 1 row"]
    assert "by the teacher's own count; characters where it gave none (set `stats.tokenizer`" in body
    assert "| `long` | tokens | 100 | 100 | 100 | 0.0% |" in body
    assert "| `short` | characters |" in body


def test_without_matching_the_card_does_not_claim_the_same_problems(tmp_path: Path) -> None:
    body = made(tmp_path, PROBLEMS, TRACES, make_recipe(MIXES, mixing={"match": "none"})).body

    assert (
        "The mixes may hold different problems: each is drawn from those that its own teachers got right." in body
    )
    assert "the same problems in the same order" not in body


def test_the_repository_of_the_recipe_is_the_one_to_load(tmp_path: Path) -> None:
    recipe = make_recipe(MIXES, publish={"repo": "tester/mix", "license": "cc-by-4.0"})

    found = made(tmp_path, PROBLEMS, TRACES, recipe)

    assert 'mix = load_dataset("tester/mix", "mix-long", split="train")' in found.body
    assert found.head["license"] == "cc-by-4.0"
    assert "The licence is cc-by-4.0, as its maker states." in found.body


MIT = "The licence is mit, that of all sources."
TERMS = "The terms of the teachers' models apply to what they wrote; read them before you use it."


@pytest.mark.parametrize(
    ("sources", "stated", "expected"),
    [
        ([("a", "mit"), ("b", "mit")], "auto", Licence("mit", f"{MIT} {TERMS}")),
        ([("a", "MIT"), ("b", "mit")], "auto", Licence("mit", f"{MIT} {TERMS}")),
        (
            [("b", None), ("a", None), ("c", "mit")], "auto",
            Licence(None, "No licence is stated, because that of a, b is unknown."),
        ),
        (
            [("a", "mit"), ("b", "cc-by-4.0")], "auto",
            Licence(None, "No licence is stated, because the sources differ: cc-by-4.0, mit."),
        ),
        (
            [("a", None)], "apache-2.0",
            Licence("apache-2.0", f"The licence is apache-2.0, as its maker states. {TERMS}"),
        ),
    ],
)  # fmt: skip
def test_a_licence_is_stated_only_where_there_is_something_to_stand_on(
    sources: list[tuple[str, str | None]], stated: str, expected: Licence
) -> None:
    assert resulting_licence(sources, stated) == expected


def test_an_unknown_licence_is_not_in_the_head(tmp_path: Path) -> None:
    unknown = [replace(problem, license=None) for problem in PROBLEMS]

    found = made(tmp_path, unknown, TRACES, make_recipe(MIXES))

    assert "license" not in found.head
    assert "No licence is stated, because that of made is unknown." in found.body
    assert tables(found.body)["licence"][1] == ["made", "unknown", "10"]


@pytest.mark.parametrize(
    ("fate", "told"),
    [("leave_out", "No mix holds any of these problems."), ("keep", "The mixes may hold these problems all the")],
)
def test_references_that_look_wrong_are_told_with_what_became_of_them(
    tmp_path: Path, fate: str, told: str
) -> None:
    first, second = PROBLEMS[:2]
    suspects = [make_suspect(first), make_suspect(first, "unreadable"), make_suspect(second)]
    run, recipe = (
        make_run(tmp_path, PROBLEMS, TRACES, suspects=suspects),
        make_recipe(MIXES, mixing={"suspect_references": fate}),
    )
    finish_run(recipe, run)

    body = Made(recipe, run).body

    assert (
        "The references of 2 problems look wrong: 2 where two teachers or more agree on another answer, 1 where "
        "the verifier cannot read it. The config `suspects` lists them with the evidence. "
    ) in body
    assert told in body
    reasons = {why: n for _, why, n in tables(body)["why"]}
    assert reasons.get("the reference looks wrong") == ("2" if fate == "leave_out" else None)


def test_a_run_without_suspects_says_so(plain: Made) -> None:
    assert "No reference looks wrong." in plain.body
    assert "suspects" not in [config["config_name"] for config in plain.head["configs"]]


def test_the_card_says_how_many_answers_a_judge_saw_and_that_they_count_nowhere(tmp_path: Path) -> None:
    judge = {"engine": "openai", "model": "/srv/models/wise", "base_url": "http://10.0.0.7/v1"}
    recipe, run = make_recipe(MIXES, verify={"judge": judge}), make_run(tmp_path, PROBLEMS, TRACES)
    verdicts = pl.read_parquet(run.verdicts)
    said = pl.when(pl.int_range(pl.len()) < 3).then(pl.lit("equivalent")).alias("judge_status")
    verdicts.with_columns(said).write_parquet(run.verdicts)
    finish_run(recipe, run)

    card = Made(recipe, run).card

    assert "3 answers that the verifier could not decide went to a judge, `wise` (equivalent 3)." in card
    assert "no mix and no pass rate counts it" in card
    assert "10.0.0.7" not in card
    assert "/srv/models" not in card


def test_the_card_says_against_which_benchmarks_the_problems_were_held(plain: Made, tmp_path: Path) -> None:
    recipe = make_recipe(MIXES, decontaminate={"against": ["math-500", {"file": "mine.jsonl"}], "ngram": 10})

    body = made(tmp_path, PROBLEMS, TRACES, recipe).body

    assert "held against `math-500`, `mine`: exact after normalisation, shared runs of 10 words" in body
    assert "0 problems went for that." in body
    assert "The problems were not held against any benchmark" in plain.body
