"""Which names users of the API may use at all, and the words they are refused with.

``os_admin``, ``root`` and system databases are always reserved; what Trove's ``[couchdb]
ignore_users`` and ``ignore_dbs`` name is reserved too, as in the agent (``couchdb/src/policy.rs``), which
reads the same options.
"""

from typing import FrozenSet, Iterable, NamedTuple, Optional

from trove_couchdb import names, target

ALWAYS_RESERVED_USERS = frozenset({"os_admin", "root"})

#: As much of a refused name is repeated as the agent repeats (``protocol/src/quote.rs``).
SHOWN = 40

#: The API's own rule, for new names: the agent, and its tool on the guest, have no URLs.
NOT_ADDRESSABLE = (
    "in a URL of Trove's it would be something else (it ends with `@%`, or a part of it between "
    "slashes is empty, `.`, `..` or `databases`)"
)

_ESCAPES = {"\t": "\\t", "\r": "\\r", "\n": "\\n", '"': '\\"', "'": "\\'", "\\": "\\\\"}


class Names(NamedTuple):
    """The names of a request, each list in the order of the request."""

    users: "tuple[str, ...]" = ()
    databases: "tuple[str, ...]" = ()
    #: Those of the users that are not there yet.
    new_users: "tuple[str, ...]" = ()


class Policy:
    """Decides about names; knows nothing of requests."""

    def __init__(self, ignore_users: Iterable[str] = (), ignore_dbs: Iterable[str] = ()) -> None:
        self._users: FrozenSet[str] = ALWAYS_RESERVED_USERS | frozenset(ignore_users)
        self._databases: FrozenSet[str] = frozenset(ignore_dbs)

    def refusal(self, requested: Names) -> Optional[str]:
        """Why these names are refused, or None if all are fine."""
        for name in requested.users:
            broken = names.broken_by_user(name)
            if broken:
                return f"the user name {quoted(name)} is not allowed: {broken.text}"
            if name in self._users:
                return f"user {quoted(name)} is reserved; choose another name"
        for name in requested.new_users:
            if not target.can_be_addressed(name):
                return f"the user name {quoted(name)} is not allowed: {NOT_ADDRESSABLE}"
        for name in requested.databases:
            broken = names.broken_by_database(name)
            if broken:
                return f"the database name {quoted(name)} is not allowed: {broken.text}"
            if name in self._databases:
                return f"database {quoted(name)} is reserved; choose another name"
        return None


def quoted(text: str) -> str:
    """The text in double quotes on one line, short, with everything unprintable escaped."""
    shown = "".join(map(_escaped, text[:SHOWN]))
    return f'"{shown}{"…" if len(text) > SHOWN else ""}"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    return character if character.isprintable() else f"\\u{{{ord(character):x}}}"
