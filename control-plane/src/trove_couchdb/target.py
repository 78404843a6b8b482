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

A slash that was sent as such divides; one that was sent as ``%2F`` belongs to a name. ``troveclient``
sends every slash as such, so with it ``users/x/databases/y`` is the access of ``x`` whatever was meant,
and to a path with a slash at its end Trove has no route. Users with such names can't be made through
the API (``policy``).
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
_PART = re.compile("[^/]+")

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
    #: The path ends with a slash, which Trove doesn't take: no other path is made of it.
    dangling: bool = False

    @property
    def needs_another_path(self) -> bool:
        """True if Trove would read the user's name as another one."""
        if self.user is None or self.dangling:
            return False
        return not _PLAIN.fullmatch(self.user) or self.user in _ROUTES

    @property
    def needs_a_route(self) -> bool:
        """True if no route of Trove's leads to the database."""
        return self.database is not None and "/" in self.database and not self.dangling

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
    """Reads the path; None if it is not about users, databases or the creation of an instance."""
    found = _PATH.fullmatch(_text(environ.get("PATH_INFO", "")))
    if not found:
        return None
    head, tenant, instance, rest = found.group("head", "tenant", "instance", "rest")
    sent = None if instance is None else _as_sent(environ, instance, rest or "")
    decoded = _as_it_is if sent is None else _decoded
    whole = rest or "" if sent is None else sent
    rest = whole.rstrip("/")
    if not rest:
        return Target(head, tenant, instance)
    if found["collection"] == "databases":
        user, database, tail = None, rest, ""
    elif access := _ACCESS.fullmatch(rest):
        user, database, tail = access.group("user", "database", "tail")
    else:
        user, database, tail = rest, None, ""
    return Target(
        head,
        tenant,
        instance,
        None if user is None else _without_any_host(decoded(user)),
        None if database is None else decoded(database),
        decoded(tail),
        dangling=rest != whole,
    )


def can_be_addressed(user: str) -> bool:
    """False if ``troveclient`` can't write a path that names this user and nothing else.

    Proxies and servers make one slash of several and go the steps ``.`` and ``..``, so that the path
    of ``x/../../root`` may be another resource's; ``bob@%`` is ``bob`` from any host.
    """
    parts = user.split("/")
    return (
        not user.endswith(ANY_HOST)
        and not {"", ".", ".."}.intersection(parts)
        and "databases" not in parts[1:]
    )


def _as_sent(environ: Dict[str, Any], instance: str, rest: str) -> Optional[str]:
    """The end of the path, percent-encoded, if the server keeps the path as it was sent.

    eventlet does as RAW_PATH_INFO, uWSGI and mod_wsgi do as REQUEST_URI. Only slashes may differ
    from what paste made of it: nobody in front of us may be bypassed.
    """
    sent = (environ.get("RAW_PATH_INFO") or environ.get("REQUEST_URI") or "").partition("?")[0]
    parts = list(_PART.finditer(sent))
    for before, named, collection in zip(parts, parts[1:], parts[2:]):
        if (
            _decoded(before[0]) == "instances"
            and _decoded(named[0]) == instance
            and _decoded(collection[0]).partition(".")[0] in ("users", "databases")
        ):
            end = sent[collection.end() + 1 :]
            if _SLASHES.sub("/", _decoded(end)).strip("/") == rest.strip("/"):
                return end
    return None


def _decoded(sent: str) -> str:
    return _text(unquote(sent, encoding="latin-1"))


def _as_it_is(text: str) -> str:
    return text


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
