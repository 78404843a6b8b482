"""Parses command lines with the real parsers of `trove`, `openstack` and `trove-manage`, and runs none of them.

Run as a program in a process of its own, because the parsers leave things behind: a JSON list of command lines on standard
input, each a list of words that begins with the program. Prints a JSON list of the same length: null, or what the parser
had against it.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable, Sequence

Parser = Callable[[Sequence[str]], object]


def trove() -> Parser:
    """python-troveclient's shell."""
    from troveclient.shell import OpenStackTroveShell

    shell = OpenStackTroveShell()
    shell.extensions = []
    return lambda words: shell.get_subcommand_parser("1.0", words).parse_args(words)


def openstack() -> Parser:
    """The `openstack` shell with its commands for images, and what python-troveclient adds to it."""
    from openstackclient.shell import OpenStackShell

    shell = OpenStackShell()
    for group in ("openstack.image.v2", "openstack.database.v1"):
        shell.command_manager.add_command_group(group)

    def parse(words: Sequence[str]) -> object:
        command, name, rest = shell.command_manager.find_command(list(words))
        return command(shell, None).get_parser(name).parse_args(rest)

    return parse


def trove_manage() -> Parser:
    """Trove's own `trove-manage`, whose `main` declares the commands and parses at once."""
    from trove.cmd import manage
    from trove.common import cfg

    manage.Commands.execute = lambda _: None
    sys.argv = ["trove-manage", "db_sync"]
    with contextlib.suppress(SystemExit):
        manage.main()
    return lambda words: cfg.parse_args(["trove-manage", *words])


PARSERS = {"trove": trove, "openstack": openstack, "trove-manage": trove_manage}


def judge(commands: Sequence[Sequence[str]]) -> list[str | None]:
    """What each command's parser has against it."""
    parsers = {program: PARSERS[program]() for program in {words[0] for words in commands}}
    verdicts: list[str | None] = []
    for program, *words in commands:
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                parsers[program](words)
            verdicts.append(None)
        except (Exception, SystemExit) as refusal:
            verdicts.append(f"{said.getvalue()}{type(refusal).__name__}: {refusal}")
    return verdicts


if __name__ == "__main__":
    print(json.dumps(judge(json.load(sys.stdin))))
