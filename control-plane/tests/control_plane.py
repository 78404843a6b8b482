"""A real trove-api in this process: its paste pipeline over a SQLite database.

Only the guest is not real: what Trove would send to RabbitMQ ends in ``Guest``.
"""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from urllib.parse import quote

import webob

HERE = Path(__file__).parent
PROJECT = "11111111111111111111111111111111"
STRANGER = "22222222222222222222222222222222"

CONFIGURATION = """
[DEFAULT]
transport_url = fake://
api_paste_config = {directory}/api-paste.ini
default_datastore = couchdb
trove_volume_support = False
remote_nova_client = cloud.nova_client
remote_cinder_client = cloud.any_client
remote_neutron_client = cloud.neutron_client
remote_glance_client = cloud.any_client
remote_swift_client = cloud.any_client
[database]
connection = sqlite:///{directory}/trove.sqlite
[oslo_messaging_notifications]
driver = noop
"""

PASTE = """
[composite:trove]
use = call:trove.common.wsgi:versioned_urlmap
/: versions
/v1.0: troveapi
[app:versions]
paste.app_factory = trove.versions:app_factory
[pipeline:troveapi]
pipeline = {pipeline}
[filter:auth]
paste.filter_factory = cloud:auth_factory
[filter:faultwrapper]
paste.filter_factory = trove.common.wsgi:FaultWrapper.factory
[filter:authorization]
paste.filter_factory = trove.common.auth:AuthorizationMiddleware.factory
[filter:contextwrapper]
paste.filter_factory = trove.common.wsgi:ContextMiddleware.factory
[filter:extensions]
paste.filter_factory = trove.common.extensions:factory
[app:troveapp]
paste.app_factory = trove.common.api:app_factory
[filter:couchdb]
paste.filter_factory = trove_couchdb:filter_factory
{options}
"""

DEFAULT_VERSIONS = {"couchdb": "3.5"}

BEFORE = "faultwrapper auth authorization contextwrapper"
WITHOUT = f"{BEFORE} extensions troveapp"
WITH = f"{BEFORE} couchdb extensions troveapp"


class Trove:
    """The configuration, the database and the instances; one for a process, as Trove's are."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.configuration = directory / "trove.conf"
        self.configuration.write_text(CONFIGURATION.format(directory=directory))
        self.manage("db_sync")
        self._initialize()
        self.instances = {
            name: self._instance(*datastore)
            for name, datastore in {
                "couchdb": ("couchdb", "3.5", "couchdb"),
                "disguised": ("couchdb", "3.5-disguised", "mariadb"),
                "mysql": ("mysql", "8.0", "mysql"),
                "redis": ("redis", "7", "redis"),
            }.items()
        }

    def manage(self, *arguments):
        """The real trove-manage."""
        program = Path(sys.executable).with_name("trove-manage")
        path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
        subprocess.run(
            [sys.executable, program, "--config-file", self.configuration, *arguments],
            check=True,
            env={**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"},
            timeout=300,
        )

    def _initialize(self):
        arguments = sys.argv
        sys.argv = ["trove-api", "--config-file", str(self.configuration)]
        try:
            from trove.cmd.common import initialize

            initialize()
        finally:
            sys.argv = arguments

    def _instance(self, datastore, version, manager):
        from trove.datastore import models as datastores
        from trove.instance import models
        from trove.instance.service_status import ServiceStatuses
        from trove.instance.tasks import InstanceTasks

        datastores.update_datastore(datastore, None)
        datastores.update_datastore_version(
            datastore, version, manager, str(uuid.uuid4()), *self._rest_of_a_version()
        )
        datastores.update_datastore(datastore, DEFAULT_VERSIONS.get(datastore))
        store = datastores.Datastore.load(datastore)
        instance = models.DBInstance.create(
            name=manager,
            tenant_id=PROJECT,
            flavor_id="1",
            compute_instance_id=str(uuid.uuid4()),
            datastore_version_id=datastores.DatastoreVersion.load(store, version).id,
            task_status=InstanceTasks.NONE,
        )
        status = models.InstanceServiceStatus.create(
            instance_id=instance.id, status=ServiceStatuses.RUNNING
        )
        status.set_status(ServiceStatuses.RUNNING)
        status.save()
        return instance.id

    @staticmethod
    def _rest_of_a_version():
        """Image tags, packages and whether it is active, in the order of this Trove."""
        import inspect

        from trove.datastore import models

        values = {
            "image_tags": "",
            "packages": "",
            "active": 1,
            "registry_ext": "none",
            "repl_strategy": "none",
        }
        accepted = list(inspect.signature(models.update_datastore_version).parameters)[4:]
        return [values[name] for name in accepted if name in values]

    def api(self, pipeline=WITH, options=""):
        """A new trove-api with this pipeline."""
        from paste import deploy

        path = self.directory / f"{uuid.uuid4()}.ini"
        path.write_text(PASTE.format(pipeline=pipeline, options=options))
        self.paste = path
        return Api(deploy.loadapp(f"config:{path}", name="trove"), self.instances)


class Api:
    """Speaks HTTP with a trove-api, without a socket."""

    def __init__(self, app, instances):
        self._app = app
        self._instances = instances

    def __call__(self, method, instance, path, body=None, *, raw=None, project=PROJECT, owner=None):
        """``path`` is below the instance and percent-encoded, as a client sends it."""
        below = f"/{self._instances.get(instance, instance)}/{path}" if instance else ""
        request = webob.Request.blank(f"/v1.0/{owner or project}/instances{below}", method=method)
        # As eventlet's server, which trove-api runs in.
        request.environ["RAW_PATH_INFO"] = f"/v1.0/{owner or project}/instances{below}"
        request.headers["X-Auth-Token"] = f"somebody:{project}:member"
        request.headers["Accept"] = "application/json"
        if body is not None or raw is not None:
            request.content_type = "application/json"
            request.body = json.dumps(body).encode() if raw is None else raw
        return request.get_response(self._app)


class Guest:
    """Takes what Trove would send to guests; answers as one with these users and databases."""

    def __init__(self):
        self.calls = []
        self.users = set()
        self.databases = set()

    def received(self, *methods):
        """What arrived: (method, arguments), of these methods only if any are named."""
        return [call for call in self.calls if not methods or call[0] in methods]

    def send(self, method, arguments):
        self.calls.append((method, arguments))
        answer = getattr(self, "_" + method, None)
        return answer(**arguments) if answer else None

    @staticmethod
    def _user(name):
        return {
            "_name": name,
            "_host": "%",
            "_password": None,
            "_databases": [],
            "_is_root": name == "root",
        }

    @staticmethod
    def _database(name):
        return {"_name": name, "_collate": None, "_character_set": None}

    def _get_user(self, username, hostname):
        return self._user(username) if username in self.users else None

    def _list_users(self, limit=None, marker=None, include_marker=False):
        wanted = marker and marker.rpartition("@")[0]
        return [self._user(name) for name in sorted(self.users) if name == (wanted or name)], None

    def _list_databases(self, limit=None, marker=None, include_marker=False):
        names = [name for name in sorted(self.databases) if name == (marker or name)]
        return [self._database(name) for name in names], None

    def _list_access(self, username, hostname):
        return [self._database(name) for name in sorted(self.databases)]

    def _enable_root(self):
        return dict(self._user("root"), _password="generated")


def as_client_quotes(user, host=None):
    """A user in a URL as python-troveclient writes it, after what ``requests`` does to URLs."""
    from requests.utils import requote_uri
    from troveclient.common import quote_user_host

    return requote_uri("http://x/" + quote_user_host(user, host))[len("http://x/") :]


def quoted(text):
    """A whole segment of a URL, nothing left unquoted."""
    return quote(text, safe="")
