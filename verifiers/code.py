"""Judges code by running its tests in a sandbox.

In: a response and the tests of its problem: statements that assert, or pairs of standard input and output. Out: an
Equality; without a sandbox it is `unscored` and nothing is run. What a program prints must come out of it to be
compared, so its outputs cannot be faked; expected ones never go in. Statements that assert are run beside the
code that they test: that they all passed is believed only with a token which waits, unread, in a pipe until the
last one has. Ending early, or printing that all is well, gains nothing. Code that is written against this module
can still read the pipe first, or return an object that says it equals everything.
"""

import ast
import json
import re
import secrets
import time

from mixdistill.verifiers.equality import Equality
from mixdistill.verifiers.grading import CodeGrading
from mixdistill.verifiers.sandbox import KEPT_BYTES, Limits, SandboxRun, run_in_sandbox, why_no_sandbox

_LONGEST_CODE = 100_000
_SHOWN_CHARACTERS = 120
_OUT_OF_MEMORY = b"MemoryError"
_SIGNALS = {9: "killed", 11: "segmentation fault", 24: "out of CPU time", 25: "file too large"}

# Runs the code, then each statement of the tests. What it needs is taken before the code can replace it.
_ASSERTING = """\
import ast, json, os, sys
def _steps(code, tests):  # held by the loop over them and by no name, all made before the first one runs
    yield from [("the code", compile(code, "<code>", "exec"))] + [
        (ast.get_source_segment(tests, each) or "", compile(ast.Module([each], []), "<tests>", "exec"))
        for each in ast.parse(tests).body
    ]
def _main(read=os.read, write=os.write, leave=os._exit, dumps=json.dumps, steps=_steps):
    verdict, token = int(sys.argv[1]), int(sys.argv[2])
    given = json.loads(sys.stdin.buffer.read())
    space = {"__name__": "__main__"}
    sys.argv[:] = ["code.py"]
    where = "the code"
    try:
        for where, step in steps(given["code"], given["tests"]):
            exec(step, space)
    except BaseException as error:
        kind, text = type(error).__name__, ""
        try:
            text = str(error)[:300]
        except BaseException:
            pass
        write(verdict, dumps({"where": where[:300], "error": kind[:100], "text": text}).encode())
        leave(1)
    write(verdict, read(token, 100))
    leave(0)
_main()
"""
_PRINTING = """\
import sys
_code = sys.stdin.buffer.read(int(sys.stdin.buffer.readline()))
sys.argv[:] = ["code.py"]
exec(compile(_code, "<code>", "exec"), {"__name__": "__main__"})
"""


def find_code(response: str) -> str | None:
    r"""The last block marked as Python behind the last </think>, else the last block of any kind.

    >>> find_code("So:\n```python\nprint(1)\n```\nIt prints\n```\n1\n```")
    'print(1)'
    """
    blocks: list[tuple[str, list[str]]] = []
    fence: str | None = None
    for line in response.rpartition("</think>")[2].splitlines():
        bare = line.strip()
        if fence is None and (match := re.match(r"(`{3,}|~{3,})\s*([\w+-]*)", bare)):
            fence = match.group(1)
            blocks.append((match.group(2).casefold(), []))
        elif fence is not None and bare.startswith(fence) and not bare.strip(fence[0]):
            fence = None
        elif fence is not None:
            blocks[-1][1].append(line)
    if fence is not None:  # cut before its end
        blocks.pop()
    marked = [lines for language, lines in blocks if language in ("python", "python3", "py")]
    found = marked or [lines for _, lines in blocks]
    return "\n".join(found[-1]) if found else None


def run_tests(code: str, grading: CodeGrading) -> Equality:
    """The result of all tests, or of the first that failed. The time limit holds for all of them together."""
    if len(code) > _LONGEST_CODE:
        return Equality("unparsable", "tests", f"the code is longer than {_LONGEST_CODE} characters")
    reason = why_no_sandbox()
    if reason is not None:
        return Equality("unscored", "tests", reason)
    limits = Limits(seconds=grading.timeout_seconds, memory_mb=grading.memory_mb)
    code = code.encode("utf-8", "replace").decode()
    return _run_assertions(code, grading, limits) if grading.tests else _run_programs(code, grading, limits)


def why_unusable(tests: str) -> str | None:
    """Why statements cannot serve as tests, or None."""
    try:
        tree = ast.parse(tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"the tests are no Python: {error}"
    if not any(isinstance(node, ast.Assert) for node in ast.walk(tree)):
        return "the tests assert nothing"
    return None


def _run_assertions(code: str, grading: CodeGrading, limits: Limits) -> Equality:
    reason = why_unusable(grading.tests)
    if reason is not None:
        return Equality("unscored", "tests", reason)
    tests = grading.tests
    if grading.entry and re.search(r"^def check\(", tests, re.MULTILINE):  # as in HumanEval
        tests += f"\ncheck({grading.entry})\n"
    token = secrets.token_hex(16).encode()
    given = json.dumps({"code": code, "tests": tests}).encode()
    run = run_in_sandbox(_ASSERTING, given, token=token, limits=limits)
    if run.timed_out:
        return _timeout(limits)
    if run.verdict == token:
        return Equality("correct", "tests", "all tests passed")
    return Equality("incorrect", "tests", _failure(run, limits))


def _failure(run: SandboxRun, limits: Limits) -> str:
    """What the harness says went wrong; nothing of it can make code correct."""
    try:
        said = json.loads(run.verdict)
        where, error, text = (str(said[key]) for key in ("where", "error", "text"))
    except (ValueError, KeyError, TypeError, RecursionError):
        return _ended(run, limits, "before all tests had run")
    if error == "MemoryError":
        return f"{_short(where)}: out of memory ({limits.memory_mb} MB)"
    if error == "AssertionError":
        return f"failed: {_short(where)}" + (f" ({_short(text)})" if text else "")
    return f"{_short(where)}: {_short(f'{error}: {text}')}"


def _run_programs(code: str, grading: CodeGrading, limits: Limits) -> Equality:
    if any(len(wanted) > KEPT_BYTES for _, wanted in grading.stdin_tests):
        return Equality("unscored", "tests", f"an expected output is longer than {KEPT_BYTES} characters")
    ends = time.monotonic() + limits.seconds
    source = code.encode()
    for number, (given, wanted) in enumerate(grading.stdin_tests, start=1):
        left = ends - time.monotonic()
        if left <= 0:
            return _timeout(limits)
        stdin = b"%d\n%s%s" % (len(source), source, given.encode("utf-8", "replace"))
        run = run_in_sandbox(
            _PRINTING, stdin, limits=Limits(seconds=left, memory_mb=limits.memory_mb, disk_mb=limits.disk_mb)
        )
        if run.timed_out:
            return _timeout(limits)
        if run.exit_code != 0:
            return Equality("incorrect", "tests", f"test {number}: {_ended(run, limits, 'with an error')}")
        if _lines(run.stdout.decode("utf-8", "replace")) != _lines(wanted):
            printed = run.stdout.decode("utf-8", "replace")
            reason = f"test {number}: printed {_short(printed)!r}, expected {_short(wanted)!r}"
            return Equality("incorrect", "tests", reason)
    return Equality("correct", "tests", f"all {len(grading.stdin_tests)} tests passed")


def _lines(output: str) -> list[str]:
    """Lines without white space at their ends, and without empty ones at the end of all."""
    return [line.rstrip() for line in output.rstrip().split("\n")]


def _ended(run: SandboxRun, limits: Limits, when: str) -> str:
    if _OUT_OF_MEMORY in run.stderr[-2_000:]:
        return f"out of memory ({limits.memory_mb} MB)"
    signal = -run.exit_code if run.exit_code < 0 else run.exit_code - 128
    if signal in _SIGNALS:
        return f"the code ended {when}: {_SIGNALS[signal]}"
    last = run.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return f"the code ended {when} (exit status {run.exit_code}{', ' + _short(last) if last else ''})"


def _timeout(limits: Limits) -> Equality:
    return Equality("timeout", "tests", f"the tests took longer than {limits.seconds:g} s")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARACTERS else line[: _SHOWN_CHARACTERS - 3] + "..."
