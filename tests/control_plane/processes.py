"""Processes of our own: each in its own process group, never outliving the suite, with the end of its log at hand.

Who calls: everything that starts a server. Only processes that were started here are ever ended, by their pid.
`setpriv --pdeathsig` ends a child even if pytest is killed without a chance to clean up; because Linux sends that
signal when the *thread* that forked ends, processes must be started from the main thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, TypeVar

T = TypeVar("T")

POLL = 0.05
"""Seconds between two looks at something that is waited for."""

STOP_LIMIT = 3.0
"""Seconds between the request to end and the end by force; nothing that runs here has anything to save."""

TAIL_LINES = 12
TAIL_WIDTH = 240
"""Trove logs whole requests and answers in one line."""


class Unready(Exception):
    """Something that was waited for did not come about; the message says what, and what was seen instead."""


def wait_for(what: str, look: Callable[[], T], limit: float, evidence: Callable[[], str] = str, poll: float = POLL) -> T:
    """Looks until `look` gives something true, at most `limit` seconds; gives that back."""
    deadline = time.monotonic() + limit
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise Unready(f"after {limit:.0f} s there is still not: {what}\n{evidence()}".rstrip())
        time.sleep(poll)


def tail(path: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a file, under its name."""
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        text = f"(unreadable: {error})"
    return f"--- end of {path.name}\n" + "\n".join(line[:TAIL_WIDTH] for line in text.splitlines()[-lines:])


class Process:
    """A running or ended child with all its children."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        environment: Mapping[str, str],
        directory: Path,
        *,
        pipes: bool = False,
    ) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(f"{name} must be started from the main thread (see the comment of this module)")
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *map(str, command)],
                env=dict(environment),
                cwd=directory,
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else output,
                stderr=output,
                process_group=0,
            )

    @property
    def pid(self) -> int:
        """The process id, which is the id of the group too."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the process itself has not ended."""
        return self._child.poll() is None

    @property
    def pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        """What the process reads and what it writes, if it was started with `pipes`."""
        if self._child.stdin is None or self._child.stdout is None:
            raise RuntimeError(f"{self.name} was started without pipes")
        return self._child.stdin, self._child.stdout

    def evidence(self) -> str:
        """The end of the log, and the exit status if there is one."""
        status = "" if self.running else f"{self.name} has ended with status {self._child.returncode}\n"
        return status + tail(self.log)

    def wait_ready(self, what: str, look: Callable[[], T], limit: float) -> T:
        """Like `wait_for`, but gives up at once when the process has ended."""

        def look_while_it_runs() -> T:
            if not self.running:
                raise Unready(f"{self.name} ended before this: {what}\n{self.evidence()}")
            return look()

        return wait_for(what, look_while_it_runs, limit, self.evidence)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def ask_to_stop(self) -> None:
        """Asks the process to end; `stop` waits for it."""
        if self.running:
            self.signal(signal.SIGTERM)

    def stop(self, limit: float = STOP_LIMIT) -> int:
        """Ends the process and its children, by force after `limit` seconds; gives the exit status."""
        self.ask_to_stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(limit)
        # Its children may live on when it has ended; the group is still ours as long as one of them does.
        self.signal(signal.SIGKILL)
        status = self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return status


def stop_all(processes: Iterable[Process]) -> None:
    """Ends processes side by side, the last started first."""
    backwards = list(processes)[::-1]
    for process in backwards:
        process.ask_to_stop()
    deadline = time.monotonic() + STOP_LIMIT
    for process in backwards:
        process.stop(max(0.0, deadline - time.monotonic()))
