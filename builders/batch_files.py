"""Batch files: requests as JSONL that a provider, or `vllm run-batch`, answers when it has time; and its results.

In: requests, or a file of results. Out: files in the form of OpenAI's Batch API, which Azure, Groq, Mistral,
Together, Fireworks and vLLM read too; or the completion of each request, known by its `custom_id`, the request
key. Nothing is sent from here, and no key stands in any file.
"""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, NamedTuple

from mixdistill.builders.completions import Completion, Request
from mixdistill.builders.server_answers import RefusedError, TransientError, read_answer
from mixdistill.errors import RecordError, StorageError

_URL = "/v1/chat/completions"
# What all of them take: OpenAI 50,000 requests and 200 MB (platform.openai.com/docs/api-reference/batch), Together
# 50,000 and 100 MB (docs.together.ai/docs/inference/batch/overview), others more.
_MAX_REQUESTS = 50_000
_MAX_BYTES = 100_000_000
_QUOTE_CHARS = 300


class BatchFile(NamedTuple):
    """A file of requests to the model of one teacher."""

    path: Path
    teacher: str
    model: str
    n_requests: int
    n_bytes: int


class _Part:
    """A file that is being written, under a temporary name."""

    def __init__(self, temporary: Path, request: Request) -> None:
        self.temporary = temporary
        self.teacher = request.teacher
        self.model = request.model
        self.n_requests = 0
        self.n_bytes = 0
        self._file: IO[bytes] = temporary.open("wb")

    def write(self, line: bytes) -> None:
        self._file.write(line)
        self.n_requests += 1
        self.n_bytes += len(line)

    def close(self) -> None:
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()


def write_batches(
    path: Path, requests: Iterable[Request], *, max_requests: int = _MAX_REQUESTS, max_bytes: int = _MAX_BYTES
) -> list[BatchFile]:
    """Writes the requests, all files or none, and tells what was written; no requests, no file.

    `path` itself if one teacher is asked and one file holds all; else one file a teacher, its name before the
    suffix, and where that one is full, `.2` and so on behind the name: providers take one model a file. Raises
    StorageError if a file is there already, or cannot be written.
    """
    _refuse_to_replace(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            parts = _write_parts(Path(folder), requests, max_requests, max_bytes)
            names = _names(path, [part.teacher for part in parts])
            for name in names:
                _refuse_to_replace(name)
            _place(parts, names)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"{path}: cannot be written: {reason}; free space, or choose another file") from error
    return [
        BatchFile(name, part.teacher, part.model, part.n_requests, part.n_bytes)
        for name, part in zip(names, parts, strict=True)
    ]


def read_batch(path: Path, wanted: Container[str], left_out: Counter[str]) -> Iterator[tuple[str, Completion]]:
    """The request key and the completion of each wanted result in a file, its errors too.

    Reads the file of results and that of errors of OpenAI, and of all who do as it does, and the output of
    `vllm run-batch`. Of several results for one key the last good one counts, else the last. `left_out` counts the
    lines that were not taken: `not_json`, `not_a_result`, `not_wanted`, `duplicate`. Holds one line in memory.
    Raises RecordError if the file cannot be read, or if no line is a result.
    """
    try:
        with path.open("rb") as file:
            chosen = _chosen_lines(file, wanted, left_out)
            if not chosen and not left_out["not_wanted"]:
                raise _no_results(path, left_out)
            for key, start in chosen.items():
                file.seek(start)
                yield key, _completion(_parse(file.readline()) or {})
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror or error}") from error


def _no_results(path: Path, left_out: Counter[str]) -> RecordError:
    counts = {"no JSON object": left_out["not_json"], "another object": left_out["not_a_result"]}
    found = ", ".join(f"{what} in {n:,} line{'' if n == 1 else 's'}" for what, n in counts.items() if n)
    return RecordError(
        f"{path}: no line is the result of a batch, found {found or 'no line at all'}; give the file of results "
        "that the provider made of the file that --batch-out wrote"
    )


def _refuse_to_replace(path: Path) -> None:
    if path.exists():
        raise StorageError(f"{path}: is there already; move it away, or choose another file")


def _write_parts(folder: Path, requests: Iterable[Request], max_requests: int, max_bytes: int) -> list[_Part]:
    parts: list[_Part] = []
    filling: dict[str, _Part] = {}
    keys: set[str] = set()
    try:
        for request in requests:
            if request.request_key in keys:  # a provider refuses the whole file for it
                continue
            keys.add(request.request_key)
            line = _line(request)
            part = filling.get(request.teacher)
            if part is None or part.n_requests >= max_requests or part.n_bytes + len(line) > max_bytes:
                if part is not None:
                    part.close()
                part = filling[request.teacher] = _Part(folder / str(len(parts)), request)
                parts.append(part)
            part.write(line)
    finally:
        for part in filling.values():
            part.close()
    return parts


def _line(request: Request) -> bytes:
    row = {"custom_id": request.request_key, "method": "POST", "url": _URL, "body": request.payload()}
    return (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "replace")


def _names(path: Path, teachers: list[str]) -> list[Path]:
    """A name for each part; no two are one, also where a teacher is called `a.2` or a disk knows no case."""
    if len(teachers) == 1:
        return [path]
    names: list[Path] = []
    taken: set[str] = set()
    for teacher in teachers:
        number, name = 1, f"{path.stem}.{teacher}{path.suffix}"
        while name.casefold() in taken:
            number += 1
            name = f"{path.stem}.{teacher}.{number}{path.suffix}"
        taken.add(name.casefold())
        names.append(path.with_name(name))
    return names


def _place(parts: list[_Part], names: list[Path]) -> None:
    """Gives the parts their names, all or none."""
    placed: list[Path] = []
    try:
        for part, name in zip(parts, names, strict=True):
            part.temporary.replace(name)
            placed.append(name)
    except OSError:
        for name in placed:
            name.unlink(missing_ok=True)
        raise


def _chosen_lines(file: IO[bytes], wanted: Container[str], left_out: Counter[str]) -> dict[str, int]:
    """Where the line of each wanted key begins."""
    starts: dict[str, int] = {}
    good: set[str] = set()
    end = 0
    for line in file:
        start, end = end, end + len(line)
        if not line.strip():
            continue
        row = _parse(line)
        if row is None:
            left_out["not_json"] += 1
            continue
        key = row.get("custom_id")
        if not isinstance(key, str) or not (isinstance(row.get("response"), dict) or row.get("error")):
            left_out["not_a_result"] += 1
            continue
        if key not in wanted:
            left_out["not_wanted"] += 1
            continue
        if key in starts:
            left_out["duplicate"] += 1
        is_good = _completion(row).error is None
        if is_good or key not in good:
            starts[key] = start
        if is_good:
            good.add(key)
    return starts


def _parse(line: bytes) -> dict[str, object] | None:
    """The JSON object in a line; None if there is none."""
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _completion(row: Mapping[str, object]) -> Completion:
    """The completion in a result, or why there is none."""
    response = row.get("response")
    response = response if isinstance(response, dict) else {}
    # Fireworks has the body in the place of the response.
    body = response.get("body", response if "choices" in response else None)
    if isinstance(body, str):
        body = _parse(body.encode()) or body
    status = str(response.get("status_code", 200))
    if row.get("error") or status != "200":
        told = _told(row.get("error")) or _told(body) or _told(response) or "no answer"
        return Completion(error=told if status == "200" else f"HTTP {status}: {told}")
    try:
        answer = read_answer(200, {}, content=json.dumps(body).encode(), latency_seconds=0.0, quote=_quote)
    except (TransientError, RefusedError) as error:
        return Completion(error=str(error).partition(";")[0])
    return replace(answer, latency_seconds=None)  # nobody says how long it took


def _told(fault: object) -> str:
    """What an error says: a text, or an object that has it under `message` or in an `error` of its own."""
    if isinstance(fault, Mapping):
        parts = (_told(fault.get(name)) for name in ("message", "error", "detail", "code", "type"))
        return next((part for part in parts if part), "")
    return "" if fault is None else _quote(str(fault).encode("utf-8", "replace"))


def _quote(content: bytes) -> str:
    return " ".join(content[: 4 * _QUOTE_CHARS].decode("utf-8", "replace").split())[:_QUOTE_CHARS]
