"""Runs a command-line program again and again without paying for its start each time.

Runs in the venv under test: `python fork_server.py MODULE FUNCTION PROGRAM [WORD...]`. It imports the program and runs
it once with these words, which must be harmless (they ask for help), so that all is imported and read; then each line of JSON on standard input (`{"argv": [...], "environment": {...}, "out": PATH, "err": PATH}`) forks a child
that calls the program's own entry point with that command line, just as the script that pip installs does. The answer
is a line with the exit status. The program is unmodified and no run sees what another one left behind.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn


def run_in_child(entry: Callable[[], Any], program: str, order: dict[str, Any]) -> NoReturn:
    """What the installed script does: `sys.exit(main())`."""
    os.environ.update(order["environment"])
    sys.argv = [program, *order["argv"]]
    for number, name in ((1, "out"), (2, "err")):
        descriptor = os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    status: Any = 1
    try:
        status = entry()
    except SystemExit as end:
        status = end.code
        if isinstance(status, str):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(status or 0))


def main() -> None:
    module, function, program, *words = sys.argv[1:]
    # Some programs take their name from here when they are imported.
    sys.argv = [program]
    entry = getattr(importlib.import_module(module), function)
    # The protocol has pipes of its own; whatever the program prints while it is imported goes to the log.
    orders = os.fdopen(os.dup(0), "r")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if words:
        sys.argv = [program, *words]
        with contextlib.suppress(SystemExit):
            entry()
    # What is there stays; a child need not look through it.
    gc.freeze()
    print("ready", file=answers, flush=True)
    for line in orders:
        child = os.fork()
        if child == 0:
            run_in_child(entry, program, json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


if __name__ == "__main__":
    main()
