"""From `instance create` to HEALTHY: what is injected, and what the instance is created with."""

from __future__ import annotations

import configparser

import pytest
from agent import CONF_D
from couch import ANONYMOUS
from guest import FIRST_DATABASES, FIRST_USERS, Guest
from steps import assert_member, assert_outsider


@pytest.mark.row("instance create", "BUILD at first, then HEALTHY through the agent's heartbeats")
def test_the_instance_becomes_healthy(guest: Guest) -> None:
    assert guest.created["status"] == "BUILD"
    guest.wait_healthy()


@pytest.mark.row("instance create", "an RPC key is injected exactly if enable_secure_rpc_messaging is on")
def test_what_is_injected_says_how_to_speak(guest: Guest) -> None:
    info = configparser.ConfigParser(interpolation=None)
    info.read_string(guest.files[str(CONF_D / "guest_info.conf")])
    assert info["DEFAULT"]["guest_id"] == guest.id
    assert info["DEFAULT"]["datastore_manager"] == guest.way.manager
    assert ("instance_rpc_encr_key" in info["DEFAULT"]) is guest.way.secure
    assert str(CONF_D / "trove-guestagent.conf") in guest.files


@pytest.mark.row("instance create", "--users log in, read and write the --databases; strangers and anybody don't")
def test_users_and_databases_of_the_create_are_there(guest: Guest) -> None:
    for database in FIRST_DATABASES:
        for user in FIRST_USERS:
            assert_member(guest, user, database)
        assert_outsider(guest, ANONYMOUS, database)


@pytest.mark.row("instance show", "the datastore and its version")
def test_show_has_the_datastore(guest: Guest) -> None:
    shown = guest.show()
    assert shown["datastore"] == "couchdb"
    assert shown["datastore_version"] == guest.way.version


@pytest.mark.row("instance list", "the instance is HEALTHY there too")
def test_list_shows_the_instance(guest: Guest) -> None:
    listed = {row["id"]: row for row in guest.shells["openstack"].do("list")}
    assert listed[guest.id]["operating status"] == "HEALTHY", listed[guest.id]
