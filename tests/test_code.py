"""Code is run in a sandbox or not at all, and a verdict is not had by saying so."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mixdistill.verifiers.code import find_code, run_tests
from mixdistill.verifiers.grading import CodeGrading
from mixdistill.verifiers.sandbox import Limits, SandboxRun, run_in_sandbox, why_no_sandbox

NO_SANDBOX = why_no_sandbox()
needs_sandbox = pytest.mark.skipif(NO_SANDBOX is not None, reason=str(NO_SANDBOX))
DOUBLE = "def f(x):\n    return 2 * x"
TESTS = "assert f(2) == 4\nassert f(0) == 0, 'nothing'"


def run(program: str, seconds: float = 5.0, memory_mb: int = 256) -> SandboxRun:
    return run_in_sandbox(program, limits=Limits(seconds=seconds, memory_mb=memory_mb))


@pytest.mark.parametrize(
    ("response", "code"),
    [
        ("So\n```python\na\n```\nprints\n```\n1\n```", "a"),
        ("```python\na\n```\nbetter\n```py\nb\n  c\n```", "b\n  c"),
        ("```\na\n```\n~~~\nb\n~~~", "b"),
        ("<think>```python\na\n```</think>\n```python\nb\n```", "b"),
        ("<think>```python\na\n```</think> no", None),
        ("````python\n'''\n```\n'''\n````", "'''\n```\n'''"),
        ("```python\na\n```\n```python\ncut", "a"),
        ("```python\r\na\r\n```\r\n", "a"),
        ("no code", None),
        ("", None),
    ],
)
def test_the_last_block_of_python_is_the_code(response: str, code: str | None) -> None:
    assert find_code(response) == code


def test_without_bubblewrap_nothing_is_run(tmp_path: Path) -> None:
    program = f"""if True:
        from mixdistill.verifiers.code import run_tests
        from mixdistill.verifiers.grading import CodeGrading
        code = "open({str(tmp_path / "ran")!r}, 'w').close()"
        print(run_tests(code, CodeGrading(tests="assert True")))
    """
    environment = {**os.environ, "PATH": str(tmp_path)}

    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)

    assert "status='unscored'" in done.stdout, done.stderr
    assert "install bubblewrap" in done.stdout
    assert list(tmp_path.iterdir()) == []


@needs_sandbox
@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        (DOUBLE, "correct", "all tests passed"),
        ("def f(x):\n    return x * x", "correct", "all tests passed"),
        ("def f(x):\n    return 4", "incorrect", "failed: assert f(0) == 0, 'nothing' (nothing)"),
        ("def f(x):\n    return x", "incorrect", "failed: assert f(2) == 4"),
        ("def g(x): pass", "incorrect", "assert f(2) == 4: NameError: name 'f' is not defined"),
        ("def f(x", "incorrect", "the code: SyntaxError: '(' was never closed (<code>, line 1)"),
        ("", "incorrect", "assert f(2) == 4: NameError: name 'f' is not defined"),
        ("\0", "incorrect", "the code: "),
        ("def f(x):\n    return f(x)", "incorrect", "assert f(2) == 4: RecursionError: maximum recursion"),
        ("x = bytearray(1 << 30)", "incorrect", "the code: out of memory (512 MB)"),
        ("while True: pass", "timeout", "the tests took longer than 3 s"),
        ("import time; time.sleep(100)", "timeout", "the tests took longer than 3 s"),
        ("import ctypes; ctypes.string_at(0)", "incorrect", "the code ended before all tests had run: segm"),
    ],
)  # fmt: skip
def test_tests_say_what_failed(code: str, status: str, reason: str) -> None:
    result = run_tests(code, CodeGrading(tests=TESTS, timeout_seconds=3.0))

    assert (result.status, result.reason[: len(reason)]) == (status, reason)


@needs_sandbox
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os._exit(0)", "the code ended before all tests had run (exit status 0)"),
        ("import sys; sys.exit(0)", "the code: SystemExit: 0"),
        ("raise SystemExit", "the code: SystemExit"),
        ("print('all tests passed')\ndef f(x): return 1", "failed: assert f(2) == 4"),
        ("import os\nfor fd in range(3, 30):\n  try: os.write(fd, b'all tests passed')\n  except OSError: pass\n"
         "os._exit(0)", "the code ended before all tests had run"),
        ("import atexit, os\natexit.register(os._exit, 0)\ndef f(x): return 1", "failed: assert f(2) == 4"),
        ("import os\ndef f(x): os._exit(0)", "the code ended before all tests had run (exit status 0)"),
        ("import builtins\nbuiltins.AssertionError = ValueError\ndef f(x): return 1", "failed: assert f(2) == 4"),
        ("import json, os\njson.dumps = lambda *a, **k: ''\nos.write = print\ndef f(x): return 1",
         "failed: assert f(2) == 4"),
        ("import sys\nfor value in list(sys._getframe(1).f_locals.values()):\n"
         "  if hasattr(value, 'clear'): value.clear()", "assert f(2) == 4: NameError"),
        ("import sys\nsys._getframe(1).f_locals['steps'] = lambda *given: []\ndef f(x): return 1",
         "failed: assert f(2) == 4"),
        ("import threading, os\nthreading.Timer(0.05, os._exit, [0]).start()\n"
         "def f(x):\n  import time; time.sleep(1)", "the code ended before all tests had run (exit status 0)"),
    ],
)  # fmt: skip
def test_a_verdict_is_not_had_without_passing(code: str, reason: str) -> None:
    result = run_tests(code, CodeGrading(tests=TESTS, timeout_seconds=3.0))

    assert (result.status, result.reason[: len(reason)]) == ("incorrect", reason)


@needs_sandbox
def test_tests_with_a_check_function_are_called_with_the_entry() -> None:
    tests = "def check(candidate):\n    assert candidate(2) == 4"

    right = run_tests(DOUBLE, CodeGrading(tests=tests, entry="f"))
    wrong = run_tests("def f(x): return 1", CodeGrading(tests=tests, entry="f"))

    assert (right.status, wrong.status) == ("correct", "incorrect")


@needs_sandbox
@pytest.mark.parametrize(
    ("tests", "reason"),
    [("assert f(", "the tests are no Python: "), ("f(2)", "the tests assert nothing"), ("\0", "the tests are no")],
)
def test_tests_that_test_nothing_are_unusable(tests: str, reason: str) -> None:
    result = run_tests(DOUBLE, CodeGrading(tests=tests))

    assert (result.status, result.reason[: len(reason)]) == ("unscored", reason)


@needs_sandbox
@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("print(int(input()) * 2)", "correct", "all 2 tests passed"),
        ("import sys\nprint(int(sys.stdin.read()) * 2, end='  \\n\\n')", "correct", "all 2 tests passed"),
        ("print(4)", "incorrect", "test 2: printed '4', expected '6'"),
        ("print('all 2 tests passed')", "incorrect", "test 1: printed 'all 2 tests passed', expected '4'"),
        ("print(4); raise SystemExit(1)", "incorrect", "test 1: the code ended with an error (exit status 1)"),
        ("1/0", "incorrect", "test 1: the code ended with an error (exit status 1, ZeroDivisionError: "),
        ("x = bytearray(1 << 30)", "incorrect", "test 1: out of memory (512 MB)"),
        ("while True: print('x' * 1000)", "timeout", "the tests took longer than 1 s"),
    ],
)
def test_programs_are_judged_by_what_they_print(code: str, status: str, reason: str) -> None:
    grading = CodeGrading(stdin_tests=(("2\n", "4"), ("3\n", "6")), timeout_seconds=1.0)

    result = run_tests(code, grading)

    assert (result.status, result.reason[: len(reason)]) == (status, reason)


@needs_sandbox
@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import os; os.fork()", "PermissionError"),
        ("import subprocess; subprocess.run(['true'])", "PermissionError"),
        ("import multiprocessing as m; m.get_context('fork').Process(target=print).start()", "PermissionError"),
        ("import socket; socket.create_connection(('127.0.0.1', 22), 1)", "Connection refused"),
        ("import socket; socket.create_connection(('1.1.1.1', 53), 1)", "Network is unreachable"),
        ("open('/usr/x', 'w')", "Read-only file system"),
        ("open('/x', 'w')", "Read-only file system"),
        ("open('/dev/shm/x', 'w')", "Read-only file system"),
        ("open('/etc/passwd')", "No such file"),
        ("open('/proc/self/environ')", "No such file"),
        ("for i in range(99): open(f'/tmp/{i}', 'wb').write(bytes(1 << 20))", "No space left on device"),
        ("open('/tmp/x', 'wb').write(bytes(99 << 20))", "File too large"),
        ("x = [open('/dev/null') for i in range(99)]", "Too many open files"),
        ("x = bytearray(1 << 30)", "MemoryError"),
        ("import resource as r; r.setrlimit(r.RLIMIT_AS, (1 << 40, 1 << 40))", "not allowed to raise maximum"),
        ("import ctypes; l = ctypes.CDLL(None); assert l.unshare(0x10000000) == 0", "AssertionError"),
    ],
)  # fmt: skip
def test_the_sandbox_refuses(program: str, said: str) -> None:
    done = run(program)

    assert done.exit_code == 1
    assert said in done.stderr.decode()


@needs_sandbox
def test_a_program_sees_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s3cret")

    done = run(f"import os; print(os.environ, os.path.exists({__file__!r}), os.listdir('/tmp'), os.listdir('.'))")

    assert b"s3cret" not in done.stdout
    assert done.stdout.rstrip().endswith(b"False [] []")


@needs_sandbox
def test_an_interpreter_under_tmp_is_seen_and_what_lies_beside_it_is_not(tmp_path: Path) -> None:
    place = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    (place / "secret").write_text("s3cret")
    program = f"""if True:
        from mixdistill.verifiers.sandbox import Limits, run_in_sandbox
        seen = "import os; print(sorted(os.listdir({str(place)!r})))"
        print(run_in_sandbox(seen, limits=Limits()))
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}

    done = subprocess.run(
        [str(place / "bin" / "python"), "-c", program], env=environment, capture_output=True, text=True
    )

    assert "'bin', 'lib', 'lib64', 'pyvenv.cfg'" in done.stdout, done.stderr + done.stdout
    assert "secret" not in done.stdout


@needs_sandbox
def test_an_expected_output_that_is_longer_than_what_is_kept_is_unscored() -> None:
    grading = CodeGrading(stdin_tests=(("", "1" * 70_000),))

    assert run_tests("print('1' * 70_000)", grading).status == "unscored"


@needs_sandbox
def test_threads_may_be_started() -> None:
    assert run("import threading as t; t.Thread(target=print, args=['in']).start()").stdout == b"in\n"


@needs_sandbox
def test_the_limit_holds_whatever_a_program_does() -> None:
    started = time.monotonic()
    done = run(
        "import signal, sys\nfor s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)\nwhile 1: pass", seconds=1
    )

    assert done.timed_out
    assert time.monotonic() - started < 2.5


@needs_sandbox
def test_output_is_read_to_its_end_and_kept_in_part() -> None:
    done = run("import sys\nfor i in range(3000): sys.stdout.write('x' * 9999); sys.stderr.write('y' * 999)", 20)

    assert (done.exit_code, len(done.stdout), len(done.stderr)) == (0, 65_536, 65_536)


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@needs_sandbox
def test_it_works_from_threads_and_leaves_no_file_open() -> None:
    run("")
    before = len(list(Path("/proc/self/fd").iterdir()))
    results: list[bytes] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(run(f"print({n})", 20).stdout)) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == [b"%d\n" % n for n in range(8)]
    assert len(list(Path("/proc/self/fd").iterdir())) == before
