"""A stand-in for Keystone: enough of identity v3 for both shells to log in and for trove-api to check the token.

Every password fits. A token spells what it stands for (`USER:PROJECT`), so nothing must be kept. The catalogue has
the database service once for each region; a region is a trove-api of this suite. All share one object store.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PROJECT = "e2e-project"
OPERATOR = "operator"
DOMAIN = {"id": "default", "name": "Default"}


class Identity:
    """Serves in a thread of this process."""

    def __init__(self, port: int, regions: dict[str, str], object_store: str) -> None:
        self.url = f"http://127.0.0.1:{port}/v3"
        handler = type("Handler", (_Handler,), {"url": self.url, "regions": regions, "object_store": object_store})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stops answering."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    url: str
    regions: dict[str, str]
    object_store: str

    def do_GET(self) -> None:
        subject = self.headers.get("X-Subject-Token")
        if self.path.rstrip("/") == "/v3":
            self._answer(200, {"version": self._version()})
        elif self.path.startswith("/v3/auth/tokens") and subject:
            self._answer(200, self._token(*subject.split(":", 1)))
        else:
            self._answer(300, {"versions": {"values": [self._version()]}})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        user = request["auth"]["identity"]["password"]["user"]["name"]
        self._answer(201, self._token(user, PROJECT), {"X-Subject-Token": f"{user}:{PROJECT}"})

    def _version(self) -> dict[str, Any]:
        return {
            "id": "v3.14",
            "status": "stable",
            "updated": "2020-04-07T00:00:00Z",
            "links": [{"rel": "self", "href": f"{self.url}/"}],
            "media-types": [
                {"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"},
            ],
        }

    def _token(self, user: str, project: str) -> dict[str, Any]:
        roles = ["admin", "member"] if user == OPERATOR else ["member"]
        return {
            "token": {
                "methods": ["password"],
                "issued_at": "2026-01-01T00:00:00.000000Z",
                "expires_at": "2099-01-01T00:00:00.000000Z",
                "user": {"id": user, "name": user, "domain": DOMAIN},
                "project": {"id": project, "name": project, "domain": DOMAIN},
                "roles": [{"id": role, "name": role} for role in roles],
                "catalog": [
                    self._service("database", self.regions),
                    self._service("identity", dict.fromkeys(self.regions, self.url)),
                    self._service("object-store", dict.fromkeys(self.regions, self.object_store)),
                ],
            }
        }

    @staticmethod
    def _service(name: str, urls: dict[str, str]) -> dict[str, Any]:
        endpoints = [
            {"id": f"{name}-{region}-{kind}", "interface": kind, "region": region, "region_id": region, "url": url}
            for region, url in urls.items()
            for kind in ("public", "internal", "admin")
        ]
        return {"type": name, "name": name, "id": name, "endpoints": endpoints}

    def _answer(self, status: int, document: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: the services' own logs tell who asked for what."""
