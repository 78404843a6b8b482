"""Reads a published log as `openstack database log tail` and `log save` do: with the code of python-troveclient.

`reader.py URL TOKEN tail|save LINES` reads from standard input what the guest answered to `guest_log_action`, as Trove's
API passes it on. Prints the log.
"""

import json
import sys
import tempfile

from swiftclient import client as swift_client
from troveclient.v1 import instances


class Answer:
    status_code = 200


class Api:
    """Trove's API, as far as the log's commands need it."""

    def __init__(self, shown):
        self.shown, self.client = shown, self

    def post(self, _url, body):
        assert body == {"name": self.shown["name"]}, body
        return Answer(), {"log": self.shown}


def main():
    url, token, command, lines = sys.argv[1:5]
    shown = json.load(sys.stdin)
    connection = swift_client.Connection(preauthurl=url, preauthtoken=token, retries=0)
    manager = instances.Instances(Api(shown))
    manager._get_swift_client = lambda: connection
    if command == "save":
        instance = instances.Instance(manager, {"id": "i"})
        with tempfile.NamedTemporaryFile() as file:
            manager.log_save(instance, shown["name"], file.name)
            sys.stdout.write(open(file.name).read())
    else:
        for part in manager.log_generator("i", shown["name"], int(lines))():
            sys.stdout.write(part)


if __name__ == "__main__":
    main()
