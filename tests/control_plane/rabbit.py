"""A private, throw-away RabbitMQ node from Debian's `rabbitmq-server`, set up like `tests/src/rabbitmq.rs` does.

The node has its own name, ports, home, data, logs and epmd, all below one directory and on 127.0.0.1; nothing of a
system-wide RabbitMQ is read or touched.
"""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

from ports import Ports, listens
from processes import Process, Unready

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The wrappers in /usr/sbin change to the user `rabbitmq`; the scripts here run as whoever calls them."""

USER = "trove"
START_LIMIT = 300.0
"""Measured 5 s on two idle cores; the rest is for machines under load."""

ERL_ARGS = "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"
"""Keeps the distribution port on the loopback, and idle schedulers from spinning."""


class Rabbit:
    """A node that is starting; `wait_ready` says when it speaks AMQP."""

    def __init__(self, directory: Path, logs: Path, ports: Ports) -> None:
        if not SERVER.exists():
            raise Unready(f"{SERVER} is missing: run `make deps` (it installs Debian's rabbitmq-server)")
        self.port, self._distribution, self._epmd_port = ports.take(), ports.take(), ports.take()
        self._password = secrets.token_hex(12)
        self._directory = directory
        self._write_configuration()
        # In the foreground: an epmd that turns itself into a daemon would outlive the node and hold its name.
        epmd = ["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"]
        self._epmd = Process("epmd", epmd, logs / "epmd.log", os.environ, directory)
        self._epmd.wait_ready("epmd listens", lambda: listens(self._epmd_port), 20)
        self._node = Process("rabbitmq", [SERVER], logs / "rabbitmq.log", self._environment(), directory)

    @property
    def processes(self) -> list[Process]:
        """In the order of their start."""
        return [self._epmd, self._node]

    @property
    def transport_url(self) -> str:
        """The address as oslo.messaging wants it."""
        return f"rabbit://{USER}:{self._password}@127.0.0.1:{self.port}//"

    def wait_ready(self) -> None:
        """Returns when the node speaks AMQP."""
        self._node.wait_ready("RabbitMQ speaks AMQP", lambda: _speaks_amqp(self.port), START_LIMIT)

    def _write_configuration(self) -> None:
        """The account stands in the configuration because one `rabbitmqctl` call to add it takes 5 s."""
        (self._directory / "home").mkdir(parents=True)
        (self._directory / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            "loopback_users = none\n"
            "default_vhost = /\n"
            f"default_user = {USER}\n"
            f"default_pass = {self._password}\n"
            "default_permissions.configure = .*\n"
            "default_permissions.read = .*\n"
            "default_permissions.write = .*\n"
        )
        (self._directory / "enabled_plugins").write_text("[].\n")
        (self._directory / "rabbitmq-env.conf").write_text("")

    def _environment(self) -> dict[str, str]:
        directory = self._directory
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(directory / "home"),
            # `localhost` is never resolved over the network, unlike the machine's own name.
            "RABBITMQ_NODENAME": f"t{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(directory / "node.pid"),
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": str(directory / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERL_ARGS,
            # Makes the script `exec` Erlang, so that the pid we hold is the node's and not a shell's.
            "RUNNING_UNDER_SYSTEMD": "true",
        }


def _speaks_amqp(port: int) -> bool:
    """True when the peer answers AMQP's protocol header with a method frame (type 1): `Connection.Start`."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as stream:
            stream.sendall(b"AMQP\x00\x00\x09\x01")
            return stream.recv(1) == b"\x01"
    except OSError:
        return False
