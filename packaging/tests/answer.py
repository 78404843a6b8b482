#!/usr/bin/env python3
"""Runs a command on a terminal of its own and answers the questions that it asks there.

Who calls: deb.sh beside this: `answer.py TEXT ANSWER -- COMMAND…`. When TEXT has come, ANSWER and a line's end are typed. Ends with
the command's status, or with 1 if TEXT did not come.
"""

import os
import pty
import sys


def main() -> int:
    question, answer, dashes, *command = sys.argv[1:]
    if dashes != "--" or not command:
        raise SystemExit(__doc__)
    said = b""
    answered = False

    def read(terminal: int) -> bytes:
        nonlocal said, answered
        came = os.read(terminal, 4096)
        said += came
        if not answered and question.encode() in said:
            answered = True
            os.write(terminal, answer.encode() + b"\n")
        return came

    status = os.waitstatus_to_exitcode(pty.spawn(command, read))
    if not answered:
        print(f"\nnot asked: {question}", file=sys.stderr)
        return 1
    return status


sys.exit(main())
