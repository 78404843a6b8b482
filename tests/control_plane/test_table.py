"""A run that left something out is not a run that passed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import table


def run(version: str) -> dict:
    cells = dict.fromkeys(table.WAYS, "passed")
    rows = [[command, "all", dict(cells)] for command in table.COMMANDS]
    return {"version": version, "rows": [*rows, ["instance create", "late", {"encrypted": "passed"}]], "seen": [], "counts": {}}


def test_what_is_complete_is_good() -> None:
    assert table.problems([run("26.0.0"), run("24.1.0")]) == []


@pytest.mark.parametrize("result", ["failed", "known bug", "not run"])
def test_what_did_not_pass_is_told(result: str) -> None:
    broken = run("24.1.0")
    broken["rows"][-1][2]["encrypted"] = result
    assert table.problems([run("26.0.0"), broken]) == [f"instance create, late: {result} with 24.1.0, encrypted"]


def test_what_is_missing_is_told() -> None:
    broken = run("24.1.0")
    del broken["rows"][0][2]["way A"]
    broken["rows"].pop()
    assert table.problems([run("26.0.0"), broken]) == [
        "user-create: nothing passed with 24.1.0, way A",
        "user-create, all: missing with 24.1.0, way A",
        "instance create, late: missing with 24.1.0, encrypted",
    ]


def test_only_a_complete_table_is_written(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text(f"before {table.BEGIN} old {table.END} after")
    results = tmp_path / "26.0.0.json"
    assert not table.show([results], document, write=True), "a run that left nothing behind"
    results.write_text(json.dumps(run("26.0.0") | {"rows": []}))
    assert not table.show([results], document, write=True)
    assert " old " in document.read_text()
    results.write_text(json.dumps(run("26.0.0")))
    assert table.show([results], document, write=True)
    text = document.read_text()
    assert " old " not in text and "`user-create`" in text and text.endswith(" after")


def test_what_is_documented_must_be_run(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text(f"{table.BEGIN} {table.END}")
    results = tmp_path / "26.0.0.json"
    whole = run("26.0.0")
    results.write_text(json.dumps(whole))
    assert table.show([results], document, write=True) and table.show([results], document, write=False)
    whole["rows"].pop()
    results.write_text(json.dumps(whole))
    assert not table.show([results], document, write=False)


def test_the_written_lists_name_the_ways_and_share_lines() -> None:
    first = run("26.0.0")
    first["rows"] = [["user-show", "all", dict.fromkeys(table.WAYS, "passed")], ["log list", "400", {"clear": "passed"}]]
    assert table.short([first]).split("\n\n") == [
        "Passed with Trove 26.0.0, encrypted, clear, way A:",
        "- `user-show`: all",
        "Passed with Trove 26.0.0, clear:",
        "- `log list`: 400",
    ]
    first["seen"] = [
        ["user-create", "`root`", {"clear": 'user "root" is reserved'}],
        ["user-show", "`root`", {"clear": 'user "root" is reserved'}],
        ["user-create", "`os_admin`", {"clear": 'user "os_admin" is reserved'}],
        ["log list", "", {"clear": "no | logs"}],
    ]
    assert table.seen([first]).splitlines()[2:] == [
        '| user "…" is reserved | `user-create`, `user-show`: `root`; `user-create`: `os_admin` |',
        "| no \\| logs | `log list` |",
    ]
