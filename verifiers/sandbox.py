"""Runs a Python program where it can harm nothing: bubblewrap, without network, files, processes or much time.

In: source text and what it reads from standard input. Out: a SandboxRun; the program's failure is no error here.
The program sees the interpreter and the system's libraries read-only, an empty /tmp that is gone afterwards, no
home, no /proc, no environment. It can start threads but no process: that is what makes the memory limit hold.
Without bubblewrap nothing is run at all. What stays: it shares the kernel with us, as every container does.
"""

import contextlib
import os
import platform
import shutil
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, NamedTuple

KEPT_BYTES = 65_536
_READ_BYTES = 65_536
_OPEN_FILES = 32
_START_SECONDS = 0.4  # that bubblewrap and the interpreter take; here 0.03

# Limits are set by the program that is about to be limited: no code runs between fork and exec in our process,
# which has threads.
_LIMITED = """\
import resource, sys
for kind, most in (("AS", {memory}), ("CPU", {cpu}), ("FSIZE", {disk}), ("NOFILE", {files}), ("CORE", 0)):
    resource.setrlimit(getattr(resource, "RLIMIT_" + kind), (most, most))
del resource
"""

# Numbers of system calls, and of the architecture, from the kernel's headers.
_ARCHITECTURES = {
    "x86_64": (0xC000003E, {"clone": 56, "fork": 57, "vfork": 58, "unshare": 272, "clone3": 435}),
    "aarch64": (0xC00000B7, {"clone": 220, "unshare": 97, "clone3": 435}),
}
_CLONE_THREAD = 0x10000
_X32_BIT = 0x4000_0000
_ALLOW, _KILL, _EPERM, _ENOSYS = 0x7FFF_0000, 0x8000_0000, 0x0005_0001, 0x0005_0026


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one program may use."""

    seconds: float = 10.0
    "Wall clock."
    memory_mb: int = 512
    disk_mb: int = 16
    "Size of /tmp, which is memory too, and of a file."


class SandboxRun(NamedTuple):
    """What became of a program."""

    exit_code: int
    "Negative, or over 128: the signal that ended it."
    stdout: bytes
    "The first 64 kB."
    stderr: bytes
    "The first 64 kB."
    verdict: bytes
    "What it wrote to the file descriptor that `verdict_fd` names in its arguments, the first 64 kB."
    timed_out: bool


def why_no_sandbox() -> str | None:
    """Why nothing can be run here, and the way out; None if it can. Tried once a process."""
    return _why_no_sandbox(os.environ.get("PATH", ""))


@cache
def _why_no_sandbox(path: str) -> str | None:
    if shutil.which("bwrap", path=path) is None:
        return "code runs only in a sandbox: install bubblewrap (Linux; `apt-get install bubblewrap`)"
    if platform.machine() not in _ARCHITECTURES:
        return f"code runs only in a sandbox, and there is none for {platform.machine()} processors"
    run = _run("print('ready')", b"", b"", Limits())
    if run.stdout.strip() == b"ready":
        return None
    said = run.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2] or f"exit status {run.exit_code}"
    return f"code runs only in a sandbox, and bubblewrap cannot make one here: {said[:200]}"


def run_in_sandbox(program: str, stdin: bytes = b"", *, token: bytes = b"", limits: Limits) -> SandboxRun:
    """Runs a program to its end or the limit. Its arguments: the file descriptors of the verdict and the token.

    Raises RuntimeError where there is no sandbox: ask `why_no_sandbox` first.
    """
    reason = why_no_sandbox()
    if reason is not None:
        raise RuntimeError(reason)
    return _run(program, stdin, token, limits)


def _run(program: str, stdin: bytes, token: bytes, limits: Limits) -> SandboxRun:
    with contextlib.ExitStack() as opened:
        verdict_read, verdict_write = _pipe(opened)
        token_read, token_write = _pipe(opened)
        filter_read, filter_write = _pipe(opened)
        for end, content in ((token_write, token), (filter_write, _without_new_processes())):
            end.write(content)  # both are shorter than what a pipe takes in without a reader
            end.close()
        given = (verdict_write.fileno(), token_read.fileno(), filter_read.fileno())
        process = opened.enter_context(
            subprocess.Popen(
                [
                    *_bubblewrap(limits, filter_read.fileno()),
                    *(sys.executable, "-I", "-c", _prelude(limits) + program),
                    *(str(verdict_write.fileno()), str(token_read.fileno())),
                ],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=given,
            )
        )  # fmt: skip
        for end in (verdict_write, token_read, filter_read):
            end.close()
        assert process.stdin and process.stdout and process.stderr
        readers = [_Reader(end) for end in (process.stdout, process.stderr, verdict_read)]
        threading.Thread(target=_feed, args=(process.stdin, stdin), daemon=True).start()
        timed_out = False
        try:
            process.wait(limits.seconds + _START_SECONDS)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            process.kill()  # the namespace of processes ends with its first one, and all that is in it
            process.wait()
        stdout, stderr, verdict = (reader.kept() for reader in readers)
    return SandboxRun(process.returncode, stdout, stderr, verdict, timed_out)


def _bubblewrap(limits: Limits, filter_fd: int) -> list[str]:
    """The command line up to the program."""
    command = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
    for name, value in (
        ("PATH", "/usr/bin:/bin"), ("HOME", "/tmp"), ("LANG", "C.UTF-8"),
        ("OMP_NUM_THREADS", "1"), ("OPENBLAS_NUM_THREADS", "1"),
    ):  # fmt: skip
        command += ["--setenv", name, value]
    command += ["--dev", "/dev", "--size", str(limits.disk_mb << 20), "--tmpfs", "/tmp", "--chdir", "/tmp"]
    for place in ("/usr", "/lib", "/lib64", "/bin", *_interpreter()):  # last: it may lie under /tmp
        command += ["--ro-bind-try", place, place]
    # /dev is a file system in memory too; read-only, it holds nothing.
    return [*command, "--remount-ro", "/dev", "--remount-ro", "/", "--seccomp", str(filter_fd)]


def _interpreter() -> list[str]:
    """Where the interpreter and its packages lie; of a prefix not all, for it may be a home or a project."""
    prefixes = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parent.parent}
    parts = ("bin", "lib", "lib64", "pyvenv.cfg")
    return [str(prefix / part) for prefix in sorted(prefixes) for part in parts]


def _prelude(limits: Limits) -> str:
    return _LIMITED.format(
        memory=limits.memory_mb << 20, cpu=int(limits.seconds) + 2, disk=limits.disk_mb << 20, files=_OPEN_FILES
    )


def _without_new_processes() -> bytes:
    """A seccomp filter, as BPF instructions: threads may be started, processes and namespaces may not.

    RLIMIT_NPROC would not do: it does not bind root, and counts what else the user runs.
    """
    load, jump_equal, jump_set, jump_ge, give = 0x20, 0x15, 0x45, 0x35, 0x06
    architecture, calls = _ARCHITECTURES[platform.machine()]

    def instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, value)

    def where(code: int, value: int, verdict: int) -> bytes:
        return instruction(code, value, 0, 1) + instruction(give, verdict)

    filter_ = instruction(load, 4) + instruction(jump_equal, architecture, 1, 0) + instruction(give, _KILL)
    filter_ += instruction(load, 0) + where(jump_ge, _X32_BIT, _EPERM)
    filter_ += where(jump_equal, calls["clone3"], _ENOSYS)  # glibc then calls clone, whose flags can be seen
    for name in ("fork", "vfork", "unshare"):
        if name in calls:
            filter_ += where(jump_equal, calls[name], _EPERM)
    filter_ += instruction(jump_equal, calls["clone"], 1, 0) + instruction(give, _ALLOW)
    filter_ += instruction(load, 16) + where(jump_set, _CLONE_THREAD, _ALLOW)
    return filter_ + instruction(give, _EPERM)


def _pipe(opened: contextlib.ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    read, write = os.pipe()
    return opened.enter_context(os.fdopen(read, "rb", 0)), opened.enter_context(os.fdopen(write, "wb", 0))


def _feed(pipe: IO[bytes], content: bytes) -> None:
    with contextlib.suppress(OSError, ValueError), pipe:  # the program may end without reading
        pipe.write(content)


class _Reader(threading.Thread):
    """Reads a pipe to its end, so that its writer never waits, and keeps the beginning."""

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._pipe = pipe
        self._kept = b""
        self.start()

    def run(self) -> None:
        while part := os.read(self._pipe.fileno(), _READ_BYTES):
            self._kept += part[: KEPT_BYTES - len(self._kept)]

    def kept(self) -> bytes:
        self.join()
        return self._kept
