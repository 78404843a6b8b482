"""An instance, made through the API, with its CouchDB and its agent: what the tests look at.

`create` asks trove-api for the instance; the taskmanager has Nova "boot a server", and what Nova was given is what the
guest gets. The three ways to have CouchDB under Trove that the suite compares are at the end of this file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from agent import Agent, injected_files_of
from configuration import CLEAR, ENCRYPTED, STOCK, Service
from couch import LATE, CouchServer, User
from processes import wait_for
from shell import Shell
from stack import DATASTORE, VERSION, VERSION_WAY_A, VERSION_WITH_VOLUME, ControlPlane

T = TypeVar("T")
BOOT_LIMIT = 180.0
HEALTHY_LIMIT = 180.0
"""Covers the agent's bootstrap and five seconds of polling in the taskmanager; 5 s is usual."""

FIRST_DATABASES = ["first", "second"]
FIRST_USERS = [User("founder", "founder-pw"), User("partner", "partner-pw")]
"""What each instance is created with: every user of an instance-create gets all its databases."""


@dataclass(frozen=True)
class Way:
    """A way to have CouchDB under Trove."""

    name: str
    service: Service
    version: str = VERSION
    size: int | None = None
    manager: str = "couchdb"

    @property
    def secure(self) -> bool:
        """Whether its RPC is encrypted."""
        return self.service.secure


def quoted(name: str, *, encrypted: bool) -> str:
    """A name that is nobody's in a text of the agent's (protocol/src/quote.rs): of one that came encrypted only the beginning."""
    if encrypted:
        return f'"{name[: min(3, len(name) // 3)]}…" ({len(name)} characters)'
    return f'"{name}"' if len(name) <= 40 else f'"{name[:40]}…"'


WAYS = (
    Way("encrypted", ENCRYPTED),
    Way("clear", CLEAR),
    Way("way A", STOCK, VERSION_WAY_A, manager="postgresql"),
)

WITH_VOLUME = Way("volume", ENCRYPTED, VERSION_WITH_VOLUME, size=1, manager="percona")
"""What a volume needs: another disguise, as the README's `[couchdb]` has none."""


@dataclass
class Guest:
    """One instance."""

    way: Way
    name: str
    stack: ControlPlane
    couch: CouchServer
    shells: dict[str, Shell]
    directory: Any
    id: str = ""
    created: dict[str, Any] = field(default_factory=dict)
    agent: Agent | None = None
    files: dict[str, str] = field(default_factory=dict)

    def create(self, *more: str, version: str | None = None) -> None:
        """Asks trove-api for the instance, with `openstack database instance create`."""
        size = ["--size", str(self.way.size)] if self.way.size else []
        self.created = self.shells["openstack"].do(
            "create",
            self.name,
            *("--flavor", "1", *size),
            *("--datastore", DATASTORE, "--datastore-version", version or self.way.version),
            *("--nic", "net-id=5f7e0b8c-7c5b-4f0e-9a56-6d1f3f0a0001"),
            *more,
        )
        self.id = self.created["id"]

    def boot(self, **settings: Any) -> None:
        """Waits until Nova was asked for the server and starts the agent with what Nova was given."""
        server = wait_for(f"Nova is asked for a server {self.name}", self.server, BOOT_LIMIT, self._why_no_server)
        self.files = injected_files_of(server)
        self.agent = Agent(self.name, self.files, self.couch, self.directory / self.name, self.stack.logs)
        self.couch.wait_ready()
        self.agent.start(**settings)

    def _why_no_server(self) -> str:
        return f"shown: {self.show()}\n{self.stack.evidence()}"

    def server(self) -> dict[str, Any] | None:
        """What Nova was asked for to make this instance's server, as long as there is one."""
        directory = self.stack.cloud / "servers"
        documents = [json.loads(path.read_text()) for path in directory.glob("*")] if directory.exists() else []
        return next((document for document in documents if document["name"] == self.name), None)

    def show(self) -> dict[str, Any]:
        """`openstack database instance show`."""
        return self.shells["openstack"].do("show", self.id)

    def wait_shown(self, what: str, test: Callable[[dict[str, Any]], bool], limit: float = HEALTHY_LIMIT) -> dict[str, Any]:
        """Waits until `show` shows what is wanted."""
        seen: dict[str, Any] = {}

        def look() -> bool:
            seen.clear()
            seen.update(self.show())
            return test(seen)

        wait_for(f"{self.name}: {what}", look, limit, lambda: f"shown: {seen}\n{self.evidence()}", poll=0.3)
        return seen

    def wait_healthy(self, limit: float = HEALTHY_LIMIT) -> None:
        """Waits until Trove shows the instance as active and its database as healthy."""

        def healthy(shown: dict[str, Any]) -> bool:
            return (shown["status"], shown["operating_status"]) == ("ACTIVE", "HEALTHY")

        self.wait_shown("status ACTIVE and operating_status HEALTHY", healthy, limit)

    def wait_fault(self, what: str, text: str) -> str:
        """Waits until `show` shows a fault with this text; gives all that it shows, in one line."""

        def test(shown: dict[str, Any]) -> bool:
            return text in one_line(shown.get("fault"))

        return one_line(self.wait_shown(f"the fault that {what}", test, LATE)["fault"])

    def eventually(self, what: str, look: Callable[[], T]) -> T:
        """Waits for the effect of a cast."""
        return wait_for(f"{self.name}: {what}", look, LATE, self.evidence)

    def evidence(self) -> str:
        """The ends of the logs of agent and CouchDB."""
        processes = [self.agent and self.agent.process, self.couch.process]
        return "\n".join(process.evidence() for process in processes if process)

    def stop(self) -> None:
        """Ends the agent and CouchDB."""
        if self.agent is not None:
            self.agent.stop()
        self.couch.stop()


def one_line(fault: Any) -> str:
    """The fault as it was before Trove broke it into lines."""
    return " ".join(str(fault).split())
