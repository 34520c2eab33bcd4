"""The engine `vllm`: vLLM inside this process, offline, on the accelerators of this machine.

In: a Request. Out: a Completion. All requests go to vLLM as they come; it batches them, and computes once what
their prompts have in common, so that each sample of a problem is a request of its own, with its own seed. The
prompt is the one that `LLM.chat` makes. vLLM's sampling defaults apply, not those of the model's
`generation_config.json`: what shaped a trace stands in the recipe.
"""

import asyncio
import importlib.util
import itertools
import multiprocessing
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import fields
from typing import Any, NamedTuple

import pydantic

from mixdistill.builders.completions import Completion, Load, Request
from mixdistill.builders.reasoning import MARKS, split_text
from mixdistill.errors import MissingExtraError, RecipeError, TeacherError
from mixdistill.teachers import VLLMTeacher
from mixdistill.yaml_file import near

# What a person has set in the environment stays.
_ENVIRONMENT = {
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",  # stdout is for results
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",  # a run sends nothing that nobody asked for
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # the threads of Polars do not survive a fork
}
_TEMPLATE_FIELDS = ("chat_template_kwargs", "reasoning_effort")
_NOT_OURS = {
    "detokenize": "a trace is a text",
    "output_kind": "a trace is written when it is finished",
    "skip_clone": "it is vLLM's own",
    "output_text_buffer_length": "it is vLLM's own",
}
_BROKEN = ("abort", "error")  # finish reasons that say that there is no answer
_UNSEEDED = (
    "vLLM on a CPU cannot sample by seed while it computes prompts in parts: the traces have none. For seeds, set "
    "engine_args: {enable_chunked_prefill: false, max_num_batched_tokens: 8192}, of max_model_len or more."
)
_QUOTE_CHARS = 300
_KILL_SECONDS = 0.2


class _Prompt(NamedTuple):
    tokens: Any
    "What vLLM takes."
    opener: str
    "The mark that opens the thinking, where the chat template writes it into the prompt."


class VLLMEngine:
    """A model that vLLM has loaded, shared by the teachers that agree in how."""

    def __init__(self, engine: Any, teacher: VLLMTeacher) -> None:
        self._engine = engine
        self._teacher = teacher
        self._ids = itertools.count()
        self._in_flight = 0
        self._tokenizer = engine.get_tokenizer()
        self._marks_are_special = _marks_are_special(self._tokenizer)
        self.seeds = _takes_seeds(engine)

    async def complete(self, request: Request) -> Completion:
        """The answer, or the error of this one request.

        Raises RecipeError if the request has a field that vLLM does not know, TeacherError if vLLM died.
        """
        from vllm.exceptions import VLLMError
        from vllm.v1.engine.exceptions import EngineDeadError

        params = _sampling_params(request.body, f"teacher {request.teacher!r}")
        params.max_tokens = request.max_tokens
        params.seed = request.seed if self.seeds else None
        if self._marks_are_special and "skip_special_tokens" not in request.body:
            params.skip_special_tokens = False
        started = time.monotonic()
        self._in_flight += 1
        try:
            async with asyncio.timeout(request.timeout_seconds):
                prompt = await self._render(request)
                output = await self._generate(prompt, params)
        except TimeoutError:
            return Completion(error="no answer in time", latency_seconds=_since(started))
        except EngineDeadError as error:
            raise TeacherError(
                f"teacher {request.teacher!r}: vLLM died, with the reason above; what is finished is kept, "
                "run again when it is mended"
            ) from error
        except (VLLMError, ValueError) as error:
            return Completion(error=_quote(error), latency_seconds=_since(started))
        finally:
            self._in_flight -= 1
        return self._read(output, prompt, params, _since(started))

    def stop(self) -> None:
        """Nothing waits for another try or for room here: what is under way may end."""

    async def describe(self) -> dict[str, object]:
        """What serves, for the record; of the texts in `engine_args` nothing: one may be a key or a path."""
        import vllm

        config = self._engine.vllm_config
        model = config.model_config
        revision = getattr(model.hf_config, "_commit_hash", None) or self._teacher.revision
        flags = {
            "dtype": str(model.dtype).removeprefix("torch."), "quantization": model.quantization,
            "kv_cache_dtype": config.cache_config.cache_dtype, "max_model_len": model.max_model_len,
            "tensor_parallel": self._teacher.tensor_parallel, "pipeline_parallel": self._teacher.pipeline_parallel,
            "prefix_caching": bool(config.cache_config.enable_prefix_caching),
            **{name: value for name, value in self._teacher.engine_args.items() if isinstance(value, int | float)},
        }  # fmt: skip
        about = {"engine": "vllm", "version": vllm.__version__, "revision": revision, "seeds": self.seeds}
        known = {name: value for name, value in flags.items() if value is not None}
        return {name: value for name, value in {**about, "flags": known}.items() if value is not None}

    @property
    def load(self) -> Load:
        """How busy it is."""
        return Load(self._in_flight, self._teacher.concurrency, 0)

    async def _render(self, request: Request) -> _Prompt:
        """The prompt, as `vllm.entrypoints.common.offline` makes it for `LLM.chat`."""
        from vllm.renderers import ChatParams, merge_kwargs
        from vllm.utils.mistral import is_mistral_tokenizer

        renderer = self._engine.renderer
        settings = {
            "add_generation_prompt": True,
            "continue_final_message": False,
            "reasoning_effort": request.body.get("reasoning_effort"),
            "tokenize": is_mistral_tokenizer(self._tokenizer),
        }
        params = ChatParams(chat_template_kwargs=merge_kwargs(request.body.get("chat_template_kwargs"), settings))
        # The chat template writes the first special token itself.
        tokens = renderer.default_chat_tok_params.with_kwargs(add_special_tokens=False)
        messages = [dict(message) for message in request.messages]
        _, (prompt,) = await renderer.render_chat_async([messages], params, tokens)
        text = prompt.get("prompt") or self._tokenizer.decode(prompt["prompt_token_ids"][-16:])
        opener = next((marks.opener for marks in MARKS if text.rstrip().endswith(marks.opener)), "")
        return _Prompt(prompt, opener)

    async def _generate(self, prompt: _Prompt, params: Any) -> Any:
        """What vLLM made of the prompt; when this is cancelled, vLLM drops the request."""
        last = None
        async for output in self._engine.generate(prompt.tokens, params, f"mixdistill-{next(self._ids)}"):
            last = output
        return last

    def _read(self, output: Any, prompt: _Prompt, params: Any, latency_seconds: float) -> Completion:
        made = output.outputs[0]
        if made.finish_reason in _BROKEN:
            return Completion(error=f"vLLM ended it: {made.finish_reason}", latency_seconds=latency_seconds)
        text = made.text
        if not params.skip_special_tokens:
            text = text.removesuffix(self._tokenizer.eos_token or "")
        # A thinking that was cut has no closer, and no opener where the prompt holds it: it is no response.
        told = split_text(prompt.opener + text)
        return Completion(
            response=told.response,
            reasoning=told.reasoning,
            finish_reason=made.finish_reason,
            prompt_tokens=len(output.prompt_token_ids),
            completion_tokens=len(made.token_ids),
            latency_seconds=latency_seconds,
            unseeded=not self.seeds,
        )


@asynccontextmanager
async def open_vllm(teacher: VLLMTeacher) -> AsyncIterator[VLLMEngine]:
    """The teacher's model, loaded; on leaving, however that comes, all of vLLM's processes end.

    Raises MissingExtraError without vLLM, RecipeError for an argument or a sampling parameter that it does not
    know, before anything is loaded, and TeacherError if it cannot load the model.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if importlib.util.find_spec("vllm") is None:
        raise MissingExtraError("vllm", 'pip install "mixdistill[vllm]"')
    with _termination_as_interrupt():
        engine = await _load(teacher)
        try:
            served = VLLMEngine(engine, teacher)
            if not served.seeds:
                print(_UNSEEDED, file=sys.stderr)
            yield served
        finally:
            if engine.output_handler is not None:
                engine.output_handler.cancel()  # else vLLM logs the end of its processes as their death
                await asyncio.wait([engine.output_handler])
            await asyncio.to_thread(engine.shutdown)
            engine.shutdown = lambda: None  # vLLM calls it again when the interpreter exits, and fails


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """Within it SIGTERM, as batch systems send it, ends the run as Ctrl-C does; else vLLM's processes stay."""
    loop = asyncio.get_running_loop()
    if threading.current_thread() is not threading.main_thread() or sys.platform == "win32":
        yield
        return
    loop.add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


async def _load(teacher: VLLMTeacher) -> Any:
    """vLLM's engine. It loads in a thread for minutes; where that is cancelled, its processes are killed."""
    before = set(multiprocessing.active_children())
    loading = asyncio.ensure_future(asyncio.to_thread(_start, teacher))
    try:
        return await asyncio.shield(loading)
    except asyncio.CancelledError:
        while not loading.done():  # they ignore SIGINT and SIGTERM while they load
            for process in set(multiprocessing.active_children()) - before:
                process.kill()
            await asyncio.wait([loading], timeout=_KILL_SECONDS)
        if loading.exception() is None:
            await asyncio.to_thread(loading.result().shutdown)
        raise


def _start(teacher: VLLMTeacher) -> Any:
    try:
        import vllm
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.platforms import current_platform
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM
    except ImportError as error:
        raise TeacherError(f"vLLM is installed and cannot be imported: {_quote(error)}") from error
    _sampling_params(teacher.body(), f"the teacher with model {teacher.model!r}")
    settings = _engine_args(teacher, [field.name for field in fields(AsyncEngineArgs)], vllm.__version__)
    if current_platform.is_cpu():
        # Without seeds, two calls would draw the same samples.
        settings = {"seed": secrets.randbelow(1 << 31), **settings}
    try:
        # As for LLM: its defaults are for many requests at once, those of a server for a fast first token.
        return AsyncLLM.from_engine_args(AsyncEngineArgs(**settings), usage_context=UsageContext.LLM_CLASS)
    except (ValueError, TypeError, OSError, RuntimeError, AssertionError) as error:
        raise TeacherError(f"{teacher.model}: vLLM cannot load it: {_quote(error)}") from error


def _engine_args(teacher: VLLMTeacher, known: Iterable[str], version: str) -> dict[str, object]:
    """The arguments of vLLM's engine. Raises RecipeError for one that it has not, or that has its own key."""
    own = {
        "model": teacher.model, "revision": teacher.revision, "dtype": teacher.dtype,
        "quantization": teacher.quantization, "max_model_len": teacher.max_model_len,
        "tensor_parallel_size": teacher.tensor_parallel, "pipeline_parallel_size": teacher.pipeline_parallel,
        "enable_prefix_caching": teacher.prefix_caching, "gpu_memory_utilization": teacher.gpu_memory_utilization,
    }  # fmt: skip
    names = sorted(known)
    for name in teacher.engine_args:
        place = f"the teacher with model {teacher.model!r}: engine_args: {name!r}"
        if name in own:
            raise RecipeError(f"{place} has a key of its own in the teacher")
        if name not in names:
            raise RecipeError(f"{place} is no argument of vLLM {version}{near(name, names)}")
    unset = {name for name, value in own.items() if value is None}
    return {"disable_log_stats": True, **teacher.engine_args} | {
        name: value for name, value in own.items() if name not in unset
    }


def _sampling_params(body: Mapping[str, object], place: str) -> Any:
    """vLLM's form of the sampling settings. Raises RecipeError for a field that it does not take."""
    from vllm.exceptions import VLLMError
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    settings = {name: value for name, value in body.items() if name not in _TEMPLATE_FIELDS}
    names = [name for name in SamplingParams.__struct_fields__ if not name.startswith("_")]
    for name in settings:
        if name in _NOT_OURS:
            raise RecipeError(f"{place}: extra_body: {name!r} cannot be set; {_NOT_OURS[name]}")
        if name not in names:
            told = near(name, [*names, *_TEMPLATE_FIELDS])
            raise RecipeError(f"{place}: extra_body: {name!r} is no sampling parameter of vLLM{told}")
    try:
        params = pydantic.TypeAdapter(SamplingParams).validate_python(settings)
    except pydantic.ValidationError as error:
        fault = error.errors()[-1]
        raise RecipeError(f"{place}: extra_body: {fault['loc'][-1]!r}: {fault['msg']}") from error
    except VLLMError as error:
        raise RecipeError(f"{place}: {_quote(error)}") from error
    params.output_kind = RequestOutputKind.FINAL_ONLY
    return params


def _takes_seeds(engine: Any) -> bool:
    """Whether a request may have a seed.

    vLLM 0.32 turns a seeded generator back by an offset where a prompt is computed in parts
    (v1/worker/gpu_model_runner.py, _bookkeeping_sync). torch's generators on a CPU have none, and vLLM dies.
    """
    import torch
    from vllm.platforms import current_platform

    if not current_platform.is_cpu() or not engine.vllm_config.scheduler_config.enable_chunked_prefill:
        return True
    try:
        torch.Generator(device="cpu").get_offset()
    except RuntimeError:
        return False
    return True


def _marks_are_special(tokenizer: Any) -> bool:
    """Whether marks of the reasoning are special tokens, which vLLM would leave out of the text."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    special = {*tokenizer.all_special_tokens, *(str(token) for token in added if getattr(token, "special", False))}
    marks = [mark for pair in MARKS for mark in pair]
    return "<|channel|>" in special or any(mark.startswith(token) for mark in marks for token in special if token)


def _quote(error: BaseException) -> str:
    """What an error says, on one line; vLLM wraps some in errors that say nothing."""
    text = " ".join(str(error).split()) or " ".join(str(error.__cause__ or type(error).__name__).split())
    return text[:_QUOTE_CHARS]


def _since(started: float) -> float:
    return round(time.monotonic() - started, 4)
