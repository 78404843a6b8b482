"""Failed casts: nobody waits for their answer, so `instance show` has to tell."""

from __future__ import annotations

import pytest
from couch import User
from guest import Guest, quoted
from results import Results
from shell import Shell
from steps import assert_member, fresh, make_database


@pytest.mark.row("user-create", "a missing database: the fault of the instance says so; no user is left")
def test_a_user_for_a_missing_database(guest: Guest, shell: Shell, results: Results) -> None:
    name, database = fresh("late"), fresh("missing")
    shell.do("user-create", guest.id, name, "pw", "--databases", database)
    shown = quoted(database, encrypted=guest.way.secure)
    fault = guest.wait_fault("the database is missing", f"database {shown} does not exist; create it first")
    results.saw("user-create", "no such database", guest.way.name, f"accepted; then the fault: {fault}")
    assert guest.couch.account(name) is None
    assert not guest.couch.client.exists(database, guest.couch.admin)


@pytest.mark.row("user-create", "a user that came to exist in between keeps its password; the fault says so")
def test_a_user_that_came_to_exist_in_between(guest: Guest, shell: Shell, results: Results) -> None:
    if guest.couch.is_real:
        pytest.skip("a real CouchDB does not wait when it is told to")
    user = User(fresh("twin"), "the first one's password")
    # trove-api has looked and sent its cast; the agent's write waits, and somebody else's overtakes it.
    guest.couch.fault(method="POST", path="/_users/_bulk_docs", times=1, fault={"delay_ms": 2000})
    shell.do("user-create", guest.id, user.name, "another password")
    account = {"name": user.name, "password": user.password, "roles": [], "type": "user"}
    status, _ = guest.couch.admin_request("PUT", f"/_users/org.couchdb.user:{user.name}", account)
    assert status == 201, "the agent was faster; nothing is tested"
    text = f'user "{user.name}" already exists; change its password or delete it first'
    fault = guest.wait_fault("the user is there already", text)
    results.saw("user-create", "came to exist in between", guest.way.name, f"accepted; then the fault: {fault}")
    assert guest.couch.client.logs_in(user)


@pytest.mark.row("user-create", "the name of a server administrator: the fault says so")
def test_a_user_with_the_name_of_an_administrator(guest: Guest, shell: Shell, results: Results) -> None:
    name = guest.couch.admin.name
    shell.do("user-create", guest.id, name, "pw")
    text = f'"{name}" is the name of a server administrator; choose another name'
    fault = guest.wait_fault("an administrator has the name", text)
    results.saw("user-create", "a server administrator's name", guest.way.name, f"accepted; then the fault: {fault}")
    assert guest.couch.client.administers(guest.couch.admin)
    assert guest.couch.account(name) is None


@pytest.mark.row("user-create", "--host: the user may come from anywhere, as CouchDB knows no hosts; user-list shows %")
def test_a_host_is_passed_over(guest: Guest, shell: Shell) -> None:
    database, user = make_database(guest, shell), User(fresh("hosted"), "pw")
    more = ["--host", "10.0.0.1", "--databases", database]
    shell.do("user-create", guest.id, user.name, user.password, *more)
    guest.eventually(f"{user.name} is there", lambda: guest.couch.account(user.name))
    guest.eventually(f"{user.name} can read", lambda: guest.couch.client.reads(database, user))
    assert_member(guest, user, database)
    rows = shell.do("user-list", guest.id)
    assert [row["host"] for row in rows if row["name"] == user.name] == ["%"]
