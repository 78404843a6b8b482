"""What an operator has before CouchDB: trove.conf, and the api-paste.ini that Trove's own wheel brings.

All that CouchDB needs comes from the commands of `control-plane/README.md`, which `lay_out` runs: nothing of it is written
here, so that a page that lacks something fails. Keystone's middleware is the real one.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import readme
from programs import bin_directory

PAGE_SIZE = 3
"""`users_page_size` and `databases_page_size`: small, so that a handful of names fills several pages."""

CONTROL_EXCHANGE = "trove"


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
    """What all services of the control plane share; the directory stands for the machine's root."""
    clients = "\n".join(
        f"remote_{service}_client = fake_cloud.{service}_client"
        for service in ("nova", "cinder", "neutron", "glance", "swift")
    )
    return f"""[DEFAULT]
transport_url = {transport_url}
control_exchange = {CONTROL_EXCHANGE}
bind_host = 127.0.0.1
trove_api_workers = 1
# Trove 12 and 13 have no default for it; later ones have this.
taskmanager_manager = trove.taskmanager.manager.Manager
trove_conductor_workers = 1
use_stderr = True
log_file =
# Trove's own default is off; a log line for each message is what one wants when a test fails.
debug = True
default_log_levels = amqp=WARN,oslo.messaging=INFO,oslo_messaging=INFO,sqlalchemy=WARN,keystonemiddleware=WARN,routes.middleware=WARN,stevedore=WARN,eventlet.wsgi.server=WARN,urllib3=WARN,oslo.service=WARN,oslo_service=WARN,keystoneauth=WARN,dogpile=WARN,oslo_policy=WARN
guest_config = {directory}/etc/trove/trove-guestagent.conf
cloudinit_location = {directory}/etc/trove/cloudinit
template_path = {directory}/etc/trove/templates
trove_volume_support = True
trove_security_groups_support = False
users_page_size = {PAGE_SIZE}
databases_page_size = {PAGE_SIZE}
usage_sleep_time = 1
resize_time_out = 60
swift_url = http://127.0.0.1:1/v1/AUTH_
reboot_time_out = 60
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

# A disguise for what only an option of the group asks for.
[mariadb]
volume_support = False
device_path =
root_on_create = True

# Another one, with Trove's defaults: a volume.
[percona]
tcp_ports = 5984
replication_strategy =

[mysql]
ignore_dbs = _users,_replicator,_global_changes
"""


def service_conf(service: Service, directory: Path, port: int) -> str:
    """What one trove-api and its taskmanager are told beside `trove_conf`."""
    return f"""[DEFAULT]
bind_port = {port}
api_paste_config = {directory}/etc/trove/{'api-paste.ini' if service.filtered else 'api-paste-stock.ini'}
enable_secure_rpc_messaging = {service.secure}
taskmanager_queue = {service.taskmanager_queue}
"""


def lay_out(directory: Path, transport_url: str, auth_url: str) -> None:
    """Writes what an operator has, then follows the README's installation."""
    etc = directory / "etc/trove"
    etc.mkdir(parents=True)
    (etc / "trove.conf").write_text(trove_conf(directory, transport_url, auth_url))
    shipped = bin_directory().parent / "etc/trove/api-paste.ini"
    shutil.copy(shipped, etc / "api-paste.ini")
    shutil.copy(shipped, etc / "api-paste-stock.ini")
    # The package is installed by who made the environment (`run.py`), or by `follow.py`.
    values = readme.installation(transport_url, CONTROL_EXCHANGE, "true")
    follower = readme.Follower(directory, values, "/usr/bin:/bin")
    for script in readme.scripts(readme.INSTALL, 26):
        follower.run(script)
    follower.check()
    with (etc / "trove.conf").open("a") as conf:
        conf.write(readme.way_a())
