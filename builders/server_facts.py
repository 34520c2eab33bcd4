"""What an OpenAI-compatible server says it is: its program and version, and the models that it was asked for.

In: a way to get a page of it as JSON. Out: a dict for the record, with no address and no path in it; what the
server does not say is left out. The pages are OpenAI's (/v1/models), vLLM's (/version) and llama.cpp's (/props).
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping

import yarl

from mixdistill.teachers import without_folders

FACT_SECONDS = 3.0
"Limit on asking for one page."
_TEXTS = ("owned_by", "root")
_NUMBERS = ("max_model_len", "n_ctx_train", "n_params", "size")
_CHARS = 200


async def server_facts(
    get: Callable[[yarl.URL], Awaitable[Mapping[str, object]]], api: yarl.URL, models: Iterable[str]
) -> dict[str, object]:
    """`server` (program and version), `weights` (name of the file) and `models` (facts by the name asked for)."""
    pages = (api / "models", api.parent / "version", api.parent / "props")
    listed, vllm, llamacpp = await asyncio.gather(*(get(page) for page in pages))
    facts: dict[str, object] = {}
    if version := _text(vllm, "version"):
        facts["server"] = f"vllm {version}"
    if build := _text(llamacpp, "build_info"):
        facts["server"] = f"llama.cpp {build}"
    if path := _text(llamacpp, "model_path"):
        facts["weights"] = re.split(r"[/\\]", path)[-1]
    known = {model: found for model in models if (found := _model_facts(listed, model))}
    return facts | ({"models": known} if known else {})


def _model_facts(listed: Mapping[str, object], model: str) -> dict[str, object]:
    """What the list of models says of one; a server of a single model, as llama.cpp is, takes any name for it."""
    data = listed.get("data")
    entries = [entry for entry in data if isinstance(entry, dict)] if isinstance(data, list) else []
    fitting = [entry for entry in entries if entry.get("id") == model] or (entries if len(entries) == 1 else [])
    if not fitting:
        return {}
    entry = fitting[0]
    meta = entry.get("meta")
    facts: dict[str, object] = {name: without_folders(text) for name in _TEXTS if (text := _text(entry, name))}
    for part in (entry, meta if isinstance(meta, dict) else {}):
        facts |= {name: part[name] for name in _NUMBERS if isinstance(part.get(name), int)}
    return facts


def _text(part: Mapping[str, object], name: str) -> str:
    value = part.get(name)
    return value[:_CHARS] if isinstance(value, str) else ""
