"""A bare oslo.messaging RPC server with the threading executor: what any Python guest agent stands on.

Who calls: benches/src/environment.rs. It does less than Trove's guest (no encryption, no context, no manager), so it is the
best that a Python agent could be. Ends when its standard input does.
"""

import argparse
import sys

import oslo_messaging as messaging
from oslo_config import cfg


class Guest:
    target = messaging.Target(version='1.3')

    def rpc_ping(self, context):
        return True


def main():
    parser = argparse.ArgumentParser()
    for option in ('--transport-url', '--exchange', '--guest-id'):
        parser.add_argument(option, required=True)
    options = parser.parse_args()
    # The global one: oslo.messaging's tracing registers its options nowhere else.
    conf = cfg.CONF
    conf([], project='bench', default_config_files=[])
    messaging.set_transport_defaults(options.exchange)
    transport = messaging.get_rpc_transport(conf, url=options.transport_url)
    topic = 'guestagent.%s' % options.guest_id
    target = messaging.Target(topic=topic, server=options.guest_id)
    server = messaging.get_rpc_server(transport, target, [Guest()], executor='threading',
                                      access_policy=messaging.DefaultRPCAccessPolicy)
    server.start()
    print('ready', flush=True)
    sys.stdin.read()
    server.stop()
    server.wait()


if __name__ == '__main__':
    main()
