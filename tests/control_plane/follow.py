#!/usr/bin/env python3
"""Follows control-plane/README.md on one version of Trove, from nothing to a user who logs in: `follow.py VERSION…`.

The commands are the page's own (`readme.py`), run in a copy of this checkout; what an operator has before (RabbitMQ,
trove.conf, Keystone, clouds that are faked) is made as for the suite. Then an instance is created with the page's commands,
our agent is started with exactly the files that Trove injected, and the page's user is asked to log in, read and write.

Who calls: `run.py` for 26.0.0, and `make test-control-plane-readme` for the old versions. It runs on Python 3.11, whatever
the Trove needs: that is in the virtual environment that `run.py` makes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OLD = ["22.0.1", "13.0.1", "12.0.0"]
IMAGE = "0a7c1d3e-0000-4000-8000-00000000c0db"
NETWORK = "5f7e0b8c-7c5b-4f0e-9a56-6d1f3f0a0001"
HEALTHY = {12: "ACTIVE", 13: "ACTIVE"}
"""What the page tells to wait for; later ones show HEALTHY as `operating_status`."""

LIMIT = 240.0


class Followed:
    """One Trove, and what belongs to it."""

    def __init__(self, version: str, directory: Path) -> None:
        import configuration
        import readme
        from identity import PROJECT, Identity
        from ports import Ports
        from programs import bin_directory, clean_environment
        from rabbit import Rabbit

        self.version, self.major, self.directory = version, int(version.split(".")[0]), directory
        self.logs = directory / "logs"
        self.logs.mkdir()
        self.ports, self.processes = Ports(), []
        self.api_port = self.ports.take()
        self.identity = Identity(
            self.ports.take(), {"encrypted": f"http://127.0.0.1:{self.api_port}/v1.0/{PROJECT}"}
        )
        self.rabbit = Rabbit(directory / "rabbit", self.logs, self.ports)
        self.processes += self.rabbit.processes
        self.environment = clean_environment() | {
            "PYTHONPATH": str(HERE / "cloud"),
            "TROVE_FAKE_CLOUD": str(directory / "cloud"),
            "OS_AUTH_URL": self.identity.url,
            "OS_USERNAME": "tenant",
            "OS_PASSWORD": "any",
            "OS_PROJECT_NAME": PROJECT,
            "OS_TENANT_NAME": PROJECT,
            "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default",
            "OS_REGION_NAME": "encrypted",
            "OS_IDENTITY_API_VERSION": "3",
        }
        etc = directory / "etc/trove"
        etc.mkdir(parents=True)
        conf = configuration.trove_conf(directory, self.rabbit.transport_url, self.identity.url)
        (etc / "trove.conf").write_text(conf)
        self.bin = bin_directory()
        shutil.copy(self.bin.parent / "etc/trove/api-paste.ini", etc / "api-paste.ini")
        # The programs find their configuration in /etc/trove by themselves; here it is named.
        named = directory / "bin"
        named.mkdir()
        wrapper = f'#!/bin/sh\nexec "{self.bin}/trove-manage" --config-file "{etc}/trove.conf" "$@"\n'
        (named / "trove-manage").write_text(wrapper)
        (named / "trove-manage").chmod(0o755)
        self.path = f"{named}:{self.bin}:/usr/bin:/bin"
        values = readme.installation(self.rabbit.transport_url, configuration.CONTROL_EXCHANGE, f"{self.bin}/pip")
        values |= {"IMAGE_ID": IMAGE, "NETWORK_ID": NETWORK}
        self.follower = readme.Follower(directory, values, self.path, self.environment)

    def install(self) -> None:
        """What the page has before trove-api is restarted."""
        import readme

        checkout = self.directory / "checkout"
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
        shutil.copytree(ROOT / "control-plane", checkout / "control-plane", ignore=ignored)
        for script in readme.scripts(readme.INSTALL, self.major, readme.left_out(self.major)):
            self.follower.run(script, checkout)

    def start(self) -> None:
        """The services, with the changed configuration."""
        from processes import Process

        self.rabbit.wait_ready()
        etc = self.directory / "etc/trove"
        own = self.directory / "own.conf"
        own.write_text(f"[DEFAULT]\nbind_port = {self.api_port}\napi_paste_config = {etc}/api-paste.ini\n")
        self.follower.run("trove-manage db_sync")
        for name in ("trove-conductor", "trove-taskmanager", "trove-api"):
            command = [self.bin / name, "--config-file", etc / "trove.conf", "--config-file", own]
            self.processes.append(
                Process(name, command, self.logs / f"{name}.log", self.environment, self.directory)
            )

    def register(self) -> None:
        """With the page's commands."""
        import readme

        for script in readme.scripts(readme.REGISTER, self.major):
            self.follower.run(script)

    def shell(self, script: str) -> str:
        return self.follower.run(script)

    def wait_api(self) -> None:
        from processes import wait_for

        api = self.processes[-1]

        def answers() -> bool:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.api_port}/", timeout=5).close()
                return True
            return False

        wait_for("trove-api answers", answers, LIMIT, api.evidence)
        if self.major >= 13:
            said = api.log.read_text(errors="replace")
            expected = "user, database and root calls are let through for manager couchdb"
            if self.major == 13:
                expected = "this Trove has no list of managers, all are let through already"
            assert expected in said, f"the log of trove-api lacks {expected!r}\n{api.evidence()}"

    def follow(self) -> None:
        """The page, from `Install it` to `See that it works`."""
        import readme
        from agent import Agent, binary, injected_files_of
        from couch import ANONYMOUS, CouchServer, User
        from processes import wait_for

        self.install()
        self.start()
        self.register()
        self.wait_api()
        create, *rest = readme.scripts(readme.TRY, self.major)
        instance = self.instance_of(self.shell(create))
        servers = self.directory / "cloud/servers"
        wait_for("Nova is asked for a server", lambda: list(servers.glob("*")), LIMIT, self.evidence)
        (server,) = [json.loads(path.read_text()) for path in servers.glob("*")]
        couch = CouchServer(self.version, self.logs, self.directory, self.ports, binary("in-memory-couchdb", "TROVE_E2E_COUCHDB"))
        couch.wait_ready()
        files = injected_files_of(server, self.bin / "python")
        agent = Agent(self.version, files, couch, self.directory / "guest", self.logs)
        try:
            agent.start()
            self.processes.append(agent.process)
            self.wait_healthy(instance)
            self.follower.give({"INSTANCE_ID": instance})
            listed = [self.shell(script) for script in rest][-1]
            assert "alice" in listed and "sales" in listed, listed
            alice = User("alice", "secret-password")
            wait_for("alice logs in", lambda: couch.account("alice"), LIMIT, self.evidence)
            assert couch.client.logs_in(alice)
            wait_for("alice reads", lambda: couch.client.reads("sales", alice), LIMIT, self.evidence)
            assert couch.client.writes("sales", alice) and not couch.client.reads("sales", ANONYMOUS)
            self.follower.check({"/opt/trove/bin/pip"} if self.major == 12 else set())
            key = agent.option("instance_rpc_encr_key")
            print(f"Trove {self.version}: alice logs in (RPC {'encrypted' if key else 'in clear'})", flush=True)
        finally:
            agent.stop()
            couch.stop()

    @staticmethod
    def instance_of(shown: str) -> str:
        found = re.search(r"\|\s*id\s*\|\s*([0-9a-f-]{36})", shown)
        assert found, shown
        return found[1]

    def wait_healthy(self, instance: str) -> None:
        from processes import wait_for

        wanted = HEALTHY.get(self.major, "HEALTHY")
        program = "trove show" if self.major == 12 else "openstack database instance show"

        def healthy() -> bool:
            shown = self.shell(f"{program} {instance}")
            assert not re.search(r"status\s*\|\s*(ERROR|FAILED)", shown), f"{shown}\n{self.evidence()}"
            return bool(re.search(rf"status\s*\|\s*{wanted}\b", shown))

        wait_for(f"{wanted} is shown", healthy, LIMIT, self.evidence, poll=2)

    def evidence(self) -> str:
        return "\n".join(process.evidence() for process in self.processes)

    def stop(self) -> None:
        from processes import stop_all

        stop_all(self.processes)
        self.identity.stop()


def follow(version: str) -> bool:
    """True if the page led to a user who logs in."""
    directory = Path(tempfile.mkdtemp(prefix=f"trove-readme-{version}-"))
    followed = None
    try:
        followed = Followed(version, directory)
        followed.follow()
        return True
    except Exception as error:
        print(f"Trove {version}: the README does not lead there: {error}", flush=True)
        kept = ROOT / "target/control-plane-logs" / f"readme-{version}"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(directory / "logs", kept)
        print(f"The logs of all processes are in {kept}", flush=True)
        return False
    finally:
        if followed is not None:
            followed.stop()
        shutil.rmtree(directory, ignore_errors=True)


def main(arguments: list[str]) -> int:
    import run

    if arguments[:1] == ["--here"]:
        return 0 if follow(arguments[1]) else 1
    failed = []
    for version in arguments or OLD:
        run.prepare(version, with_package=False)
        environment = os.environ | {"TROVE_E2E_VENV": str(run.environment_of(version)), "PYTHONDONTWRITEBYTECODE": "1"}
        began = time.monotonic()
        done = subprocess.run([sys.executable, __file__, "--here", version], env=environment, check=False)
        print(f"== README on Trove {version}: {'passed' if not done.returncode else 'FAILED'}, {time.monotonic() - began:.0f} s", flush=True)
        if done.returncode:
            failed.append(version)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
