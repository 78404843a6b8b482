"""The status that Trove shows follows CouchDB's, and the gate that it is for commands."""

from __future__ import annotations

import pytest
from couch import User
from guest import Guest
from results import Results
from shell import Shell
from steps import assert_member, make_database, make_user


@pytest.mark.row("instance show", "CouchDB stops: SHUTDOWN; it returns: HEALTHY, with all that was there")
@pytest.mark.row("(all commands)", "while CouchDB is away: 422 with the status; afterwards they work again")
def test_couchdb_stops_and_returns(guest: Guest, shell: Shell, results: Results) -> None:
    database = make_database(guest, shell)
    user = make_user(guest, shell, database)

    guest.couch.gate.shut()
    guest.wait_shown("operating_status SHUTDOWN", lambda shown: shown["operating_status"] == "SHUTDOWN")
    listed = {row["id"]: row for row in guest.shells["openstack"].do("list")}
    assert listed[guest.id]["operating status"] == "SHUTDOWN"
    seen = shell.refused("user-create", guest.id, "nobody-yet", "pw")
    assert f"Instance {guest.id} is not ready, status: " in seen
    assert "(HTTP 422)" in seen
    results.saw("(all commands)", "CouchDB is away", guest.way.name, seen.replace(guest.id, "ID"))

    guest.couch.gate.open()
    guest.wait_healthy()
    assert_member(guest, user, database)
    after = User("after-the-outage", "pw")
    make_user(guest, shell, database, name=after.name)


@pytest.mark.row("instance show", "the agent is killed and started again: HEALTHY, and commands work")
def test_the_agent_starts_again(encrypted: Guest) -> None:
    shell = encrypted.shells["trove"]
    assert encrypted.agent is not None
    encrypted.agent.stop()
    # A cast to a guest that is away waits in its queue; the API's look before it would not.
    encrypted.agent.start()
    encrypted.eventually("commands are answered", lambda: shell.run("user-list", encrypted.id).succeeded)
    make_user(encrypted, shell, make_database(encrypted, shell))
    encrypted.wait_healthy()
