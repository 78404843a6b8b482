"""database-create, database-list, database-delete."""

from __future__ import annotations

import pytest
from couch import ANONYMOUS
from guest import Guest
from shell import Shell
from steps import assert_member, assert_outsider, make_database, make_user


def names(shell: Shell, guest: Guest) -> list[str]:
    """What database-list lists."""
    return [row["name"] for row in shell.do("database-list", guest.id)]


@pytest.mark.row("database-create", "CouchDB has it; closed to anybody and to users without access")
def test_a_new_database_is_closed(guest: Guest, shell: Shell) -> None:
    stranger = make_user(guest, shell)
    database = make_database(guest, shell)
    assert_outsider(guest, ANONYMOUS, database)
    assert_outsider(guest, stranger, database)
    status, security = guest.couch.admin_request("GET", f"/{database}/_security")
    assert status == 200
    assert security["members"].get("names", []) == [], "nobody was given access"


@pytest.mark.row("database-list", "lists new databases, in order, and no system database")
def test_databases_are_listed(guest: Guest, shell: Shell) -> None:
    made = sorted(make_database(guest, shell) for _ in range(2))
    listed = names(shell, guest)
    assert [name for name in listed if name in made] == made
    assert listed == sorted(listed)
    assert not [name for name in listed if name.startswith("_")]
    _, everything = guest.couch.admin_request("GET", "/_all_dbs")
    assert listed == [name for name in everything if not name.startswith("_")], "the list is not what CouchDB has"


@pytest.mark.row("database-delete", "CouchDB has it no more, nor its documents; its user stays")
def test_a_deleted_database_is_gone(guest: Guest, shell: Shell) -> None:
    database, other = make_database(guest, shell), make_database(guest, shell)
    user = make_user(guest, shell, database, other)
    assert_member(guest, user, database)
    shell.do("database-delete", guest.id, database)
    couch = guest.couch
    guest.eventually(f"{database} is gone", lambda: not couch.client.exists(database, couch.admin))
    assert database not in names(shell, guest)
    assert_member(guest, user, other)
    make_database(guest, shell, database)
    assert_outsider(guest, user, database)
