"""Lets trove-api manage users, databases and root of CouchDB instances.

Plugs into ``api-paste.ini``, between ``ratelimit`` and ``extensions``::

    [filter:couchdb]
    paste.filter_factory = trove_couchdb:filter_factory

Importing this package imports nothing of Trove; all work begins when paste calls the factory, and
whatever goes wrong there is logged and leaves trove-api as it was.

=========================  =========================================================
``seam``                   the one place of Trove that is changed
``names``, ``policy``      which names CouchDB, its agent and this deployment accept
``target``, ``body``       which names a request holds, in its path and in its body
``datastores``             whether a request is for CouchDB, from Trove's database
``slashes``                a route for database names with a ``/``
``middleware``             puts the above together as a WSGI filter
=========================  =========================================================
"""

import logging
from typing import Any, Callable, Dict

__all__ = ["filter_factory"]

LOG = logging.getLogger(__name__)

DEFAULT_NAMES = "couchdb"


def filter_factory(global_conf: Dict[str, str], **local_conf: str) -> Callable[[Any], Any]:
    """Paste's entry point.

    Options of the filter, both lists separated by commas or spaces:

    ``managers``
        Managers of datastore versions for which user, database and root calls are let through and
        whose names are checked. Default: ``couchdb``.
    ``datastores``
        Names of datastores whose names are checked whatever their manager is: CouchDB registered
        under another manager's name is CouchDB all the same. Default: ``couchdb``.
    """
    try:
        from trove_couchdb import middleware, seam

        managers = _listed(local_conf.get("managers", DEFAULT_NAMES))
        datastores = _listed(local_conf.get("datastores", DEFAULT_NAMES))
        unknown = set(local_conf) - {"managers", "datastores"}
        if unknown:
            LOG.warning(
                "trove-couchdb: options that it does not know in [filter:couchdb]: %s",
                ", ".join(sorted(unknown)),
            )
        # All that can fail comes first: nothing is let through whose names nobody would check.
        let_through = seam.planned(managers)
        checked = middleware.factory(managers, datastores)
        let_through()
        return checked
    except Exception as error:
        LOG.warning(
            "trove-couchdb is not active, trove-api works as without it (user, database and root "
            "calls for CouchDB may be refused): %s",
            error,
            exc_info=not _is_expected(error),
        )
        return lambda app: app


def _listed(text: str) -> "frozenset[str]":
    return frozenset(text.replace(",", " ").split())


def _is_expected(error: Exception) -> bool:
    from trove_couchdb.seam import UnknownTrove

    return isinstance(error, UnknownTrove)
