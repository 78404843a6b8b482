"""Serves a directory as the HTTPS server of Apache's sites: `apache.py DIRECTORY CERTIFICATE KEY`, on 127.0.0.1:443.

Who calls: ../walk.sh, in the network namespace of its machine, where nobody else listens.
"""

import functools
import http.server
import ssl
import sys

directory, certificate, key = sys.argv[1:]
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=directory)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 443), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
