"""Names with every special character that is legal in CouchDB, through all commands that take a name.

With the filter all of them work, but for names without any ASCII letter or digit, which Trove's schema refuses (see
`test_refusals.py`). In way A trove-api reads some names wrongly in URLs; the tests pin which, and what is seen.
"""

from __future__ import annotations

from functools import partial

import pytest
from couch import User
from guest import Guest
from results import Results
from shell import Shell
from steps import assert_member, assert_outsider, fresh, make_database, make_user

NOT_FOUND = "The resource could not be found. (HTTP 404)"

DATABASES = {"every_$()+-char": None, "with/two/slashes": NOT_FOUND}
"""Names, and how way A refuses those that can't be in its URLs: with them, delete and revoke are impossible."""

USERS = {
    "with space": None,
    "a.b.c": None,
    "Upper~!$()*[]{}|<>^`;,='\"\\&?#+end": None,
    "ends with@": None,
    "100%": None,
    "alice@example.org": "User alice@example.org cannot be found on the instance. (HTTP 404)",
    "jürgen": "cannot be found on the instance. (HTTP 404)",
    "a/b": NOT_FOUND,
    "a%41b": "User a%41b cannot be found on the instance. (HTTP 404)",
    "file.json": "User file cannot be found on the instance. (HTTP 404)",
}
"""The same for users: created, listed and working, but way A can't show, change or delete them."""

ADDRESSED = {"file.json": ("user-show", "user-update-attributes", "user-delete")}
"""The commands that way A refuses, where it isn't all of them."""

COMMANDS = {
    "user-show": (),
    "user-grant-access": ("{database}",),
    "user-show-access": (),
    "user-revoke-access": ("{database}",),
    "user-update-attributes": ("--new_password", "another"),
    "user-delete": (),
}
"""Commands that address a user, with what follows the name."""


def way_a_refusal(guest: Guest, text: str | None) -> str | None:
    """How the command is refused on this instance, if it is."""
    return None if guest.way.service.filtered else text


@pytest.mark.row("names of databases", "every legal character in all commands (way A: `/` can be made, not addressed)")
@pytest.mark.parametrize("name", DATABASES)
def test_database_names(guest: Guest, shell: Shell, results: Results, name: str) -> None:
    database = make_database(guest, shell, name)
    assert name in [row["name"] for row in shell.do("database-list", guest.id)]
    user, granted = make_user(guest, shell, database), make_user(guest, shell)
    shell.do("user-grant-access", guest.id, granted.name, database)
    for member in (user, granted):
        assert_member(guest, member, database)
    assert [row["name"] for row in shell.do("user-show-access", guest.id, user.name)] == [database]
    refusal = way_a_refusal(guest, DATABASES[name])
    if refusal:
        for command, arguments in (("user-revoke-access", (user.name, database)), ("database-delete", (database,))):
            seen = shell.refused(command, guest.id, *arguments)
            assert refusal in seen
            results.saw(command, f"database `{name}`", guest.way.name, seen)
        assert_member(guest, user, database)
        return
    shell.do("user-revoke-access", guest.id, user.name, database)
    assert_outsider(guest, user, database)
    shell.do("database-delete", guest.id, database)
    guest.eventually(f"{name} is gone", lambda: not guest.couch.client.exists(database, guest.couch.admin))


@pytest.mark.row("names of users", "`@`, space, dot, slash, unicode, %41, .json, quotes … (way A: some can't be addressed)")
@pytest.mark.parametrize("name", USERS)
def test_user_names(guest: Guest, shell: Shell, results: Results, name: str) -> None:
    database, first = make_database(guest, shell), make_database(guest, shell)
    user = make_user(guest, shell, first, name=name)
    assert_member(guest, user, first)
    assert name in [row["name"] for row in shell.do("user-list", guest.id)]
    refusal, refused = way_a_refusal(guest, USERS[name]), ADDRESSED.get(name, tuple(COMMANDS))
    for command, more in COMMANDS.items():
        arguments = [guest.id, name, *(word.format(database=database) for word in more)]
        if refusal and command in refused:
            seen = shell.refused(command, *arguments)
            assert refusal in seen
            results.saw(command, f"user `{name}`", guest.way.name, seen)
            continue
        shown = shell.do(command, *arguments)
        couch = guest.couch
        if command == "user-show":
            assert shown["name"] == name
        elif command == "user-grant-access":
            assert_member(guest, user, database)
        elif command == "user-show-access":
            assert sorted(row["name"] for row in shown) == sorted([first, database])
        elif command == "user-revoke-access":
            assert_outsider(guest, user, database)
        elif command == "user-update-attributes":
            changed = User(name, "another")
            guest.eventually("the password changes", partial(couch.has_password, changed))
            assert couch.client.logs_in(changed)
        else:
            guest.eventually(f"{name} is gone", partial(_is_gone, guest, name))
    if refusal:
        assert couch_login(guest, user), "what can't be addressed is left alone"


@pytest.mark.row("names of users", "renamed from and to a name with `@`, space and unicode")
def test_a_rename_to_a_special_name(guest: Guest, shell: Shell) -> None:
    database = make_database(guest, shell)
    plain = make_user(guest, shell, database)
    special = User(f"Jürgen Ünïcode@{fresh('host')}", plain.password)
    shell.do("user-update-attributes", guest.id, plain.name, "--new_name", special.name)
    guest.eventually("the old name is gone", partial(_is_gone, guest, plain.name))
    assert_member(guest, special, database)
    if not guest.way.service.filtered:
        return
    back = User(fresh("plain"), plain.password)
    shell.do("user-update-attributes", guest.id, special.name, "--new_name", back.name)
    guest.eventually("the special name is gone", partial(_is_gone, guest, special.name))
    assert_member(guest, back, database)


@pytest.mark.row("root-enable", "--root_password with spaces, quotes and letters beyond latin-1")
@pytest.mark.parametrize("password", [" spaces around ", "пароль-Größe-'\"\\:%"])
def test_passwords_of_root(guest: Guest, shell: Shell, password: str) -> None:
    shell.do("root-enable", guest.id, "--root_password", password)
    assert guest.couch.client.administers(User("root", password))
    shell.do("root-disable", guest.id)


def couch_login(guest: Guest, user: User) -> bool:
    """Whether the user still logs in, with the first password or with the changed one."""
    return guest.couch.client.logs_in(user) or guest.couch.client.logs_in(User(user.name, "another"))


def _is_gone(guest: Guest, name: str) -> bool:
    return guest.couch.account(name) is None
