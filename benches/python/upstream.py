"""Upstream's last CouchDB guest, trove 12.0.0's `CouchDBAdmin`, in process and unmodified but for the port in its commands.

Who calls: benches/src/upstream.rs, over lines of JSON: {"op": "list_users", "args": [...]}; the answer is
{"wall": s, "cpu": s (children included), "forks": n, "items": n}. There is no RPC in this: it is faster here than in a
guest. A command that CouchDB refuses counts as a success to this code, so the caller looks at the result.
"""

import json
import os
import pathlib
import resource
import sys
import time

from oslo_config import cfg
from trove.common import utils
from trove.guestagent.datastore.experimental.couchdb import service, system

PORT, USER, PASSWORD = sys.argv[1:4]


def point_at(port):
    """The commands are text with the port in it. `localhost` may mean ::1 first, where nobody listens."""
    for name, text in vars(system).items():
        if isinstance(text, str) and 'curl' in text:
            text = text.replace('localhost:5984', '127.0.0.1:' + port)
            setattr(system, name, text.replace('127.0.0.1:5984', '127.0.0.1:' + port))


def cpu():
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    return total


class Counted:
    """Counts the processes that `utils.execute_with_timeout` starts; each is a shell that starts curl."""

    def __init__(self, execute):
        self.execute = execute
        self.count = 0

    def __call__(self, *args, **kwargs):
        self.count += 1
        return self.execute(*args, **kwargs)


def main():
    cfg.CONF([], project='trove', default_config_files=[])
    cfg.CONF.set_override('datastore_manager', 'couchdb')
    point_at(PORT)
    system.COUCHDB_ADMIN_CREDS_FILE = os.path.join(os.environ['HOME'], 'creds.json')
    creds = {'username': USER, 'password': PASSWORD}
    pathlib.Path(system.COUCHDB_ADMIN_CREDS_FILE).write_text(json.dumps(creds), encoding='utf-8')
    utils.execute_with_timeout = counted = Counted(utils.execute_with_timeout)
    admin = service.CouchDBAdmin()
    print('ready', flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        counted.count = 0
        before, began = cpu(), time.perf_counter()
        result = getattr(admin, request['op'])(*request['args'])
        wall, used = time.perf_counter() - began, cpu() - before
        items = result[0] if isinstance(result, tuple) else result
        print(json.dumps({'wall': wall, 'cpu': used, 'forks': counted.count, 'result': items}, default=str), flush=True)


if __name__ == '__main__':
    main()
