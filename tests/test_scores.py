"""Scores under a student: a small random model in a folder, against a plain computation, and the cache of them."""

import importlib.util
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from loopback_hub import LoopbackHub
from made_runs import make_problem, make_recipe, make_run, make_trace, silent
from student_templates import STUDENTS, write_student

from mixdistill.errors import HubError, MissingExtraError, MixdistillError, RecipeError
from mixdistill.recipe import Recipe
from mixdistill.records import Trace
from mixdistill.run import Figures, Run
from mixdistill.score_files import read_scores
from mixdistill.tables import find_traces

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

RESPONSES = [
    "First we add 7 and 5. That gives 12! So the answer is \\boxed{12}.",
    "\\boxed{3}",
    "There are 25 apples. In 5 boxes they are.\n\nSo each box has 5. Wait, that is not right. Let me check: "
    "3 * 4 = 12. And 12 - 2 = 10. Therefore, we divide by two. Hence: \\boxed{4}.",
    "  Zwölf – 十二。 So \\boxed{5}. \n",
]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A student that finds some tokens likely and others not."""
    return make_student(tmp_path_factory.mktemp("students") / "smollm2")


def make_student(folder: Path, seed: int = 0, kind: str = "SmolLM2") -> str:
    write_student(folder, STUDENTS[kind])
    config = transformers.AutoConfig.from_pretrained(folder)
    config.initializer_range = 0.6
    torch.manual_seed(seed)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return str(folder)


def made_traces() -> list[Trace]:
    return [
        make_trace(make_problem(number), "short", response=text) for number, text in enumerate(RESPONSES, start=1)
    ]


def made_run(folder: Path) -> Run:
    from mixdistill.builders.stats import compute_stats

    run = make_run(folder, [make_problem(number) for number in range(1, 5)], made_traces())
    compute_stats(make_recipe({"short": {"short": 1.0}}), run)
    return run


def recipe_for(student: str, **scoring: object) -> Recipe:
    mixing = {"student": student, "prompt": "Solve: {{problem}}", "scoring": {"device": "cpu", **scoring}}
    return make_recipe({"short": {"short": 1.0}}, mixing=mixing)


def scored(recipe: Recipe, run: Run, told: list[int] | None = None) -> dict[str, dict[str, Any]]:
    """The scores by trace id; `told` takes how many were to be computed."""
    from mixdistill.builders.scores import score_traces

    def progress(done: int, total: int, note: str, figures: Figures | None = None, /) -> None:
        if told is not None and done == total:
            told.append(done)

    rows = score_traces(recipe, run, find_traces(run), progress).iter_rows(named=True)
    return {row["trace_id"]: row for row in rows}


def plain(student: str, messages: list[dict[str, str]], window: int | None = None) -> Mapping[str, float]:
    """The measures in the plainest way: one text at a time, no padding, all of the softmax, sorted for ranks."""
    from mixdistill.builders.surprise import sentence_ends

    tokenizer = transformers.AutoTokenizer.from_pretrained(student)
    model = transformers.AutoModelForCausalLM.from_pretrained(student, dtype=torch.float32)
    prompt = tokenizer.apply_chat_template(messages[:1], add_generation_prompt=True)["input_ids"]
    whole = tokenizer.apply_chat_template(messages)["input_ids"]
    behind = len(whole) - 1 - whole[::-1].index(tokenizer.convert_tokens_to_ids("<|im_end|>"))
    own = whole[len(prompt) : behind]

    def judged(context: list[int], ids: list[int]) -> list[tuple[float, int]]:
        with torch.no_grad():
            logits = model(torch.tensor([[*context, *ids]])).logits[0, len(context) - 1 : -1]
        told = []
        for line, token in zip(logits, ids, strict=True):
            order = line.argsort(descending=True).tolist()
            told.append((line.double().softmax(0)[token].log().item(), order.index(token) + 1))
        return told

    of_all = judged(prompt, own)
    measures = {
        "mean_logprob": sum(logprob for logprob, _ in of_all) / len(own),
        "rank_surprisal_ratio": sum(min(rank, 100) for _, rank in of_all) / -sum(logprob for logprob, _ in of_all),
    }
    if window is not None:
        text = tokenizer.decode(own)
        ends = sentence_ends(text)
        steps = [tokenizer(text[a:b])["input_ids"] for a, b in zip([0, *ends], ends, strict=False)]
        assert [token for step in steps for token in step] == own
        means = []
        for number, step in enumerate(steps):
            before = [token for each in steps[max(0, number - window) : number] for token in each]
            told = judged([*prompt, *before], step)
            means.append(sum(logprob for logprob, _ in told) / len(told))
        measures["local_naturalness"] = sum(means) / len(means)
    return measures


def messages(trace: Trace) -> list[dict[str, str]]:
    return [
        {"role": "user", "content": f"Solve: {trace.prompt[0]['content']}"},
        {"role": "assistant", "content": trace.response.rstrip()},
    ]


@pytest.mark.parametrize("batch_tokens", [16, 200, 100_000], ids=["in pieces", "in batches", "all at once"])
def test_scores_are_those_of_a_plain_computation_however_they_are_batched(
    batch_tokens: int, student: str, tmp_path: Path
) -> None:
    found = scored(recipe_for(student, batch_tokens=batch_tokens), made_run(tmp_path))

    for trace in made_traces():
        wanted = plain(student, messages(trace))
        score = found[trace.trace_id]
        assert score["mean_logprob"] == pytest.approx(wanted["mean_logprob"], abs=1e-5)
        assert score["rank_surprisal_ratio"] == pytest.approx(wanted["rank_surprisal_ratio"], abs=1e-4)
        assert (score["local_naturalness"], score["fault"]) == (None, None)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        pytest.param("gemma3_text", {"sliding_window": 8, "num_hidden_layers": 6}, id="a window that slides"),
        pytest.param("granite", {"logits_scaling": 3.0}, id="logits that are scaled behind the last layer"),
        pytest.param("mamba2", {"num_heads": 8, "n_groups": 1, "head_dim": 8, "state_size": 8}, id="a state"),
    ],
)
def test_a_long_row_goes_through_in_pieces_whatever_the_student_remembers_by(
    kind: str, settings: dict[str, object]
) -> None:
    from mixdistill.builders.scorer_transformers import TransformersScorer
    from mixdistill.builders.surprise import Row

    sizes: dict[str, object] = {
        "vocab_size": 97, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 8,
        "num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.5,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **{**sizes, **settings})
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    rows = [Row([3 + (n * n + n // 3) % 94 for n in range(length)], 5) for length in (40, 23, 38)]

    pieces = dict(TransformersScorer(model, 7).score(rows))
    together = dict(TransformersScorer(model, 1000).score(rows))

    for number, row in enumerate(rows):
        with torch.no_grad():
            lines = model(torch.tensor([row.ids])).logits[0].log_softmax(-1)
        wanted = [lines[place - 1, row.ids[place]].item() for place in range(5, len(row.ids))]
        assert pieces[number].logprobs == pytest.approx(wanted, abs=1e-4)
        assert together[number].logprobs == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("window", [0, 2])
def test_each_sentence_sees_the_question_and_so_many_before_it(window: int, student: str, tmp_path: Path) -> None:
    recipe = recipe_for(student, metric="local_naturalness", window=window, batch_tokens=150)
    found = scored(recipe, made_run(tmp_path))

    for trace in made_traces():
        wanted = plain(student, messages(trace), window)
        score = found[trace.trace_id]
        assert score["local_naturalness"] == pytest.approx(wanted["local_naturalness"], abs=1e-5)
        assert score["mean_logprob"] == pytest.approx(wanted["mean_logprob"], abs=1e-5)
    long = found[made_traces()[2].trace_id]
    assert abs(long["local_naturalness"] - long["mean_logprob"]) > 1e-3


@pytest.mark.parametrize("kind", ["Qwen3", "Llama-3.2", "Gemma-3", "DeepSeek-R1-Distill"])
def test_a_trace_stands_behind_the_prompt_of_its_template_and_ends_before_the_end_of_the_turn(
    kind: str, tmp_path: Path
) -> None:
    from mixdistill.builders.student import load_student
    from mixdistill.builders.student_text import Exchange, as_trained

    loaded = load_student(write_student(tmp_path / "student", STUDENTS[kind]))
    response = "That gives 12. So \\boxed{12}."
    (text,) = as_trained(loaded, [Exchange("7 + 5?", {"role": "assistant", "content": f"{response}\n"}, response)])

    assert text is not None
    own = loaded.tokenizer.decode(text.ids[text.first :])
    empty = "<think>\n\n</think>\n\n" if kind == "Qwen3" else ""  # Qwen3 is trained to write it
    assert own == empty + response
    assert [loaded.tokenizer.decode(text.ids[text.first :][:end]) for end in text.steps][-2:] == [
        f"{empty}That gives 12.", own,
    ]  # fmt: skip


def test_reasoning_is_part_of_the_trace_where_the_template_keeps_it(tmp_path: Path) -> None:
    from mixdistill.builders.chat_template import reasoning_form
    from mixdistill.builders.reasoning import join_reasoning
    from mixdistill.builders.student import load_student
    from mixdistill.builders.student_text import Exchange, as_trained

    folder = write_student(tmp_path / "student", STUDENTS["Qwen3"])
    loaded = load_student(folder)
    message: Mapping[str, Any] = join_reasoning("7 and 5 make 12.", "\\boxed{12}", reasoning_form(folder))
    (text,) = as_trained(loaded, [Exchange("7 + 5?", message, "\\boxed{12}")])

    assert text is not None
    assert loaded.tokenizer.decode(text.ids[text.first :]) == (
        "<think>\n7 and 5 make 12.\n</think>\n\n\\boxed{12}"
    )


def test_what_is_scored_is_not_scored_again_and_a_torn_line_is(student: str, tmp_path: Path) -> None:
    run, recipe, told = made_run(tmp_path), recipe_for(student), list[int]()
    first = scored(recipe, run, told)
    again = scored(recipe, run, told)
    (path,) = run.score_files()
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"\n", 0, -1) - 20])  # as kill -9 may leave it: two whole lines
    mended = scored(recipe, run, told)

    assert told == [4, 2]
    assert first == again
    assert numbers(mended) == pytest.approx(numbers(first), abs=1e-5)
    assert len(run.score_files()) == 2
    assert {row["trace_id"]: row["mean_logprob"] for row in read_scores(run).iter_rows(named=True)} == {
        trace_id: score["mean_logprob"] for trace_id, score in mended.items()
    }


def test_the_local_measure_is_computed_when_it_is_first_wanted(student: str, tmp_path: Path) -> None:
    run, told = made_run(tmp_path), list[int]()
    before = scored(recipe_for(student), run, told)
    local = scored(recipe_for(student, metric="local_naturalness"), run, told)
    after = scored(recipe_for(student, metric="rank_surprisal_ratio"), run, told)
    scored(recipe_for(student, metric="local_naturalness", window=1), run, told)

    assert told == [4, 4, 4]
    assert before == after
    assert all(score["local_naturalness"] < 0 for score in local.values())


def test_another_student_template_or_prompt_has_scores_of_its_own(student: str, tmp_path: Path) -> None:
    run, told = made_run(tmp_path / "run"), list[int]()
    first = scored(recipe_for(student), run, told)
    copy = tmp_path / "copy"
    shutil.copytree(student, copy)
    same = scored(recipe_for(str(copy)), run, told)
    assert told == [4]  # the same weights in another folder
    (copy / "chat_template.jinja").write_text(STUDENTS["SmolLM2"].template.replace("a small model", "a model"))
    other_template = scored(recipe_for(str(copy)), run, told)
    other_weights = scored(recipe_for(make_student(tmp_path / "other", seed=1)), run, told)
    prompt = recipe_for(student).model_copy(
        update={"mixing": recipe_for(student).mixing.model_copy(update={"prompt": "{{problem}}"})}
    )
    other_prompt = scored(prompt, run, told)
    back = scored(recipe_for(student), run, told)

    assert told == [4, 4, 4, 4]
    assert back == first
    values = [
        [score["mean_logprob"] for score in scores.values()]
        for scores in (first, same, other_template, other_weights, other_prompt)
    ]
    assert values[0] == values[1]
    assert len({tuple(each) for each in values}) == 4


def test_a_trace_beyond_the_limit_has_a_reason_and_is_scored_when_the_limit_rises(
    student: str, tmp_path: Path
) -> None:
    run, told = made_run(tmp_path), list[int]()
    cut = scored(recipe_for(student, max_tokens=120), run, told)
    scored(recipe_for(student, max_tokens=120), run, told)
    whole = scored(recipe_for(student), run, told)
    again = scored(recipe_for(student, max_tokens=120), run, told)

    long = made_traces()[2].trace_id
    assert {trace_id for trace_id, score in cut.items() if score["fault"]} == {long}
    assert (cut[long]["fault"], cut[long]["mean_logprob"]) == ("too_long", None)
    assert whole[long]["fault"] is None
    assert again == cut
    assert told == [4, 1]


def test_a_template_that_changes_the_response_gives_no_score(student: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(student, other)
    template = STUDENTS["SmolLM2"].template.replace("message.content +", "message.content | replace('Wait', '') +")
    (other / "chat_template.jinja").write_text(template)
    found = scored(recipe_for(str(other)), made_run(tmp_path / "run"))

    faults = {trace_id: score["fault"] for trace_id, score in found.items() if score["mean_logprob"] is None}
    assert faults == {made_traces()[2].trace_id: "not_rendered"}


def test_weights_that_give_no_numbers_give_no_scores(student: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(student, broken)
    model = transformers.AutoModelForCausalLM.from_pretrained(broken)
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    model.save_pretrained(broken)
    found = scored(recipe_for(str(broken)), made_run(tmp_path / "run"))

    assert {score["fault"] for score in found.values()} == {"no_number"}


def test_a_student_on_the_hub_is_known_by_its_commit(hub: LoopbackHub, student: str, tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in Path(student).iterdir()}
    hub.put("tester/student", files, kind="models")
    run, told = made_run(tmp_path / "run"), list[int]()
    of_folder = scored(recipe_for(student), run, told)
    of_hub = scored(recipe_for("tester/student"), run, told)
    scored(recipe_for("tester/student"), run, told)
    other = Path(make_student(tmp_path / "other", seed=1))
    hub.put("tester/student", {"model.safetensors": (other / "model.safetensors").read_bytes()}, kind="models")
    moved = scored(recipe_for("tester/student"), run, told)
    old = hub.repo("tester/student", "models").at().parent
    back = scored(recipe_for("tester/student", revision=old), run, told)

    assert told == [4, 4, 4]
    assert numbers(of_hub) == numbers(of_folder) == numbers(back)
    assert numbers(moved) != numbers(back)
    assert {score["student"] for score in moved.values()} == {"tester/student"}


def numbers(scores: Mapping[str, Mapping[str, Any]]) -> list[float]:
    return [score["mean_logprob"] for score in scores.values()]


def test_what_is_no_student_is_named_before_anything_is_scored(
    hub: LoopbackHub, student: str, tmp_path: Path
) -> None:
    run = made_run(tmp_path / "run")
    template = tmp_path / "template.jinja"
    template.write_text(STUDENTS["SmolLM2"].template)
    (tmp_path / "empty").mkdir()
    broken = tmp_path / "broken"
    shutil.copytree(student, broken)
    (broken / "model.safetensors").write_bytes(b"no weights")

    for name, error, told in (
        (str(template), RecipeError, "is a file; to score traces, name the folder or Hub id of a model"),
        (str(tmp_path / "empty"), RecipeError, "has no config.json, so there is no model in it"),
        ("tester/nobody", HubError, "tester/nobody: no such folder, and no such model on the Hub"),
        (str(broken), MixdistillError, "cannot be loaded on cpu"),
    ):
        with pytest.raises(error, match=told):
            scored(recipe_for(name), run)
    if importlib.util.find_spec("vllm") is None:
        with pytest.raises(MissingExtraError, match=r'pip install "mixdistill\[vllm\]"'):
            scored(recipe_for(student, engine="vllm", device="auto"), run)
    with pytest.raises(RecipeError, match="revision is for a student on the Hub"):
        scored(recipe_for(student, revision="main"), run)
    assert run.score_files() == []
    assert read_scores(run).height == 0


@pytest.mark.parametrize(
    ("scoring", "told"),
    [
        ({"engine_args": {"seed": 1}}, "mixing.scoring.engine_args: are for engine: vllm"),
        ({"engine": "vllm", "device": "cuda:1"}, "mixing.scoring.device: is for engine: transformers"),
        ({"metric": "likelihood"}, "mixing.scoring.metric"),
        ({"windows": 3}, "did you mean 'window'"),
    ],
)
def test_a_wrong_key_of_scoring_is_named(scoring: dict[str, object], told: str, tmp_path: Path) -> None:
    from mixdistill.recipe_file import load_recipe

    path = tmp_path / "recipe.yaml"
    content = {
        "name": "made", "problems": [{"file": "p.jsonl"}], "mixes": {"a": {"short": 1.0}},
        "teachers": {"t": {"engine": "dataset", "file": "t.jsonl", "style": "short"}},
        "mixing": {"scoring": scoring},
    }  # fmt: skip
    path.write_text(json.dumps(content))

    with pytest.raises(RecipeError, match=told):
        load_recipe(str(path))


def test_no_trace_needs_no_student(student: str, tmp_path: Path) -> None:
    from mixdistill.builders.scores import score_traces

    run = made_run(tmp_path)
    found = score_traces(recipe_for(student), run, find_traces(run).clear(), silent)

    assert found.height == 0
    assert found.columns == [
        "trace_id", "student", "mean_logprob", "rank_surprisal_ratio", "local_naturalness", "fault",
    ]  # fmt: skip
