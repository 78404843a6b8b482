"""Runs the ```sh blocks of a Markdown page in order, as somebody does who follows it, and compares what they print.

`page.py PAGE[#HEADING] STAND-INS NAME=VALUE… -- COMMAND…`: COMMAND and a script as its last argument runs that
script (../walk.sh: `bash -c` in its machine). The blocks are those of one shell: a block sees what earlier ones have exported. Each command's
exit status must be 0. A ```text block is the output of the ```sh block before it: its lines must be there in this order, each
within a line of the output; `…` stands for anything, and a line of it alone for any lines.

STAND-INS (stand-ins.toml) says, with the reason, what can't be had here. `page.py --packages PAGE STAND-INS` prints the arguments of
the `apt-get install` commands that are run, a command a line, for whoever closes the network afterwards.
"""

import fnmatch
import re
import subprocess
import sys
import tomllib
from pathlib import Path

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
ENVIRONMENT = "/root/.walk-environment"


def blocks(place):
    """The blocks of a page, or of one of its sections (`PAGE#HEADING`): line number, kind, content."""
    page, _, section = place.partition("#")
    text = Path(page).read_text()
    for match in FENCE.finditer(text):
        heading = re.findall(r"^#+ (.*)$", FENCE.sub("", text[: match.start()]), re.MULTILINE)[-1:]
        if section and heading != [section]:
            continue
        indent, kind, content = match.groups()
        lines = [line.removeprefix(indent) for line in content.splitlines()]
        yield text.count("\n", 0, match.start()) + 1, kind, "\n".join(lines)


def missing(expected, output):
    """The first expected line that the output does not have in its place, or nothing."""
    rest = iter(output.splitlines())
    follows = False
    for line in expected.splitlines():
        if line.strip() == "…":
            follows = False
            continue
        pattern = "*" + "*".join(re.sub(r"([*?[])", r"[\1]", part) for part in line.strip().split("…")) + "*"
        for found in rest:
            if fnmatch.fnmatchcase(found, pattern):
                break
            if follows:
                return line
        else:
            return line
        follows = True
    return None


class StandIns:
    """What of the pages is replaced or allowed; what the whole page has no occasion for is an error."""

    def __init__(self, path, page, values):
        everything = tomllib.loads(Path(path).read_text())
        page = page.partition("#")[0]
        self.text = [each for each in everything["text"] if page in each["pages"]]
        self.blocks = [each for each in everything["block"] if each["page"] == page]
        self.statuses = [each for each in everything["status"] if page in each["pages"]]
        self.values = values
        # Seconds that a block may take.
        self.timeout = everything.get("timeout", 300)
        everywhere = "\n".join(block for _, kind, block in blocks(page) if kind == "sh")
        idle = [each["is"] for each in self.text + self.blocks + self.statuses if each["is"] not in everywhere]
        if idle:
            sys.exit(f"FAILED: stand-ins for {page} that it doesn't need: {idle}")

    def replaced(self, block):
        """What stands in the place of a whole block: itself, mostly."""
        return next((each["instead"] for each in self.blocks if each["is"] == block), block)

    def apply(self, block):
        """What is run in the place of a block, and the exit statuses that are in order."""
        for each in self.blocks:
            if each["is"] == block:
                print(f"   stand-in: {each['because']}")
        block = self.replaced(block)
        for each in self.text:
            if each["is"] in block:
                block = block.replace(each["is"], self.values[each["instead"]])
        for each in self.statuses:
            if block.splitlines()[-1] == each["is"]:
                return block, {0, *each["also"]}
        return block, {0}


def run(shell, block, timeout):
    """Runs a block after those before it: its exit status and all that it said."""
    script = f"""set -e
touch {ENVIRONMENT}; . {ENVIRONMENT}
trap 'status=$?; export -p >{ENVIRONMENT}; exit $status' EXIT
set -o pipefail
{block}
"""
    ended = subprocess.run(
        [*shell, script],
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        check=False,
    )
    return ended.returncode, ended.stdout


def walk(page, stand_ins, shell):
    """Runs the page; an exit with what went wrong otherwise."""
    output = None
    count = 0
    for line, kind, block in blocks(page):
        if kind == "sh":
            count += 1
            print(f"-- {page}:{line}: {block.splitlines()[0]}", flush=True)
            command, good = stand_ins.apply(block)
            status, output = run(shell, command, stand_ins.timeout)
            if status not in good:
                sys.exit(f"FAILED: {page}:{line}: exit status {status}:\n{block}\n--- it said:\n{output}")
        elif kind == "text":
            if output is None:
                sys.exit(f"FAILED: {page}:{line}: the output of what?")
            if (lacks := missing(block, output)) is not None:
                sys.exit(f"FAILED: {page}:{line}: the output lacks: {lacks}\n--- it said:\n{output}")
    if not count:
        sys.exit(f"FAILED: {page} has no command")
    print(f"-- {page}: {count} blocks")


def packages(page, stand_ins):
    """Prints the arguments of the page's `apt-get install`, without paths."""
    for _, kind, block in blocks(page):
        command = stand_ins.replaced(block) if kind == "sh" else ""
        for match in re.finditer(r"apt-get install (.*)", command):
            words = [word for word in match[1].split() if "/" not in word]
            if any(not word.startswith("-") for word in words):
                print(*words)


if __name__ == "__main__":
    if sys.argv[1] == "--packages":
        packages(sys.argv[2], StandIns(sys.argv[3], sys.argv[2], {}))
    else:
        split = sys.argv.index("--")
        page, stand_ins, *values = sys.argv[1:split]
        values = dict(value.split("=", 1) for value in values)
        walk(page, StandIns(stand_ins, page, values), sys.argv[split + 1 :])
