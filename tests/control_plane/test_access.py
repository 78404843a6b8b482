"""user-grant-access, user-show-access, user-revoke-access: calls, so the effect is there when the shell returns."""

from __future__ import annotations

import pytest
from couch import ANONYMOUS
from guest import Guest
from shell import Shell
from steps import assert_member, assert_outsider, make_database, make_user


@pytest.mark.row("user-grant-access", "one and several databases: reads and writes them at once, and no others")
def test_a_grant_opens_databases_to_the_user(guest: Guest, shell: Shell) -> None:
    one, two, three, none = (make_database(guest, shell) for _ in range(4))
    user, stranger = make_user(guest, shell), make_user(guest, shell)
    assert_outsider(guest, user, one)
    shell.do("user-grant-access", guest.id, user.name, one)
    assert_member(guest, user, one)
    shell.do("user-grant-access", guest.id, user.name, two, three)
    for database in (two, three):
        assert_member(guest, user, database)
        assert_outsider(guest, stranger, database)
        assert_outsider(guest, ANONYMOUS, database)
    assert_outsider(guest, user, none)


@pytest.mark.row("user-grant-access", "granted twice, and beside others: nobody loses access")
def test_a_grant_adds_and_takes_nothing_away(guest: Guest, shell: Shell) -> None:
    database = make_database(guest, shell)
    first, second = make_user(guest, shell, database), make_user(guest, shell)
    for _ in range(2):
        shell.do("user-grant-access", guest.id, second.name, database)
    assert_member(guest, first, database)
    assert_member(guest, second, database)
    _, security = guest.couch.admin_request("GET", f"/{database}/_security")
    assert sorted(security["members"]["names"]) == sorted([first.name, second.name])


@pytest.mark.row("user-show-access", "lists what the user has access to, and an empty list for none")
def test_access_is_shown(guest: Guest, shell: Shell) -> None:
    one, two = sorted(make_database(guest, shell) for _ in range(2))
    user = make_user(guest, shell)
    assert shell.do("user-show-access", guest.id, user.name) == []
    shell.do("user-grant-access", guest.id, user.name, two, one)
    shown = [row["name"] for row in shell.do("user-show-access", guest.id, user.name)]
    assert sorted(shown) == [one, two]


@pytest.mark.row("user-revoke-access", "the user is shut out of that database only, others are not")
def test_a_revoke_closes_one_database_to_one_user(guest: Guest, shell: Shell) -> None:
    one, two = make_database(guest, shell), make_database(guest, shell)
    user, other = make_user(guest, shell, one, two), make_user(guest, shell, one)
    shell.do("user-revoke-access", guest.id, user.name, one)
    assert_outsider(guest, user, one)
    assert_member(guest, user, two)
    assert_member(guest, other, one)
    assert [row["name"] for row in shell.do("user-show-access", guest.id, user.name)] == [two]


@pytest.mark.row("user-revoke-access", "the last member's: the database stays closed to anybody")
def test_the_last_revoke_does_not_open_the_database(guest: Guest, shell: Shell) -> None:
    database = make_database(guest, shell)
    user = make_user(guest, shell, database)
    shell.do("user-revoke-access", guest.id, user.name, database)
    assert_outsider(guest, user, database)
    assert_outsider(guest, ANONYMOUS, database)
