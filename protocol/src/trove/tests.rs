//! Arguments that are odd, old or wrong; those that Trove really sends are tested with the captures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::needless_pass_by_value)] // `json!(…)` as an argument reads best without a borrow

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn decode(method: &str, args: Value) -> Command {
    Command::decode(method, args.as_object().unwrap()).unwrap()
}

fn refusal(method: &str, args: Value) -> String {
    Command::decode(method, args.as_object().unwrap()).unwrap_err().to_string()
}

fn user(name: &str) -> UserName {
    UserName::try_from(name).unwrap()
}

fn database(name: &str) -> DatabaseName {
    DatabaseName::try_from(name).unwrap()
}

#[test]
fn users_to_be_created_need_only_a_name() {
    let bare = json!({"users": [{"_name": "a"}, {"_name": "b", "_host": null, "_password": null, "_databases": null}]});
    let new = |name: &str| NewUser {
        name: user(name),
        host: HostPattern::default(),
        password: None,
        databases: Vec::new(),
    };
    assert_eq!(decode("create_user", bare), Command::CreateUser { users: vec![new("a"), new("b")] });
    let full = json!({"users": [{
        "_name": "a", "_host": "10.%", "_password": "pw", "_databases": [{"_name": "d1", "_collate": null}, "d2"],
        "_is_root": false, "_new": {},
    }]});
    let Command::CreateUser { users } = decode("create_user", full) else { panic!("another command") };
    assert_eq!(users[0].password, Some(Secret::new("pw")));
    assert_eq!(users[0].host, HostPattern::new("10.%"));
    assert_eq!(users[0].databases, [database("d1"), database("d2")]);
}

#[test]
fn passwords_appear_in_no_debug_text() {
    let commands = [
        decode("create_user", json!({"users": [{"_name": "a", "_password": "hunter2"}]})),
        decode("change_passwords", json!({"users": [{"name": "a", "password": "hunter2"}]})),
        decode("update_attributes", json!({"username": "a", "user_attrs": {"password": "hunter2"}})),
        decode("enable_root_with_password", json!({"root_password": "hunter2"})),
    ];
    for command in commands {
        let text = format!("{command:?}");
        assert!(text.contains("REDACTED") && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn attributes_that_are_null_or_absent_stay() {
    let update = |attributes: Value| {
        decode("update_attributes", json!({"username": "a", "hostname": "%", "user_attrs": attributes}))
    };
    let nothing = update(json!({"name": null, "host": null, "password": null}));
    assert_eq!(nothing, update(json!({})));
    let all = update(json!({"name": "b", "host": "10.%", "password": "pw"}));
    let expected = Command::UpdateAttributes {
        user: user("a"),
        host: HostPattern::default(),
        rename: Some(user("b")),
        password: Some(Secret::new("pw")),
        new_host: Some(HostPattern::new("10.%")),
    };
    assert_eq!(all, expected);
}

#[test]
fn pages_have_a_limit_or_none_and_a_marker_that_a_url_can_hold() {
    let page = |args: Value| match decode("list_users", args) {
        Command::ListUsers(page) => page,
        other => panic!("{other:?}"),
    };
    assert_eq!(page(json!({})), Page::default());
    assert_eq!(page(json!({"limit": null, "marker": null, "include_marker": null})), Page::default());
    let expected = Page { limit: Some(1), marker: Some("alice@%".into()), include_marker: true };
    assert_eq!(page(json!({"limit": 1, "marker": "alice@%", "include_marker": true})), expected);
    assert_eq!(page(json!({"limit": 0})), Page::default(), "as the Python guest reads it");
    for limit in [json!(-1), json!(true), json!("20"), json!(1.0)] {
        assert_eq!(refusal("list_databases", json!({"limit": limit})), "`limit` must be a whole number");
    }
    assert_eq!(refusal("list_users", json!({"marker": 5})), "`marker` must be text");
    let quoted_twice = format!("{}%2540%2525", "%25C3%25A4".repeat(119));
    assert_eq!(page(json!({"marker": quoted_twice})).marker, Some(quoted_twice));
    let refused = refusal("list_users", json!({"marker": "a".repeat(70_000)}));
    assert_eq!(refused, "`marker` must be text of a name's length");
    assert_eq!(refusal("list_users", json!({"include_marker": 1})), "`include_marker` must be true or false");
}

#[test]
fn what_is_missing_or_ill_typed_is_named() {
    let refusals = [
        ("create_user", json!({}), "`users` is missing or null"),
        ("create_user", json!({"users": {"_name": "a"}}), "`users` must be a list"),
        ("create_user", json!({"users": ["a"]}), "`users[0]` must be an object"),
        ("create_user", json!({"users": [{"name": "a"}]}), "`users[0]._name` is missing or null"),
        (
            "create_user",
            json!({"users": [{"_name": "a", "_password": 5}]}),
            "`users[0]._password` must be text",
        ),
        ("change_passwords", json!({"users": [{"name": "a"}]}), "`users[0].password` is missing or null"),
        ("delete_user", json!({"user": "a"}), "`user` must be an object"),
        ("get_user", json!({"hostname": "%"}), "`username` is missing or null"),
        ("get_user", json!({"username": "a", "hostname": 1}), "`hostname` must be text"),
        ("update_attributes", json!({"username": "a"}), "`user_attrs` is missing or null"),
        ("grant_access", json!({"username": "a", "databases": "d"}), "`databases` must be a list"),
        ("revoke_access", json!({"username": "a", "database": null}), "`database` is missing or null"),
        ("enable_root_with_password", json!({"root_password": ["x"]}), "`root_password` must be text"),
        ("get_filesystem_stats", json!({"fs_path": 1}), "`fs_path` must be text"),
        (
            "create_database",
            json!({"databases": [{"_name": "_users"}]}),
            "`databases[0]._name`: the database name \"_users\" is not allowed: \
             names that begin with `_` belong to CouchDB's system databases",
        ),
    ];
    for (method, args, message) in refusals {
        assert_eq!(refusal(method, args), message, "{method}");
    }
}

#[test]
fn databases_come_as_objects_or_as_names() {
    let expected = Command::DeleteDatabase { database: database("db1") };
    assert_eq!(decode("delete_database", json!({"database": {"_name": "db1", "_collate": null}})), expected);
    assert_eq!(decode("delete_database", json!({"database": "db1"})), expected);
}

#[test]
fn every_method_of_the_guest_api_is_a_command_and_nothing_else_is() {
    let args = json!({
        "users": [], "databases": [], "database": "d", "user": {"_name": "a"}, "username": "a", "user_attrs": {},
    });
    for method in Method::ALL {
        let command = decode(method.name(), args.clone());
        assert_eq!((command.name(), command.method()), (method.name(), *method));
    }
    assert_eq!(decode("restart", json!({"anything": 1})), Command::Unsupported(Method::Restart));
    let unknown = Command::decode("__init__", &Map::new()).unwrap_err();
    assert_eq!(unknown, DecodeError::UnknownMethod("__init__".into()));
}

/// Any JSON of modest depth, with the keys that matter appearing often.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let key = prop_oneof![
            prop::sample::select(vec![
                "_name",
                "_host",
                "_password",
                "_databases",
                "name",
                "host",
                "password"
            ])
            .prop_map(str::to_owned),
            any::<String>(),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_argument_panics(method in prop::sample::select(Method::ALL), value in any_json()) {
        let args: Map<String, Value> =
            method.arguments().iter().map(|name| ((*name).to_owned(), value.clone())).collect();
        drop(Command::decode(method.name(), &args));
    }
}
