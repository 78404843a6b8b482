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
``defaults``               a parser for the default configuration
``pipeline``               whether the filter is where it must be
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
        from trove_couchdb import middleware

        managers = _list(local_conf, "managers")
        datastores = _list(local_conf, "datastores")
        unknown = set(local_conf) - {"managers", "datastores"}
        if unknown:
            LOG.warning(
                "trove-couchdb: options that it does not know in [filter:couchdb]: %s",
                ", ".join(sorted(unknown)),
            )
        # What can fail for good comes first: nothing is let through whose names nobody would check.
        checked = middleware.factory(managers, datastores)
    except Exception:
        LOG.warning(
            "trove-couchdb is not active, trove-api works as without it (user, database and root "
            "calls for CouchDB may be refused)",
            exc_info=True,
        )
        return lambda app: app
    _let_through(managers)
    _make_defaults_readable(managers)

    def placed(app: Any) -> Any:
        from trove_couchdb import pipeline

        wrong = pipeline.misplaced(app, global_conf)
        if wrong:
            LOG.error("trove-couchdb: %s", wrong)
        return checked(app)

    return placed


def _let_through(managers: "frozenset[str]") -> None:
    """Without it names are checked all the same: that needs nothing of what differs in an unknown Trove."""
    from trove_couchdb import seam

    try:
        seam.let_through(managers)
    except Exception as error:
        LOG.warning(
            "trove-couchdb: names are checked, but user, database and root calls are not let through for "
            "manager %s and may be refused: %s. Use the way without a filter (README) and report it",
            ", ".join(sorted(managers)),
            error,
            exc_info=not isinstance(error, seam.UnknownTrove),
        )


def _make_defaults_readable(managers: "frozenset[str]") -> None:
    from trove_couchdb import defaults

    try:
        defaults.readable(managers)
    except Exception as error:
        LOG.warning(
            "trove-couchdb: the default configuration can't be shown (%r), and the dashboard's tab "
            "Configuration Defaults fails; all else works",
            error,
        )


def _list(local_conf: Dict[str, str], option: str) -> "frozenset[str]":
    names = frozenset(local_conf.get(option, DEFAULT_NAMES).replace(",", " ").split())
    if names:
        return names
    LOG.warning(
        "trove-couchdb: %s in [filter:couchdb] is empty; taking the default, %s. Name something or "
        "remove the line",
        option,
        DEFAULT_NAMES,
    )
    return frozenset({DEFAULT_NAMES})
