"""Log-probabilities and ranks of given tokens, by vLLM's prompt log-probabilities.

In: rows of tokens, and from which on they are scored. Out: for each what the student thinks of every such token.
vLLM batches the rows itself. It runs in this process, so that nothing of it stays behind; only a student that is
spread over GPUs has processes of its own. Of tokens that are equally likely vLLM gives the last rank, where
`scorer_transformers` gives the first.
"""

import importlib.util
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from mixdistill.builders.surprise import Row, Surprises
from mixdistill.builders.weights import Weights
from mixdistill.errors import MissingExtraError, MixdistillError, RecipeError
from mixdistill.scoring import Scoring
from mixdistill.yaml_file import near

# What a person has set in the environment stays.
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",  # stdout is for results
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",  # a run sends nothing that nobody asked for
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # the threads of Polars do not survive a fork
}
# Rows that are handed over at once: vLLM answers when it is through with all of them.
_ROWS_AT_ONCE = 256


class VLLMScorer:
    """A student that vLLM has loaded."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def score(self, rows: Sequence[Row]) -> Iterator[tuple[int, Surprises]]:
        """The number of each row with what the student thinks of it."""
        from vllm import SamplingParams

        params = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False)  # 0: of the tokens themselves
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[start : start + _ROWS_AT_ONCE]
            prompts = [{"prompt_token_ids": list(row.ids)} for row in some]
            answers = self._engine.generate(prompts, params, use_tqdm=False)
            for number, (row, answer) in enumerate(zip(some, answers, strict=True), start):
                told = [
                    by_token[token]
                    for token, by_token in zip(
                        row.ids[row.first :], answer.prompt_logprobs[row.first :], strict=True
                    )
                ]
                yield number, Surprises([each.logprob for each in told], [each.rank for each in told])


@contextmanager
def open_vllm_scorer(weights: Weights, scoring: Scoring) -> Iterator[VLLMScorer]:
    """The student, loaded.

    Raises MissingExtraError without vLLM, RecipeError for an argument that it does not know, MixdistillError if it
    cannot load the student.
    """
    _need_vllm()
    with _environment():
        import vllm
        from vllm.engine.arg_utils import EngineArgs

        settings = _engine_args(weights, scoring, [field.name for field in fields(EngineArgs)], vllm.__version__)
        try:
            engine = vllm.LLM(**settings)
        except (ValueError, TypeError, OSError, RuntimeError, AssertionError) as error:
            told = " ".join(str(error).split())[:300]
            raise MixdistillError(f"mixing.student: {weights.name}: vLLM cannot load it: {told}") from error
        try:
            yield VLLMScorer(engine)
        finally:
            engine.llm_engine.engine_core.shutdown()


@contextmanager
def _environment() -> Iterator[None]:
    """Within it vLLM's variables are set."""
    unset = [name for name in _ENVIRONMENT if name not in os.environ]
    os.environ.update({name: _ENVIRONMENT[name] for name in unset})
    try:
        yield
    finally:
        for name in unset:
            del os.environ[name]


def vllm_dtype(scoring: Scoring) -> str:
    """The number format of the recipe, or the one that fits the device. Raises MissingExtraError without vLLM."""
    if scoring.dtype != "auto":
        return scoring.dtype
    _need_vllm()
    with _environment():
        from vllm.platforms import current_platform

        return "float32" if current_platform.is_cpu() else "bfloat16"


def _need_vllm() -> None:
    if importlib.util.find_spec("vllm") is None:
        raise MissingExtraError("vllm", 'pip install "mixdistill[vllm]"')


def _engine_args(weights: Weights, scoring: Scoring, known: Sequence[str], version: str) -> dict[str, object]:
    """The arguments of vLLM's engine. Raises RecipeError for one that it has not, or that has its own key."""
    own = {"model": weights.name, "revision": weights.revision, "dtype": vllm_dtype(scoring)}
    for name in scoring.engine_args:
        place = f"mixing.scoring.engine_args: {name!r}"
        if name in own or name in ("trust_remote_code", "max_num_batched_tokens", "skip_tokenizer_init"):
            raise RecipeError(f"{place} cannot be set here")
        if name not in known:
            raise RecipeError(f"{place} is no argument of vLLM {version}{near(name, list(known))}")
    batch = {} if scoring.batch_tokens is None else {"max_num_batched_tokens": scoring.batch_tokens}
    # What prompts have in common is of no use: their log-probabilities must all be computed.
    defaults = {"disable_log_stats": True, "enable_prefix_caching": False, "use_tqdm_on_load": False}
    return {**defaults, **scoring.engine_args, **own, **batch, "skip_tokenizer_init": True}
