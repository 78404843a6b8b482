"""A real object store: Swift from PyPI, in a process and with a Python of its own (`../python/swift/server.py`)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from couch import ROOT
from identity import OPERATOR, PROJECT
from processes import Process
from shell import TENANT

START_LIMIT = 120.0


class ObjectStore:
    """Takes the tokens of the users of `identity.py`. Started by the constructor; `wait_ready` before it is used."""

    def __init__(self, directory: Path, logs: Path, port: int) -> None:
        python = subprocess.run(
            [ROOT / "tests/scripts/venv.sh", ROOT / "tests/python/swift/requirements.txt", ROOT / "target/swift-venv"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        self.url = f"http://127.0.0.1:{port}/v1/AUTH_{PROJECT}"
        self._log = logs / "swift.log"
        swift, scripts = directory / "swift", ROOT / "tests/python/swift"
        swift.mkdir()
        (swift / "tokens").write_text("".join(f"{user}:{PROJECT} {PROJECT}\n" for user in (TENANT, OPERATOR)))
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(scripts)}
        command = [python, "-W", "ignore", scripts / "server.py", swift, str(port)]
        self.process = Process("swift", command, self._log, environment, directory)

    def wait_ready(self) -> None:
        """Returns when it can be used."""
        self.process.wait_ready("swift serves", lambda: "serves" in self._log.read_text(), START_LIMIT)
