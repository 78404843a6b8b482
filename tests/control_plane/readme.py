"""The commands of `control-plane/README.md`, for those who follow it to the letter: this suite, and `follow.py`.

A command belongs to a section of the page and, if its block is in a numbered list, to a step. The line before a block may
say for which Trove it is: `Trove 12 to 21:`. A run changes no file of this machine: what the page puts below /etc/trove goes
below a directory of the caller's, and the placeholders of the page get the caller's values. Nothing else is changed, and
what is to be changed must be there.
"""

from __future__ import annotations

import os
import re
import subprocess
import textwrap
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "control-plane/README.md"

INSTALL, REGISTER, TRY = "Install it", "Make CouchDB known to Trove", "See that it works"
WAY_A = "The way without any change to trove-api"

_FENCE = re.compile(r"( *)```(\w*)$")
_VERSIONS = re.compile(r"Trove (\d+)(?: to (\d+))?:$")
_LIMIT = 600
"""Seconds for one block; the one that installs the package asks PyPI for setuptools."""


@dataclass(frozen=True)
class Block:
    """A block of code, and where it is."""

    section: str
    step: int | None
    language: str
    oldest: int
    newest: int
    text: str


def blocks(page: str | None = None) -> list[Block]:
    """All of the page, in its order."""
    found: list[Block] = []
    section, step, before = "", None, ""
    lines = iter((PAGE.read_text() if page is None else page).splitlines())
    for line in lines:
        if line.startswith("## "):
            section, step = line[3:], None
        if numbered := re.match(r"(\d+)\. ", line):
            step = int(numbered[1])
        if fence := _FENCE.match(line):
            code = []
            for inside in lines:
                if inside.strip() == "```":
                    break
                code.append(inside)
            versions = _VERSIONS.match(before.strip())
            oldest, newest = (int(versions[1]), int(versions[2] or versions[1])) if versions else (0, 99)
            text = textwrap.dedent("\n".join(code)) + "\n"
            found.append(Block(section, step, fence[2], oldest, newest, text))
        if line.strip():
            before = line
    return found


def scripts(section: str, trove: int, leave_out: frozenset[int] = frozenset()) -> list[str]:
    """The shell commands of a section for this major version of Trove, a text for each block."""
    chosen = [
        block.text
        for block in blocks()
        if (block.section, block.language) == (section, "sh")
        and block.oldest <= trove <= block.newest
        and block.step not in leave_out
    ]
    if not chosen:
        raise LookupError(f"the README has no commands for Trove {trove} in {section!r}")
    return chosen


def left_out(trove: int) -> frozenset[int]:
    """The steps of the installation that the page tells the operator of this Trove to leave out."""
    found = re.search(r"Trove 12 needs no filter [^.]*?:\s+leave steps (\d+) and (\d+) out", PAGE.read_text())
    if not found:
        raise LookupError("the README no longer says which steps Trove 12 leaves out")
    return frozenset(map(int, found.groups())) if trove == 12 else frozenset()


class Follower:
    """Runs commands of the page, with a directory in place of the machine's root."""

    def __init__(
        self, directory: Path, values: Mapping[str, str], path: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self._directory, self._path = directory, path
        self._environment = dict(environment or {})
        self._values = {"/etc/trove": f"{directory}/etc/trove", **values}
        self._replaced: set[str] = set()
        (directory / "etc/trove").mkdir(parents=True, exist_ok=True)

    def adapted(self, script: str) -> str:
        """The script with the caller's values."""
        for theirs, ours in self._values.items():
            # Not the files of the checkout, which are below control-plane/etc/trove.
            script, times = re.subn(rf"(?<!\w){re.escape(theirs)}", lambda _, ours=ours: ours, script)
            if times:
                self._replaced.add(theirs)
        return script

    def run(self, script: str, checkout: Path = ROOT) -> str:
        """Runs a script in a checkout of this repository; gives what it printed."""
        done = subprocess.run(
            ["sh", "-eu", "-c", self.adapted(script)],
            cwd=checkout,
            env=self._network() | self._environment | {"PATH": self._path, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LIMIT,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"this failed with {done.returncode}:\n{script}\n{done.stderr}{done.stdout}")
        return done.stdout

    @staticmethod
    def _network() -> dict[str, str]:
        """How pip reaches PyPI from this machine."""
        wanted = ("pip_", "http", "no_proxy", "ssl_", "home")
        return {name: value for name, value in os.environ.items() if name.lower().startswith(wanted)}

    def give(self, values: Mapping[str, str]) -> None:
        """More values, which only the commands before have brought about."""
        self._values |= values

    def check(self, but: Set[str] = frozenset()) -> None:
        """All that the caller wanted to replace was on the page."""
        unused = set(self._values) - self._replaced - but
        assert not unused, f"the README no longer has {sorted(unused)}"


def way_a() -> str:
    """What the page adds to trove.conf for the way without the filter."""
    (block,) = [block.text for block in blocks() if (block.section, block.language) == (WAY_A, "ini")]
    return block


def installation(broker: str, exchange: str, pip: str) -> dict[str, str]:
    """What the commands of the installation get in place of the page's placeholders."""
    return {
        "/opt/trove/bin/pip": pip,
        # The account is the packages' or the operator's to make.
        "-g trove ": "",
        "BROKER=rabbit://trove:PASSWORD@192.0.2.5:5672/": f"BROKER={broker}",
        "EXCHANGE=openstack": f"EXCHANGE={exchange}",
    }
