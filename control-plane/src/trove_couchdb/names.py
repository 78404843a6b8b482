"""The form of names: what CouchDB takes, less what is known to break servers.

The same rules, order and words as the agent's ``protocol/src/names.rs``, which checks again: the
agent is what protects CouchDB, this is what tells users at once. ``tests/names.json`` holds cases
that both are run through.
"""

import re
from typing import NamedTuple, Optional

#: In bytes of UTF-8.
MAX_USER_NAME = 255
#: In bytes of UTF-8: CouchDB keeps 238 of a file name's 255 for it.
MAX_DATABASE_NAME = 238


class Rule(NamedTuple):
    """A rule that a name can break."""

    id: str
    text: str


EMPTY = Rule("empty", "it is empty")
SYSTEM_DATABASE = Rule(
    "system_database", "names that begin with `_` belong to CouchDB's system databases"
)
LEADING_UNDERSCORE = Rule("leading_underscore", "user names must not begin with `_`")
FIRST_LETTER = Rule("first_letter", "it must begin with a lower-case letter")
DATABASE_CHARACTER = Rule(
    "database_character",
    "only lower-case letters, digits and the characters `_ $ ( ) + - /` are possible",
)
DOT = Rule("dot", "dots are not possible, CouchDB's own files end in `.couch`")
EMPTY_SEGMENT = Rule("empty_segment", "it must not end with `/` nor hold `//`")
UNDERSCORE_SEGMENT = Rule("underscore_segment", "no part between slashes may begin with `_`")
COLON = Rule("colon", "user names must not hold a colon")
CONTROL_CHARACTER = Rule("control_character", "control characters are not possible")
# JSON can hold half of a surrogate pair, which no UTF-8 text can. The agent never sees one.
NOT_TEXT = Rule("not_text", "it is not Unicode text (half of a surrogate pair)")

# Unicode's category Cc, which never grows.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DATABASE = re.compile(r"[a-z0-9_$()+/-]*\Z")


def broken_by_user(name: str) -> Optional[Rule]:
    """The rule that a user's name breaks, or None."""
    if not name:
        return EMPTY
    size = _bytes(name)
    if size is None:
        return NOT_TEXT
    if size > MAX_USER_NAME:
        return _too_long(MAX_USER_NAME)
    if name.startswith("_"):
        return LEADING_UNDERSCORE
    if ":" in name:
        return COLON
    if _CONTROL.search(name):
        return CONTROL_CHARACTER
    return None


def broken_by_database(name: str) -> Optional[Rule]:
    """The rule that a database's name breaks, or None.

    The order decides which rule is named for a name with several faults: the most telling one.
    """
    if not name:
        return EMPTY
    size = _bytes(name)
    if size is None:
        return NOT_TEXT
    if size > MAX_DATABASE_NAME:
        return _too_long(MAX_DATABASE_NAME)
    if name.startswith("_"):
        return SYSTEM_DATABASE
    if "." in name:
        return DOT
    if not "a" <= name[0] <= "z":
        return FIRST_LETTER
    if not _DATABASE.match(name):
        return DATABASE_CHARACTER
    if name.endswith("/") or "//" in name:
        return EMPTY_SEGMENT
    if "/_" in name:
        return UNDERSCORE_SEGMENT
    return None


def _too_long(limit: int) -> Rule:
    return Rule("too_long", f"it is longer than {limit} bytes")


def _bytes(name: str) -> Optional[int]:
    try:
        return len(name.encode("utf-8"))
    except UnicodeEncodeError:
        return None
