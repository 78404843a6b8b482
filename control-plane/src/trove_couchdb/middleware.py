"""The WSGI filter: refuses bad names, and repairs the paths of good ones.

Why here and not in ``load_and_verify``, the one function of Trove that is wrapped (``seam``)? That
one is never told a name, and is called after Trove has split, decoded and judged names by MySQL's
rules. A filter sees what the user wrote, before any call to the guest, and needs nothing of Trove
changed; what it asks Trove (``datastores``) are look-ups that Trove itself makes for each call.

It answers only what it is sure of. Whatever it can't read, can't find or fails at goes on to Trove
untouched, which answers as without it; and the agent checks every name again.
"""

import json
import logging
from typing import Any, Callable, Dict, FrozenSet, Iterable, Optional

from trove_couchdb import body, policy, target
from trove_couchdb.datastores import Datastores
from trove_couchdb.slashes import Databases

LOG = logging.getLogger(__name__)

#: ``trove.common.wsgi.CONTEXT_KEY``, set by the filter ``contextwrapper``.
CONTEXT_KEY = "trove.context"

#: Trove's routers obey it; what was checked would not be what is done.
ANOTHER_METHOD = (
    "`_method` in the query is not possible here; send the request with the method that is meant"
)

WITH_BODY = frozenset({"POST", "PUT", "PATCH"})

WsgiApp = Callable[[Dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def factory(managers: FrozenSet[str], datastores: FrozenSet[str]) -> Callable[[WsgiApp], WsgiApp]:
    """Makes what paste wraps an application with."""
    names = policy.Policy(*_ignored())
    return lambda app: Middleware(app, names, Datastores(managers, datastores))


def _ignored() -> "tuple[list[str], list[str]]":
    """``ignore_users`` and ``ignore_dbs`` of Trove's ``[couchdb]``, if this Trove has such a section."""
    from oslo_config import cfg as oslo
    from trove.common import cfg

    try:
        options = cfg.CONF.couchdb
        return options.ignore_users, options.ignore_dbs
    except oslo.NoSuchOptError as error:
        LOG.warning(
            "trove-couchdb: this Trove has no options in a section [couchdb] of trove.conf (%s); only os_admin, "
            "root and names that begin with `_` are reserved",
            error,
        )
        return [], []


class Middleware:
    """One for each pipeline."""

    def __init__(self, app: WsgiApp, names: policy.Policy, datastores: Datastores) -> None:
        self._app = app
        self._policy = names
        self._datastores = datastores
        self._databases = Databases()

    def __call__(
        self, environ: Dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        try:
            app = self._app_for(environ)
        except Exception:
            LOG.exception("trove-couchdb: names were not checked; the request goes on to Trove")
            app = self._app
        return app(environ, start_response)

    def _app_for(self, environ: Dict[str, Any]) -> WsgiApp:
        wanted = target.parse(environ)
        if wanted is None:
            return self._app
        if wanted.instance is None:
            return self._for_new_instance(environ)
        return self._for_instance(environ, wanted)

    def _for_new_instance(self, environ: Dict[str, Any]) -> WsgiApp:
        if environ.get("REQUEST_METHOD") != "POST" and not _says_another_method(environ):
            return self._app
        instance = body.new_instance(body.parse(_read_body(environ)))
        refusal = self._policy.refusal(body.names(instance, creates=True))
        if refusal and self._datastores.will_run_couchdb(instance):
            return _bad_request(refusal)
        return self._app

    def _for_instance(self, environ: Dict[str, Any], wanted: target.Target) -> WsgiApp:
        if _says_another_method(environ):
            refusal: Optional[str] = ANOTHER_METHOD
        else:
            refusal = self._policy.refusal(self._requested(environ, wanted))
        if not (refusal or wanted.needs_another_path or wanted.needs_a_route):
            return self._app
        if not self._runs_couchdb(environ, wanted):
            return self._app
        if refusal:
            return _bad_request(refusal)
        if wanted.needs_a_route and environ.get("REQUEST_METHOD") == "DELETE":
            return self._databases.deletion(environ, wanted)
        if wanted.needs_another_path:
            environ["PATH_INFO"] = wanted.path_for_trove
        return self._app

    @staticmethod
    def _requested(environ: Dict[str, Any], wanted: target.Target) -> policy.Names:
        """Names of the path, then those of the body."""
        in_body = policy.Names()
        method = environ.get("REQUEST_METHOD")
        if method in WITH_BODY:
            in_body = body.names(body.parse(_read_body(environ)), creates=method == "POST")
        return policy.Names(
            tuple(_present(wanted.user)) + in_body.users,
            tuple(_present(wanted.database)) + in_body.databases,
            in_body.new_users,
        )

    def _runs_couchdb(self, environ: Dict[str, Any], wanted: target.Target) -> bool:
        context = environ.get(CONTEXT_KEY)
        if context is None:
            LOG.warning(
                "trove-couchdb: names are not checked, as the filter must stand after "
                "contextwrapper in the pipeline of api-paste.ini"
            )
            return False
        return self._datastores.runs_couchdb(context, wanted.instance)


def _says_another_method(environ: Dict[str, Any]) -> bool:
    """Looks as Routes does (``RoutesMiddleware``, ``use_method_override``)."""
    return "_method" in environ.get("QUERY_STRING", "")


def _present(name: Optional[str]) -> "list[str]":
    return [] if name is None else [name]


def _read_body(environ: Dict[str, Any]) -> bytes:
    """The body, which Trove can read again: webob, with which Trove reads it too, sees to that."""
    import webob

    request = webob.Request(environ)
    request.make_body_seekable()
    return request.body


def _bad_request(message: str) -> WsgiApp:
    """An answer in the format of Trove's faults, which its clients show the message of."""
    LOG.info("trove-couchdb: refused: %s", message)
    content = json.dumps({"badRequest": {"code": 400, "message": message}}).encode()

    def application(_environ: Dict[str, Any], start_response: Callable[..., Any]) -> "list[bytes]":
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        start_response("400 Bad Request", headers)
        return [content]

    return application
