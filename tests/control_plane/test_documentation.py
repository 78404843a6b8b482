"""The commands of the documentation for `trove`, `openstack` and `trove-manage` are ones that these understand.

What they do is shown by the other modules; here is asked whether a reader could type them, with the real parsers of the
Trove under test. tests/tests/doc_commands.rs relies on this module for all commands of these three programs.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

from couch import ROOT
from documented import PARSERS

BLOCK = re.compile(r"^( *)```sh\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
# reStructuredText: what stands behind a prompt, with the lines that it goes on in.
PROMPT = re.compile(r"^( +)\$ ((?:.*\\\n)*.*)$", re.MULTILINE)


def documented() -> list[tuple[str, list[str]]]:
    """Every command of the repository's pages for one of the programs: where it stands, and its words."""
    pages = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md", "*.rst"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    found = []
    for page in pages:
        kind = PROMPT if page.endswith(".rst") else BLOCK
        for block in kind.finditer((ROOT / page).read_text(encoding="utf-8")):
            for line in block[2].replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words and words[0] in PARSERS:
                    found.append((f"{page}: {line.strip()}", words))
    return found


def judged(commands: list[list[str]]) -> list[str | None]:
    """The verdicts of the real parsers."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "documented.py"],
        cwd=ROOT / "tests/control_plane",
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_the_parsers_refuse_what_nobody_could_type():
    """So that the next test can fail."""
    wrong = ["trove no-such-verb", "trove user-list", "openstack database user list", "openstack database nope x",
             "trove-manage datastore_update couchdb", "trove-manage nope"]  # fmt: skip
    for command, verdict in zip(wrong, judged([command.split() for command in wrong]), strict=True):
        assert verdict, f"{command} is understood"


def test_every_documented_command_is_understood():
    """A page with a wrong verb, option or number of arguments fails here."""
    commands = documented()
    assert {words[0] for _, words in commands} == set(PARSERS), "a program has no command in the documentation"
    verdicts = judged([words for _, words in commands])
    refused = [f"{where}\n{verdict}" for (where, _), verdict in zip(commands, verdicts, strict=True) if verdict]
    assert not refused, "\n".join(refused)
