"""The control plane: RabbitMQ, trove-api, trove-conductor, trove-taskmanager and what surrounds them.

All services are the unmodified programs of the venv that runs this suite; the clouds they talk to are `cloud/` and
`identity.py`. There are three trove-apis, each a region of the catalogue (see `configuration.py`).
"""

from __future__ import annotations

import shlex
import shutil
import sqlite3
import urllib.request
from pathlib import Path

import configuration
import readme
from configuration import CLEAR, ENCRYPTED, SERVICES, Service
from identity import PROJECT, Identity
from ports import Ports
from processes import Process, stop_all, wait_for
from programs import HERE, Outcome, Program, bin_directory, clean_environment
from rabbit import Rabbit
from store import ObjectStore

DATASTORE = "couchdb"
VERSION = "3.5.0"
"""That of the README."""
VERSION_WAY_A = "3.5-a"
VERSION_WITH_PACKAGES = "3.5-packages"
VERSION_WITH_ROOT = "3.5-root"
VERSION_WITH_VOLUME = "3.5-volume"
OTHER_VERSIONS = {
    VERSION_WAY_A: ("postgresql", ""),
    VERSION_WITH_PACKAGES: ("couchdb", "couchdb"),
    VERSION_WITH_ROOT: ("mariadb", ""),
    VERSION_WITH_VOLUME: ("percona", ""),
}
"""The manager and the packages of each version that the README doesn't register."""
IMAGE = "0a7c1d3e-0000-4000-8000-00000000c0db"
START_LIMIT = 300.0
"""Trove's services import much: 4 s on an idle core, and all start at once."""


class ControlPlane:
    """Started by the constructor in part; `start` does the rest and returns when trove-api serves."""

    def __init__(self, directory: Path, logs: Path, ports: Ports) -> None:
        self.directory, self.logs = directory, logs
        self.cloud = directory / "cloud"
        self._processes: list[Process] = []
        self._api_ports = {service: ports.take() for service in SERVICES}
        self._environment = clean_environment() | {
            "PYTHONPATH": str(HERE / "cloud"),
            "TROVE_FAKE_CLOUD": str(self.cloud),
        }
        regions = {service.name: self.url(service) for service in SERVICES}
        self.store = ObjectStore(directory, logs, ports.take())
        self._processes.append(self.store.process)
        self.identity = Identity(ports.take(), regions, self.store.url)
        try:
            self.rabbit = Rabbit(directory / "rabbit", logs, ports)
            self._processes += self.rabbit.processes
            self._write_files()
            self.manage_program = Program("trove-manage", self._environment, directory, logs)
            self._processes.append(self.manage_program.process)
        except BaseException:
            self.stop()
            raise

    def url(self, service: Service) -> str:
        """Where the catalogue says that this trove-api is."""
        return f"http://127.0.0.1:{self._api_ports[service]}/v1.0/{PROJECT}"

    def start(self) -> None:
        """Makes the database, starts the services, registers the datastore, and waits until all serve."""
        self.manage("db_sync")
        # Readers and the writer of the one file get in each other's way much less.
        with sqlite3.connect(self.directory / "trove.sqlite") as database:
            database.execute("PRAGMA journal_mode=WAL")
        self.rabbit.wait_ready()
        self.store.wait_ready()
        self._start("trove-conductor", "trove-conductor", ENCRYPTED)
        for service in (ENCRYPTED, CLEAR):
            self._start(f"trove-taskmanager-{service.name}", "trove-taskmanager", service)
        apis = [self._start(f"trove-api-{service.name}", "trove-api", service) for service in SERVICES]
        self._register_datastore()
        for service, api in zip(SERVICES, apis, strict=True):
            api.wait_ready(f"{api.name} answers", lambda service=service: self._answers(service), START_LIMIT)
        for process in self._processes:
            wait_for(f"{process.name} runs", lambda process=process: process.running, 0, process.evidence)

    def manage(self, *arguments: str) -> Outcome:
        """Runs trove-manage as an operator does."""
        return self.manage_program.run("--config-file", str(self.directory / "etc/trove/trove.conf"), *arguments).check()

    def stop(self) -> None:
        """Ends everything."""
        stop_all(self._processes)
        self.identity.stop()

    def evidence(self) -> str:
        """The ends of the logs of all services."""
        return "\n".join(process.evidence() for process in self._processes)

    def _write_files(self) -> None:
        directory = self.directory
        configuration.lay_out(directory, self.rabbit.transport_url, self.identity.url)
        for service in SERVICES:
            text = configuration.service_conf(service, directory, self._api_ports[service])
            (directory / f"{service.name}.conf").write_text(text)
        cloudinit = directory / "etc/trove/cloudinit"
        for manager in {manager for manager, _ in OTHER_VERSIONS.values()} - {"couchdb"}:
            shutil.copy(cloudinit / "couchdb.cloudinit", cloudinit / f"{manager}.cloudinit")

    def _start(self, name: str, program: str, service: Service) -> Process:
        files = [self.directory / "etc/trove/trove.conf", self.directory / f"{service.name}.conf"]
        command = [bin_directory() / program, *(word for file in files for word in ("--config-file", file))]
        process = Process(name, command, self.logs / f"{name}.log", self._environment, self.directory)
        self._processes.append(process)
        return process

    def _register_datastore(self) -> None:
        """With the commands of `control-plane/README.md`, and in the same way what only this suite needs."""
        # No version is an update, the default comes last.
        follower = readme.Follower(self.directory, {"IMAGE_ID": IMAGE}, "")
        for script in readme.scripts(readme.REGISTER, 26):
            for line in follower.adapted(script).replace("\\\n", " ").splitlines():
                program, *arguments = shlex.split(line)
                assert program == "trove-manage", line
                self.manage(*arguments)
        follower.check()
        extra = ["--registry-ext", "none", "--repl-strategy", "none"]
        for version, (manager, packages) in OTHER_VERSIONS.items():
            self.manage("datastore_version_update", *extra, DATASTORE, version, manager, IMAGE, packages, "1")

    def _answers(self, service: Service) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self._api_ports[service]}/healthcheck", timeout=5).close()
        except OSError:
            return False
        return True
