import functools
import operator
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError
from contextlib import closing
from pathlib import Path

import pytest

from mixdistill.errors import MixdistillError
from mixdistill.verifiers.workers import CallFailed, OutOfMemory, WorkerDied, Workers, watch_memory

needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")

# No `if __name__ == "__main__"`: a worker must not import the script of its parent.
SCRIPT = """
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have made us ignore it
from mixdistill.verifiers.workers import Workers
from contextlib import closing
with closing(Workers(time.sleep, processes=1)) as workers:
    workers.submit(0.0, timeout_seconds=5).result()
    print(workers._idle[0]._process.pid, flush=True)
    workers.submit(SECONDS, timeout_seconds=30).result()
    time.sleep(30)
"""


def children() -> set[int]:
    return {int(pid) for task in Path("/proc/self/task").glob("*/children") for pid in task.read_text().split()}


def is_running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until_gone(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_running(pid)


def test_a_stuck_call_is_killed_and_its_neighbours_finish() -> None:
    with closing(Workers(time.sleep, processes=2)) as workers:
        stuck = workers.submit(60.0, timeout_seconds=0.5)
        neighbours = [workers.submit(0.01, timeout_seconds=5.0) for _ in range(6)]
        assert [neighbour.result().value for neighbour in neighbours] == [None] * 6
        with pytest.raises(TimeoutError, match=r"no answer within 0\.5 seconds"):
            stuck.result()
        assert workers.submit(0.0, timeout_seconds=5.0).result().seconds < 1.0


def test_a_call_that_is_stuck_in_c_is_killed_on_time() -> None:
    with closing(Workers(operator.pow, processes=1)) as workers:
        workers.submit(2, 2, timeout_seconds=5.0).result()
        started = time.perf_counter()
        with pytest.raises(TimeoutError):
            workers.submit(3, 10**9, timeout_seconds=0.3).result()
        assert time.perf_counter() - started < 2.0


def test_starting_a_process_does_not_count_as_time_of_the_call() -> None:
    with closing(Workers(operator.add, processes=1, prepare=_prepare_slowly)) as workers:
        assert workers.submit(1, 2, timeout_seconds=0.3).result().value == 3


def _prepare_slowly() -> None:
    time.sleep(0.6)


def test_values_come_back_to_the_call_that_asked() -> None:
    with closing(Workers(operator.add, processes=2)) as workers:
        futures = [workers.submit(n, n, timeout_seconds=5.0) for n in range(200)]
        assert [future.result().value for future in futures] == [2 * n for n in range(200)]


def test_a_call_that_wants_too_much_memory_fails_alone() -> None:
    with closing(Workers(bytearray, processes=1, memory_bytes=1 << 30)) as workers:
        with pytest.raises(OutOfMemory, match=r"^it ran out of its 1 GiB of memory$"):
            workers.submit(3 << 30, timeout_seconds=10.0).result()
        assert workers.submit(2, timeout_seconds=5.0).result().value == bytearray(2)


def test_a_library_that_aborts_without_memory_is_told_as_out_of_memory() -> None:
    with closing(Workers(_power, processes=1, memory_bytes=1 << 30)) as workers:
        with pytest.raises(OutOfMemory, match=r"1 GiB"):
            workers.submit(10**11, timeout_seconds=30.0).result()
        assert workers.submit(2, timeout_seconds=5.0).result().value == "9"


def _power(exponent: int) -> str:
    from flint import fmpz

    return str(fmpz(3) ** exponent)


def test_memory_is_watched_where_the_system_does_not_limit_it() -> None:
    resource = pytest.importorskip("resource")
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    limit = used + (100 << 20)  # Linux counts the peak of the parent as the child's
    prepare = functools.partial(watch_memory, limit)
    with closing(Workers(_fill, processes=1, prepare=prepare, memory_bytes=8 << 30)) as workers:
        assert workers.submit(1 << 20, timeout_seconds=5.0).result().value == 1 << 20
        with pytest.raises(OutOfMemory):
            workers.submit(limit + (200 << 20), timeout_seconds=20.0).result()
        assert workers.submit(1 << 20, timeout_seconds=5.0).result().value == 1 << 20


def _fill(n_bytes: int) -> int:
    parts: list[bytes] = []
    while len(parts) << 20 < n_bytes:
        parts.append(b"x" * (1 << 20))
    time.sleep(0.2)
    return len(parts) << 20


@needs_proc
def test_what_a_killed_call_has_started_dies_too(tmp_path: Path) -> None:
    command = f"sleep 60 & echo $! > {tmp_path}/pid; wait"
    with closing(Workers(subprocess.check_output, processes=1)) as workers, pytest.raises(TimeoutError):
        workers.submit(["sh", "-c", command], timeout_seconds=1.0).result()
    assert wait_until_gone(int((tmp_path / "pid").read_text()), seconds=5.0)


def test_a_value_that_cannot_be_sent_is_a_failed_call() -> None:
    with closing(Workers(threading.Lock, processes=1)) as workers:
        future = workers.submit(timeout_seconds=5.0)
        with pytest.raises(CallFailed, match="cannot pickle"):
            future.result()


def test_every_call_keeps_its_own_limit() -> None:
    with closing(Workers(time.sleep, processes=3)) as workers:
        for future in [workers.submit(0.0, timeout_seconds=60.0) for _ in range(3)]:
            future.result()
        started = time.perf_counter()
        futures = [workers.submit(30.0, timeout_seconds=limit) for limit in (1.2, 0.6, 0.2)]
        for future in reversed(futures):
            with pytest.raises(TimeoutError):
                future.result()
        assert 1.1 < time.perf_counter() - started < 4.0


def test_a_call_that_raises_brings_its_traceback() -> None:
    with closing(Workers(operator.truediv, processes=1)) as workers:
        future = workers.submit(1, 0, timeout_seconds=5.0)
        with pytest.raises(CallFailed, match="ZeroDivisionError"):
            future.result()


def test_a_process_that_dies_is_replaced() -> None:
    with closing(Workers(os._exit, processes=1)) as workers:
        for code in (7, 8):
            with pytest.raises(WorkerDied, match=f"code {code}"):
                workers.submit(code, timeout_seconds=5.0).result()


def test_an_idle_process_that_the_system_killed_is_replaced() -> None:
    with closing(Workers(os.getpid, processes=1)) as workers:
        first = workers.submit(timeout_seconds=5.0).result().value
        os.kill(first, signal.SIGKILL)
        time.sleep(0.2)
        assert workers.submit(timeout_seconds=5.0).result().value != first


def test_what_a_call_prints_does_not_disturb_its_answer(capfd: pytest.CaptureFixture[str]) -> None:
    with closing(Workers(print, processes=1)) as workers:
        assert workers.submit("noise", timeout_seconds=5.0).result().value is None
    assert capfd.readouterr().err == "noise\n"


def test_submitting_blocks_while_eight_calls_are_in_flight() -> None:
    with closing(Workers(time.sleep, processes=1)) as workers:
        workers.submit(0.0, timeout_seconds=5.0).result()
        started = time.perf_counter()
        for _ in range(8):
            workers.submit(0.3, timeout_seconds=5.0)
        assert time.perf_counter() - started < 0.2
        workers.submit(0.3, timeout_seconds=5.0)
        assert time.perf_counter() - started > 0.25


def test_calls_may_come_from_any_thread() -> None:
    sums: list[int] = []
    with closing(Workers(operator.add, processes=2)) as workers:

        def call(n: int) -> None:
            sums.append(workers.submit(n, 1, timeout_seconds=5.0).result().value)

        threads = [threading.Thread(target=call, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(sums) == [1, 2, 3, 4, 5, 6]


@needs_proc
def test_processes_start_with_the_first_call_and_none_is_left() -> None:
    before = children()
    workers = Workers(time.sleep, processes=2)
    assert children() == before
    busy = workers.submit(60.0, timeout_seconds=90.0)
    waiting = [workers.submit(60.0, timeout_seconds=90.0) for _ in range(5)]
    while not children() - before:
        time.sleep(0.02)
    workers.close()
    workers.close()
    assert children() == before
    for future in (busy, *waiting):
        with pytest.raises((WorkerDied, CancelledError, MixdistillError)):
            future.result()
    with pytest.raises(WorkerDied, match="closed"):
        workers.submit(0.0, timeout_seconds=1.0)


def test_a_function_that_cannot_be_prepared_stops_the_caller() -> None:
    with closing(Workers(operator.add, processes=1, prepare=os.abort)) as workers:
        future = workers.submit(1, 1, timeout_seconds=5.0)
        with pytest.raises(MixdistillError, match="did not start"):
            future.result()


@needs_proc
@pytest.mark.parametrize(("end", "seconds"), [(signal.SIGINT, "20"), (signal.SIGKILL, "0.0")])
def test_a_parent_that_is_ended_leaves_no_process(end: signal.Signals, seconds: str) -> None:
    command = [sys.executable, "-c", SCRIPT.replace("SECONDS", seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        time.sleep(0.3)
        assert is_running(worker)
        parent.send_signal(end)
        parent.wait(timeout=10)
    assert wait_until_gone(worker, seconds=5.0)


@needs_proc
def test_a_program_that_ends_without_closing_ends_at_once() -> None:
    code = (
        "import operator; from mixdistill.verifiers.workers import Workers\n"
        "workers = Workers(operator.add, processes=1)\n"
        "workers.submit(1, 2, timeout_seconds=5).result()\n"
        "print(workers._idle[0]._process.pid)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert wait_until_gone(int(run.stdout), seconds=5.0)
