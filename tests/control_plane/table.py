"""The table of commands and results, from what each version's run has written (`results.py`).

`table.py [--write FILE] RESULTS.json…` prints it; with --write it also replaces what stands between the two markers in
a Markdown file. Fails if a cell that was run did not pass.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

BEGIN, END = "<!-- table: written by tests/control_plane/table.py -->", "<!-- end of the table -->"
WAYS = ["encrypted", "clear", "way A"]
SIGNS = {"passed": "yes", "skipped": "n/a", "known bug": "no (known)", "failed": "FAILED"}


def markdown(runs: list[dict]) -> str:
    """One line for each command and what is looked at; one column for each version and way."""
    columns = [(run["version"], way) for run in runs for way in WAYS]
    cells: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for run in runs:
        for command, what, results in run["rows"]:
            for way, result in results.items():
                cells.setdefault((command, what), {})[run["version"], way] = SIGNS[result]
    head = ["command", "what is looked at", *(f"{version} {way}" for version, way in columns)]
    lines = [head, ["---"] * len(head)]
    for (command, what), results in cells.items():
        lines.append([f"`{command}`", what, *(results.get(column, "") for column in columns)])
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def seen(runs: list[dict]) -> str:
    """What the user reads when something is refused, as the newest version shows it."""
    texts: dict[tuple[str, str], str] = {}
    for run in reversed(runs):
        for command, case, ways in run["seen"]:
            texts[command, case] = next(iter(ways.values()))
    lines = [["command", "case", "what the user reads"], ["---"] * 3]
    lines += [[f"`{command}`", case, text] for (command, case), text in texts.items()]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def newest_first(path: str) -> list[int]:
    """Sorts `26.0.0.json` before `24.1.0.json`."""
    return [-int(part) for part in Path(path).stem.split(".")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("results", nargs="+")
    arguments = parser.parse_args()
    runs = [json.loads(Path(path).read_text()) for path in sorted(arguments.results, key=newest_first)]
    table = markdown(runs)
    print(table)
    commands = sum(sum(run["counts"].values()) for run in runs)
    print(f"\n{commands} commands were given through the two shells.")
    if arguments.write:
        text = arguments.write.read_text()
        before, rest = text.split(BEGIN)
        after = rest.split(END)[1]
        arguments.write.write_text(f"{before}{BEGIN}\n\n{table}\n\n{seen(runs)}\n\n{END}{after}")
    return int("FAILED" in table)


if __name__ == "__main__":
    sys.exit(main())
