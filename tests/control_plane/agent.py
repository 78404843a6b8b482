"""The agent under test: the real binary, started in an instance that Trove made, with the files that Trove injected."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from couch import ROOT, CouchServer
from processes import Process

CONF_D = Path("/etc/trove/conf.d")
"""Where Trove's injected files are in an instance."""


def binary(name: str, variable: str) -> Path:
    """A binary of this project: what the variable names, or what `cargo build` left in target/debug."""
    path = Path(os.environ.get(variable) or ROOT / "target/debug" / name)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run `cargo build --workspace`, or name it in {variable}")
    return path


def injected_files_of(server: dict[str, Any], python: str | Path = sys.executable) -> dict[str, str]:
    """The files that an instance gets, by their paths: from Nova's user data as cloud-init would, and from `files`.

    The user data is YAML, which the Python of a Trove can read and Python by itself can't.
    """
    injected = dict(server.get("files") or {})
    code = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin) or {}, sys.stdout)"
    user_data = server.get("userdata") or "{}"
    read = subprocess.run([python, "-c", code], input=user_data, capture_output=True, text=True, check=True)
    for file in json.loads(read.stdout).get("write_files", []):
        injected[file["path"]] = base64.b64decode(file["content"]).decode()
    return injected


class Agent:
    """An agent with a directory of its own for what an instance has below / ."""

    def __init__(self, name: str, files: dict[str, str], couch: CouchServer, directory: Path, logs: Path) -> None:
        self.directory = directory
        self._conf_d = directory / "conf.d"
        self._conf_d.mkdir(parents=True)
        (directory / "state").mkdir()
        for path, content in files.items():
            if Path(path).parent == CONF_D:
                (self._conf_d / Path(path).name).write_text(content)
        self._name, self._couch, self._log = name, couch, logs / f"agent-{name}.log"
        self.process: Process | None = None

    def start(self, **settings: Any) -> None:
        """Starts the agent; settings (`couchdb__url=…`) are what the image would have in agent.toml."""
        defaults = {
            "couchdb__url": f"http://127.0.0.1:{self._couch.gate.port}",
            "couchdb__bootstrap_admin": self._couch.admin.name,
            "couchdb__bootstrap_admin_password": self._couch.admin.password,
            "couchdb__credentials_file": self.directory / "os_couchdb_admin_creds.json",
            "couchdb__data_dir": self.directory,
            # Debug builds hash slowly; what is tested here is that the users can log in.
            "couchdb__sha256_iterations": 1000,
            "guest__state_dir": self.directory / "state",
            "guest_log__couchdb_file": self.directory / "couchdb.log",
            "heartbeat__interval": 1,
            "local__socket": self.directory / "agent.sock",
            "log__filter": "debug",
        }
        variables = {f"TROVE_COUCHDB_{name.upper()}": _text(value) for name, value in (defaults | settings).items()}
        self.process = Process(
            f"agent-{self._name}",
            [binary("trove-couchdb-agent", "TROVE_COUCHDB_AGENT"), "--config-dir", self._conf_d],
            self._log,
            {"PATH": "/usr/bin:/bin", "HOME": str(self.directory), **variables},
            self.directory,
        )

    def log(self) -> str:
        """All that the agent has said so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def option(self, name: str) -> str | None:
        """A value of guest_info.conf, as injected."""
        found = re.search(rf"(?m)^{name}\s*=\s*(.*)$", (self._conf_d / "guest_info.conf").read_text())
        return found[1].strip() if found else None

    def stop(self) -> None:
        """Ends the agent, if it runs."""
        if self.process is not None:
            self.process.stop()


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
