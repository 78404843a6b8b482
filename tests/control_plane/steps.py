"""What many tests do first: users and databases, made through the shell under test and proven to be there."""

from __future__ import annotations

import itertools
from functools import partial

from couch import User
from guest import Guest
from shell import Shell

_numbers = itertools.count(1)


def fresh(base: str) -> str:
    """A name that no other test of this run uses."""
    return f"{base}{next(_numbers)}"


def make_database(guest: Guest, shell: Shell, name: str | None = None) -> str:
    """A new database, once CouchDB has it."""
    name = name or fresh("db")
    shell.do("database-create", guest.id, name)
    guest.eventually(f"the database {name} is there", lambda: guest.couch.client.exists(name, guest.couch.admin))
    return name


def make_user(guest: Guest, shell: Shell, *databases: str, name: str | None = None) -> User:
    """A new user with these databases, once CouchDB lets it in."""
    user = User(name or fresh("user"), fresh("password"))
    more = ["--databases", *databases] if databases else []
    shell.do("user-create", guest.id, user.name, user.password, *more)
    couch = guest.couch.client
    guest.eventually(f"the user {user.name} is there", lambda: guest.couch.account(user.name))
    assert couch.logs_in(user), f"{user.name} can't log in"
    # A cast: the account is there before the last of its memberships is.
    for database in databases:
        guest.eventually(f"{user.name} can read {database}", partial(couch.reads, database, user))
    return user


def assert_member(guest: Guest, user: User, database: str) -> None:
    """The user reads and writes there."""
    couch = guest.couch.client
    assert couch.reads(database, user), f"{user.name} can't read {database}"
    assert couch.writes(database, user), f"{user.name} can't write {database}"


def assert_outsider(guest: Guest, user: User | None, database: str) -> None:
    """The user, or anybody if `None`, neither reads nor writes there, although the database exists."""
    couch, who = guest.couch.client, user.name if user else "anybody"
    assert couch.exists(database, guest.couch.admin), f"{database} is missing"
    assert not couch.reads(database, user), f"{who} can read {database}"
    assert not couch.writes(database, user), f"{who} can write {database}"
