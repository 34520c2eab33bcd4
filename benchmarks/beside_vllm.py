"""One side of the comparison with vLLM: tokens per second of plain `LLM.chat`, or of the engine `vllm`.

    python beside_vllm.py plain|ours MODEL

Run by an interpreter that has vLLM and mixdistill. Answers the same prompts with the same settings once to warm up
and twice more, and prints these two rates as JSON. EOS is ignored: both make exactly the same number of tokens.
"""

import asyncio
import json
import sys
import time
from typing import Any

_N_PROMPTS, _N_TOKENS, _CONTEXT_TOKENS, _ROUNDS = 96, 64, 1024, 3
_SETTINGS: dict[str, Any] = {"enforce_eager": True, "kv_cache_memory_bytes": 1 << 30}
_TEXTS = [f"Tom has {i} apples and buys {7 * i + 3} more. How many are there? Explain." for i in range(_N_PROMPTS)]


def plain(model: str) -> list[float]:
    """The rates of `LLM.chat`."""
    from vllm import LLM, SamplingParams

    llm = LLM(model=model, max_model_len=_CONTEXT_TOKENS, **_SETTINGS)
    params = SamplingParams(temperature=0.7, max_tokens=_N_TOKENS, ignore_eos=True)
    rates = []
    for number in range(_ROUNDS):
        chats: Any = [[{"role": "user", "content": f"{number}. {text}"}] for text in _TEXTS]
        started = time.perf_counter()
        outputs = llm.chat(chats, params, use_tqdm=False)
        n_tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
        rates.append(n_tokens / (time.perf_counter() - started))
    return rates[1:]


async def ours(model: str) -> list[float]:
    """The rates of the engine `vllm`, asked as `generate` asks it."""
    from mixdistill.builders.asking import FailureWindow, ask_each
    from mixdistill.builders.completions import Completion, Request
    from mixdistill.builders.engine_vllm import open_vllm
    from mixdistill.recipe import Failures
    from mixdistill.teachers import VLLMTeacher

    teacher = VLLMTeacher.model_validate({
        "engine": "vllm", "style": "long", "model": model, "max_model_len": _CONTEXT_TOKENS,
        "engine_args": _SETTINGS,
    })  # fmt: skip
    rates = []
    async with open_vllm(teacher) as engine:
        for number in range(_ROUNDS):
            requests = [
                Request(
                    request_key=str(i), problem_id=str(i), teacher="long", model=model, revision=None,
                    style="long", size=None, sample=0,
                    messages=({"role": "user", "content": f"{number}. {text}"},),
                    max_tokens=_N_TOKENS, seed=i, body={"temperature": 0.7, "ignore_eos": True},
                )
                for i, text in enumerate(_TEXTS)
            ]  # fmt: skip
            came: list[int] = []

            def keep(request: Request, completion: Completion, came: list[int] = came) -> None:
                assert completion.error is None, completion.error
                came.append(completion.completion_tokens or 0)

            started = time.perf_counter()
            await ask_each(engine, iter(requests), teacher.concurrency, FailureWindow(Failures()), keep)
            rates.append(sum(came) / (time.perf_counter() - started))
    return rates[1:]


if __name__ == "__main__":
    side, weights = sys.argv[1:]
    print(json.dumps(plain(weights) if side == "plain" else asyncio.run(ours(weights))))
