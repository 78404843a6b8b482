"""Every refusal: what its user sees, and that CouchDB is as it was before.

With the filter, bad and reserved names are refused with a 400 that names the rule before anything is sent to the guest.
In way A the agent refuses them: in a call at once, in a cast by the fault that `instance show` then shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from guest import Guest, Way, quoted
from results import Results
from shell import Shell

USER, OTHER, DATABASE = "refused", "refused-too", "refused"


@dataclass(frozen=True)
class Case:
    """A command that must not succeed."""

    what: str
    command: str
    arguments: tuple[str, ...]
    filtered: str
    way_a: str | None = None
    """What is seen in way A; `None` if it is the same."""
    is_fault: bool = False
    """In way A the command is accepted, and the text is the instance's fault."""

    name: str | None = None
    """What the agent names in place of `QUOTED`."""

    def seen(self, way: Way) -> str:
        filtered = way.service.filtered or self.way_a is None
        text = self.filtered if filtered else self.way_a
        return text.replace(QUOTED, quoted(self.name or "", encrypted=way.secure))


QUOTED = "<a name as the agent quotes it>"


def missing(kind: str, name: str) -> str:
    return f"{kind} {name} cannot be found on the instance. (HTTP 404)"


def taken(kind: str, name: str) -> str:
    return f'A {kind} with the name "{name}" already exists. (HTTP 400)'


def reserved_user(what: str, command: str, name: str, trove: str, *more: str) -> Case:
    by_trove = f"{trove} error: User name \"{name}\" is on the reserved list: ['os_admin', 'root']. (HTTP 400)"
    by_filter = f'user "{name}" is reserved; choose another name (HTTP 400)'
    return Case(what, command, (name, *more), by_filter, by_trove.replace("load error", "Error loading user"))


def bad(what: str, command: str, arguments: tuple[str, ...], kind: str, name: str, rule: str, *, cast: bool) -> Case:
    by_filter = f"the {kind} name {quoted(name, encrypted=False)} is not allowed: {rule} (HTTP 400)"
    by_agent = f"the {kind} name {QUOTED} is not allowed: {rule}"
    return Case(what, command, arguments, by_filter, by_agent, is_fault=cast, name=name)


def bad_database(name: str, rule: str, what: str | None = None) -> Case:
    return bad(what or f"`{name}`", "database-create", (name,), "database", name, rule, cast=True)


def bad_user(name: str, rule: str, what: str | None = None) -> Case:
    return bad(what or f"`{name}`", "user-create", (name, "pw"), "user", name, rule, cast=True)


SYSTEM = "names that begin with `_` belong to CouchDB's system databases"
UNDERSCORE = "user names must not begin with `_`"
LETTER = "it must begin with a lower-case letter"
SLASH = "it must not end with `/` nor hold `//`"
RESERVED_DBS = "is on the reserved list: ['_users', '_replicator', '_global_changes']. (HTTP 400)"
SCHEMA = "does not match '^.*[0-9a-zA-Z]+.*$'"
NO_GUEST = "An error occurred communicating with the guest: "
MISSING_DATABASE = f"{NO_GUEST}database {QUOTED} does not exist; create it first. (HTTP 400)"


def system_database(command: str, name: str) -> Case:
    by_filter = f'the database name "{name}" is not allowed: {SYSTEM} (HTTP 400)'
    return Case(f"`{name}`", command, (name,), by_filter, f'Database name "{name}" {RESERVED_DBS}')


CASES = [
    Case("the name is taken", "user-create", (USER, "pw"), taken("user", USER)),
    reserved_user("`root`", "user-create", "root", "User create", "pw"),
    reserved_user("`os_admin`", "user-create", "os_admin", "User create", "pw"),
    bad_user("_x", UNDERSCORE),
    bad_user("a:b", "user names must not hold a colon"),
    bad_user("x" * 256, "it is longer than 255 bytes", "256 letters"),
    Case("no password", "user-create", ("nopw", ""), f"users[0]['password'] '' should be non-empty; users[0]['password'] '' {SCHEMA} (HTTP 400)"),
    Case("`名前`: no ASCII letter or digit", "user-create", ("名前", "pw"), f"Validation error: users[0]['name'] '名前' {SCHEMA} (HTTP 400)"),
    bad("--databases `_users`", "user-create", ("u1", "pw", "--databases", "_users"), "database", "_users", SYSTEM, cast=True),
    bad("--databases `Bad`", "user-create", ("u2", "pw", "--databases", "Bad"), "database", "Bad", LETTER, cast=True),
    Case("no such user", "user-delete", ("nobody",), missing("User", "nobody")),
    reserved_user("`root`", "user-delete", "root", "User delete"),
    reserved_user("`os_admin`", "user-delete", "os_admin", "User delete"),
    Case("no such user", "user-show", ("nobody",), missing("User", "nobody")),
    reserved_user("`root`", "user-show", "root", "User show"),
    bad("`_x`", "user-show", ("_x",), "user", "_x", UNDERSCORE, cast=False),
    Case("no such user", "user-grant-access", ("nobody", DATABASE), missing("User", "nobody")),
    Case("no such database", "user-grant-access", (USER, "missing"), MISSING_DATABASE, name="missing"),
    bad("`_users`", "user-grant-access", (USER, "_users"), "database", "_users", SYSTEM, cast=False),
    bad("`Bad`", "user-grant-access", (USER, "Bad"), "database", "Bad", LETTER, cast=False),
    reserved_user("to `root`", "user-grant-access", "root", "load", DATABASE),
    Case("no such user", "user-revoke-access", ("nobody", DATABASE), missing("User", "nobody")),
    Case("not granted", "user-revoke-access", (USER, DATABASE), missing("Database", DATABASE)),
    Case("no such database", "user-revoke-access", (USER, "missing"), missing("Database", "missing")),
    Case("no such user", "user-show-access", ("nobody",), missing("User", "nobody")),
    reserved_user("`root`", "user-show-access", "root", "load"),
    Case("no such user", "user-update-attributes", ("nobody", "--new_password", "x"), missing("User", "nobody")),
    Case("--new_name is taken", "user-update-attributes", (USER, "--new_name", OTHER), taken("user", OTHER)),
    Case(
        "--new_name `root`",
        "user-update-attributes",
        (USER, "--new_name", "root"),
        'user "root" is reserved; choose another name (HTTP 400)',
        "User update error: User name \"root\" is on the reserved list: ['os_admin', 'root']. (HTTP 400)",
    ),
    bad("--new_name `_x`", "user-update-attributes", (USER, "--new_name", "_x"), "user", "_x", UNDERSCORE, cast=True),
    Case("nothing to change", "user-update-attributes", (USER,), f"No updates specified for user {USER}"),
    Case("the name is taken", "database-create", (DATABASE,), taken("database", DATABASE)),
    system_database("database-create", "_users"),
    system_database("database-create", "_replicator"),
    system_database("database-create", "_global_changes"),
    bad_database("_other", SYSTEM),
    bad_database("Bad", LETTER),
    bad_database("1a", LETTER),
    bad_database("a.b", "dots are not possible, CouchDB's own files end in `.couch`"),
    bad_database("a b", "only lower-case letters, digits and the characters `_ $ ( ) + - /` are possible"),
    bad_database("a//b", SLASH),
    bad_database("a/", SLASH),
    bad_database("a/_b", "no part between slashes may begin with `_`"),
    bad_database("a" * 239, "it is longer than 238 bytes", "239 letters"),
    Case("no such database", "database-delete", ("missing",), missing("Database", "missing")),
    system_database("database-delete", "_users"),
    system_database("database-delete", "_replicator"),
    Case("never enabled", "root-disable", (), "Root user has never been enabled on the instance. (HTTP 404)"),
]


@pytest.fixture(scope="module", autouse=True)
def what_is_there(all_ways: dict[str, Guest]) -> None:
    """Two users and a database, made behind Trove's back, that the refused commands are about."""
    for guest in all_ways.values():
        for name in (USER, OTHER):
            account = {"name": name, "password": "pw", "roles": [], "type": "user"}
            guest.couch.admin_request("PUT", f"/_users/org.couchdb.user:{name}", account)
        guest.couch.admin_request("PUT", f"/{DATABASE}")


def everything(guest: Guest) -> dict[str, Any]:
    """All that a command could have changed in CouchDB."""
    _, databases = guest.couch.admin_request("GET", "/_all_dbs")
    _, users = guest.couch.admin_request("GET", "/_users/_all_docs")
    security = {name: guest.couch.admin_request("GET", f"/{name}/_security")[1] for name in ("_users", DATABASE)}
    _, admins = guest.couch.admin_request("GET", "/_node/_local/_config/admins")
    # CouchDB upgrades the hash of a user at its login; only who there is counts.
    return {"databases": databases, "users": [row["id"] for row in users["rows"]], "access": security, "admins": admins}


@pytest.mark.row("(all commands)", "refusals leave CouchDB as it was; the texts are below")
@pytest.mark.parametrize("case", CASES, ids=[f"{case.command}: {case.what}" for case in CASES])
def test_a_refusal(guest: Guest, shell: Shell, case: Case, results: Results) -> None:
    before = everything(guest)
    expected = case.seen(guest.way)
    if case.is_fault and not guest.way.service.filtered:
        shell.do(case.command, guest.id, *case.arguments)
        shown = guest.wait_fault(case.what, expected)
        results.saw(case.command, case.what, guest.way.name, f"accepted; then the fault: {shown}")
    else:
        shown = shell.refused(case.command, guest.id, *case.arguments)
        assert expected in shown
        results.saw(case.command, case.what, guest.way.name, shown)
    assert everything(guest) == before


@pytest.mark.row("names of users", "whose URL would be something else's are not made (way A: they are)")
@pytest.mark.parametrize("name", ["x/databases/y", "x/", "x//y", "..", "x/../../root", "bob@%"])
def test_a_name_that_no_url_can_say(guest: Guest, shell: Shell, results: Results, name: str) -> None:
    if not guest.way.service.filtered:
        pytest.skip("nobody looks at new names before the agent does, and it has no URLs")
    before = everything(guest)
    shown = shell.refused("user-create", guest.id, name, "a-password")
    assert f'the user name "{name}" is not allowed: in a URL of Trove\'s it would be something else' in shown
    results.saw("user-create", f"`{name}`", guest.way.name, shown)
    assert everything(guest) == before
