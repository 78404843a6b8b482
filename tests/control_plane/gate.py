"""A door between the agent and its CouchDB: shut, CouchDB is away (connection refused); open, it is back with its data.

The in-memory CouchDB keeps nothing when its process ends, and a real one (`COUCHDB_URL`) isn't ours to stop.
"""

from __future__ import annotations

import contextlib
import socket
import threading


class Gate:
    """Forwards connections from a port on the loopback to the server while it is open; is open at first."""

    def __init__(self, host: str, port: int, own_port: int) -> None:
        self._target = (host, port)
        self.port = own_port
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.open()

    def open(self) -> None:
        """Lets connections through."""
        listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def shut(self) -> None:
        """Cuts every connection and refuses new ones."""
        if self._listener is None:
            return
        # Wakes the thread that waits in accept(); closing alone would not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._listener = None
        with self._lock:
            connections, self._connections = self._connections, set()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                ours, _ = listener.accept()
            except OSError:
                return
            try:
                theirs = socket.create_connection(self._target)
            except OSError:
                ours.close()
                continue
            with self._lock:
                self._connections |= {ours, theirs}
            for source, sink in ((ours, theirs), (theirs, ours)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
        with self._lock:
            self._connections.discard(source)
        if sink not in self._connections:
            source.close()
            sink.close()
