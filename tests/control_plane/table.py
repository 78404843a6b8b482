"""The table of commands and results, from what each version's run has written (`results.py`).

`table.py [--write] FILE RESULTS.json…` prints it; with --write it also replaces what stands between the two markers in
that Markdown file, in a shorter form. Whatever is missing fails as what did not pass does, and is never written: a cell that one
version has and another has not, a command without a success, a line of the file that nothing was run for.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

BEGIN, END = "<!-- table: written by tests/control_plane/table.py -->", "<!-- end of the table -->"
WAYS = ["encrypted", "clear", "way A"]
SIGNS = {"passed": "yes", "skipped": "n/a", "known bug": "NO (known)", "failed": "FAILED", "not run": "NOT RUN"}

#: Every one of these must pass at something, in every way and with every version.
COMMANDS = [
    *(f"user-{verb}" for verb in ["create", "list", "show", "delete", "update-attributes"]),
    *(f"user-{verb}" for verb in ["grant-access", "revoke-access", "show-access"]),
    *(f"database-{verb}" for verb in ["create", "list", "delete"]),
    *(f"root-{verb}" for verb in ["enable", "show", "disable"]),
    *(f"instance {verb}" for verb in ["create", "show", "delete"]),
]

Cells = dict[tuple[str, str], dict[tuple[str, str], str]]


def cells_of(runs: list[dict]) -> Cells:
    """By command and what is looked at, then by version and way."""
    cells: Cells = {}
    for run in runs:
        for command, what, results in run["rows"]:
            for way, result in results.items():
                cells.setdefault((command, what), {})[run["version"], way] = result
    return cells


def problems(runs: list[dict]) -> list[str]:
    """What did not pass, and what should be there and is not."""
    cells = cells_of(runs)
    found = [
        f"{command}, {what}: {result} with {version}, {way}"
        for (command, what), results in cells.items()
        for (version, way), result in results.items()
        if result not in ("passed", "skipped")
    ]
    for run in runs:
        version = run["version"]
        for way in WAYS:
            passed = {line[0] for line, results in cells.items() if results.get((version, way)) == "passed"}
            found += [f"{command}: nothing passed with {version}, {way}" for command in COMMANDS if command not in passed]
        for (command, what), results in cells.items():
            missing = {way for _, way in results} - {way for of, way in results if of == version}
            found += [f"{command}, {what}: missing with {version}, {way}" for way in sorted(missing)]
    return found


def markdown(runs: list[dict]) -> str:
    """One line for each command and what is looked at; one column for each version and way."""
    columns = [(run["version"], way) for run in runs for way in WAYS]
    head = ["command", "what is looked at", *(f"{version} {way}" for version, way in columns)]
    lines = [head, ["---"] * len(head)]
    for (command, what), results in cells_of(runs).items():
        signs = (SIGNS[results[column]] if column in results else "" for column in columns)
        lines.append([f"`{command}`", what, *signs])
    return _lines(lines)


def short(runs: list[dict]) -> str:
    """The table for readers, as lists: what passed with every version in the same ways."""
    by_ways: dict[str, list[str]] = {}
    for (command, what), results in cells_of(runs).items():
        ways = [way for way in WAYS if any(results.get((run["version"], way)) == "passed" for run in runs)]
        by_ways.setdefault(", ".join(ways), []).append(f"- `{command}`: {_cell(what)}")
    versions = " and ".join(run["version"] for run in runs)
    return "\n\n".join(f"Passed with Trove {versions}, {ways}:\n\n" + "\n".join(lines) for ways, lines in by_ways.items())


def seen(runs: list[dict]) -> str:
    """What the user reads when something is refused, as the newest version shows it; `…` is the name that the case gives."""
    texts: dict[tuple[str, str], str] = {}
    for run in reversed(runs):
        for command, case, ways in run["seen"]:
            texts[command, case] = next(iter(ways.values()))
    by_text: dict[str, dict[str, list[str]]] = {}
    for (command, case), text in texts.items():
        by_text.setdefault(_without_name(case, text), {}).setdefault(case, []).append(f"`{command}`")
    lines = [["what the user reads", "when"], ["---"] * 2]
    for text, cases in by_text.items():
        by_commands: dict[str, list[str]] = {}
        for case, commands in cases.items():
            by_commands.setdefault(", ".join(commands), []).append(case)
        when = [f"{commands}: {', '.join(of_them)}".rstrip(": ") for commands, of_them in by_commands.items()]
        lines.append([text, "; ".join(when)])
    return _lines(lines)


def _without_name(case: str, text: str) -> str:
    """The text with `…` in place of the name that the case gives, in backticks or as one of its words."""
    for name in [case.partition("`")[2].partition("`")[0], *re.split(r"[\s:`]+", case)]:
        if name:
            text = text.replace(f'"{name}"', '"…"').replace(f"User {name} ", "User … ")
    return text


def _lines(lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def newest_first(path: Path) -> list[int]:
    """Sorts `26.0.0.json` before `24.1.0.json`."""
    return [-int(part) for part in path.stem.split(".")]


def documented(document: Path) -> set[tuple[str, str]]:
    """Command and what is looked at, of the lines that stand in the file."""
    text = document.read_text().partition(BEGIN)[2].partition("| what the user reads |")[0]
    lines = [line.removeprefix("- `").partition("`: ") for line in text.splitlines() if line.startswith("- `")]
    return {(command, what) for command, _, what in lines}


def show(results: list[Path], document: Path, write: bool) -> bool:
    """Prints the table; True if all is there and has passed, and only then writes it into the document."""
    missing = [path for path in results if not path.exists()]
    runs = [json.loads(path.read_text()) for path in sorted(results, key=newest_first) if path not in missing]
    table = markdown(runs)
    print(table)
    commands = sum(sum(run["counts"].values()) for run in runs)
    print(f"\n{commands} commands were given through the two shells.")
    found = [f"{path.stem}: no results; its log says why" for path in missing] + problems(runs)
    if not write:
        gone = documented(document) - {(command, _cell(what)) for command, what in cells_of(runs)}
        found += [f"{command}, {what}: documented, and not run" for command, what in sorted(gone)]
    for problem in found:
        print(f"NOT GOOD: {problem}")
    if write and not found:
        text = document.read_text()
        before, rest = text.split(BEGIN)
        after = rest.split(END)[1]
        document.write_text(f"{before}{BEGIN}\n\n{short(runs)}\n\n{seen(runs)}\n\n{END}{after}")
    return not found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("document", type=Path, metavar="FILE")
    parser.add_argument("results", nargs="+", type=Path)
    arguments = parser.parse_args()
    return 0 if show(arguments.results, arguments.document, arguments.write) else 1


if __name__ == "__main__":
    sys.exit(main())
