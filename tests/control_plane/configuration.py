"""What an operator would write: trove.conf, api-paste.ini and the files that Trove injects into instances.

All that `control-plane/README.md` tells the operator to put in place is taken from there, and api-paste.ini is the one
that Trove's own wheel brings, with the filter added. Keystone's middleware is the real one.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

PAGE_SIZE = 3
"""`users_page_size` and `databases_page_size`: small, so that a handful of names fills several pages."""

CONTROL_EXCHANGE = "trove"
FILTER = "[filter:couchdb]\npaste.filter_factory = trove_couchdb:filter_factory\n"
OPERATORS_FILES = Path(__file__).resolve().parents[2] / "control-plane/etc/trove"
"""The files of this project that an operator puts below /etc/trove."""


@dataclass(frozen=True)
class Service:
    """How one trove-api, or one pair of trove-api and trove-taskmanager, differs from the others."""

    name: str
    secure: bool = True
    filtered: bool = True
    taskmanager_queue: str = "taskmanager"


ENCRYPTED = Service("encrypted")
CLEAR = Service("clear", secure=False, taskmanager_queue="taskmanager-clear")
STOCK = Service("stock", filtered=False)
"""The control plane as it comes: no filter, Trove's defaults. Shares its taskmanager with `ENCRYPTED`."""

SERVICES = (ENCRYPTED, CLEAR, STOCK)


def trove_conf(directory: Path, transport_url: str, auth_url: str) -> str:
    """What all services of the control plane share."""
    clients = "\n".join(
        f"remote_{service}_client = fake_cloud.{service}_client"
        for service in ("nova", "cinder", "neutron", "glance", "swift")
    )
    return f"""[DEFAULT]
transport_url = {transport_url}
control_exchange = {CONTROL_EXCHANGE}
bind_host = 127.0.0.1
trove_api_workers = 1
trove_conductor_workers = 1
use_stderr = True
log_file =
# Trove's own default is off; a log line for each message is what one wants when a test fails.
debug = True
default_log_levels = amqp=WARN,oslo.messaging=INFO,oslo_messaging=INFO,sqlalchemy=WARN,keystonemiddleware=WARN,routes.middleware=WARN,stevedore=WARN,eventlet.wsgi.server=WARN,urllib3=WARN,oslo.service=WARN,oslo_service=WARN,keystoneauth=WARN,dogpile=WARN,oslo_policy=WARN
guest_config = {directory}/trove-guestagent.conf
cloudinit_location = {directory}/cloudinit
template_path = {directory}/templates
trove_volume_support = True
trove_security_groups_support = False
users_page_size = {PAGE_SIZE}
databases_page_size = {PAGE_SIZE}
usage_sleep_time = 1
http_get_rate = 1000000
http_post_rate = 1000000
http_put_rate = 1000000
http_delete_rate = 1000000
http_mgmt_post_rate = 1000000
max_instances_per_tenant = 100
max_ram_per_tenant = -1
{clients}

[database]
# The time-out is sqlite's own, for a file that several services write.
connection = sqlite:///{directory}/trove.sqlite?timeout=60

[oslo_messaging_notifications]
driver = noop

[oslo_concurrency]
lock_path = {directory}

[keystone_authtoken]
auth_type = password
auth_url = {auth_url}
www_authenticate_uri = {auth_url}
username = trove
password = any
project_name = service
user_domain_name = Default
project_domain_name = Default
region_name = {ENCRYPTED.name}

# The image keeps CouchDB's data on its own disk: nothing to attach.
[couchdb]
volume_support = False
device_path =

# Way A: CouchDB in disguise, with a volume, as Trove's defaults want it.
[postgresql]
tcp_ports = 5984
mount_point = /var/lib/couchdb
replication_strategy =

# Another disguise, for what only an option of the group asks for.
[mariadb]
volume_support = False
device_path =
root_on_create = True

[mysql]
ignore_dbs = _users,_replicator,_global_changes
"""


def service_conf(service: Service, directory: Path, port: int) -> str:
    """What one trove-api and its taskmanager are told beside `trove_conf`."""
    return f"""[DEFAULT]
bind_port = {port}
api_paste_config = {directory}/api-paste-{service.name}.ini
enable_secure_rpc_messaging = {service.secure}
taskmanager_queue = {service.taskmanager_queue}
"""


def api_paste(service: Service) -> str:
    """The wheel's api-paste.ini, with the filter if the service has it."""
    text = (Path(sys.prefix) / "etc/trove/api-paste.ini").read_text()
    if not service.filtered:
        return text
    changed, times = re.subn(r"(?m)^(pipeline = .*) extensions troveapp$", r"\1 couchdb extensions troveapp", text)
    if times != 1:
        raise RuntimeError(f"Trove's api-paste.ini has {times} pipelines that end in `extensions troveapp`, not one")
    return f"{changed}\n{FILTER}"


def guestagent_conf(transport_url: str) -> str:
    """What the taskmanager injects into every instance: our sample, with the broker's address filled in."""
    text = (OPERATORS_FILES / "trove-guestagent.conf").read_text()
    for option, value in {"transport_url": transport_url, "control_exchange": CONTROL_EXCHANGE}.items():
        text, times = re.subn(rf"(?m)^{option} = .*$", f"{option} = {value}", text)
        if times != 1:
            raise RuntimeError(f"the sample trove-guestagent.conf sets {option} {times} times, not once")
    return f"{text}\n# The image mounts the volume by itself.\n[couchdb]\nignore_volume = true\n"
