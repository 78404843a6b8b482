"""Why there is a filter: trove-api as it comes refuses manager `couchdb`. And the shells as real scripts."""

from __future__ import annotations

import pytest
from configuration import STOCK
from conftest import Guests
from couch import User
from guest import Guest
from results import Results
from steps import assert_member, fresh

REFUSAL = "Operation not supported for datastore couchdb. (HTTP 422)"
COMMANDS: dict[str, tuple[str, ...]] = {
    "user-create": ("stock", "pw"),
    "user-list": (),
    "user-show": ("founder",),
    "user-delete": ("founder",),
    "user-grant-access": ("founder", "first"),
    "user-revoke-access": ("founder", "first"),
    "user-show-access": ("founder",),
    "user-update-attributes": ("founder", "--new_password", "x"),
    "database-create": ("stock",),
    "database-list": (),
    "database-delete": ("first",),
    "root-enable": (),
    "root-show": (),
    "root-disable": (),
}


@pytest.mark.row("(all commands)", "manager couchdb without the filter: 422 for each of the fourteen")
@pytest.mark.parametrize("command", COMMANDS)
def test_without_the_filter(encrypted: Guest, guests: Guests, results: Results, command: str) -> None:
    seen = guests.shell("trove", STOCK).refused(command, encrypted.id, *COMMANDS[command])
    assert REFUSAL in seen
    results.saw("(all commands)", "manager couchdb, no filter", "encrypted", seen)


@pytest.mark.row("(all commands)", "the installed scripts do what their entry points do")
@pytest.mark.parametrize("program", ["trove", "openstack"])
def test_the_real_scripts(encrypted: Guest, program: str) -> None:
    shell = encrypted.shells[program]
    database, user = fresh("script"), User(fresh("scripted"), "pw")
    shell.do("database-create", encrypted.id, database, script=True)
    encrypted.eventually("the database is there", lambda: encrypted.couch.client.exists(database, encrypted.couch.admin))
    shell.do("user-create", encrypted.id, user.name, user.password, "--databases", database, script=True)
    encrypted.eventually("the user can read", lambda: encrypted.couch.account(user.name))
    encrypted.eventually("the user can read", lambda: encrypted.couch.client.reads(database, user))
    assert_member(encrypted, user, database)
    assert user.name in [row["name"] for row in shell.do("user-list", encrypted.id, script=True)]
    outcome = shell.run("user-show", encrypted.id, "nobody", script=True)
    assert (outcome.status, "cannot be found" in outcome.errors) == (1, True)
