"""A real Swift in one process: the proxy, account, container and object servers of PyPI's package, on 127.0.0.1.

`server.py DIRECTORY [PORT]` keeps everything below DIRECTORY, which must be on a file system with user xattrs. It prints
the proxy's port, which is any free one unless it is given, when it can be used. Two files there control it, and are read for each request:

- `tokens`, lines `TOKEN PROJECT [EXPIRES]`: the token of a project, as Keystone's middleware would check it, for the
  account AUTH_PROJECT until EXPIRES in unix seconds;
- `faults`, lines `METHOD TEXT STATUS`, or `hang` or `late` in place of the status, for requests with TEXT in their path.
  A request that is `late` is carried out, and not answered.
"""

import eventlet

eventlet.monkey_patch()

import os  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

from eventlet import wsgi  # noqa: E402
from swift.common.http_protocol import SwiftHttpProtocol  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.swob import HTTPForbidden, HTTPUnauthorized, Request, Response  # noqa: E402
from swift.common.utils import set_swift_dir  # noqa: E402
from swift.common.wsgi import loadapp  # noqa: E402

SERVERS = ("account", "container", "object")
FOREVER = 3600


class Gate:
    """Checks tokens, and makes requests fail."""

    def __init__(self, app, directory):
        self.app, self.directory = app, Path(directory)

    def lines(self, name):
        try:
            return [line.split() for line in (self.directory / name).read_text().splitlines()]
        except FileNotFoundError:
            return []

    def __call__(self, env, start_response):
        request = Request(env)
        for method, text, fault in self.lines("faults"):
            if method == request.method and text in request.path:
                if fault == "hang":
                    time.sleep(FOREVER)
                if fault == "late":
                    request.get_response(self.authorized(request)).body  # noqa: B018
                    time.sleep(FOREVER)
                return Response(status=int(fault))(env, start_response)
        return self.authorized(request)(env, start_response)

    def authorized(self, request):
        token, project = request.headers.get("X-Auth-Token"), None
        for line in self.lines("tokens"):
            if line[0] == token and (len(line) < 3 or float(line[2]) > time.time()):
                project = line[1]

        def authorize(asked):
            if project is None:
                return HTTPUnauthorized(request=asked)
            if asked.split_path(2, 4, True)[1] != f"AUTH_{project}":
                return HTTPForbidden(request=asked)
            asked.environ["swift_owner"] = True
            return None

        request.environ["swift.authorize"] = authorize
        request.environ["swift_owner"] = project is not None
        request.environ["swift.clean_acl"] = lambda _header, value: value
        return self.app


def gate(_settings, directory, **_more):
    return lambda app: Gate(app, directory)


def configuration(directory, server):
    common = f"""[DEFAULT]
swift_dir = {directory}
devices = {directory}/devices
mount_check = false
user = {os.environ.get("USER", "root")}
log_address = {directory}/no-syslog
"""
    if server != "proxy":
        return f"{common}[pipeline:main]\npipeline = server\n[app:server]\nuse = egg:swift#{server}\n"
    return f"""{common}[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck gate container-quotas server
[app:server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:container-quotas]
use = egg:swift#container_quotas
[filter:gate]
paste.filter_factory = server:gate
directory = {directory}
"""


def main():
    directory = Path(sys.argv[1]).resolve()
    (directory / "devices/sda").mkdir(parents=True)
    # Its hash and its policies, which belong to the process and not to a server.
    (directory / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_prefix = tests\nswift_hash_path_suffix = tests\n"
        "[storage-policy:0]\nname = one\ndefault = yes\n"
    )
    set_swift_dir(str(directory))
    sockets = {server: eventlet.listen(("127.0.0.1", 0)) for server in SERVERS}
    sockets["proxy"] = eventlet.listen(("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 0))
    for server in SERVERS:
        ring = RingBuilder(4, 1, 0)
        address = {"ip": "127.0.0.1", "port": sockets[server].getsockname()[1]}
        ring.add_dev({"id": 0, "region": 1, "zone": 1, "weight": 1.0, "device": "sda", "meta": "", **address})
        ring.rebalance()
        ring.get_ring().save(str(directory / f"{server}.ring.gz"))
    for server, socket in sockets.items():
        path = directory / f"{server}.conf"
        path.write_text(configuration(directory, server))
        app = loadapp(str(path), global_conf={"log_name": server})
        log = (directory / f"{server}.log").open("w", buffering=1)
        eventlet.spawn(wsgi.server, socket, app, log, protocol=SwiftHttpProtocol, capitalize_response_headers=False)
    print(sockets["proxy"].getsockname()[1], "serves", flush=True)
    while True:
        time.sleep(FOREVER)


if __name__ == "__main__":
    main()
