"""Asks trove-couchdb-hostd for a verb: hostd.py SOCKET VERB [ARGUMENT]. Prints the report, or the failure and exits with 1."""

import json
import socket
import struct
import sys

path, verb, *argument = sys.argv[1:]
request = {"id": "walk", "verb": {verb: argument[0]} if argument else verb}
text = json.dumps(request).encode()
with socket.socket(socket.AF_UNIX) as connection:
    connection.settimeout(120)
    connection.connect(path)
    connection.sendall(struct.pack(">I", len(text)) + text)
    with connection.makefile("rb") as stream:
        answer = json.loads(stream.read(struct.unpack(">I", stream.read(4))[0]))
print(json.dumps(answer.get("done") or answer["failed"]))
sys.exit(0 if "done" in answer else 1)
