"""Which user and database the path of a request names, and how to say it so that Trove understands.

Trove's own reading of these paths was made for MySQL and changes legal names of CouchDB's:

* it percent-decodes the segment a second time (``50%25`` becomes ``50%``);
* it reads non-ASCII letters as Latin-1;
* a ``/`` (which ``troveclient`` never encodes) matches no route, and paste makes one of several;
* ``x.json`` loses its suffix, as does a collection (``users.xml``), whatever it is; ``new`` and ``update_all`` are
  routes themselves;
* what follows the last ``@`` is a host. CouchDB has no hosts and the agent ignores them, so
  ``DELETE .../users/alice@example.com`` would delete ``alice``.

So a path is read here as it was meant, and ``Target.path_for_trove`` writes it such that all of the
above leads back to the same name. A name that Trove reads rightly is left as it came.
"""

import re
from dataclasses import dataclass
from typing import Any, Dict, Optional
from urllib.parse import quote, unquote

_PATH = re.compile(
    r"(?P<head>(?:/v1\.0)?/(?P<tenant>[^/]+)/instances)"
    r"(?:/(?P<instance>[^/]+)/(?P<collection>users|databases)(?:\.[^/]+)?(?:/(?P<rest>.+))?)?/?",
    re.DOTALL,
)

_ACCESS = re.compile(r"(?P<user>.+?)(?P<tail>/databases(?:/(?P<database>.+))?)", re.DOTALL)

_SLASHES = re.compile("/+")

# Neither decoded, nor split, nor taken for a suffix by Trove.
_PLAIN = re.compile(r"[A-Za-z0-9_~!$&'()*+,;= -]+")
_ROUTES = frozenset({"new", "update_all"})

#: What Trove writes for "from any host"; the only host that CouchDB can mean.
ANY_HOST = "@%"


@dataclass(frozen=True)
class Target:
    """What a path names."""

    head: str
    tenant: str
    #: None for the collection of all instances.
    instance: Optional[str] = None
    user: Optional[str] = None
    database: Optional[str] = None
    #: What follows the user in the path of access calls.
    tail: str = ""

    @property
    def needs_another_path(self) -> bool:
        """True if Trove would read the user's name as another one."""
        return self.user is not None and not (
            _PLAIN.fullmatch(self.user) and self.user not in _ROUTES
        )

    @property
    def needs_a_route(self) -> bool:
        """True if no route of Trove's leads to the database."""
        return self.database is not None and "/" in self.database

    @property
    def user_id(self) -> str:
        """The user as Trove's ``unquote_user_host`` understands it."""
        if self.user is None or not self.needs_another_path:
            return self.user or ""
        plain = "".join(
            character
            if character == "@" or _PLAIN.fullmatch(character)
            else _percent_encoded(character)
            for character in self.user
        )
        return plain + ANY_HOST

    @property
    def path_for_trove(self) -> str:
        """The path as WSGI has it; the user in it is ASCII only."""
        path = f"{self.head}/{self.instance}/users/{self.user_id}{self.tail}"
        return path.encode("utf-8").decode("latin-1")


def parse(environ: Dict[str, Any]) -> Optional[Target]:
    """Reads the path; None if it is not about users, databases or the creation of an instance.

    A user whose name holds ``/databases`` can't be told from an access call and is read as one.
    """
    found = _PATH.fullmatch(_text(environ.get("PATH_INFO", "")))
    if not found:
        return None
    head, tenant, instance, rest = found.group("head", "tenant", "instance", "rest")
    if instance is not None:
        rest = _as_sent(environ, instance, rest)
    if rest is None:
        return Target(head, tenant, instance)
    if found["collection"] == "databases":
        return Target(head, tenant, instance, database=rest)
    access = _ACCESS.fullmatch(rest)
    if access is None:
        return Target(head, tenant, instance, user=_without_any_host(rest))
    user, tail, database = access.group("user", "tail", "database")
    return Target(head, tenant, instance, _without_any_host(user), database, tail)


def _as_sent(environ: Dict[str, Any], instance: str, rest: Optional[str]) -> Optional[str]:
    """The end of the path with all its slashes, if the server keeps the path as it was sent.

    eventlet does as RAW_PATH_INFO, uWSGI and mod_wsgi do as REQUEST_URI. Only slashes may differ
    from what paste made of it: nobody in front of us may be bypassed.
    """
    sent = environ.get("RAW_PATH_INFO") or environ.get("REQUEST_URI") or ""
    found = re.fullmatch(
        rf".*?/instances/+{re.escape(instance)}/+(?:users|databases)(?:\.[^/]+)?/(?P<rest>.+)",
        _text(unquote(sent.partition("?")[0], encoding="latin-1")),
        re.DOTALL,
    )
    if found and _SLASHES.sub("/", found["rest"]).strip("/") == (rest or "").strip("/"):
        return found["rest"]
    return rest


def _text(wsgi: str) -> str:
    """WSGI's Latin-1 as the UTF-8 that clients send; bytes that are not stay as they are."""
    try:
        return wsgi.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return wsgi


def _without_any_host(user: str) -> str:
    return user[: -len(ANY_HOST)] if user.endswith(ANY_HOST) and user != ANY_HOST else user


def _percent_encoded(character: str) -> str:
    # quote() leaves dots alone, which Trove must not see.
    return "%2E" if character == "." else quote(character, safe="")
