"""The two shells, as their users use them: `trove` and `openstack database`.

A command is named as in the `trove` shell (`user-grant-access`); the other one spells it `database user grant access`.
"""

from __future__ import annotations

import ast
import contextlib
import json
import re
from collections.abc import Callable
from typing import Any

from identity import PROJECT
from programs import Outcome, Program

TENANT = "tenant"
"""An ordinary user of the cloud: no rights of an operator."""

OPENSTACK_NAMES = {
    "create": "instance create",
    "show": "instance show",
    "list": "instance list",
    **{verb: f"instance {verb}" for verb in ("delete", "restart", "reboot", "rebuild", "upgrade")},
    "resize-flavor": "instance resize flavor",
    "resize-volume": "instance resize volume",
    "reset-status": "instance reset status",
    "database-create": "db create",
    "database-list": "db list",
    "database-delete": "db delete",
}
LISTS = ("list", "user-list", "database-list", "user-show-access", "backup-list", "log-list")
"""Commands that answer with a table of things; the others show one thing or nothing."""
SHOWS = ("create", "show", "user-show", "root-enable", "root-show", "backup-create", "backup-show", "configuration-create")


class Shell:
    """One of the shells, for one region (a trove-api of the suite)."""

    def __init__(
        self,
        program: Program,
        auth_url: str,
        region: str,
        listener: Callable[[str, Outcome], None],
        user: str = TENANT,
    ) -> None:
        self._program, self._listener = program, listener
        self._environment = {
            "OS_AUTH_URL": auth_url,
            "OS_USERNAME": user,
            "OS_PASSWORD": "any",
            "OS_PROJECT_NAME": PROJECT,
            "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default",
            "OS_REGION_NAME": region,
            "OS_IDENTITY_API_VERSION": "3",
        }

    @property
    def name(self) -> str:
        """Which shell it is."""
        return self._program.name

    def run(self, command: str, *arguments: str, script: bool = False) -> Outcome:
        """Runs a command; `script` starts the real script instead of its entry point."""
        words = self._words(command) + list(arguments)
        run = self._program.run_script if script else self._program.run
        outcome = run(*words, environment=self._environment)
        self._listener(command, outcome)
        return outcome

    def do(self, command: str, *arguments: str, script: bool = False) -> Any:
        """Runs a command that must succeed; gives the rows, or the properties, that it shows."""
        outcome = self.run(command, *arguments, script=script).check()
        if self.name == "openstack":
            return _lower_keys(json.loads(outcome.output)) if command in LISTS + SHOWS else None
        rows = parse_table(outcome.output)
        return rows if command in LISTS else {row["property"]: row["value"] for row in rows}

    def refused(self, command: str, *arguments: str) -> str:
        """Runs a command that must fail; gives the text that its user sees."""
        outcome = self.run(command, *arguments)
        assert not outcome.succeeded, f"`{outcome.command}` was to be refused, but succeeded:\n{outcome.output}"
        return message_of(outcome.errors)

    def _words(self, command: str) -> list[str]:
        if self.name == "trove":
            return [command]
        words = ["database", *OPENSTACK_NAMES.get(command, command.replace("-", " ")).split()]
        return [*words, "-f", "json"] if command in LISTS + SHOWS else words


def parse_table(text: str) -> list[dict[str, str]]:
    """The rows of a table with `|` between its cells, by the lower-case names of its columns."""
    lines = [line[2:-2] for line in text.splitlines() if line.startswith("| ")]
    cells = [[_unbyted(cell.strip()) for cell in line.split(" | ")] for line in lines]
    return [dict(zip(map(str.lower, cells[0]), row, strict=True)) for row in cells[1:]] if cells else []


def message_of(errors: str) -> str:
    """The last thing that a shell said, without its decoration."""
    said = [line for line in errors.splitlines() if line.strip() and "Warning" not in line]
    text = said[-1] if said else ""
    return _unbyted(re.sub(r"^(ERROR: |Error: )", "", text))


def _unbyted(text: str) -> str:
    """The `trove` shell prints `b'...'` around UTF-8 (a leftover of its Python 2 days)."""
    if re.fullmatch(r"""b(['"]).*\1""", text):
        with contextlib.suppress(ValueError, SyntaxError):
            return ast.literal_eval(text).decode()
    return text


def _lower_keys(document: Any) -> Any:
    if isinstance(document, list):
        return [_lower_keys(row) for row in document]
    return {key.lower(): value for key, value in document.items()}
