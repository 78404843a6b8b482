"""Whether a request is for CouchDB, as Trove's database has it.

Asked only for a request whose names are out of the ordinary, so that others cost nothing.
"""

from typing import Any, Dict, FrozenSet


class Datastores:
    """Knows CouchDB by its version's manager, or by the name of the datastore.

    The name counts too because CouchDB can be registered under another manager's name (PostgreSQL's
    or MySQL's, which trove-api lets through without this package); the rules for names are those of
    what runs in the instance.
    """

    def __init__(self, managers: FrozenSet[str], datastores: FrozenSet[str]) -> None:
        self._managers = managers
        self._datastores = datastores

    def runs_couchdb(self, context: Any, instance_id: str) -> bool:
        """False as well for an instance that the caller can't see: Trove answers for it."""
        from trove.common import exception
        from trove.datastore import models as datastore_models
        from trove.instance import models as instance_models

        try:
            instance = instance_models.get_db_info(context, instance_id)
            version = datastore_models.DatastoreVersion.load_by_uuid(instance.datastore_version_id)
        except exception.NotFound:
            return False
        return self._is_couchdb(version)

    def will_run_couchdb(self, instance: Dict[str, Any]) -> bool:
        """For the body of an instance to create; False if Trove will refuse its datastore."""
        from trove.common import exception
        from trove.datastore import models as datastore_models

        wanted = instance.get("datastore", {})
        if instance.get("replica_of") or not isinstance(wanted, dict):
            return False
        try:
            _, version = datastore_models.get_datastore_version(**wanted)
        except (exception.TroveError, TypeError):
            return False
        return self._is_couchdb(version)

    def _is_couchdb(self, version: Any) -> bool:
        return version.manager in self._managers or version.datastore_name in self._datastores
