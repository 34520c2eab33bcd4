"""The engine `vllm`, and `vllm serve` through the engine `openai`, with vLLM's CPU build and SmolLM2.

`make test-vllm` runs them in an environment of its own; elsewhere all that needs vLLM is skipped. Few tokens, no
compilation and one thread each: vLLM binds its threads to cores, of which a small machine has two.
"""

import asyncio
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from mixdistill.builders.completions import Completion, Request
from mixdistill.builders.engine_vllm import VLLMEngine, _marks_are_special, open_vllm
from mixdistill.errors import MissingExtraError, RecipeError, TeacherError
from mixdistill.teachers import VLLMTeacher

Answer = TypeVar("Answer")

SMOLLM2 = Path(sys.prefix) / "smollm2"
N_TOKENS = 8
CONTEXT_TOKENS = 512
SMALL = {"enforce_eager": True, "kv_cache_memory_bytes": 1 << 28}
SEEDED = {**SMALL, "enable_chunked_prefill": False, "max_num_batched_tokens": CONTEXT_TOKENS}
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_CACHE_ROOT": f"{sys.prefix}/cache",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
}
MARK = "MIXDISTILL_TEST_MARK"

needs_vllm = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None, reason="vLLM is not installed here; make test-vllm runs it"
)


def request(text: str = "What is 2 + 2?", *, seed: int = 1, **fields: Any) -> Request:
    settings: dict[str, Any] = {"max_tokens": N_TOKENS, "timeout_seconds": 120, "body": {"temperature": 1.0}}
    return Request(
        request_key="r-1", problem_id="p-1", teacher="long", model="smollm2", revision=None, style="long",
        size=None, sample=0, messages=({"role": "user", "content": text},), seed=seed, **settings | fields,
    )  # fmt: skip


def teacher(model: Path = SMOLLM2, **fields: object) -> VLLMTeacher:
    settings = {"max_model_len": CONTEXT_TOKENS, "concurrency": 8, "engine_args": SEEDED}
    return VLLMTeacher.model_validate(
        {"engine": "vllm", "style": "long", "model": str(model), **settings, **fields}
    )


@dataclass
class Served:
    """An engine that is open in a loop of its own, for questions from here."""

    engine: VLLMEngine
    loop: asyncio.AbstractEventLoop

    def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=300)

    def ask(self, *requests: Request) -> list[Completion]:
        async def answers() -> list[Completion]:
            return [*await asyncio.gather(*(self.engine.complete(each) for each in requests))]

        return self.run(answers())


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model with a chat template that opens the thinking where it is asked to."""
    folder = tmp_path_factory.mktemp("models") / "thinker"
    shutil.copytree(SMOLLM2, folder, copy_function=os.symlink)
    template = folder / "chat_template.jinja"
    text = template.read_text()
    template.unlink()
    template.write_text(text + "{% if think %}<think>\n{% endif %}")
    return folder


@pytest.fixture(scope="module")
def served(thinker: Path) -> Iterator[Served]:
    """The model in this process, for all tests that ask it something."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        thread.start()
        opened = open_vllm(teacher(thinker))
        engine = asyncio.run_coroutine_threadsafe(opened.__aenter__(), loop).result()
        yield Served(engine, loop)
        asyncio.run_coroutine_threadsafe(opened.__aexit__(None, None, None), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def write_recipe(folder: Path, teachers: dict[str, dict[str, object]], n_problems: int) -> Path:
    rows = [{"id": f"p-{i}", "problem": f"What is {i} + 2?", "answer": str(i + 2)} for i in range(n_problems)]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {
        "name": "both", "problems": [{"file": "problems.jsonl"}], "teachers": teachers,
        "mixes": {"long": {"long": 1.0}},
    }  # fmt: skip
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    return path


def mixdistill(verb: str, recipe: Path, mark: str) -> "subprocess.Popen[str]":
    """The command line, started; its processes and theirs bear the mark."""
    return subprocess.Popen(
        [sys.executable, "-m", "mixdistill", verb, str(recipe), "--run", str(recipe.parent / "run"), "--json"],
        env={**os.environ, **ENVIRONMENT, MARK: mark}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finished(process: "subprocess.Popen[str]") -> tuple[str, str]:
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr
    return stdout, stderr


def written(recipe: Path) -> list[dict[str, Any]]:
    paths = (recipe.parent / "run" / "traces").glob("*.jsonl")
    lines = [line for path in paths for line in path.read_text().splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def left_behind(mark: str) -> list[str]:
    """The processes that bear the mark, once they had time to go."""
    import psutil

    names: list[str] = []
    for _ in range(20):
        names = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                    names.append(process.name())
            except psutil.Error:
                continue
        if not names:
            break
        time.sleep(0.5)
    return names


@contextmanager
def vllm_serve() -> Iterator[str]:
    """The address of vLLM's server with the model.

    The command `vllm serve` starts the same; that of the package vllm-cpu fails, looking for a package vllm.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server",
        "--model", str(SMOLLM2), "--served-model-name", "smollm2",
        "--host", "127.0.0.1", "--port", str(port), "--max-model-len", str(CONTEXT_TOKENS), "--enforce-eager",
        "--kv-cache-memory-bytes", str(1 << 28), "--no-enable-chunked-prefill",
        "--max-num-batched-tokens", str(CONTEXT_TOKENS),
    ]  # fmt: skip
    process = subprocess.Popen(command, env={**os.environ, **ENVIRONMENT}, stdout=subprocess.DEVNULL)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None, "vllm serve ended"
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def test_without_vllm_the_error_is_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)  # as if it were not installed

    async def opened() -> None:
        async with open_vllm(teacher()):
            pass

    with pytest.raises(MissingExtraError) as raised:
        asyncio.run(opened())

    assert str(raised.value) == 'vllm is not installed; run: pip install "mixdistill[vllm]"'


@pytest.mark.parametrize(
    ("special", "kept"),
    [
        pytest.param(["<|start|>", "<|channel|>", "<|message|>", "<|return|>"], True, id="gpt-oss"),
        pytest.param(["<bos>", "<|channel>", "<channel|>"], True, id="Gemma 4"),
        pytest.param(["<s>", "[INST]", "[THINK]", "[/THINK]"], True, id="Magistral"),
        pytest.param(
            ["<|im_start|>", "<|im_end|>", ""], False, id="Qwen 3: its <think> is a token, not a special one"
        ),
    ],
)
def test_special_tokens_are_kept_where_marks_of_the_reasoning_are_among_them(
    special: list[str], kept: bool
) -> None:
    @dataclass
    class Tokenizer:
        all_special_tokens: list[str]

    assert _marks_are_special(Tokenizer(special)) is kept


@needs_vllm
def test_one_recipe_has_teachers_in_process_and_behind_vllm_serve(tmp_path: Path) -> None:
    sampling: dict[str, object] = {
        "samples": 2,
        "temperature": 0.7,
        "max_tokens": N_TOKENS,
        "timeout_seconds": 120,
    }
    inside: dict[str, object] = {
        "engine": "vllm", "style": "long", "model": str(SMOLLM2), "max_model_len": CONTEXT_TOKENS,
        "engine_args": SEEDED, **sampling,
    }  # fmt: skip
    mark = uuid.uuid4().hex
    with vllm_serve() as base_url:
        behind: dict[str, object] = {
            "engine": "openai",
            "base_url": base_url,
            "style": "short",
            "model": "smollm2",
            **sampling,
        }
        recipe = write_recipe(tmp_path, {"long": inside, "short": behind}, n_problems=3)
        finished(mixdistill("problems", recipe, mark))
        stdout, _ = finished(mixdistill("generate", recipe, mark))
    again, _ = finished(mixdistill("generate", recipe, mark))

    counts = json.loads(stdout)["stages"]["generate"]["counts"]
    assert (counts["traces"], counts["asked"], counts["failed"]) == (12, 12, 0)
    assert "generate" in json.loads(again)["stages"]
    traces = written(recipe)
    assert Counter(trace["teacher"] for trace in traces) == {"long": 6, "short": 6}
    prompt_tokens = {
        name: {trace["problem_id"]: trace["prompt_tokens"] for trace in traces if trace["teacher"] == name}
        for name in ("long", "short")
    }
    assert prompt_tokens["long"] == prompt_tokens["short"]
    assert {trace["model"] for trace in traces} == {"smollm2"}
    assert all(trace["response"].strip() and trace["completion_tokens"] <= N_TOKENS for trace in traces)
    assert len({trace["seed"] for trace in traces}) == 12
    assert left_behind(mark) == []


@needs_vllm
def test_scores_are_those_of_transformers_and_nonsense_scores_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoTokenizer

    from mixdistill.builders.scorer_transformers import open_transformers
    from mixdistill.builders.scorer_vllm import open_vllm_scorer
    from mixdistill.builders.surprise import Row, mean_logprob
    from mixdistill.builders.weights import find_weights
    from mixdistill.scoring import Scoring

    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    tokenizer = AutoTokenizer.from_pretrained(SMOLLM2)
    asked = [{"role": "user", "content": "Anna has 7 apples and buys 5. How many has she?"}]
    question = str(tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True))
    first = len(tokenizer(question)["input_ids"])
    answers = ["She has 7 + 5 = 12 apples.", "5 apples. + She 12 = has 7"]
    rows = [Row(tokenizer(question + answer)["input_ids"], first) for answer in answers]
    weights = find_weights(str(SMOLLM2))
    scoring = Scoring(engine="vllm", engine_args={**SMALL, "max_model_len": CONTEXT_TOKENS})
    with open_vllm_scorer(weights, scoring) as scorer:
        found = dict(scorer.score(rows))
    with open_transformers(weights, Scoring(device="cpu", batch_tokens=64)) as other:
        wanted = dict(other.score(rows))

    for number, row in enumerate(rows):
        assert len(found[number].logprobs) == len(row.ids) - first
        assert found[number].logprobs == pytest.approx(wanted[number].logprobs, abs=1e-3)
        assert found[number].ranks == pytest.approx(wanted[number].ranks, abs=1)
    assert mean_logprob(found[0].logprobs) > mean_logprob(found[1].logprobs) + 1


@needs_vllm
def test_an_argument_that_vllm_has_not_is_named_before_the_student_is_loaded() -> None:
    from mixdistill.builders.scorer_vllm import open_vllm_scorer
    from mixdistill.builders.weights import Weights
    from mixdistill.scoring import Scoring

    nobody = Weights("nobody/nothing", None, "", "")
    cases: list[tuple[dict[str, object], str]] = [
        ({"max_model_length": 9}, "'max_model_length' is no argument of vLLM .*; did you mean 'max_model_len'?"),
        ({"dtype": "half"}, "'dtype' cannot be set here"),
    ]
    for arguments, told in cases:
        scoring = Scoring(engine="vllm", engine_args=arguments)
        with pytest.raises(RecipeError, match=told), open_vllm_scorer(nobody, scoring):
            pass


@needs_vllm
def test_a_terminated_run_keeps_what_is_finished_and_leaves_no_process(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    fields: dict[str, object] = {
        "engine": "vllm", "style": "long", "model": str(SMOLLM2), "max_model_len": CONTEXT_TOKENS,
        "engine_args": SMALL, "concurrency": 2, "max_tokens": 64,
    }  # fmt: skip
    recipe = write_recipe(tmp_path, {"long": fields}, n_problems=60)
    finished(mixdistill("problems", recipe, mark))
    process = mixdistill("generate", recipe, mark)
    while not written(recipe):
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)  # as Ctrl-C does, from there on
    _, stderr = process.communicate(timeout=60)

    assert process.returncode == 130
    traces = written(recipe)
    assert 0 < len(traces) < 60
    assert stderr.count("vLLM on a CPU cannot sample by seed") == 1
    assert all("seed" not in trace and "error" not in trace for trace in traces)
    assert left_behind(mark) == []


@needs_vllm
def test_an_interrupt_while_the_model_loads_leaves_no_process(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    fields: dict[str, object] = {"engine": "vllm", "style": "long", "model": str(SMOLLM2), "engine_args": SMALL}
    recipe = write_recipe(tmp_path, {"long": fields}, n_problems=1)
    finished(mixdistill("problems", recipe, mark))
    process = mixdistill("generate", recipe, mark)
    import psutil

    while len(psutil.Process(process.pid).children()) < 2:  # multiprocessing's own, and vLLM's engine
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    assert process.returncode == 130
    assert left_behind(mark) == []


@needs_vllm
@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"extra_body": {"topk": 20}},
            "extra_body: 'topk' is no sampling parameter of vLLM; did you mean 'top_k'?",
        ),
        ({"extra_body": {"top_k": "many"}}, "extra_body: 'top_k': Input should be a valid integer"),
        ({"extra_body": {"skip_clone": True}}, "extra_body: 'skip_clone' cannot be set; it is vLLM's own"),
        ({"temperature": 3.0}, "temperature must be in [0, 2], got 3.0."),
        ({"engine_args": {"max_num_seq": 8}}, "engine_args: 'max_num_seq' is no argument of vLLM"),
        ({"engine_args": {"dtype": "half"}}, "engine_args: 'dtype' has a key of its own in the teacher"),
    ],
)
def test_a_setting_that_vllm_does_not_know_is_named_before_anything_is_loaded(
    fields: dict[str, object], told: str
) -> None:
    async def opened() -> None:
        async with open_vllm(teacher(Path("nobody/nothing"), **fields)):
            pass

    with pytest.raises(RecipeError) as raised:
        asyncio.run(opened())

    assert told in str(raised.value)
    assert "'nobody/nothing'" in str(raised.value)


@needs_vllm
def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    async def opened() -> None:
        async with open_vllm(teacher(tmp_path)):
            pass

    with pytest.raises(TeacherError) as raised:
        asyncio.run(opened())

    assert str(raised.value).startswith(f"{tmp_path}: vLLM cannot load it: ")
    assert "\n" not in str(raised.value)


@needs_vllm
def test_a_trace_follows_from_its_seed(served: Served) -> None:
    one, again, other = served.ask(request(), request(), request(seed=2))

    assert (one.error, one.finish_reason, one.completion_tokens, one.reasoning) == (None, "length", N_TOKENS, None)
    assert one.response.strip()
    assert again.response == one.response
    assert other.response != one.response
    assert not one.unseeded


@needs_vllm
def test_what_fails_is_the_error_of_its_own_request(served: Served) -> None:
    too_long, too_slow, well = served.ask(
        request("two " * 600), request(timeout_seconds=0.05, max_tokens=400), request()
    )

    assert too_long.error is not None
    assert too_long.error.startswith("This model's maximum context length is 512 tokens.")
    assert too_slow.error == "no answer in time"
    assert well.error is None
    assert served.engine.load.in_flight == 0


@needs_vllm
def test_the_end_of_the_context_ends_a_trace(served: Served) -> None:
    (cut,) = served.ask(request(max_tokens=2000, body={"temperature": 0.0, "ignore_eos": True}))

    assert cut.finish_reason == "length"
    assert cut.prompt_tokens is not None
    assert cut.completion_tokens == CONTEXT_TOKENS - cut.prompt_tokens


@needs_vllm
def test_a_stop_text_ends_a_trace_and_is_not_in_it(served: Served) -> None:
    (whole,) = served.ask(request(body={"temperature": 0.0}))
    word = whole.response.split()[2]
    (stopped,) = served.ask(request(body={"temperature": 0.0, "stop": [word]}))

    assert stopped.finish_reason == "stop"
    assert stopped.response == whole.response[: whole.response.index(word)]


@needs_vllm
def test_a_thinking_that_the_chat_template_opened_and_that_was_cut_is_no_response(served: Served) -> None:
    body = {"temperature": 0.0, "ignore_eos": True, "chat_template_kwargs": {"think": True}}
    (cut,) = served.ask(request(body=body))

    assert cut.finish_reason == "length"
    assert cut.reasoning
    assert cut.response == ""


@needs_vllm
@pytest.mark.parametrize("template_settings", [{}, {"think": True}])
@pytest.mark.parametrize("system", [None, "You add numbers."])
def test_the_prompt_is_the_one_that_llm_chat_makes(
    served: Served, system: str | None, template_settings: dict[str, object]
) -> None:
    from vllm.entrypoints.common.offline import OfflineInferenceMixin

    asked = request(body={"chat_template_kwargs": template_settings})
    if system is not None:
        asked = replace(asked, messages=({"role": "system", "content": system}, *asked.messages))
    vllm = served.engine._engine
    chat = OfflineInferenceMixin()
    chat.renderer, chat.model_config, chat.chat_template = vllm.renderer, vllm.model_config, None
    theirs = chat._preprocess_chat_one([*asked.messages], chat_template_kwargs=template_settings)
    ours = served.run(served.engine._render(asked))

    assert ours.tokens["prompt_token_ids"] == theirs["prompt_token_ids"]
    assert (ours.opener == "<think>") is bool(template_settings)


@needs_vllm
def test_what_serves_is_described(served: Served) -> None:
    about = served.run(served.engine.describe())

    assert (about["engine"], about["seeds"]) == ("vllm", True)
    assert "revision" not in about  # a folder has none
    flags = about["flags"]
    assert isinstance(flags, dict)
    assert flags["dtype"] == "bfloat16"
    assert flags["max_model_len"] == CONTEXT_TOKENS
    assert flags["enforce_eager"] is True
    assert json.loads(json.dumps(about)) == about


@needs_vllm
def test_a_dead_engine_is_the_error_of_the_teacher(served: Served) -> None:
    """The last test of this engine: it kills it."""
    import psutil

    (engine,) = [each for each in psutil.Process().children() if "EngineCore" in each.name()]

    async def killed() -> None:
        asking = asyncio.create_task(served.engine.complete(request(max_tokens=400)))
        await asyncio.sleep(1)
        engine.kill()
        await asking

    with pytest.raises(TeacherError, match=r"^teacher 'long': vLLM died"):
        served.run(killed())
    with pytest.raises(TeacherError, match=r"^teacher 'long': vLLM died"):
        served.ask(request())
