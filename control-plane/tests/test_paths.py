"""Legal names that Trove would change or lose in a URL arrive as they were meant."""

import importlib.util
import json
from pathlib import Path

import pytest
from control_plane import as_client_quotes, quoted

from trove_couchdb import target

GOOD = {
    kind: cases["good"]
    for kind, cases in json.loads(Path(__file__).with_name("names.json").read_text()).items()
}


def parse(path, **environ):
    return target.parse({"PATH_INFO": path, **environ})


def every_call_for_a_user(api, path):
    return [
        api("GET", "couchdb", f"users/{path}"),
        api("PUT", "couchdb", f"users/{path}", {"user": {"password": "pw"}}),
        api("GET", "couchdb", f"users/{path}/databases"),
        api("PUT", "couchdb", f"users/{path}/databases", {"databases": [{"name": "dbx"}]}),
        api("DELETE", "couchdb", f"users/{path}/databases/dbx"),
        api("DELETE", "couchdb", f"users/{path}"),
    ]


def refused_by_mysqls_rules(user=None, database=None):
    """Until 22 trove-api holds the names of every datastore to MySQL's rules too."""
    if importlib.util.find_spec("trove.extensions.mysql") is None:
        return False
    from trove.common.db.mysql import models

    try:
        if user is not None:
            models.MySQLUser(name=user)
        if database is not None:
            models.MySQLSchema(name=database)
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("name", [name for name in GOOD["users"] if name not in (".", "..")])
@pytest.mark.parametrize("written", ["by the client", "by the client with host", "quoted whole"])
def test_users(api, guest, name, written):
    guest.users.add(name)
    guest.databases.add("dbx")
    if written == "by the client" and name == "/":
        pytest.skip("see test_refusals.py: it can't be made, and needs its slash quoted")
    path = {
        "by the client": as_client_quotes(name),
        "by the client with host": as_client_quotes(name, "%"),
        "quoted whole": quoted(name),
    }[written]
    if refused_by_mysqls_rules(user=name):
        assert api("DELETE", "couchdb", f"users/{path}").status_int == 400
        assert not guest.calls
        return
    for answer in every_call_for_a_user(api, path):
        assert answer.status_int in (200, 202), answer.text
    for method, arguments in guest.calls:
        if method == "delete_user":
            assert arguments["user"]["_name"] == name
        elif method != "list_databases":
            assert (arguments["username"], arguments["hostname"]) == (name, "%"), method
    assert guest.received("delete_user") and guest.received("grant_access")


@pytest.mark.parametrize("name", GOOD["databases"])
def test_databases(api, guest, name):
    guest.users.update({"alice", "a@b.json"})
    guest.databases.add(name)
    for path in (name, quoted(name)):
        guest.calls.clear()
        if refused_by_mysqls_rules(database=name):
            assert api("DELETE", "couchdb", f"databases/{path}").status_int == 400
        else:
            assert api("DELETE", "couchdb", f"databases/{path}").status_int == 202
            ((_, deleted),) = guest.received("delete_database")
            assert deleted["database"]["_name"] == name
        for user in ("alice", "a@b.json"):
            guest.calls.clear()
            answer = api("DELETE", "couchdb", f"users/{user}/databases/{path}")
            assert answer.status_int == 202, answer.text
            ((_, revoked),) = guest.received("revoke_access")
            assert revoked == {"username": user, "hostname": "%", "database": name}


def test_a_database_with_a_slash_that_is_not_there_is_not_found(api, guest):
    answer = api("DELETE", "couchdb", "databases/a/b")
    if refused_by_mysqls_rules(database="a/b"):
        assert answer.status_int == 400
        return
    assert answer.status_int == 404
    assert answer.json["itemNotFound"]["message"].startswith("Database a/b cannot be found")


def test_another_user_is_never_taken_for_the_one_that_was_named(api, guest):
    """CouchDB has no hosts: to Trove ``alice@b.org`` would be ``alice``."""
    guest.users.add("alice")
    assert api("DELETE", "couchdb", "users/alice@b.org").status_int == 404
    assert not guest.received("delete_user")


@pytest.mark.parametrize("user", ["x/databases/y", "x/databases", "databases/databases/z", "x/"])
def test_a_quoted_slash_belongs_to_the_name(api, guest, user):
    guest.users.update({user, "x", "databases"})
    if refused_by_mysqls_rules(user=user):
        return
    assert api("DELETE", "couchdb", f"users/{quoted(user)}").status_int == 202
    ((_, deleted),) = guest.received("delete_user")
    assert deleted["user"]["_name"] == user
    assert not guest.received("revoke_access")


def test_a_slash_at_the_end_leads_nowhere(api, guest):
    guest.users.update({"alice", "alice/", "a.b", "a.b/"})
    guest.databases.add("a/b")
    for path in ("users/alice/", "users/a.b/", "databases/a/b/", "users/alice/databases/a/b/"):
        assert api("DELETE", "couchdb", path).status_int == 404, path
    assert not guest.calls
    for path in ("users/", "users//"):
        assert parse(f"/t/instances/i/{path}").user is None


def test_a_plain_path_stays_as_it_came():
    for name in ("alice", "a b", "a+b", "a'b", "alice@%"):
        assert not parse(f"/t/instances/i/users/{name}").needs_another_path


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1.0",
        "/t/instances/i",
        "/t/instances/i/root",
        "/t/instances/i/action",
        "/t/instances/i/usersx",
        "/t/mgmt/instances/i/users/x",
        "/t/clusters/i/users",
    ],
)
def test_other_paths_are_left_alone(path):
    assert parse(path) is None


def test_only_slashes_of_the_path_as_sent_count():
    """What a filter before ours made of the path stays."""
    for sent in ("/v1.0/t/instances/i/users/root", "/v1.0/t/instances/j/users/a//b", "/", "", "%"):
        assert parse("/t/instances/i/users/a/b", RAW_PATH_INFO=sent).user == "a/b"
    sent = "http://x/v1.0/t/instances/i/users/a%2F/b?limit=1"
    assert parse("/t/instances/i/users/a/b", REQUEST_URI=sent).user == "a//b"
    sent = "/v1.0/t/instances/i/users/a%2Fdatabases%2Fb/databases/c%2Fd"
    for sent in (sent, sent.replace("instances/i", "%69nstances//%69").replace("users", "%75sers")):
        found = parse("/t/instances/i/users/a/databases/b/databases/c/d", RAW_PATH_INFO=sent)
        assert (found.user, found.database, found.tail) == ("a/databases/b", "c/d", "/databases/c/d")
