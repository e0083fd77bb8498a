"""The way through a process: a program that reads a request a line and answers a line, tensors by file.

Whatever the program does, the run goes on: what it breaks is one case, and it is started again for the next one; only a program that breaks
off BREAKS times in a row is not asked again. No process is left behind. reference/PROTOCOL.md specifies the protocol.
Read `report` next.
"""

from __future__ import annotations

import io
import os
import queue
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

from .exchange import LINE, PROTOCOL, answer_in, line, read_outputs, request, settle, shortened, write_inputs
from .implementation import NoAnswer
from .suite import Task

BREAKS = 5
"""Times in a row that a program may crash, hang or talk garbage before it is given up."""

GRACE = 5.0
"""Seconds that a program has to exit after "stop"."""


class Broken(Exception):
    """A process that cannot be talked to any more; says why."""


class Process:
    """One run of a program: requests in, answers out, what it writes to stderr passed on. Raises OSError if it cannot be started."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True)  # so that one signal ends its children too
        self._last_words: deque[str] = deque(maxlen=10)
        self._listener = self._apart(self._listen)
        self._talker = self._listener

    @staticmethod
    def _apart(function: Callable[[], Any]) -> Thread:
        """Do what may have to wait for the program forever."""
        thread = Thread(target=function, daemon=True)
        thread.start()
        return thread

    def _listen(self) -> None:
        with io.TextIOWrapper(self._process.stderr, encoding="utf-8", errors="replace") as stream:
            for text in iter(lambda: stream.readline(1000), ""):
                self._last_words.append(text)
                with suppress(OSError, ValueError):  # our own stderr may be closed
                    sys.stderr.write(text)

    def ask(self, message: str, timeout: float) -> dict[str, Any]:
        """The answer to a line. Raises Broken if none comes in time, or something that is no answer."""
        box: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._talker = self._apart(lambda: box.put(self._exchange(message)))
        try:
            answer = box.get(timeout=timeout)
        except queue.Empty:
            raise Broken(f"no answer within {timeout:g} s (it must flush its output after each line)" + self.last_words()) from None
        if not answer:
            raise Broken(f"it {self._end()} and gave no answer" + self.last_words())
        if len(answer) > LINE:
            raise Broken(f"its answer is longer than {LINE} bytes: {shortened(answer)}")
        if not answer.endswith(b"\n"):
            raise Broken(f"it {self._end()} in the middle of its answer {shortened(answer)}" + self.last_words())
        try:
            return answer_in(answer)
        except NoAnswer as error:
            raise Broken(f"its answer {error} (only answers belong on stdout, everything else on stderr)") from error

    def _exchange(self, message: str) -> bytes:
        self._write(message)
        with suppress(OSError, ValueError):
            return self._process.stdout.readline(LINE + 1)
        return b""

    def _write(self, message: str) -> None:
        with suppress(OSError, ValueError):  # it has ended, which whoever reads finds out
            self._process.stdin.write(message.encode("ascii"))
            self._process.stdin.flush()

    def _end(self) -> str:
        """How it ended, once it has closed its output."""
        try:
            status = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "closed its output"
        if status >= 0:
            return f"ended with exit status {status}"
        return f"was ended by {signal.Signals(-status).name}" if -status in set(signal.Signals) else f"was ended by signal {-status}"

    def last_words(self) -> str:
        """What it last wrote to stderr, for a message."""
        self._listener.join(0.2)
        words = "".join(self._last_words).strip()
        return f"; its last words on stderr: {words[-1000:]}" if words else ""

    def stop(self) -> str:
        """Tell it to stop. What is to be remarked about how it did; empty if all is well."""
        try:
            self._talker = self._apart(self._say_stop)
            status = self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            return f"the program did not exit within {GRACE:g} s of \"stop\", and was killed"
        else:
            return f"the program {self._end()} after \"stop\"" if status else ""
        finally:
            self.kill()

    def _say_stop(self) -> None:
        self._write(line({"cmd": "stop"}))
        with suppress(OSError, ValueError):
            self._process.stdin.close()

    def kill(self) -> None:
        """End it and what it started, and leave nothing of it behind."""
        if self._process.poll() is None:
            with suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL) if hasattr(os, "killpg") else self._process.kill()
        self._process.wait()
        for thread in (self._listener, self._talker):
            thread.join(1.0)
        if not self._talker.is_alive():  # else something that it started still holds the pipes, and to close them would wait for it
            for stream in (self._process.stdin, self._process.stdout):
                with suppress(OSError, ValueError):
                    stream.close()


class Program:
    """A program as an implementation. command: its words. timeout: seconds for each answer.

    Used as a context: it is started there (OSError if that is impossible) and stopped at the end. `remarks` then says what was odd.
    """

    def __init__(self, command: Sequence[str], timeout: float = 60.0) -> None:
        self.command, self.timeout = list(command), timeout
        self.name = " ".join(command)
        self.remarks: list[str] = []
        self._process: Process | None = None
        self._greeted = False
        self._broken = self._number = 0

    def __enter__(self) -> Program:
        self._process = Process(self.command)
        self._files = tempfile.TemporaryDirectory(prefix="minidiff-verify-")
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            if self._process is not None and error[0] is None and self._greeted:
                self.remarks += filter(None, [self._process.stop()])
            elif self._process is not None:
                self._process.kill()
        finally:
            self._process = None
            self._files.cleanup()

    def run(self, task: Task) -> Mapping[str, Any]:
        """The outputs. Raises Unsupported where the program skips, NoAnswer for everything that goes wrong."""
        if self._broken >= BREAKS:
            raise NoAnswer(f"not asked: the program broke off {BREAKS} times in a row")
        self._number += 1
        inputs, outputs = (Path(self._files.name, f"{part}-{self._number}.safetensors") for part in ("inputs", "outputs"))
        write_inputs(task, inputs)
        try:
            answer = self._answer(request(task, self._number, inputs.as_posix(), outputs.as_posix()))
            self._broken = 0
            settle(answer)
            return read_outputs(outputs, task)
        except Broken as error:
            self._broken += 1
            self._abandon()
            raise NoAnswer(f"the program broke off: {error}") from error
        finally:
            for path in (inputs, outputs):
                with suppress(OSError):  # whatever the program did to them: the folder goes at the end
                    path.unlink()

    def _answer(self, message: str) -> dict[str, Any]:
        if self._process is None:
            try:
                self._process = Process(self.command)
            except OSError as error:
                raise Broken(f"it cannot be started again ({error.strerror})") from error
        if not self._greeted:
            self._greet()
        answer = self._process.ask(message, self.timeout)
        if answer.get("seq") != self._number:
            raise Broken(f"its answer has seq {shortened(answer.get('seq'))}, the request had {self._number}")
        return answer

    def _greet(self) -> None:
        answer = self._process.ask(line({"cmd": "start", "version": PROTOCOL}), self.timeout)
        if answer.get("version") != PROTOCOL:
            raise Broken(f"it speaks version {shortened(answer.get('version'))} of the protocol; this is version {PROTOCOL}")
        told = answer.get("implementation")
        name = told.get("name") if isinstance(told, Mapping) else None
        if not isinstance(name, str) or not name.strip():
            raise Broken('its answer to "start" does not say {"implementation": {"name": ...}}')
        language = told.get("language")
        self.name = f"{name} ({language})" if isinstance(language, str) else name
        self._greeted = True

    def _abandon(self) -> None:
        if self._process is not None:
            self._process.kill()
        self._process, self._greeted = None, False
