r"""Other clients, each asking one server many things at once; run by the interpreter that has them.

    PYTHON benchmarks/askers.py NAME BASE_URL REQUESTS CONCURRENCY

NAME is one of ASKERS. Prints one JSON object: how many answers were right, the seconds from the first request to
the last answer, without imports, and the versions of what was used. Needs nothing of mixdistill.
"""

import asyncio
import importlib
import importlib.util
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

MAX_TOKENS = 4096
TIMEOUT_SECONDS = 600
MODEL = "loopback"
_KEY = "none"


class Asked(NamedTuple):
    """What came of asking."""

    n_right: int
    seconds: float
    versions: dict[str, str]


def prompt(number: int) -> str:
    """The text that is asked, as mixdistill asks it with the prompt of the paper."""
    return (
        "Solve the following math problem. Present the final answer in the format: Final Answer: "
        rf"\boxed{{your_answer}}.{chr(10)}Problem: {problem(number)}{chr(10)}Answer:"
    )


def problem(number: int) -> str:
    """The text of a problem, no two alike."""
    return (
        f"A garden has {number} tulips in its first row and every one of the next {number % 17 + 3} rows has "
        f"{number % 5 + 1} tulips more than the row before it. How many tulips are there in the last row?"
    )


def ask_raw(base_url: str, n: int, concurrency: int) -> Asked:
    """Bytes made beforehand, and none of the answer looked at: what the server can serve."""
    host, port = base_url.removeprefix("http://").removesuffix("/v1").split(":")
    body = json.dumps(_body(0)).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
    request = head.encode() + body

    class Connection(asyncio.Protocol):
        """Sends the next request as soon as the answer to the last one is whole."""

        remaining = n
        done = 0
        open = 0

        def __init__(self, closed: "asyncio.Future[None]") -> None:
            self._closed = closed
            self._missing = 0

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            Connection.open += 1
            self._transport: Any = transport
            self._next()

        def _next(self) -> None:
            if Connection.remaining > 0:
                Connection.remaining -= 1
                self._transport.write(request)
                return
            self._transport.close()
            Connection.open -= 1
            if Connection.open == 0:
                self._closed.set_result(None)

        def data_received(self, data: bytes) -> None:
            if self._missing == 0:  # the head comes in one piece with the beginning of the content
                head, _, rest = data.partition(b"\r\n\r\n")
                length = head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
                self._missing = int(length) - len(rest)
            else:
                self._missing -= len(data)
            if self._missing == 0:
                Connection.done += 1
                self._next()

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        closed: asyncio.Future[None] = loop.create_future()
        for _ in range(min(n, concurrency)):
            await loop.create_connection(lambda: Connection(closed), host, int(port))
        await closed

    started = time.perf_counter()
    asyncio.run(ask())
    return Asked(Connection.done, time.perf_counter() - started, {})


def ask_aiohttp(base_url: str, n: int, concurrency: int) -> Asked:
    """The bare loop: post, read, json, and nothing kept."""
    import aiohttp

    async def ask() -> Asked:
        connector = aiohttp.TCPConnector(limit=concurrency)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

            async def one(number: int) -> str:
                async with session.post(f"{base_url}/chat/completions", json=_body(number)) as response:
                    return _response(json.loads(await response.read()))

            return await _ask_each(one, n, concurrency, "aiohttp")

    return asyncio.run(ask())


def ask_httpx(base_url: str, n: int, concurrency: int, name: str = "httpx") -> Asked:
    """The same with httpx."""
    httpx = importlib.import_module(name)

    async def ask() -> Asked:
        limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        async with httpx.AsyncClient(limits=limits, timeout=TIMEOUT_SECONDS) as client:

            async def one(number: int) -> str:
                response = await client.post(f"{base_url}/chat/completions", json=_body(number))
                return _response(json.loads(response.content))

            return await _ask_each(one, n, concurrency, name)

    return asyncio.run(ask())


def ask_httpx2(base_url: str, n: int, concurrency: int) -> Asked:
    """The same with httpx2."""
    return ask_httpx(base_url, n, concurrency, "httpx2")


def ask_urllib3(base_url: str, n: int, concurrency: int) -> Asked:
    """The same with urllib3 and a thread for each request under way."""
    urllib3 = importlib.import_module("urllib3")
    pool = urllib3.PoolManager(maxsize=concurrency, block=True)
    numbers = iter(range(n))
    taking = threading.Lock()
    right: list[int] = []

    def work() -> None:
        while True:
            with taking:
                number = next(numbers, None)
            if number is None:
                return
            response = pool.request("POST", f"{base_url}/chat/completions", json=_body(number))
            right.append(_is_right(_response(json.loads(response.data))))

    threads = [threading.Thread(target=work) for _ in range(concurrency)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Asked(sum(right), time.perf_counter() - started, _versions("urllib3"))


def ask_openai(base_url: str, n: int, concurrency: int) -> Asked:
    """The bare loop with OpenAI's own client."""
    openai = importlib.import_module("openai")

    async def ask() -> Asked:
        async with openai.AsyncOpenAI(base_url=base_url, api_key=_KEY, timeout=TIMEOUT_SECONDS) as client:

            async def one(number: int) -> str:
                body: Any = _body(number)
                answer = await client.chat.completions.create(**body)
                return str(answer.choices[0].message.content)

            return await _ask_each(one, n, concurrency, "openai")

    return asyncio.run(ask())


def ask_curator(base_url: str, n: int, concurrency: int) -> Asked:
    """bespokelabs-curator, its disk cache and all, without its limits of requests and tokens a minute."""
    spec = importlib.util.find_spec("litellm")
    assert spec and spec.origin
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "CURATOR_CACHE_DIR": folder, "CURATOR_DISABLE_RICH_DISPLAY": "1", "TELEMETRY_ENABLED": "0",
            "HF_DATASETS_CACHE": folder, "OPENAI_API_KEY": _KEY,
            # tiktoken would fetch this vocabulary from the internet; litellm, which curator needs, ships it
            "TIKTOKEN_CACHE_DIR": str(Path(spec.origin).parent / "litellm_core_utils" / "tokenizers"),
        }  # fmt: skip
        curator = importlib.import_module("bespokelabs.curator")

        class Solver(curator.LLM):  # type: ignore[misc, name-defined]  # it is not there when types are checked
            def prompt(self, input: Any) -> str:
                return prompt(input["number"])

            def parse(self, input: Any, response: Any) -> dict[str, object]:
                return {"response": response}

        solver = Solver(
            model_name=MODEL,
            backend="openai",
            generation_params={"max_tokens": MAX_TOKENS},
            backend_params={
                "base_url": base_url, "max_concurrent_requests": concurrency, "max_requests_per_minute": 10**9,
                "max_tokens_per_minute": 10**12, "request_timeout": TIMEOUT_SECONDS,
            },
        )  # fmt: skip
        started = time.perf_counter()
        rows = solver([{"number": number} for number in range(n)]).dataset
        seconds = time.perf_counter() - started
        right = sum(_is_right(row["response"]) for row in rows)
        return Asked(right, seconds, _versions("bespokelabs-curator", "aiohttp", "litellm"))


def ask_distilabel(base_url: str, n: int, concurrency: int) -> Asked:
    """distilabel: a pipeline of one step, whose batches are as large as the concurrency."""
    with tempfile.TemporaryDirectory() as folder:
        # its default tells every HTTP request
        os.environ |= {"HF_DATASETS_CACHE": folder, "DISTILABEL_LOG_LEVEL": "WARNING"}
        llms, steps = (
            importlib.import_module("distilabel.models.llms"),
            importlib.import_module("distilabel.steps"),
        )
        tasks = importlib.import_module("distilabel.steps.tasks")

        with importlib.import_module("distilabel.pipeline").Pipeline(name="solve", cache_dir=folder) as pipeline:
            rows = [{"instruction": prompt(number)} for number in range(n)]
            load = steps.LoadDataFromDicts(data=rows, batch_size=concurrency)
            llm = llms.OpenAILLM(
                model=MODEL, base_url=base_url, api_key=_KEY, timeout=TIMEOUT_SECONDS,
                generation_kwargs={"max_new_tokens": MAX_TOKENS},
            )  # fmt: skip
            load >> tasks.TextGeneration(llm=llm, input_batch_size=concurrency)
        started = time.perf_counter()
        distiset = pipeline.run(use_cache=False)
        seconds = time.perf_counter() - started
        right = sum(_is_right(row["generation"]) for row in distiset["default"]["train"])
        return Asked(right, seconds, _versions("distilabel", "openai"))


ASKERS: dict[str, Callable[[str, int, int], Asked]] = {
    "raw": ask_raw,
    "aiohttp": ask_aiohttp,
    "httpx": ask_httpx,
    "httpx2": ask_httpx2,
    "urllib3": ask_urllib3,
    "openai": ask_openai,
    "curator": ask_curator,
    "distilabel": ask_distilabel,
}


async def _ask_each(one: Callable[[int], Awaitable[str]], n: int, concurrency: int, package: str) -> Asked:
    numbers = iter(range(n))
    right = 0

    async def work() -> None:
        nonlocal right
        for number in numbers:
            response = await one(number)
            right += _is_right(response)

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(concurrency)))
    return Asked(right, time.perf_counter() - started, _versions(package))


def _body(number: int) -> dict[str, object]:
    messages = [{"role": "user", "content": prompt(number)}]
    return {"model": MODEL, "messages": messages, "max_tokens": MAX_TOKENS, "seed": number, "temperature": 0.0}


def _response(answer: Any) -> str:
    return str(answer["choices"][0]["message"]["content"])


def _is_right(response: str | None) -> bool:
    return bool(response) and str(response).endswith(r"\boxed{42}.")


def _versions(*packages: str) -> dict[str, str]:
    return {package: version(package) for package in packages}


if __name__ == "__main__":
    done = ASKERS[sys.argv[1]](sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    print(json.dumps(done._asdict()))
