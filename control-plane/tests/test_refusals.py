"""Bad and reserved names: HTTP 400 with the rule, and nothing is sent to the guest."""

import json
from pathlib import Path

import pytest
from control_plane import STRANGER, WITHOUT, as_client_quotes, quoted

CASES = json.loads(Path(__file__).with_name("names.json").read_text())

RESERVED_USERS = ["os_admin", "root"]
SYSTEM_DATABASES = ["_users", "_replicator", "_global_changes"]


NOT_ADDRESSABLE = [
    *("x/databases/y", "x/databases", "x/databases/a/b"),
    *("x/", "/x", "/", "a//b"),
    *(".", "..", "x/../../root", "x/./y", "x/.."),
    *("bob@%", "@%"),
]


def with_user(name):
    """Every call that takes a user's name, with this one in it."""
    return [
        (
            "POST",
            "users",
            {"users": [{"name": "fine", "password": "pw"}, {"name": name, "password": "pw"}]},
        ),
        ("PUT", "users", {"users": [{"name": name, "password": "pw"}]}),
        ("PUT", "users/alice", {"user": {"name": name}}),
        ("GET", f"users/{quoted(name)}", None),
        ("DELETE", f"users/{quoted(name)}", None),
        ("PUT", f"users/{quoted(name)}", {"user": {"password": "pw"}}),
        ("GET", f"users/{quoted(name)}/databases", None),
        ("PUT", f"users/{quoted(name)}/databases", {"databases": [{"name": "dbx"}]}),
        ("DELETE", f"users/{quoted(name)}/databases/dbx", None),
    ]


def with_database(name):
    """Every call that takes a database's name, with this one in it."""
    user = {"name": "bob", "password": "pw", "databases": [{"name": "fine"}, {"name": name}]}
    return [
        ("POST", "databases", {"databases": [{"name": "fine"}, {"name": name}]}),
        ("POST", "users", {"users": [user]}),
        ("PUT", "users/alice/databases", {"databases": [{"name": name}]}),
        ("DELETE", f"databases/{quoted(name)}", None),
        ("DELETE", f"users/alice/databases/{quoted(name)}", None),
    ]


def assert_refused(answer, because):
    assert answer.status_int == 400, answer.text
    assert answer.content_type == "application/json"
    assert set(answer.json) == {"badRequest"}
    assert answer.json["badRequest"]["code"] == 400
    assert because in answer.json["badRequest"]["message"]


@pytest.mark.parametrize("instance", ["couchdb", "disguised"])
def test_bad_user_names_are_refused_everywhere(api, guest, instance):
    for name, because in [
        ("a:b", 'the user name "a:b" is not allowed: user names must not hold a colon'),
        ("_a", 'the user name "_a" is not allowed: user names must not begin with `_`'),
        ("a\nb", r'the user name "a\nb" is not allowed: control characters are not possible'),
        ("x" * 256, "is not allowed: it is longer than 255 bytes"),
    ]:
        for method, path, body in with_user(name):
            assert_refused(api(method, instance, path, body), because)
    assert not guest.calls


@pytest.mark.parametrize("name", NOT_ADDRESSABLE)
def test_no_user_is_made_whose_url_would_be_anothers(api, guest, name):
    """``users/x/databases/y`` is the access of ``x`` to ``y``: who deletes that user revokes it."""
    because = f'the user name "{name}" is not allowed: in a URL of Trove\'s it would be something else'
    guest.users.add(name)
    new = {"name": name, "password": "pw"}
    for method, path, body in [
        ("POST", "users", {"users": [{"name": "fine", "password": "pw"}, new]}),
        ("PUT", "users/alice", {"user": {"name": name}}),
    ]:
        assert_refused(api(method, "couchdb", path, body), because)
    assert not guest.calls
    # One that was made elsewhere is there.
    if api("PUT", "couchdb", "users", {"users": [new]}).status_int == 400:
        pytest.skip("Trove up to 22 holds all names to MySQL's rules")
    assert guest.received("change_passwords")


def test_the_query_can_not_say_another_method(api, guest):
    """Routes would make a POST of this GET after its body was passed over."""
    guest.users.add("alice")
    for method, path, other, body in [
        ("GET", "databases", "POST", {"databases": [{"name": "_users"}]}),
        ("GET", "users/alice/databases", "PUT", {"databases": [{"name": "_users"}]}),
        ("PUT", "users", "POST", {"users": [{"name": "x/databases/y", "password": "pw"}]}),
        ("GET", "users/alice", "DELETE", None),
        ("DELETE", "users/alice", "GET", None),
    ]:
        for query in (f"_method={other}", f"limit=1&_method={other.lower()}"):
            assert_refused(api(method, "couchdb", f"{path}?{query}", body), "`_method` in the query")
    assert not guest.calls


@pytest.mark.parametrize("instance", ["couchdb", "disguised"])
def test_bad_database_names_are_refused_everywhere(api, guest, instance):
    for name, because in [
        ("Upper", "it must begin with a lower-case letter"),
        ("a.b", "dots are not possible"),
        ("a b", "only lower-case letters, digits and the characters `_ $ ( ) + - /`"),
        ("a/_b", "no part between slashes may begin with `_`"),
        ("a//b", "it must not end with `/` nor hold `//`"),
    ]:
        for method, path, body in with_database(name):
            assert_refused(api(method, instance, path, body), because)
    assert not guest.calls


def test_every_bad_name_of_the_table_is_refused(api, guest):
    for case in CASES["users"]["bad"]:
        body = {"users": [{"name": case["name"], "password": "pw"}]}
        assert api("POST", "couchdb", "users", body).status_int == 400, case
    for case in CASES["databases"]["bad"]:
        body = {"databases": [{"name": case["name"]}]}
        assert api("POST", "couchdb", "databases", body).status_int == 400, case
    assert not guest.calls


def test_reserved_names_are_refused_everywhere(api, guest):
    for name in RESERVED_USERS:
        for method, path, body in with_user(name):
            because = f'user "{name}" is reserved; choose another name'
            assert_refused(api(method, "couchdb", path, body), because)
    for name in SYSTEM_DATABASES:
        for method, path, body in with_database(name):
            assert_refused(api(method, "couchdb", path, body), "belong to CouchDB's system")
    assert not guest.calls


def test_what_trove_conf_reserves_is_refused_too(trove, guest, seam):
    from trove.common import cfg

    cfg.CONF.set_override("ignore_users", ["backup"], group="couchdb")
    cfg.CONF.set_override("ignore_dbs", ["internal"], group="couchdb")
    try:
        api = trove.api()
    finally:
        cfg.CONF.clear_override("ignore_users", group="couchdb")
        cfg.CONF.clear_override("ignore_dbs", group="couchdb")
    assert_refused(api("GET", "couchdb", "users/backup"), 'user "backup" is reserved')
    assert_refused(
        api("DELETE", "couchdb", "databases/internal"), 'database "internal" is reserved'
    )
    assert_refused(api("GET", "couchdb", "users/os_admin"), 'user "os_admin" is reserved')


@pytest.mark.parametrize("suffix", ["json", "xml", "foo", "json.xml"])
def test_a_suffix_of_the_collection_is_no_way_round(api, guest, suffix):
    """Trove's routes take any ``.{format}`` there, and the controllers drop it."""
    databases = {"databases": [{"name": "_users"}]}
    assert_refused(api("POST", "couchdb", f"databases.{suffix}", databases), "system databases")
    users = {"users": [{"name": "_bad:x", "password": "pw"}]}
    for method in ("POST", "PUT"):
        assert_refused(api(method, "couchdb", f"users.{suffix}", users), "is not allowed")
    assert_refused(api("PUT", "couchdb", f"users/alice/databases.{suffix}", databases), "system databases")
    assert not guest.calls


def test_mysql_keeps_its_own_rules(trove, api, guest):
    """What the filter would refuse in CouchDB gets the answer that it gets without the filter."""
    guest.users.add("a:b")
    guest.databases.add("Upper")
    without = trove.api(WITHOUT)
    requests = with_user("a:b") + with_database("Upper") + with_user("root") + with_user("naïve@x")
    for method, path, body in requests:
        expected = without(method, "mysql", path, body)
        answer = api(method, "mysql", path, body)
        assert (answer.status, answer.body) == (expected.status, expected.body), (method, path)
    assert guest.received("create_user") and guest.received("delete_database")


def test_strangers_learn_nothing(trove, api, guest):
    """Bad name or good one: what isn't one's own does not exist."""
    for name in ("a:b", "alice"):
        answer = api("GET", "couchdb", f"users/{name}", project=STRANGER)
        assert answer.status_int == 404
    assert not guest.calls


UNREADABLE = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b"[" * 100000,
    b'{"users": 5}',
    b'{"users": [5, {"name": 5}, {}]}',
    b'{"users": [{"name": null, "password": "pw"}]}',
    b'{"databases": {"name": "_users"}}',
    b'{"user": []}',
]


@pytest.mark.parametrize("raw", UNREADABLE, ids=range(len(UNREADABLE)))
def test_what_cannot_be_read_gets_troves_own_answer(trove, api, guest, raw):
    guest.users.add("alice")
    without = trove.api(WITHOUT)
    for method, path in [
        ("POST", "users"),
        ("PUT", "users"),
        ("PUT", "users/alice"),
        ("PUT", "users/alice/databases"),
        ("POST", "databases"),
    ]:
        # trove-api refuses what it can't read before it looks at the instance, or fails at it.
        expected = without(method, "mysql", path, raw=raw).status
        assert api(method, "mysql", path, raw=raw).status == expected, (method, path)
        assert api(method, "couchdb", path, raw=raw).status == expected, (method, path)
    assert not guest.received("create_user", "create_database", "update_attributes")


def test_an_unknown_instance_is_troves_to_answer_for(api, guest):
    answer = api("DELETE", "6ee49ee8-5aa5-4f71-a54a-c0f2fdbeed79", "databases/_users")
    assert answer.status_int == 404
    assert not guest.calls


class TestNewInstance:
    """``databases`` and ``users`` of an instance that is to be created."""

    @staticmethod
    def body(datastore, name="a:b", **more):
        user = {"name": name, "password": "pw", "databases": [{"name": "dbx"}]}
        instance = {
            "name": "new",
            "flavorRef": "1",
            "databases": [{"name": "dbx"}],
            "users": [user],
            **more,
        }
        if datastore is not None:
            instance["datastore"] = datastore
        return {"instance": instance}

    @pytest.mark.parametrize(
        "datastore",
        [
            {"type": "couchdb", "version": "3.5"},
            {"type": "couchdb"},
            {"type": "couchdb", "version": "3.5-disguised"},
            {},
            None,
        ],
    )
    def test_couchdb(self, api, datastore):
        assert_refused(api("POST", None, "", self.body(datastore)), "must not hold a colon")
        assert_refused(api("POST", None, "", self.body(datastore, "os_admin")), "is reserved")

    @pytest.mark.parametrize(
        "datastore",
        [
            {"type": "mysql", "version": "8.0"},
            {"type": "nosuch"},
            {"type": "couchdb", "version": "nosuch"},
            {"type": "couchdb", "odd": 1},
            "couchdb",
            ["couchdb"],
        ],
    )
    def test_anything_else_gets_troves_own_answer(self, trove, api, datastore):
        expected = trove.api(WITHOUT)("POST", None, "", self.body(datastore))
        answer = api("POST", None, "", self.body(datastore))
        assert answer.status == expected.status
        assert "colon" not in answer.text

    def test_replicas_take_their_sources_datastore(self, trove, api):
        body = self.body(None, replica_of="6ee49ee8-5aa5-4f71-a54a-c0f2fdbeed79")
        answer = api("POST", None, "", body)
        assert "colon" not in answer.text


def test_clients_quote_nothing_that_gets_round_the_rules(api, guest):
    for name in ("a:b", "_a"):
        for host in (None, "%"):
            path = f"users/{as_client_quotes(name, host)}"
            assert_refused(api("DELETE", "couchdb", path), "is not allowed")
    for path in ("users/root@%25", "users/root@%", "users/%72oot", "users/root%40%25"):
        assert_refused(api("DELETE", "couchdb", path), 'user "root" is reserved')
    assert not guest.calls
