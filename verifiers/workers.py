"""Processes that run one function under a time and a memory limit, and are killed when they overrun it.

A call goes to a fresh interpreter (never a fork) that imported what it needs before the clock starts. A call
that overruns its limit has its process killed, with all that it started, and replaced; the others do not
notice. Works from any thread, and from scripts without a `__main__` guard, since the caller's script is not
imported again. Processes start with the first call. Own code, not `concurrent.futures` (cannot kill) or
`pebble` 5.2 (one idle process killed by the system breaks its whole pool for good, and it imports the caller's
script).
"""

import math
import mmap
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import BinaryIO, Generic, NamedTuple, TypeVar, cast

from mixdistill.errors import MixdistillError

# SymPy needs about 0.2 GB of address space; the rest is for expressions that grow.
MEMORY_LIMIT_BYTES = 2 << 30
# Importing SymPy takes about a second, on a busy laptop ten; longer than this and something is broken.
_START_SECONDS = 120.0
# A worker whose parent was killed dies by its own alarm this long after the limit of its call.
_ORPHAN_SECONDS = 10
# A worker that ran out of memory ends itself with this code, which nothing else uses.
_MEMORY_CODE = 77
# GMP and FLINT end their process with these when they get no memory, or a number outgrows their own limit.
_MEMORY_SIGNALS = ("SIGABRT", "SIGFPE")
# How often a worker looks at its memory where the system does not: a gigabyte takes longer to fill than that.
_LOOK_SECONDS = 0.05
# Calls that wait or run, per process: enough to keep all of them busy, few enough to hold in memory.
_IN_FLIGHT_PER_PROCESS = 8

Returned = TypeVar("Returned")


class WorkerDied(MixdistillError):
    """The process of a call ended without an answer: it crashed, or the pool was closed."""


class OutOfMemory(WorkerDied):
    """The call wanted more memory than a worker process may have; its process was replaced."""


class CallFailed(MixdistillError):
    """The function raised; the message is its traceback."""


class Timed(NamedTuple, Generic[Returned]):
    """What a call returned, and the time that it ran."""

    value: Returned
    seconds: float


class Workers(Generic[Returned]):
    """Up to `processes` interpreters that call `function`, an importable one; close it, or use `closing`."""

    def __init__(
        self,
        function: Callable[..., Returned],
        *,
        processes: int,
        prepare: Callable[[], object] | None = None,
        memory_bytes: int = MEMORY_LIMIT_BYTES,
    ) -> None:
        self._setup = pickle.dumps((function, prepare, memory_bytes))
        self._memory_bytes = memory_bytes
        self._watchdog = _Watchdog()
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="mixdistill-worker")
        self._slots = threading.BoundedSemaphore(processes * _IN_FLIGHT_PER_PROCESS)
        self._lock = threading.Lock()
        self._idle: list[_Process] = []
        self._alive: set[_Process] = set()
        self._closed = False

    def submit(self, *arguments: object, timeout_seconds: float) -> "Future[Timed[Returned]]":
        """A future of one call; blocks while eight calls a process are in flight.

        The future raises TimeoutError past the limit, OutOfMemory past that of the memory, WorkerDied if the
        process ended otherwise, CallFailed if the function raised. Time spent waiting for a free process, and
        starting it, does not count.
        """
        self._slots.acquire()
        try:
            future = self._threads.submit(self._call, arguments, timeout_seconds)
        except RuntimeError as error:
            self._slots.release()
            raise WorkerDied("the workers were closed; open new ones") from error
        future.add_done_callback(lambda _: self._slots.release())
        return future

    def close(self) -> None:
        """Kill all processes, busy ones too; calls that wait are cancelled. Closing twice is fine."""
        with self._lock:
            self._closed = True
            alive = list(self._alive)
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in alive:
            process.kill()
        self._threads.shutdown(wait=True)
        for process in alive:
            process.stop()
        self._watchdog.close()

    def _call(self, arguments: tuple[object, ...], timeout_seconds: float) -> Timed[Returned]:
        process = self._take()
        try:
            value, seconds = process.call(arguments, timeout_seconds)
        except BaseException:
            self._drop(process)
            raise
        with self._lock:
            self._idle.append(process)
        if isinstance(value, _Raised):
            raise CallFailed(value.traceback)
        return Timed(cast(Returned, value), seconds)

    def _take(self) -> "_Process":
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.is_alive():  # the system may have killed it since
                    return process
                self._alive.discard(process)
                process.stop()
        process = _Process(self._watchdog, self._memory_bytes)
        with self._lock:
            closed = self._closed
            self._alive.add(process)
        try:
            if closed:
                raise WorkerDied("the workers were closed; open new ones")
            process.start(self._setup)
        except BaseException:
            self._drop(process)
            raise
        return process

    def _drop(self, process: "_Process") -> None:
        with self._lock:
            self._alive.discard(process)
        process.stop()


class _Raised(NamedTuple):
    traceback: str


class _Process:
    """One interpreter behind two pipes; pickled calls go in, pickled values come out."""

    def __init__(self, watchdog: "_Watchdog", memory_bytes: int) -> None:
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0 if os.name == "posix" else None,  # Ctrl-C is for the parent, which then closes us
        )
        self._input = cast(BinaryIO, self._process.stdin)
        self._output = cast(BinaryIO, self._process.stdout)
        self._watchdog = watchdog
        self._memory_bytes = memory_bytes
        self._expired = False

    def start(self, setup: bytes) -> None:
        try:
            value, _ = self._exchange(setup, _START_SECONDS)
        except (TimeoutError, WorkerDied) as error:
            raise MixdistillError(f"a worker process did not start: {error}") from error
        if isinstance(value, _Raised):
            raise MixdistillError(f"a worker process could not prepare itself:\n{value.traceback}")

    def call(self, arguments: tuple[object, ...], timeout_seconds: float) -> tuple[object, float]:
        return self._exchange(pickle.dumps((arguments, timeout_seconds)), timeout_seconds)

    def is_alive(self) -> bool:
        return not self._expired and self._process.poll() is None

    def kill(self) -> None:
        """Kill the process and what it started; its pipes close, so that whoever reads them goes on."""
        if sys.platform == "win32" or self._process.poll() is not None:
            self._process.kill()
        else:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def stop(self) -> None:
        self.kill()
        self._process.wait()
        for pipe in (self._input, self._output):
            with suppress(BrokenPipeError):  # what was written never arrived
                pipe.close()

    def expire(self) -> None:
        self._expired = True
        self.kill()

    def _exchange(self, message: bytes, timeout_seconds: float) -> tuple[object, float]:
        started = time.perf_counter()
        self._watchdog.watch(self, timeout_seconds)
        try:
            self._input.write(message)
            self._input.flush()
            value = pickle.load(self._output)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            if self._expired:
                raise TimeoutError(f"no answer within {timeout_seconds:g} seconds") from error
            raise self._death() from error
        finally:
            self._watchdog.forget(self)  # a late kill has happened by now, or never hits the next call
        return value, time.perf_counter() - started

    def _death(self) -> WorkerDied:
        code = self._process.wait()
        how = f"code {code}" if code >= 0 else signal.Signals(-code).name
        if code == _MEMORY_CODE or how in _MEMORY_SIGNALS:
            return OutOfMemory(f"it ran out of its {self._memory_bytes / 2**30:.3g} GiB of memory")
        return WorkerDied(f"the worker process ended with {how} before it answered")


class _Watchdog:
    """Ends processes whose time is up: one thread for all of a pool, since to start one a call is slow."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._deadlines: dict[_Process, float] = {}
        self._wakes = math.inf
        self._thread: threading.Thread | None = None
        self._closed = False

    def watch(self, process: _Process, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        with self._changed:
            self._deadlines[process] = deadline
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mixdistill-watchdog", daemon=True)
                self._thread.start()
            elif deadline < self._wakes:
                self._changed.notify()

    def forget(self, process: _Process) -> None:
        with self._changed:
            self._deadlines.pop(process, None)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                for process in [process for process, deadline in self._deadlines.items() if deadline <= now]:
                    del self._deadlines[process]
                    process.expire()
                self._wakes = min(self._deadlines.values(), default=math.inf)
                self._changed.wait(min(self._wakes - now, threading.TIMEOUT_MAX))


def serve() -> None:
    """The life of a worker process: set up, then answer calls until the parent closes the pipe."""
    calls = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not print into the answers
    function, prepare, memory_bytes = pickle.load(calls)
    _limit_memory(memory_bytes)
    _answer(answers, prepare or (lambda: None), ())
    while True:
        try:
            arguments, timeout_seconds = pickle.load(calls)
        except EOFError:
            return
        _set_alarm(int(timeout_seconds) + _ORPHAN_SECONDS)
        _answer(answers, function, arguments)
        _set_alarm(0)


def _answer(answers: BinaryIO, function: Callable[..., object], arguments: tuple[object, ...]) -> None:
    try:
        message = pickle.dumps(function(*arguments))
    except MemoryError:  # what the function left behind may fill the memory: start afresh
        os._exit(_MEMORY_CODE)
    except Exception:  # goes to the caller, who raises it
        message = pickle.dumps(_Raised(traceback.format_exc(limit=-8)))
    sys.stdout.flush()  # what it printed is out before the caller goes on
    answers.write(message)
    answers.flush()


def _limit_memory(memory_bytes: int) -> None:
    if sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    with suppress(OSError), mmap.mmap(-1, limit):  # macOS takes the limit, and then grants what is above it
        watch_memory(limit)


def watch_memory(limit_bytes: int) -> None:
    """End this process once it has used more; for systems that set no limit to address space.

    Looks every 0.05 seconds, and cannot while a single call into C keeps the interpreter to itself.
    """
    if sys.platform == "win32":
        return
    import resource

    unit = 1 if sys.platform == "darwin" else 1024

    def look() -> None:
        while resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit <= limit_bytes:
            time.sleep(_LOOK_SECONDS)
        os._exit(_MEMORY_CODE)

    threading.Thread(target=look, daemon=True).start()


def _set_alarm(seconds: int) -> None:
    if sys.platform != "win32":
        signal.alarm(seconds)  # without a handler the kernel ends the process, even one that is stuck in C
