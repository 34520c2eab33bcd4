"""The recipe: what a person writes is what the run does, and every mistake is named by key and line."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mixdistill.errors import RecipeError, StorageError
from mixdistill.recipe import Recipe
from mixdistill.recipe_file import copy_recipe, load_recipe, shipped_recipes
from mixdistill.records import canonical_json
from mixdistill.teachers import DatasetTeacher, LlamaCppTeacher, OpenAITeacher
from mixdistill.yaml_file import dump_yaml

TEXT = """\
name: small
problems:
  - {file: problems.jsonl, license: mit}
teachers:
  long: {engine: dataset, file: traces.jsonl, style: long}
  short:
    engine: openai
    model: m
    style: short
mixes:
  mix: {long: 0.2, short: 0.8}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def refusal(path: Path, *settings: str) -> str:
    """What is wrong with the recipe: its message, without the path."""
    with pytest.raises(RecipeError) as raised:
        load_recipe(str(path), settings)
    assert raised.value.exit_code == 2
    message = str(raised.value)
    assert "\n" not in message
    return message.removeprefix(f"{path}:").strip()


def rewrite(path: Path, old: str, new: str) -> None:
    assert TEXT.count(old) == 1
    path.write_text(TEXT.replace(old, new), encoding="utf-8")


def test_defaults_are_filled_in_and_paths_are_resolved(recipe: Path) -> None:
    loaded = load_recipe(str(recipe))

    assert (loaded.name, loaded.seed, loaded.limit, loaded.mixing.match) == ("small", 42, None, "problems")
    assert loaded.problems[0].file == recipe.parent / "problems.jsonl"
    long, short = loaded.teachers["long"], loaded.teachers["short"]
    assert isinstance(long, DatasetTeacher)
    assert isinstance(short, OpenAITeacher)
    assert long.file == recipe.parent / "traces.jsonl"
    assert (short.temperature, short.max_tokens, short.samples) == (0.0, 16_384, 1)
    assert "{{problem}}" in short.prompt.problem
    assert "Final Answer: \\boxed{your_answer}" in short.prompt.problem


@pytest.mark.parametrize(
    "content",
    [TEXT.replace("\n", "\r\n").encode(), b"\xef\xbb\xbf" + TEXT.encode(), b"--- # comment\n" + TEXT.encode()],
    ids=["Windows newlines", "byte order mark", "document mark"],
)
def test_the_bytes_of_other_editors_are_the_same_recipe(recipe: Path, content: bytes) -> None:
    expected = load_recipe(str(recipe))
    recipe.write_bytes(content)

    assert load_recipe(str(recipe)) == expected


def test_the_same_recipe_is_the_same_from_every_folder(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load_recipe(str(recipe))

    monkeypatch.chdir(recipe.parent)
    for name in ("recipe.yaml", "./recipe.yaml", "."):
        assert load_recipe(name) == expected


def test_a_resolved_recipe_is_the_same_when_it_is_read_again_from_elsewhere(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(recipe.parent)
    loaded = load_recipe("recipe.yaml")
    copy = tmp_path / "run" / "recipe.yaml"
    copy.parent.mkdir()
    copy.write_text(yaml.safe_dump(loaded.model_dump(mode="json", exclude_defaults=True)), encoding="utf-8")

    assert load_recipe(str(copy)) == loaded
    assert load_recipe(str(copy.parent)) == loaded


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: small", "name: small\ntecahers: 1", "2: unknown key 'tecahers'; did you mean 'teachers'?"),
        ("license: mit", "licence: mit", "3: unknown key 'problems.0.licence'; did you mean 'license'?"),
        ("license: mit", "columns: {refrence: x}",
         "3: unknown key 'problems.0.columns.refrence'; did you mean 'reference'?"),
        ("file: problems.jsonl", "generate: {reasoning_gym: a, sise: 3}",
         "3: unknown key 'problems.0.generate.sise'; did you mean 'size'? (and 1 more)"),
        ("    model: m", "    model: m\n    sample: 3",
         "9: unknown key 'teachers.short.sample'; did you mean 'samples'?"),
        ("style: long", "style: long, columns: {respons: x}",
         "5: unknown key 'teachers.long.columns.respons'; did you mean 'response'?"),
        ("    model: m", "    model: m\n    prompt: {systm: x}",
         "9: unknown key 'teachers.short.prompt.systm'; did you mean 'system'?"),
        ("    model: m", "    model: m\n    prompt:\n      examples:\n        - problm: x\n          response: y",
         "11: unknown key 'teachers.short.prompt.examples.0.problm'; did you mean 'problem'? (and 1 more)"),
        ("mixes:", "verify: {timeout_second: 3}\nmixes:",
         "10: unknown key 'verify.timeout_second'; did you mean 'timeout_seconds'?"),
        ("mixes:", "stats: {tokeniser: x}\nmixes:",
         "10: unknown key 'stats.tokeniser'; did you mean 'tokenizer'?"),
        ("mixes:", "mixing: {row: 3}\nmixes:", "10: unknown key 'mixing.row'; did you mean 'rows'?"),
        ("mixes:", "publish: {repo: a/b, privat: 1}\nmixes:",
         "10: unknown key 'publish.privat'; did you mean 'private'?"),
        # An engine's name where a key should be: pydantic puts the same word into the place of every teacher.
        ("    model: m", "    model: m\n    openai: 3",
         "9: unknown key 'teachers.short.openai' (there are: style, "),
        ("style: long", "style: long, dataset: x", "5: unknown key 'teachers.long.dataset' (there are: style, "),
        ("mixes:", "budget: {usdd: 3}\nmixes:", "10: unknown key 'budget.usdd'; did you mean 'usd'?"),
        ("mixes:", "failures: {windw: 3}\nmixes:", "10: unknown key 'failures.windw'; did you mean 'window'?"),
        ("mixes:", "cluster: {replica: 3}\nmixes:", "10: unknown key 'cluster.replica'; did you mean 'replicas'?"),
        ("    model: m", "    model: m\n    samples: {until_corect: 1, at_most: 2}",
         "9: unknown key 'teachers.short.samples.until_corect'; did you mean 'until_correct'? (and 1 more)"),
        ("    model: m", "    model: m\n    price: {outputt: 1}",
         "9: unknown key 'teachers.short.price.outputt'; did you mean 'output'?"),
        ("    model: m", "    model: m\n    tensor_paralel: 2",
         "9: unknown key 'teachers.short.tensor_paralel'; did you mean 'tensor_parallel'?"),
        ("name: small", "name: small\nxyz: 1", "2: unknown key 'xyz' (there are: name, language, seed, "),
        # The misspelt key is told, not the one that is missing for it.
        ("name: small", "nmae: small", "1: unknown key 'nmae'; did you mean 'name'? (and 1 more)"),
    ],
    ids=lambda value: str(value)[:25],
)  # fmt: skip
def test_an_unknown_key_is_named_with_its_line_and_the_near_match(
    recipe: Path, old: str, new: str, message: str
) -> None:
    rewrite(recipe, old, new)

    told = refusal(recipe)

    assert told == message if message.endswith((")", "?")) else told.startswith(message)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: small\n", "", "name is missing"),
        ("name: small", "name: ../up", "1: name: String should match pattern"),
        ("name: small", "name: small\nseed: many", "2: seed: Input should be a valid integer"),
        ("name: small", "name: small\nseed: 1.5", "2: seed: Input should be a valid integer"),
        ("name: small", "name: small\nlimit: 0", "2: limit: Input should be greater than or equal to 1"),
        ("  - {file: problems.jsonl, license: mit}", "  []", "2: problems: List should have at least 1 item"),
        ("  - {file: problems.jsonl, license: mit}", "  {file: a}", "2: problems: Input should be a valid list"),
        ("license: mit", "hub: a/b", "3: problems.0: needs exactly one of file, hub, generate"),
        ("file: problems.jsonl, ", "", "3: problems.0: needs exactly one of file, hub, generate"),
        ("file: problems.jsonl", "file: ~nobody-here/p.jsonl", "3: problems.0.file: ~nobody-here/p.jsonl: "),
        ("file: traces.jsonl", "file: traces.jsonl, hub: a/b", "5: teachers.long: needs exactly one of file, hub"),
        ("license: mit", "answer_type: reasoning_gym",
         "3: problems.0: answer_type reasoning_gym needs generate, or columns: {grading: ...}"),
        ("style: long", "style: medium", "5: teachers.long.style: Input should be 'long' or 'short'"),
        (", style: long", "", "5: teachers.long.style is missing"),
        ("engine: openai", "engine: opnai", "7: teachers.short.engine: no engine 'opnai'; did you mean 'openai'?"),
        ("engine: openai", "engine: x",
         "7: teachers.short.engine: no engine 'x' (there are: openai, vllm, llamacpp, dataset"),
        ("    engine: openai\n", "", "6: teachers.short.engine: has to be named: openai, vllm, llamacpp, dataset"),
        ("{engine: dataset, file: traces.jsonl, style: long}", "QwQ", "5: teachers.long.engine: has to be named"),
        ("{engine: dataset, file: traces.jsonl, style: long}", "", "5: teachers.long.engine: has to be named"),
        ("    model: m\n", "", "6: teachers.short.model is missing"),
        ("model: m", "model: m\n    samples: 4",
         "6: teachers.short: samples: 4 at temperature 0 are 4 copies; set a temperature"),
        ("model: m", "model: m\n    temperature: -1",
         "9: teachers.short.temperature: Input should be greater than or equal to 0"),
        ("model: m", "model: m\n    extra_body: {top_k: 20, temperature: 1}",
         "9: teachers.short.extra_body.temperature: cannot be set here; set 'temperature' of the teacher; null"),
        ("model: m", "model: m\n    extra_body:\n      top_k: 20\n      n: 4",
         "11: teachers.short.extra_body.n: cannot be set here; set 'samples' of the teacher: each is a request"),
        ("model: m", "model: m\n    extra_body: {max_tokens: null, max_completion_tokens: 9}",
         "9: teachers.short.extra_body.max_tokens: cannot be set here; set 'max_tokens' of the teacher"),
        ("model: m", "model: m\n    limit_field: max_token",
         "9: teachers.short.limit_field: Input should be 'max_tokens' or 'max_completion_tokens'"),
        ("model: m", "model: m\n    base_url: localhost:8000",
         "9: teachers.short.base_url: is not an http(s) address (a key belongs into"),
        ("long: 0.2", "long: 0.3", "11: mixes.mix: shares of mix mix sum to 1.1, not to 1"),
        ("{long: 0.2, short: 0.8}", "{}", "11: mixes.mix: shares of mix mix sum to 0, not to 1"),
        ("{long: 0.2, short: 0.8}", "{long: -0.2, short: 1.2}",
         "11: mixes.mix.long: the share is -0.2, not between"),
        ("{long: 0.2, short: 0.8}", "{long: .nan, short: 1}", "11: mixes.mix.long: the share is nan, not between"),
        ("long: 0.2", "long: a fifth", "11: mixes.mix.long: the share is 'a fifth', not a number"),
        ("{long: 0.2", "{lnog: 0.2", "11: mixes.mix: no teacher, style or size 'lnog'; did you mean 'long'?"),
        ("{long: 0.2", "{zebra: 0.2", "11: mixes.mix: no teacher, style or size 'zebra' (there are: long, short)"),
        ("{long: 0.2", "{large: 0.2", "11: mixes.mix: no teacher, style or size 'large' (there are: long, short)"),
        ("  mix:", "  traces:", "11: mixes.traces: this name is taken; choose another one"),
        ("  mix:", "  a/b:", "11: mixes.a/b.[key]: String should match pattern"),
        ("  mix:", "  1:", "11: mixes.1.[key]: Input should be a valid string"),
        ("mixes:\n  mix: {long: 0.2, short: 0.8}", "mixes:", "10: mixes: Input should be a valid dictionary"),
        ("mixes:", "mixing: {contrasts: [[mxi]]}\nmixes:",
         "10: mixing.contrasts: no mix 'mxi'; did you mean 'mix'?"),
        ("mixes:", "mixing: {contrasts: [[]]}\nmixes:", "10: mixing.contrasts.0: List should have"),
        ("mixes:", "mixing: {at_most: {level: 0}}\nmixes:", "10: mixing.at_most.level: the number is 0"),
        ("mixes:", "mixing: {at_most: {level: {1: many}}}\nmixes:",
         "10: mixing.at_most.level: the number of 1 is 'many', not a whole"),
        ("mixes:", "mixing: {tokens: 5}\nmixes:", "10: mixing.tokens: is for match: tokens; set rows, or match"),
        ("mixes:", "mixing: {match: tokens, rows: 5}\nmixes:", "10: mixing.rows: does not go with match: tokens"),
        ("mixes:", "mixing: {select: student}\nmixes:", "10: mixing.select: student needs mixing.student"),
        ("mixes:", "mixing: {difficulty: {keep: [0.5, 0.2]}}\nmixes:",
         "10: mixing.difficulty: keep: from 0.5 to 0.2 lies no pass rate"),
        ("mixes:", "mixing: {difficulty: {bands: {a: [0, 0.5], b: [0.4, 1]}}}\nmixes:",
         "10: mixing.difficulty: bands a and b overlap"),
        ("{long: 0.2, short: 0.8}", "{hrad: {long: 1}, easy: {short: 1}}",
         "11: mixes.mix: no band of difficulty 'hrad'; did you mean 'hard'?"),
        ("{long: 0.2, short: 0.8}", "{hard: {long: 1}, short: 1}",
         "11: mixes.mix: 'short' has a share, and 'hard' has shares of its own"),
        ("{long: 0.2, short: 0.8}", "{hard: {long: 1}, easy: {short: 0.5}}",
         "11: mixes.mix: shares of mix mix, band easy, sum to 0.5, not to 1"),
        ("mixes:", "mixing: {prompt: Solve it.}\nmixes:",
         "10: mixing.prompt: has no {{problem}} in it, so nobody would ever see the problem"),
        ("mixes:", "publish: {private: true}\nmixes:", "10: publish.repo is missing"),
        ("mixes:", "publish: {repo: name}\nmixes:", "10: publish.repo: String should match pattern"),
        ("name: small", "name: small\n1: x", "2: 1: Keys should be strings"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_line_and_the_reason(
    recipe: Path, old: str, new: str, message: str
) -> None:
    rewrite(recipe, old, new)

    assert refusal(recipe).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a mapping of keys to values"),
        ("- a\n", "not a mapping of keys to values"),
        ("hello", "not a mapping of keys to values"),
        (TEXT + "x: [\n", "not YAML: while parsing a flow node expected the node content, but found"),
        (TEXT + "\tx: 1\n", "not YAML: while scanning"),
        ("name: a\0b\n", "not YAML: unacceptable character #x0000"),
        (TEXT + "---\n" + TEXT, "not YAML: expected a single document in the stream"),
        (TEXT + "? [a]\n: b\n", "not YAML: while constructing a mapping"),
        (TEXT + "? {a: b}\n: b\n", "not YAML: while constructing a mapping"),
        (TEXT + "x: *nobody\n", "not YAML: found undefined alias 'nobody'"),
        (TEXT + "x: " + "[" * 500 + "]" * 500 + "\n", "nested too deeply"),
        (TEXT + "x: &a [*a]\n", "12: unknown key 'x'"),
        (
            TEXT + "revision: 2024-02-30\n",
            "not YAML: '2024-02-30' is no timestamp in \"<unicode string>\", line 12, column 11",
        ),
        (TEXT + "seed: !!int many\n", "not YAML: 'many' is no int in"),
        (TEXT + "seed: !!bool maybe\n", "not YAML: 'maybe' is no bool in"),
        (TEXT + "seed: !!timestamp soon\n", "not YAML: 'soon' is no timestamp in"),
        (TEXT + "seed: " + "9" * 5000 + "\n", "not YAML: '" + "9" * 50 + "' is no int in"),
        (TEXT + "x: {a: [1, 0x_]}\n", "not YAML: '0x_' is no int in"),
        (TEXT + "name: x\n", "12: key 'name' stands here a second time"),
        (
            TEXT.replace("    model: m\n", "    model: m\n    model: n\n"),
            "9: key 'model' stands here a second time",
        ),
        (TEXT + "  mix: {long: 1}\n", "12: key 'mix' stands here a second time"),
        (TEXT.replace("license: mit", "license: mit, license: x"), "3: key 'license' stands here a second time"),
    ],
    ids=lambda value: str(value)[-40:],
)
def test_what_is_no_yaml_mapping_is_refused(recipe: Path, content: str, message: str) -> None:
    recipe.write_text(content, encoding="utf-8")

    assert refusal(recipe).startswith(message)


def test_text_that_is_not_utf8_is_refused(recipe: Path) -> None:
    recipe.write_bytes(b"name: caf\xe9\n")

    assert refusal(recipe).startswith("not YAML: 'utf-8' codec can't decode byte 0xe9")


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch owned']",
        "!!python/object/new:os.system ['touch owned']",
        "!!python/name:os.system",
        "!!python/module:os",
    ],
)
def test_no_tag_makes_an_object(recipe: Path, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(recipe.parent)
    recipe.write_text(f"{TEXT}seed: {value}\n", encoding="utf-8")

    assert refusal(recipe).startswith("not YAML: could not determine a constructor for the tag")
    recipe.write_text(TEXT, encoding="utf-8")
    assert refusal(recipe, f"seed={value}") == f"--set seed={value}: the value is not YAML"
    assert [path.name for path in recipe.parent.iterdir()] == ["recipe.yaml"]


def test_aliases_of_aliases_are_not_written_out(recipe: Path) -> None:
    levels = [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]" for n in range(1, 30)]  # 9^29 entries
    recipe.write_text("\n".join([TEXT + "x0: &x0 [a]", *levels]), encoding="utf-8")

    assert refusal(recipe).startswith("12: unknown key 'x0'")


def test_what_stands_behind_an_alias_counts(recipe: Path) -> None:
    text = TEXT.replace("long: {engine", "long: &t {engine") + "  one: {again: 1}\n"
    recipe.write_text(text.replace("  short:\n", "  again: {<<: *t, model: again}\n  short:\n"), encoding="utf-8")

    again = load_recipe(str(recipe)).teachers["again"]

    assert (again.engine, again.style, again.model) == ("dataset", "long", "again")


@pytest.mark.parametrize(
    ("setting", "read", "expected"),
    [
        ("seed=7", lambda r: r.seed, 7),
        ("limit=5", lambda r: r.limit, 5),
        ("limit=null", lambda r: r.limit, None),
        ("name=other", lambda r: r.name, "other"),
        ("problems.0.name=a=b", lambda r: r.problems[0].name, "a=b"),
        ("problems.0.file=q.jsonl", lambda r: r.problems[0].file.name, "q.jsonl"),
        ("problems.0={hub: a/b, split: test}", lambda r: r.problems[0].hub, "a/b"),
        ("teachers.short.temperature=1e-3", lambda r: r.teachers["short"].temperature, 0.001),
        ("teachers.short.temperature=null", lambda r: r.teachers["short"].temperature, None),
        ("teachers.short.extra_body.chat_template_kwargs.enable_thinking=false",
         lambda r: r.teachers["short"].extra_body, {"chat_template_kwargs": {"enable_thinking": False}}),
        ("verify.timeout_seconds=1", lambda r: r.verify.timeout_seconds, 1.0),
        ("mixes.mix={long: 1}", lambda r: r.mixes, {"mix": {"long": 1.0}}),
        ("mixes.only={short: 1}", lambda r: list(r.mixes), ["mix", "only"]),
        ("publish.repo=me/x", lambda r: (r.publish.repo, r.publish.private), ("me/x", True)),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_setting_changes_one_key(
    recipe: Path, setting: str, read: Callable[[Recipe], object], expected: object
) -> None:
    assert read(load_recipe(str(recipe), [setting])) == expected


def test_settings_apply_in_order(recipe: Path) -> None:
    loaded = load_recipe(str(recipe), ["mixes.mix.long=0.5", "mixes.mix.short=0.5", "seed=1", "seed=2"])

    assert (loaded.mixes, loaded.seed) == ({"mix": {"long": 0.5, "short": 0.5}}, 2)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("seed", "--set seed: not of the form key=value"),
        ("=3", "--set =3: not of the form key=value"),
        ("", "--set : not of the form key=value"),
        ("seed=[", "--set seed=[: the value is not YAML"),
        ("problems.0.revision=2024-02-30", "--set problems.0.revision=2024-02-30: the value is not YAML"),
        ("problems.1.split=test", "--set problems.1.split=test: the recipe has no 1 there"),
        ("problems.-1.split=test", "--set problems.-1.split=test: the recipe has no -1 there"),
        ("problems.1=x", "--set problems.1=x: the recipe has no problems.1"),
        ("problems.²=x", "--set problems.²=x: the recipe has no problems.²"),
        ("problems.x=1", "--set problems.x=1: the recipe has no problems.x"),
        ("name.x=1", "--set name.x=1: the recipe has no name.x"),
        ("name.x.y=1", "--set name.x.y=1: the recipe has no x there"),
        ("seed=", "seed: Input should be a valid integer"),
        ("sede=1", "unknown key 'sede'; did you mean 'seed'?"),
        ("mixes.mix.long=0.3", "11: mixes.mix: shares of mix mix sum to 1.1, not to 1"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(recipe: Path, setting: str, message: str) -> None:
    assert refusal(recipe, setting) == message or refusal(recipe, setting).startswith(f"{message},")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gsm8k-teacher", "gsm8k-teacher: no such file, and no shipped recipe; did you mean 'gsm8k-teachers'?"),
        ("nowhere/recipe.yaml", "nowhere/recipe.yaml: no such file, and no shipped recipe"),
        ("x" * 300, "x" * 300 + ": no such file, and no shipped recipe"),
        ("a\0b", "a\0b: no such file, and no shipped recipe"),
    ],
)
def test_a_recipe_that_is_not_there_is_named(name: str, message: str) -> None:
    with pytest.raises(RecipeError) as raised:
        load_recipe(name)

    assert str(raised.value).startswith(message)


def with_prompt(recipe: Path, prompt: str, folder: Path | None = None, **files: str) -> None:
    rewrite(recipe, "    model: m", f"    model: m\n    prompt: {prompt}")
    for name, content in files.items():
        ((folder or recipe.parent) / name.replace("_", ".")).write_text(content, encoding="utf-8")


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("paper", "Solve the following math problem."),
        ("mine", "Mine: {{problem}}"),
        ("mine.prompt.yaml", "Mine: {{problem}}"),
        ("{problem: 'Inline: {{problem}}'}", "Inline: {{problem}}"),
        ("{system: Think.}", "{{problem}}"),
    ],
)
def test_a_prompt_is_found_by_name_by_file_and_inline(recipe: Path, prompt: str, expected: str) -> None:
    with_prompt(recipe, prompt, mine_prompt_yaml="problem: 'Mine: {{problem}}'\n")

    teacher = load_recipe(str(recipe)).teachers["short"]

    assert isinstance(teacher, OpenAITeacher)
    assert teacher.prompt.problem.startswith(expected)


def test_a_prompt_beside_the_recipe_goes_before_the_shipped_one(recipe: Path) -> None:
    with_prompt(recipe, "paper", paper_prompt_yaml="problem: 'Mine: {{problem}}'\nsystem: Größe\n")

    teacher = load_recipe(str(recipe)).teachers["short"]

    assert isinstance(teacher, OpenAITeacher)
    assert (teacher.prompt.problem, teacher.prompt.system) == ("Mine: {{problem}}", "Größe")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("problem: Solve it.\n", "{file}:1: problem: has no {{problem}} in it, so nobody would ever see"),
        ("problem: '{{problem}}'\nsystm: x\n", "{file}:2: unknown key 'systm'; did you mean 'system'?"),
        ("problem: '{{problem}}'\nexamples:\n  - problem: x\n    respons: y\n",
         "{file}:4: unknown key 'examples.0.respons'; did you mean 'response'? (and 1 more)"),
        ("examples: [{problem: x}]\n", "{file}:1: examples.0.response is missing"),
    ],
)  # fmt: skip
def test_a_fault_in_a_prompt_file_is_named_in_it(recipe: Path, content: str, message: str) -> None:
    with_prompt(recipe, "mine", mine_prompt_yaml=content)

    file = str(recipe.parent / "mine.prompt.yaml")
    assert refusal(recipe).startswith(f"9: teachers.short.prompt: {message.replace('{file}', file)}")


def test_a_prompt_file_that_is_no_yaml_is_named(recipe: Path) -> None:
    with_prompt(recipe, "mine", mine_prompt_yaml="problem: [")

    assert refusal(recipe).startswith(f"{recipe.parent / 'mine.prompt.yaml'}: not YAML: ")


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("papper", "papper: no such file, and no shipped prompt 'papper'; did you mean 'paper'?"),
        ("'Solve this: " + "x" * 300 + "'", ": no such file, and no shipped prompt 'Solve this: "),
        ("{problem: Solve it.}", "has no {{problem}} in it, so nobody would ever see the problem"),
        ("[a]", "teachers.short.prompt: Input should be a valid dictionary"),
    ],
)
def test_a_prompt_that_is_not_there_is_named(recipe: Path, prompt: str, message: str) -> None:
    with_prompt(recipe, prompt)

    assert message in refusal(recipe)
    assert refusal(recipe).startswith("9: teachers.short.prompt")


@pytest.mark.parametrize(
    ("url", "stored"),
    [
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"),
        ("https://api.example.com", "https://api.example.com"),
        ("http://user:s3cret@host/v1", None),
        ("http://s3cret@host/v1", None),
        ("ftp://host/s3cret", None),
        ("http://host/v1 s3cret", None),
        ("''", None),
    ],
)
def test_an_address_is_http_and_holds_no_key(recipe: Path, url: str, stored: str | None) -> None:
    rewrite(recipe, "    model: m", f"    model: m\n    base_url: {url}")

    if stored is None:
        assert "base_url: is not an http(s) address (a key belongs into" in refusal(recipe)
        assert "s3cret" not in refusal(recipe)
    else:
        assert getattr(load_recipe(str(recipe)).teachers["short"], "base_url", None) == (stored,)


@pytest.mark.parametrize(
    ("keys", "model", "gguf"),
    [
        ("", "SmolLM2-135M-Instruct", None),
        (", gguf: weights/Tiny-Q4.gguf", "Tiny-Q4", "weights/Tiny-Q4.gguf"),
        (", gguf: weights/Tiny-Q4.gguf, model: Tiny", "Tiny", "weights/Tiny-Q4.gguf"),
    ],
)
def test_an_embedded_teacher_is_named_after_its_file(
    recipe: Path, keys: str, model: str, gguf: str | None
) -> None:
    rewrite(
        recipe, "{engine: dataset, file: traces.jsonl, style: long}", f"{{engine: llamacpp, style: long{keys}}}"
    )

    teacher = load_recipe(str(recipe)).teachers["long"]

    assert isinstance(teacher, LlamaCppTeacher)
    assert (teacher.model, teacher.gguf) == (model, recipe.parent / gguf if gguf else None)


def test_a_part_is_a_teacher_before_it_is_a_style_or_a_size(recipe: Path) -> None:
    loaded = load_recipe(str(recipe), ["teachers.short.size=small", "teachers.long.size=small"])

    assert loaded.teachers_of("long") == ["long"]
    assert loaded.teachers_of("small") == ["long", "short"]
    assert loaded.teachers_of("large") == []


def test_parts_are_not_checked_where_a_file_names_the_teachers(recipe: Path) -> None:
    loaded = load_recipe(str(recipe), ["teachers.long.columns.teacher=who", "mixes.mix={gpt: 1}"])

    assert loaded.mixes == {"mix": {"gpt": 1.0}}


def test_the_public_recipe_tells_nothing_of_this_machine(recipe: Path, tmp_path: Path) -> None:
    settings = [
        "teachers.short.base_url=http://10.1.2.3:8000/v1", "teachers.short.api_key_env=MY_SECRET_NAME",
        f"teachers.own={{engine: llamacpp, style: short, threads: 7, gguf: {tmp_path}/w/Tiny.gguf}}",
        "stats.tokenizer=tokens/tokenizer.json", "problems.0.file=../up/problems.jsonl",
    ]  # fmt: skip
    loaded = load_recipe(str(recipe), settings)

    public = loaded.public()

    text = canonical_json(public)
    assert not any(secret in text for secret in (str(tmp_path), "10.1.2.3", "SECRET", "threads", "..", "tokens/"))
    assert public["problems"] == [{"file": "problems.jsonl", "license": "mit"}]
    assert public["stats"] == {"tokenizer": "tokenizer.json"}
    assert public["mixes"] == {"mix": {"long": 0.2, "short": 0.8}}
    teachers = public["teachers"]
    assert isinstance(teachers, dict)
    assert teachers["long"] == {"engine": "dataset", "file": "traces.jsonl", "style": "long"}
    assert set(teachers["short"]) == {"engine", "model", "style", "prompt"}
    assert (teachers["own"]["gguf"], teachers["own"]["model"]) == ("Tiny.gguf", "Tiny")
    assert loaded == load_recipe(str(recipe), settings), "the recipe itself is as it was"


def test_null_is_still_null_in_the_recipe_of_a_run(recipe: Path, tmp_path: Path) -> None:
    settings = ["teachers.short.temperature=null", "teachers.short.top_p=null", "teachers.short.samples=4"]
    loaded = load_recipe(str(recipe), settings)
    copy = tmp_path / "run" / "recipe.yaml"
    copy.parent.mkdir()
    copy.write_text(dump_yaml(loaded.model_dump(mode="json", exclude_defaults=True)), encoding="utf-8")

    short = load_recipe(str(copy)).teachers["short"]

    assert isinstance(short, OpenAITeacher)
    assert (short.temperature, short.top_p, short.samples) == (None, None, 4)
    assert short == loaded.teachers["short"]


@pytest.mark.parametrize("tokenizer", ["Qwen/Qwen2.5-1.5B-Instruct", "gpt2"])
def test_a_tokenizer_on_the_hub_is_no_path(recipe: Path, tokenizer: str) -> None:
    loaded = load_recipe(str(recipe), [f"stats.tokenizer={tokenizer}"])

    assert loaded.stats.tokenizer == tokenizer
    assert loaded.public()["stats"] == {"tokenizer": tokenizer}


def test_a_tokenizer_file_lies_beside_the_recipe(recipe: Path) -> None:
    loaded = load_recipe(str(recipe), ["stats.tokenizer=tokenizer.json"])

    assert loaded.stats.tokenizer == str(recipe.parent / "tokenizer.json")


@pytest.mark.parametrize("name", [*shipped_recipes()])
def test_a_shipped_recipe_is_copied_and_means_the_same_but_for_its_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "new" / "folder"

    copies = copy_recipe(name, folder)

    assert copies[0] == folder / "recipe.yaml"
    assert sorted(copies) == sorted(folder.iterdir())
    assert load_recipe(str(folder)).public() == load_recipe(name).public() | {"name": "folder"}
    for source in load_recipe(name).problems:
        if source.file is not None and source.file.exists():
            assert folder / source.file.name in copies


@pytest.mark.parametrize(
    ("folder", "line", "why"),
    [
        ("my-recipe", "name: my-recipe", "the folder's name"),
        ("up/../my.recipe", "name: my.recipe", "the last part of the path"),
        ("1.5", "name: '1.5'", "YAML would take it for a number"),
        ("2024-02-30", "name: '2024-02-30'", "YAML would take it for a date"),
        ("null", "name: 'null'", "YAML would take it for nothing"),
        ("My recipe", "name: quickstart", "a blank cannot be in a name"),
        ("Größe", "name: quickstart", "nor can an umlaut"),
        (".hidden", "name: quickstart", "nor can a dot begin it"),
        ("x" * 101, "name: quickstart", "too long for a name"),
    ],
)
def test_a_copied_recipe_is_named_after_its_folder(tmp_path: Path, folder: str, line: str, why: str) -> None:
    copy = copy_recipe("quickstart", tmp_path / folder)[0]

    shipped = shipped_recipes()["quickstart"].read_text(encoding="utf-8")
    assert copy.read_text(encoding="utf-8") == shipped.replace("name: quickstart", line), why
    assert load_recipe(str(copy)).name == yaml.safe_load(line)["name"]


def test_a_recipe_that_is_copied_to_here_is_named_after_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    copy_recipe("gsm8k-teachers", Path())

    assert load_recipe(".").name == "here"


def test_a_recipe_is_not_copied_over_something_else(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()

    for folder in (tmp_path / "full", tmp_path / "file"):
        with pytest.raises(RecipeError) as raised:
            copy_recipe("gsm8k-teachers", folder)
        assert str(raised.value) == f"{folder}: is there already and not empty; choose another folder"
    with pytest.raises(RecipeError, match="no shipped recipe 'gsm8k-teacher'; did you mean 'gsm8k-teachers'"):
        copy_recipe("gsm8k-teacher", tmp_path / "new")
    with pytest.raises(StorageError, match="cannot be written"):
        copy_recipe("gsm8k-teachers", tmp_path / "file" / "below")
    assert copy_recipe("gsm8k-teachers", tmp_path / "empty")[0].is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "full"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{file: p.jsonl}", "math"),
        ("{file: p.jsonl, answer_type: number, columns: {grading: g}}", "number"),
        ("{file: p.jsonl, answer_type: reasoning_gym, columns: {grading: g}}", "reasoning_gym"),
        ("{generate: {reasoning_gym: maze, size: 1}}", "reasoning_gym"),
        ("{generate: {reasoning_gym: maze, size: 1}, answer_type: math}", "math"),
        ("{file: p.jsonl, generate: null}", "math"),
    ],
)
def test_generated_problems_are_scored_by_their_generator_unless_told_otherwise(
    recipe: Path, source: str, expected: str
) -> None:
    rewrite(recipe, "{file: problems.jsonl, license: mit}", source)

    assert load_recipe(str(recipe)).problems[0].answer_type == expected


def test_a_recipe_cannot_be_changed(recipe: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_recipe(str(recipe)).seed = 1
