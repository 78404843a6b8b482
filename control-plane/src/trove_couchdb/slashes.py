"""A route for databases whose name holds a ``/``, which is legal in CouchDB.

Trove's routes end an id at a slash and, unlike those of users, don't decode it again, so there is
no path that Trove's router would take for ``DELETE .../databases/a/b``. Such a request is handed to
the very controller that the router would have chosen, as the router would have done it.
"""

from typing import Any, Dict, Optional

from trove_couchdb.target import Target

#: The parents that Trove registers its two ``databases`` collections under.
INSTANCE, USER = "instance", "user"


class Databases:
    """Trove's own controllers for databases and for users' access to them."""

    def __init__(self) -> None:
        self._resources: Optional[Dict[str, Any]] = None

    def deletion(self, environ: Dict[str, Any], target: Target) -> Any:
        """The WSGI application that deletes or revokes; the route is put into the environment."""
        if self._resources is None:
            self._resources = _resources()
        route = {
            "action": "delete",
            "tenant_id": target.tenant,
            "instance_id": target.instance,
            "id": target.database,
        }
        if target.user is None:
            parent = INSTANCE
        else:
            parent = USER
            route["user_id"] = target.user_id
        environ["wsgiorg.routing_args"] = ((), route)
        return self._resources[parent]


def _resources() -> Dict[str, Any]:
    """By parent, made as ``TroveExtensionMiddleware`` makes them."""
    from trove.common import wsgi
    from trove.extensions.routes import mysql

    return {
        extension.parent["member_name"]: wsgi.Resource(
            extension.controller,
            extension.deserializer,
            extension.serializer,
            getattr(extension.controller, "exception_map", None),
        )
        for extension in mysql.Mysql().get_resources()
        if extension.collection == "databases" and extension.parent
    }
