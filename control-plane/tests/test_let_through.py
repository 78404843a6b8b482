"""User, database and root calls reach guests of CouchDB, and nothing else changes."""

import pytest
from control_plane import WITHOUT

CALLS = [
    ("POST", "users", {"users": [{"name": "bob", "password": "pw"}]}, 202, "create_user"),
    ("GET", "users", None, 200, "list_users"),
    ("GET", "users/alice", None, 200, "get_user"),
    ("DELETE", "users/alice", None, 202, "delete_user"),
    ("PUT", "users", {"users": [{"name": "alice", "password": "pw"}]}, 202, "change_passwords"),
    ("PUT", "users/alice", {"user": {"name": "carol"}}, 202, "update_attributes"),
    ("GET", "users/alice/databases", None, 200, "list_access"),
    ("PUT", "users/alice/databases", {"databases": [{"name": "dbx"}]}, 202, "grant_access"),
    ("DELETE", "users/alice/databases/dbx", None, 202, "revoke_access"),
    ("POST", "databases", {"databases": [{"name": "dby"}]}, 202, "create_database"),
    ("GET", "databases", None, 200, "list_databases"),
    ("DELETE", "databases/dbx", None, 202, "delete_database"),
    ("POST", "root", None, 200, "enable_root"),
]


@pytest.fixture
def guest(guest):
    guest.users.add("alice")
    guest.databases.add("dbx")
    return guest


@pytest.mark.parametrize("instance", ["couchdb", "disguised", "mysql"])
@pytest.mark.parametrize(("method", "path", "body", "status", "rpc"), CALLS)
def test_a_call_reaches_the_guest(api, guest, instance, method, path, body, status, rpc):
    answer = api(method, instance, path, body)
    assert answer.status_int == status, answer.text
    assert guest.received(rpc)


@pytest.mark.parametrize(("method", "path", "body", "status", "rpc"), CALLS)
def test_without_the_filter_trove_refuses_couchdb(
    trove, guest, seam, method, path, body, status, rpc
):
    answer = trove.api(WITHOUT)(method, "couchdb", path, body)
    assert answer.status_int == 422, answer.text
    assert not guest.calls


@pytest.mark.parametrize(("method", "path", "body", "status", "rpc"), CALLS)
def test_other_managers_are_refused_as_before(api, guest, method, path, body, status, rpc):
    answer = api(method, "redis", path, body)
    assert answer.status_int == 422, answer.text
    assert "Operation not supported for datastore redis" in answer.text
    assert not guest.calls


def test_root_can_be_shown_enabled_and_disabled(api, guest):
    assert api("POST", "couchdb", "root").json["user"] == {"name": "root", "password": "generated"}
    assert api("GET", "couchdb", "root").json == {"rootEnabled": True}
    assert api("DELETE", "couchdb", "root").status_int in (200, 204)
    assert guest.received("disable_root")


def test_the_managers_are_configurable(trove, guest, seam):
    api = trove.api(options="managers = redis, couchbase")
    assert api("GET", "redis", "users").status_int == 200
    assert api("GET", "couchdb", "users").status_int == 422


def test_two_filters_in_one_process_add_up(trove, guest, seam):
    first = trove.api()
    second = trove.api(options="managers = redis")
    again = trove.api()
    for api in (first, second, again):
        for instance in ("couchdb", "redis", "mysql"):
            assert api("GET", instance, "users").status_int == 200
    import trove.extensions.common.models as models

    assert models.load_and_verify.__wrapped__ is seam
