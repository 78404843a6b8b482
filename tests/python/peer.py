"""The other end of the wire as Trove has it: Trove 26's own RPC client over the real oslo.messaging.

Who calls: tests/src/python.rs, which starts this file in a virtual environment and speaks JSON lines with it over
stdin and stdout. The serializers (the payload encryption among them) are Trove's, imported, not imitated; only the
conductor's key lookup is ours, because Trove's reads its database.

Requests: {"id": 1, "op": "call", ...}. Answers, in any order: {"id": 1, "result": ...} or {"id": 1, "error": {...}}.
Without an id: {"ready": ...} once, and {"event": ...} for each message that a server of ours received.
The process ends when stdin does and every answer is out.
"""

import argparse
import concurrent.futures
import json
import os
import sys
import tempfile
import threading
import traceback

import oslo_messaging as messaging
from oslo_config import cfg
from oslo_serialization import jsonutils
from trove import rpc
from trove.common import crypto_utils
from trove.common.rpc.secure_serializer import SecureSerializer
from trove.common.rpc.serializer import TroveSerializer

CONF = cfg.CONF
OUTPUT = threading.Lock()

# What trove-api puts into a request of a user (PROTOCOL.md section 2); a request's own entries win.
USER_CONTEXT = {
    'user': 'alice', 'project_id': 'peer-project', 'system_scope': None, 'project': 'peer-project', 'domain': None,
    'user_domain': None, 'project_domain': None, 'is_admin': False, 'read_only': False, 'show_deleted': False,
    'auth_token': 'TOKEN', 'request_id': 'req-00000000-0000-4000-8000-000000000000', 'global_request_id': None,
    'resource_uuid': None, 'roles': ['member'], 'user_identity': 'alice peer-project - - -',
    'is_admin_project': True, 'limit': None, 'marker': None, 'service_catalog': [],
}


def say(message):
    line = json.dumps(message, default=repr)
    with OUTPUT:
        sys.stdout.write(line + '\n')
        sys.stdout.flush()


class Context:
    """Trove's context for the serializer: anything that can turn itself into a dict."""

    def __init__(self, values):
        self.values = values

    def to_dict(self):
        return dict(self.values)


class ConductorSerializer(TroveSerializer):
    """trove.common.rpc.conductor_host_serializer with the key given instead of looked up in Trove's database."""

    def __init__(self, key):
        self.key = key
        super().__init__(None)

    def _open(self, text):
        clear = crypto_utils.decrypt_data(crypto_utils.decode_data(text), self.key)
        return jsonutils.loads(clear)

    def _deserialize_entity(self, context, entity):
        try:
            wrapped = jsonutils.loads(entity)
            wrapped['csz-instance-id']
        except (ValueError, TypeError, KeyError):
            return entity
        return self._open(wrapped['entity'])

    def _deserialize_context(self, context):
        if context.get('csz-instance-id') is None:
            return context
        return self._open(context['context'])


class Conductor:
    """trove-conductor's endpoint: its signatures (they refuse a wrong argument), reporting instead of storing."""

    target = messaging.Target(version='1.0')

    def heartbeat(self, context, instance_id, payload, sent=None):
        say({'event': 'heartbeat', 'args': {'instance_id': instance_id, 'payload': payload, 'sent': sent}})

    def report_root(self, context, instance_id, user=None):
        say({'event': 'report_root', 'args': {'instance_id': instance_id, 'user': user}})

    def update_backup(self, context, instance_id, backup_id, sent=None, **backup_fields):
        say({'event': 'update_backup', 'args': {'instance_id': instance_id, 'backup_id': backup_id, **backup_fields}})

    def notify_end(self, context, serialized_notification, notification_args):
        say({'event': 'notify_end', 'args': {'serialized_notification': serialized_notification,
                                             'notification_args': notification_args}})

    def notify_exc_info(self, context, serialized_notification, message, exception):
        say({'event': 'notify_exc_info', 'args': {'serialized_notification': serialized_notification,
                                                  'message': message, 'exception': exception}})


class EchoError(Exception):
    """A failure of a class that no client may rebuild, as the agent's own are."""


class EchoGuest:
    """A stand-in for the agent: shows that the harness itself speaks the protocol."""

    target = messaging.Target(version='1.3')

    def echo(self, context, **arguments):
        say({'event': 'echo', 'args': arguments})
        return arguments

    def fail(self, context, message):
        raise EchoError(message)


class PlainContext(TroveSerializer):
    """Leaves the context a dict; Trove's own would import the whole notification tree to rebuild it."""


class Peer:
    def __init__(self, options):
        self.guest_id = options.guest_id
        self.key = options.key
        self.servers = []

    def topic(self):
        return 'guestagent.%s' % self.guest_id

    def client(self, request):
        # As trove.guestagent.api: the target bears the version cap, each message its own version.
        target = messaging.Target(topic=self.topic(), version='1.3')
        client = rpc.get_client(target, key=self.key, version_cap='1.3')
        return client.prepare(version=request.get('version', '1.0'), timeout=request.get('timeout', 15),
                              call_monitor_timeout=request.get('call_monitor_timeout'))

    def op_call(self, request):
        context = Context({**USER_CONTEXT, **request.get('context', {})})
        return self.client(request).call(context, request['method'], **request.get('args', {}))

    def op_cast(self, request):
        context = Context({**USER_CONTEXT, **request.get('context', {})})
        self.client(request).cast(context, request['method'], **request.get('args', {}))

    def serve(self, target, endpoint, serializer):
        server = messaging.get_rpc_server(rpc.TRANSPORT, target, [endpoint], executor='threading',
                                          serializer=serializer)
        server.start()
        return server

    def op_conductor(self, request):
        target = messaging.Target(topic=request.get('topic', 'trove-conductor'), server='peer')
        self.servers.append(self.serve(target, Conductor(), ConductorSerializer(self.key)))

    def op_echo_guest(self, request):
        target = messaging.Target(topic=self.topic(), server=self.guest_id)
        self.servers.append(self.serve(target, EchoGuest(), SecureSerializer(PlainContext(None), self.key)))

    def op_predeclare(self, request):
        """As trove.guestagent.api._create_guest_queue before prepare: start a server and stop it at once."""
        target = messaging.Target(topic=self.topic(), server=self.guest_id, version='1.3')
        server = self.serve(target, EchoGuest(), SecureSerializer(PlainContext(None), self.key))
        server.stop()
        server.wait()

    def answer(self, request):
        try:
            result = getattr(self, 'op_' + request['op'])(request)
            say({'id': request['id'], 'result': result})
        except Exception as error:
            say({'id': request['id'], 'error': describe(error)})


def describe(error):
    """RemoteError hides the remote class, text and traceback in attributes; others only have themselves."""
    remote = isinstance(error, messaging.RemoteError)
    return {
        'class': type(error).__name__,
        'module': type(error).__module__,
        'message': str(error),
        'remote_class': error.exc_type if remote else None,
        'remote_message': error.value if remote else None,
        'remote_traceback': error.traceback if remote else None,
        'trace': traceback.format_exc(),
    }


def configure(options):
    """Through a file, so that option names and values go through oslo's own reader."""
    with tempfile.NamedTemporaryFile('w', suffix='.conf') as file:
        file.write('[DEFAULT]\ntransport_url = %s\ncontrol_exchange = %s\n'
                   % (options.transport_url, options.exchange))
        file.write('[oslo_messaging_rabbit]\n%s\n' % '\n'.join(options.oslo))
        file.flush()
        CONF([], project='trove', default_config_files=[file.name])
    rpc.init(CONF)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--transport-url', required=True)
    parser.add_argument('--exchange', default='openstack', help='control_exchange')
    parser.add_argument('--guest-id', required=True)
    parser.add_argument('--key', help='instance_rpc_encr_key; without it the payload is clear')
    parser.add_argument('--oslo', action='append', default=[], metavar='NAME=VALUE',
                        help='option of [oslo_messaging_rabbit], e.g. rabbit_quorum_queue=true')
    options = parser.parse_args()
    configure(options)
    peer = Peer(options)
    say({'ready': True})
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        for line in sys.stdin:
            pool.submit(peer.answer, json.loads(line))
    # Every answer is out; servers run in threads of their own that nothing else would end.
    os._exit(0)


if __name__ == '__main__':
    main()
