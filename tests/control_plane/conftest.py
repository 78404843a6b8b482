"""What the tests stand on: one control plane for the whole run, and one instance for each way.

The order of the modules is the life of an instance; a test may rely on the instances being there, never on what
another test left in them.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent import binary
from configuration import Service
from couch import ROOT, CouchServer
from guest import FIRST_DATABASES, FIRST_USERS, WAYS, Guest, Way
from ports import Ports
from programs import Program, clean_environment
from results import Results
from shell import TENANT, Shell
from stack import ControlPlane

LIFE = [
    "test_documentation",
    "test_table",
    "test_create",
    "test_databases",
    "test_users",
    "test_access",
    "test_root",
    "test_paging",
    "test_names",
    "test_refusals",
    "test_stock_api",
    "test_faults",
    "test_prepare",
    "test_lifecycle",
    "test_logs",
    "test_status",
    "test_delete",
]


def trove_version() -> str:
    """The Trove of the venv that runs this suite."""
    return importlib.metadata.version("trove")


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "run with `openstack` what is otherwise run with `trove`, and the other way round"
    parser.addoption("--swap-shells", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "row(command, what): a line of the table of commands and results")
    config.stash[RESULTS] = Results(trove_version())


RESULTS = pytest.StashKey[Results]()


def pytest_itemcollected(item: pytest.Item) -> None:
    # Before `-k` leaves any of them out.
    item.config.stash[RESULTS].expect(item, way_of(item))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # After pytest itself, which puts tests of one session-wide parameter together.
    items.sort(key=lambda item: LIFE.index(item.path.stem))


def way_of(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    way = callspec.params.get("guest") if callspec else None
    return way.name if isinstance(way, Way) else "encrypted"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.when == "call" or report.failed or report.skipped:
        item.config.stash[RESULTS].add(item, report, way_of(item))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    path = os.environ.get("TROVE_E2E_RESULTS")
    if path:
        config.stash[RESULTS].write(Path(path))


@pytest.fixture(scope="session")
def ports() -> Ports:
    return Ports()


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A directory for everything; its logs move to target/control-plane-logs if a test failed."""
    directory = Path(tempfile.mkdtemp(prefix="trove-e2e-"))
    (directory / "logs").mkdir()
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def logs(scratch: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    directory = scratch / "logs"
    yield directory
    kept = ROOT / "target/control-plane-logs" / trove_version()
    shutil.rmtree(kept, ignore_errors=True)
    if request.session.testsfailed:
        shutil.copytree(directory, kept)
        print(f"\nThe logs of all processes are in {kept}")


@pytest.fixture(scope="session")
def programs(scratch: Path, logs: Path) -> Iterator[dict[str, Program]]:
    """The two shells."""
    programs = {name: Program(name, clean_environment(), scratch, logs) for name in ("trove", "openstack")}
    yield programs
    for program in programs.values():
        program.process.stop()


@pytest.fixture(scope="session")
def stack(scratch: Path, logs: Path, ports: Ports, programs: dict[str, Program]) -> Iterator[ControlPlane]:
    """The control plane, serving."""
    stack = ControlPlane(scratch, logs, ports)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


class Guests:
    """Makes instances, and ends them all."""

    def __init__(self, stack: ControlPlane, programs: dict[str, Program], ports: Ports, results: Results) -> None:
        self._stack, self._programs, self._ports, self._results = stack, programs, ports, results
        self._made: list[Guest] = []

    def make(self, way: Way, name: str) -> Guest:
        """An instance that is not asked for yet, with a CouchDB that is starting."""
        stack = self._stack
        couch_binary = binary("in-memory-couchdb", "TROVE_E2E_COUCHDB")
        couch = CouchServer(name.replace(" ", "-"), stack.logs, stack.directory, self._ports, couch_binary)
        shells = {program: self.shell(program, way.service) for program in self._programs}
        guest = Guest(way, name.replace(" ", "-"), stack, couch, shells, stack.directory / "guests")
        self._made.append(guest)
        return guest

    def shell(self, program: str, service: Service, user: str = TENANT) -> Shell:
        """A shell that talks to this trove-api."""
        return Shell(self._programs[program], self._stack.identity.url, service.name, self._results.heard, user)

    def stop(self) -> None:
        for guest in self._made:
            guest.stop()


@pytest.fixture(scope="session")
def guests(
    stack: ControlPlane, programs: dict[str, Program], ports: Ports, pytestconfig: pytest.Config
) -> Iterator[Guests]:
    """For tests that need an instance of their own."""
    guests = Guests(stack, programs, ports, pytestconfig.stash[RESULTS])
    try:
        yield guests
    finally:
        guests.stop()


@pytest.fixture(scope="session")
def all_ways(guests: Guests) -> dict[str, Guest]:
    """An instance for each way, made side by side; the first test says whether they became healthy."""
    made = [guests.make(way, way.name) for way in WAYS]
    for guest in made:
        users = [f"{user.name}:{user.password}" for user in FIRST_USERS]
        guest.create("--databases", *FIRST_DATABASES, "--users", *users)
    for guest in made:
        guest.boot()
    return {guest.way.name: guest for guest in made}


@pytest.fixture(scope="session", params=WAYS, ids=[way.name.replace(" ", "-") for way in WAYS])
def guest(request: pytest.FixtureRequest, all_ways: dict[str, Guest]) -> Guest:
    """The instance of one way after the other."""
    return all_ways[request.param.name]


@pytest.fixture(scope="session")
def encrypted(all_ways: dict[str, Guest]) -> Guest:
    """The instance with encrypted RPC, for what need not be tried in every way."""
    return all_ways["encrypted"]


SHELLS = {"encrypted": "trove", "clear": "openstack", "way A": "trove"}
"""Which shell has its pass on which instance; `--swap-shells` turns it around."""


@pytest.fixture
def shell(guest: Guest, pytestconfig: pytest.Config) -> Shell:
    """The shell that runs the commands on the instance of the way under test."""
    name = SHELLS[guest.way.name]
    if pytestconfig.getoption("swap_shells"):
        name = "openstack" if name == "trove" else "trove"
    return guest.shells[name]


@pytest.fixture(scope="session")
def results(pytestconfig: pytest.Config) -> Results:
    return pytestconfig.stash[RESULTS]
