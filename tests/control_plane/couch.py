"""The CouchDB servers that the agents administer, and a client that judges what the agents did.

A server is the project's in-memory CouchDB, one for each instance; with `COUCHDB_URL=http://ADMIN:PASSWORD@HOST:PORT`
it is that real server for all of them. Give that only a server that nobody uses.

The client speaks HTTP as the user concerned; it shares no code with the agent. CouchDB 3.4+ locks an account after
five wrong passwords, so each account may be denied only a few times.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import secrets
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate import Gate
from ports import Ports
from processes import Process, wait_for

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT = 120.0
LATE = 120.0
"""Seconds within which a cast must have shown its effect; 0.2 s is usual, a minute was seen on a machine at full load."""


@dataclass(frozen=True)
class User:
    """An account with its password, as its owner knows it."""

    name: str
    password: str


ANONYMOUS: User | None = None


class Couch:
    """Looks at a CouchDB server from outside."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._host, self._port = host, port

    def request(self, method: str, path: str, user: User | None = ANONYMOUS, body: Any = None) -> tuple[int, Any]:
        """One request; the status and the decoded answer."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if user is not None:
            credentials = base64.b64encode(f"{user.name}:{user.password}".encode()).decode()
            headers["Authorization"] = f"Basic {credentials}"
        connection = http.client.HTTPConnection(self._host, self._port, timeout=30)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text or b"null")
        finally:
            connection.close()

    def logs_in(self, user: User) -> bool:
        """Whether the user gets a session for name and password."""
        status, answer = self.request("POST", "/_session", body={"name": user.name, "password": user.password})
        return status == 200 and answer.get("ok") is True

    def reads(self, database: str, user: User | None) -> bool:
        """Whether the user may list the documents of the database."""
        return self.request("GET", f"/{escape(database)}/_all_docs", user)[0] == 200

    def writes(self, database: str, user: User | None) -> bool:
        """Whether the user may make a document, and finds it there."""
        key, content = secrets.token_hex(8), secrets.token_hex(8)
        path = f"/{escape(database)}/{key}"
        status, _ = self.request("PUT", path, user, {"content": content})
        return status in (201, 202) and self.request("GET", path, user)[1].get("content") == content

    def is_admin(self, user: User) -> bool:
        """Whether the user is a server administrator."""
        status, answer = self.request("GET", "/_session", user)
        return status == 200 and "_admin" in answer["userCtx"]["roles"]

    def administers(self, user: User) -> bool:
        """Whether CouchDB lets the user do what only a server administrator may."""
        return self.request("GET", "/_all_dbs", user)[0] == 200

    def exists(self, database: str, user: User | None = ANONYMOUS) -> bool:
        """Whether the database is there: what is not there is 404 for everybody."""
        return self.request("GET", f"/{escape(database)}", user)[0] != 404


def escape(name: str) -> str:
    """A name as one segment of a path."""
    return urllib.parse.quote(name, safe="")


class CouchServer:
    """A server behind a gate that can be shut, which is how CouchDB is stopped without losing its data."""

    def __init__(self, name: str, logs: Path, directory: Path, ports: Ports, binary: Path) -> None:
        self.process: Process | None = None
        real = os.environ.get("COUCHDB_URL")
        if real:
            url = urllib.parse.urlsplit(real)
            self.admin = User(urllib.parse.unquote(url.username or ""), urllib.parse.unquote(url.password or ""))
            self._host, self._port = url.hostname or "127.0.0.1", url.port or 5984
        else:
            self.admin = User("image_admin", secrets.token_hex(8))
            self._host, self._port = "127.0.0.1", ports.take()
            command = [binary, "--port", str(self._port), "--admin", f"{self.admin.name}:{self.admin.password}"]
            # Few rounds: what is hashed here are our own logins, not the agent's accounts.
            self.process = Process(
                f"couchdb-{name}",
                [*command, "--iterations", "10", "--faults"],
                logs / f"couchdb-{name}.log",
                {"PATH": "/usr/bin:/bin"},
                directory,
            )
        self.client = Couch(self._port, self._host)
        self.gate = Gate(self._host, self._port, ports.take())

    @property
    def is_real(self) -> bool:
        """Whether it is the server of `COUCHDB_URL`, which has no faults on demand."""
        return self.process is None

    def wait_ready(self) -> None:
        """Returns when the server answers; a real one is emptied of what an earlier instance left."""
        if self.process is not None:
            self.process.wait_ready("CouchDB answers", self._answers, START_LIMIT)
        else:
            wait_for("the server of COUCHDB_URL answers", self._answers, START_LIMIT)

    def admin_request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """A request as the administrator that the image came with."""
        return self.client.request(method, path, self.admin, body)

    def account(self, name: str) -> dict[str, Any] | None:
        """The user's document, as long as there is one.

        This is what is polled where an account is to change: five wrong passwords would lock it.
        """
        status, document = self.admin_request("GET", f"/_users/{escape(f'org.couchdb.user:{name}')}")
        return document if status == 200 else None

    def has_password(self, user: User) -> bool:
        """Whether the user's document holds the hash of this password.

        To be polled where a password is to change: the agent writes a document more than once, as does CouchDB when it
        renews a hash, so a changed document need not have the new password yet.
        """
        document = self.account(user.name) or {}
        wanted, password, salt = document.get("derived_key"), user.password.encode(), document.get("salt", "").encode()
        if not wanted:
            return bool(salt) and document.get("password_sha") == hashlib.sha1(password + salt).hexdigest()
        prf = document.get("pbkdf2_prf", "sha")
        name, rounds = {"sha": "sha1"}.get(prf, prf), int(document["iterations"])
        return hashlib.pbkdf2_hmac(name, password, salt, rounds, len(wanted) // 2).hex() == wanted

    def fault(self, **rule: Any) -> None:
        """Asks the in-memory server to misbehave (see `tests/couchdb/src/faults.rs`)."""
        status, answer = self.admin_request("POST", "/_fault", rule)
        assert status in (200, 201), (status, answer)

    def clear_faults(self) -> None:
        """Makes the in-memory server behave again."""
        self.admin_request("DELETE", "/_fault")

    def stop(self) -> None:
        """Ends what was started."""
        self.gate.shut()
        if self.process is not None:
            self.process.stop()

    def _answers(self) -> bool:
        try:
            return self.client.request("GET", "/_up")[0] in (200, 401)
        except OSError:
            return False
