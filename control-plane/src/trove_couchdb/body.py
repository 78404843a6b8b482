"""Which users and databases the body of a request names.

Looks only where Trove looks, and only at what has the right type: whatever else a body holds is for
Trove's own schemas to judge, so nothing here ever fails.
"""

import json
from typing import Any, Dict, Iterator

from trove_couchdb.policy import Names


def parse(body: bytes) -> Dict[str, Any]:
    """The JSON object that a body holds, or an empty one."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def names(content: Dict[str, Any], creates: bool) -> Names:
    """The names in ``users``, ``databases`` and ``user``.

    ``creates``: the ``users`` are to be made, and not those whose passwords change. The one in
    ``user`` is a name that a user is to have.
    """
    users = list(_objects(content.get("users")))
    changed = content.get("user")
    databases = [*_objects(content.get("databases"))]
    for user in users:
        databases.extend(_objects(user.get("databases")))
    new = list(users) if creates else []
    if isinstance(changed, dict):
        users.append(changed)
        new.append(changed)
    return Names(tuple(_names(users)), tuple(_names(databases)), tuple(_names(new)))


def new_instance(content: Dict[str, Any]) -> Dict[str, Any]:
    """The instance that is to be created, or an empty object."""
    instance = content.get("instance")
    return instance if isinstance(instance, dict) else {}


def _objects(value: Any) -> Iterator[Dict[str, Any]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def _names(objects: "list[Dict[str, Any]]") -> Iterator[str]:
    for item in objects:
        name = item.get("name")
        if isinstance(name, str):
            yield name
