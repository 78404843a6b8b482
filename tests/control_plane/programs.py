"""The command-line programs of the venv under test: `trove`, `openstack`, `trove-manage`.

A program is run either by its entry point in a fork of a process that has imported it (see `fork_server.py`; 0.1 s
instead of 1 s of CPU), or as the real script. Every run is told to those who listen, for the table of results.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from processes import Process, Unready

HERE = Path(__file__).resolve().parent
ENTRY_POINTS = {
    "trove": ("troveclient.shell", "main", ("help", "user-list")),
    "openstack": ("openstackclient.shell", "main", ("database", "user", "list", "--help")),
    "trove-manage": ("trove.cmd.manage", "main", ()),
}
"""Module and function of the script, and words with which it can be run just to have all imported."""

REAL_LIMIT = 120
"""Seconds for a real script; they start in 1 to 3 s."""


@dataclass(frozen=True)
class Outcome:
    """What a program left: its exit status and its words."""

    command: str
    status: int
    output: str
    errors: str

    @property
    def succeeded(self) -> bool:
        return self.status == 0

    def check(self) -> Outcome:
        """This outcome, or an error that shows it."""
        if not self.succeeded:
            raise AssertionError(f"`{self.command}` ended with {self.status}:\n{self.errors}{self.output}")
        return self


def bin_directory() -> Path:
    """Where pip put the scripts of the venv under test: the one that runs this suite, or the one that is named."""
    named = os.environ.get("TROVE_E2E_VENV")
    return Path(named) / "bin" if named else Path(sys.executable).parent


class Program:
    """One program, imported once."""

    def __init__(self, name: str, environment: Mapping[str, str], directory: Path, logs: Path) -> None:
        self.name = name
        self._environment = dict(environment)
        self._out, self._err = directory / f"{name}.out", directory / f"{name}.err"
        module, function, words = ENTRY_POINTS[name]
        command = [sys.executable, "-W", "ignore", HERE / "fork_server.py", module, function, name, *words]
        self.process = Process(name, command, logs / f"{name}.log", self._environment, directory, pipes=True)
        self._ready = False

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Outcome:
        """Runs the program's entry point."""
        stdin, stdout = self.process.pipes
        if not self._ready and stdout.readline() != b"ready\n":
            raise Unready(f"{self.name} cannot be imported\n{self.process.evidence()}")
        self._ready = True
        order = {
            "argv": arguments,
            "environment": dict(environment or {}),
            "out": str(self._out),
            "err": str(self._err),
        }
        stdin.write(json.dumps(order).encode() + b"\n")
        stdin.flush()
        status = stdout.readline()
        if not status:
            raise Unready(f"{self.name} is gone\n{self.process.evidence()}")
        return Outcome(
            " ".join([self.name, *arguments]),
            int(status),
            self._out.read_text(errors="replace"),
            self._err.read_text(errors="replace"),
        )

    def run_script(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Outcome:
        """Runs the script that pip installed, as a user does."""
        done = subprocess.run(
            [bin_directory() / self.name, *arguments],
            env={**self._environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=REAL_LIMIT,
            check=False,
        )
        return Outcome(" ".join([self.name, *arguments]), done.returncode, done.stdout, done.stderr)


def clean_environment() -> dict[str, str]:
    """An environment in which no stray OS_… or proxy variable of the developer's shell has a say."""
    return {
        "PATH": f"{bin_directory()}:/usr/bin:/bin",
        "HOME": os.environ.get("HOME", "/root"),
        "LC_ALL": "C.UTF-8",
        "PYTHONWARNINGS": "ignore",
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "400",
    }
