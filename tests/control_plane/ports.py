"""Free TCP ports on the loopback, kept apart from other test processes by the lock files of `tests/src/ports.rs`.

Only ports below 32768 are given out: above, Linux hands ports to outgoing connections, and a client that reconnects
while a server is down can take the server's port.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

FIRST, LAST, BLOCK = 20_000, 32_000, 4


class Ports:
    """Gives out ports, a block at a time; they stay ours until this process ends."""

    def __init__(self) -> None:
        self._locks: list[IO[bytes]] = []
        self._left: list[int] = []
        self._directory = Path(tempfile.gettempdir()) / f"trove-couchdb-ports-{os.getuid()}"
        self._directory.mkdir(exist_ok=True)

    def take(self) -> int:
        """A free port."""
        if not self._left:
            self._left = self._reserve_block()
        return self._left.pop(0)

    def _reserve_block(self) -> list[int]:
        bases = list(range(FIRST, LAST, BLOCK))
        start = random.randrange(len(bases))
        for base in bases[start:] + bases[:start]:
            lock = (self._directory / f"{base}.lock").open("wb")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            block = list(range(base, base + BLOCK))
            if all(map(_is_free, block)):
                self._locks.append(lock)
                return block
            lock.close()
        raise RuntimeError(f"no {BLOCK} free consecutive ports between {FIRST} and {LAST} on 127.0.0.1")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Like the servers that will listen there: a port in TIME_WAIT is free for them.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def listens(port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
