"""user-create, user-list, user-show, user-update-attributes, user-delete."""

from __future__ import annotations

from typing import Any

import pytest
from couch import ANONYMOUS, User
from guest import FIRST_USERS, Guest
from shell import Shell
from steps import assert_member, assert_outsider, fresh, make_database, make_user


def listed(shell: Shell, guest: Guest) -> dict[str, dict[str, Any]]:
    """What user-list lists, by name."""
    return {row["name"]: row for row in shell.do("user-list", guest.id)}


@pytest.mark.row("user-create", "the user logs in and has access to nothing")
def test_a_user_without_databases(guest: Guest, shell: Shell) -> None:
    database = make_database(guest, shell)
    user = make_user(guest, shell)
    assert_outsider(guest, user, database)
    assert not guest.couch.client.is_admin(user)
    assert not guest.couch.client.administers(user)


@pytest.mark.row("user-create", "--databases: reads and writes each; a stranger and anybody don't")
def test_a_user_with_databases(guest: Guest, shell: Shell) -> None:
    one, two, none = (make_database(guest, shell) for _ in range(3))
    stranger = make_user(guest, shell)
    user = make_user(guest, shell, one, two)
    for database in (one, two):
        assert_member(guest, user, database)
        assert_outsider(guest, stranger, database)
        assert_outsider(guest, ANONYMOUS, database)
    assert_outsider(guest, user, none)


@pytest.mark.row("user-create", "several users share a database")
def test_several_users(guest: Guest, shell: Shell) -> None:
    database = make_database(guest, shell)
    users = [make_user(guest, shell, database) for _ in range(3)]
    for user in users:
        assert_member(guest, user, database)


@pytest.mark.row("user-list", "lists users with host % and their databases; os_admin and root are hidden")
def test_users_are_listed(guest: Guest, shell: Shell) -> None:
    one, two = sorted(make_database(guest, shell) for _ in range(2))
    user = make_user(guest, shell, one, two)
    rows = listed(shell, guest)
    assert rows[user.name]["host"] == "%"
    assert sorted(rows[user.name]["databases"].split(", ")) == [one, two]
    assert {first.name for first in FIRST_USERS} <= rows.keys()
    assert not {"os_admin", "root", guest.couch.admin.name} & rows.keys()


@pytest.mark.row("user-show", "shows name, host and databases")
def test_a_user_is_shown(guest: Guest, shell: Shell) -> None:
    database = make_database(guest, shell)
    user = make_user(guest, shell, database)
    shown = shell.do("user-show", guest.id, user.name)
    assert (shown["name"], shown["host"]) == (user.name, "%")
    assert database in str(shown["databases"])
    assert user.password not in str(shown)


@pytest.mark.row("user-update-attributes", "--new_password: the new one logs in, the old one does not; access stays")
def test_a_new_password(guest: Guest, shell: Shell) -> None:
    database = make_database(guest, shell)
    old = make_user(guest, shell, database)
    new = User(old.name, fresh("changed"))
    shell.do("user-update-attributes", guest.id, old.name, "--new_password", new.password)
    guest.eventually("the password changes", lambda: guest.couch.has_password(new))
    assert guest.couch.client.logs_in(new)
    assert not guest.couch.client.logs_in(old)
    assert_member(guest, new, database)


@pytest.mark.row("user-update-attributes", "--new_name: logs in under the new name only; access moves along")
def test_a_new_name(guest: Guest, shell: Shell) -> None:
    database = make_database(guest, shell)
    old = make_user(guest, shell, database)
    new = User(fresh("renamed"), old.password)
    shell.do("user-update-attributes", guest.id, old.name, "--new_name", new.name)
    # The agent removes the old account last.
    guest.eventually("the old name is gone", lambda: guest.couch.account(old.name) is None)
    assert guest.couch.client.logs_in(new)
    assert old.name not in listed(shell, guest)
    assert not guest.couch.client.logs_in(old)
    assert_member(guest, new, database)
    again = make_user(guest, shell, name=old.name)
    assert_outsider(guest, again, database)


@pytest.mark.row("user-update-attributes", "--new_name and --new_password together")
def test_a_new_name_and_password(guest: Guest, shell: Shell) -> None:
    database = make_database(guest, shell)
    old = make_user(guest, shell, database)
    new = User(fresh("renamed"), fresh("changed"))
    both = ["--new_name", new.name, "--new_password", new.password]
    shell.do("user-update-attributes", guest.id, old.name, *both)
    guest.eventually("the old name is gone", lambda: guest.couch.account(old.name) is None)
    assert guest.couch.client.logs_in(new)
    assert not guest.couch.client.logs_in(User(new.name, old.password))
    assert not guest.couch.client.logs_in(old)
    assert_member(guest, new, database)


@pytest.mark.row("user-delete", "can't log in; is no member any more; other members stay")
def test_a_deleted_user_is_gone(guest: Guest, shell: Shell) -> None:
    database = make_database(guest, shell)
    user, other = (make_user(guest, shell, database) for _ in range(2))
    shell.do("user-delete", guest.id, user.name)
    guest.eventually(f"{user.name} is gone", lambda: guest.couch.account(user.name) is None)
    assert user.name not in listed(shell, guest)
    assert not guest.couch.client.logs_in(user)
    assert_member(guest, other, database)
    again = make_user(guest, shell, name=user.name)
    assert_outsider(guest, again, database)


@pytest.mark.row("user-delete", "a database whose last member is deleted stays closed to anybody")
def test_the_last_member_is_deleted(guest: Guest, shell: Shell) -> None:
    database = make_database(guest, shell)
    user = make_user(guest, shell, database)
    shell.do("user-delete", guest.id, user.name)
    guest.eventually(f"{user.name} is gone", lambda: guest.couch.account(user.name) is None)
    assert_outsider(guest, ANONYMOUS, database)
