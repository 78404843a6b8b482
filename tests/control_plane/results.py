"""What came out of a run: for each line of the table and each way, whether it passed, and what the user saw.

Written as JSON for each version of Trove; `table.py` puts the versions together.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from programs import Outcome

SEVERITY = ["passed", "skipped", "known bug", "failed"]
NOT_RUN = "not run"


class Results:
    """Collects while the tests run."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._rows: dict[tuple[str, str], dict[str, str]] = {}
        self._seen: dict[tuple[str, str], dict[str, str]] = {}
        self._counts: dict[str, int] = {}

    def heard(self, command: str, outcome: Outcome) -> None:
        """Counts a command that a shell ran."""
        name = f"{outcome.command.split()[0]} {command}"
        self._counts[name] = self._counts.get(name, 0) + 1

    def saw(self, command: str, case: str, way: str, text: str) -> None:
        """Keeps what the user saw."""
        self._seen.setdefault((command, case), {})[way] = text

    def expect(self, item: pytest.Item, way: str) -> None:
        """A test that is there; until it has ended, its cell says that it was not run."""
        for marker in item.iter_markers("row"):
            self._rows.setdefault(marker.args, {}).setdefault(way, NOT_RUN)

    def add(self, item: pytest.Item, report: pytest.TestReport, way: str) -> None:
        """Takes in the end of a test; of several tests for one line the worst counts."""
        outcome = "known bug" if hasattr(report, "wasxfail") else report.outcome
        for marker in item.iter_markers("row"):
            command, what = marker.args
            cells = self._rows.setdefault((command, what), {})
            before = cells.get(way, NOT_RUN)
            cells[way] = outcome if before == NOT_RUN else max(before, outcome, key=SEVERITY.index)

    def write(self, path: Path) -> None:
        """Writes all as JSON."""
        document: dict[str, Any] = {
            "version": self._version,
            "rows": [[*key, cells] for key, cells in self._rows.items()],
            "seen": [[*key, texts] for key, texts in self._seen.items()],
            "counts": dict(sorted(self._counts.items())),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False))
