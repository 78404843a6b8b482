"""Stand-ins for Nova, Cinder, Neutron, Glance and Swift, at the seam that Trove has for them.

Who calls: trove-api, trove-taskmanager and trove-manage, whose `remote_*_client` options name the functions at the end
of this file. What must be known in all of them, and to the suite, is kept in files below `TROVE_FAKE_CLOUD`: one for
each server, with all that the taskmanager gave Nova to create it, so that the suite can start a guest with just that.
"""

from __future__ import annotations

import json
import os
import uuid
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

NETWORK = "5f7e0b8c-7c5b-4f0e-9a56-6d1f3f0a0001"
SUBNET = "5f7e0b8c-7c5b-4f0e-9a56-6d1f3f0a0002"
ADDRESS = "10.0.0.9"
FLAVORS = {
    "1": ("couch.small", 2048, 1, 0),
    "2": ("couch.large", 4096, 2, 0),
    "3": ("couch.ephemeral", 4096, 2, 10),
}
"""Each flavor's name, its RAM in MB, its CPUs, and the size in GB of its ephemeral disk."""


class Resource(SimpleNamespace):
    """What a client hands out: attributes, and `to_dict`."""

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


class Shelf:
    """Documents of one kind, each a file; written whole or not at all."""

    def __init__(self, kind: str) -> None:
        self._directory = Path(os.environ["TROVE_FAKE_CLOUD"]) / kind
        self._directory.mkdir(parents=True, exist_ok=True)

    def put(self, key: str, document: dict[str, Any]) -> None:
        draft = self._directory / f".{key}.{os.getpid()}"
        draft.write_text(json.dumps(document, default=str))
        draft.replace(self._directory / key)

    def get(self, key: str) -> dict[str, Any] | None:
        try:
            return json.loads((self._directory / key).read_text())
        except FileNotFoundError:
            return None

    def remove(self, key: str) -> None:
        (self._directory / key).unlink(missing_ok=True)

    def keys(self) -> list[str]:
        return [path.name for path in self._directory.iterdir() if not path.name.startswith(".")]


class Servers:
    """Nova's servers: active as soon as they are asked for, and done with what they are asked to do at once.

    None of it touches the guest: its agent and its CouchDB go on as they were, unless a test does otherwise.
    """

    def __init__(self) -> None:
        self._shelf = Shelf("servers")

    def create(self, name: str, image: Any, flavor: Any, **rest: Any) -> Resource:
        key = str(uuid.uuid4())
        files = rest.pop("files", None) or {}
        texts = {path: text.decode() if isinstance(text, bytes) else text for path, text in files.items()}
        self._shelf.put(key, {"name": name, "image": str(image), "flavor": str(flavor), "files": texts, **rest})
        return self.get(key)

    def get(self, key: str) -> Resource:
        from novaclient.exceptions import NotFound

        document = self._shelf.get(key)
        if document is None:
            raise NotFound(404, f"no server {key}")
        change = partial(self._change, key)
        return Resource(
            id=key,
            name=document["name"],
            status=document.get("status", "ACTIVE"),
            flavor={"id": document["flavor"]},
            image={"id": document["image"]},
            addresses={},
            links=[],
            tags=[],
            metadata={},
            host="compute",
            tenant_id="service",
            created="2026-01-01T00:00:00Z",
            delete=lambda: self._shelf.remove(key),
            reboot=lambda *_: change(rebooted=True),
            resize=lambda flavor: change(status="VERIFY_RESIZE", flavor=str(flavor), before=document["flavor"]),
            migrate=lambda **_: change(status="VERIFY_RESIZE"),
            confirm_resize=lambda: change(status="ACTIVE"),
            revert_resize=lambda: change(status="ACTIVE", flavor=document.get("before", document["flavor"])),
            rebuild=lambda image, **more: change(image=str(image), **more),
        )

    def _change(self, key: str, **changes: Any) -> None:
        self._shelf.put(key, {**(self._shelf.get(key) or {}), **changes})

    def list(self, *_: Any, **__: Any) -> list[Resource]:
        return [self.get(key) for key in self._shelf.keys()]


class Flavors:
    """Nova's flavors."""

    def get(self, key: Any) -> Resource:
        from novaclient.exceptions import NotFound

        if str(key) not in FLAVORS:
            raise NotFound(404, f"no flavor {key}")
        name, ram, vcpus, ephemeral = FLAVORS[str(key)]
        return Resource(
            id=str(key), name=name, ram=ram, vcpus=vcpus, disk=10, ephemeral=ephemeral, links=[], is_public=True
        )

    def list(self, *_: Any, **__: Any) -> list[Resource]:
        return [self.get(key) for key in FLAVORS]


class Volumes:
    """Cinder's volumes: available as soon as they are asked for."""

    def __init__(self) -> None:
        self._shelf = Shelf("volumes")

    def create(self, size: int = 1, **_: Any) -> Resource:
        key = str(uuid.uuid4())
        self._shelf.put(key, {"size": size})
        return self.get(key)

    def get(self, key: str) -> Resource:
        from cinderclient.exceptions import NotFound

        document = self._shelf.get(key)
        if document is None:
            raise NotFound(404, f"no volume {key}")
        return Resource(
            id=key,
            name=key,
            size=document["size"],
            status="available",
            attachments=[],
            volume_type="lvm",
            delete=lambda: self._shelf.remove(key),
        )

    def extend(self, key: str, size: int) -> None:
        self._shelf.put(key, {"size": size})

    def list(self, *_: Any, **__: Any) -> list[Resource]:
        return []


class Nothing:
    """A kind of thing of which there is none."""

    def list(self, *_: Any, **__: Any) -> list[Any]:
        return []


class Network:
    """Neutron: one network, one subnet, one address."""

    def list_ports(self, device_owner: str = "", **_: Any) -> dict[str, Any]:
        """The subnet has a router, which Trove insists on; nothing else has a port to look for."""
        return {"ports": [{"id": "router"}] if device_owner == "network:router_interface" else []}

    def create_port(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"port": {**body["port"], "id": str(uuid.uuid4()), **self._address()}}

    def show_port(self, key: str) -> dict[str, Any]:
        return {"port": {"id": key, "network_id": NETWORK, "mac_address": "fa:16:3e:00:00:01", **self._address()}}

    def delete_port(self, _: str) -> None:
        return None

    def show_network(self, key: str) -> dict[str, Any]:
        return {"network": {"id": key, "name": "private", "subnets": [SUBNET], "router:external": False}}

    def list_networks(self, **_: Any) -> dict[str, Any]:
        return {"networks": []}

    def show_subnet(self, key: str) -> dict[str, Any]:
        return {"subnet": {"id": key, "network_id": NETWORK, "cidr": "10.0.0.0/24", "gateway_ip": "10.0.0.1"}}

    def list_subnets(self, **_: Any) -> dict[str, Any]:
        return {"subnets": [self.show_subnet(SUBNET)["subnet"]]}

    def list_floatingips(self, **_: Any) -> dict[str, Any]:
        return {"floatingips": []}

    def list_security_groups(self, **_: Any) -> dict[str, Any]:
        return {"security_groups": []}

    @staticmethod
    def _address() -> dict[str, Any]:
        return {"fixed_ips": [{"ip_address": ADDRESS, "subnet_id": SUBNET}]}


class Images:
    """Glance: every image exists."""

    def get(self, key: Any) -> Resource:
        return Resource(id=str(key), name=str(key), status="active", min_disk=0, min_ram=0, tags=[])

    def list(self, *_: Any, **__: Any) -> list[Resource]:
        return []


class ObjectStore:
    """Swift: reachable and empty."""

    url = "http://127.0.0.1:1/v1/AUTH_fake"

    def get_account(self) -> tuple[dict[str, Any], list[Any]]:
        return {}, []

    def get_container(self, _: str, **__: Any) -> tuple[dict[str, Any], list[Any]]:
        return {}, []


def nova_client(*_: Any, **__: Any) -> Resource:
    """`remote_nova_client`; 2.57 is the first version whose rebuild takes user data, which Trove asks for."""
    from novaclient.api_versions import APIVersion

    return Resource(servers=Servers(), flavors=Flavors(), server_groups=Nothing(), api_version=APIVersion("2.57"))


def cinder_client(*_: Any, **__: Any) -> Resource:
    """`remote_cinder_client`."""
    return Resource(volumes=Volumes(), volume_types=Nothing(), volume_snapshots=Nothing())


def neutron_client(*_: Any, **__: Any) -> Network:
    """`remote_neutron_client`."""
    return Network()


def glance_client(*_: Any, **__: Any) -> Resource:
    """`remote_glance_client`."""
    return Resource(images=Images())


def swift_client(*_: Any, **__: Any) -> ObjectStore:
    """`remote_swift_client`."""
    return ObjectStore()
