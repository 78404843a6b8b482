//! Tests unusual, old and wrong arguments. The arguments that Trove really sends are tested with the
//! captures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::needless_pass_by_value)] // `json!(…)` as an argument reads best without a borrow

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use trove_couchdb_protocol::{DatabaseName, Fields, HostPattern, Secret, UserName, fields::MAX_NAMES};

use super::{
    databases::DeleteDatabase,
    paging::Page,
    server::{ResetConfiguration, Restart, StartDb, StopDb},
    unsupported::Unsupported,
    users::{CreateUser, ListUsers, NewUser, attributes::UpdateAttributes},
    *,
};

/// Unencrypted arguments, of an action that does not matter.
pub(crate) fn arguments(args: &Value) -> Arguments<'_> {
    within(args, UserAction::default())
}

fn within(args: &Value, action: UserAction) -> Arguments<'_> {
    Arguments::new(Fields::root(args.as_object().unwrap()), action)
}

/// The command of a method with these arguments.
pub(crate) fn decoded(method: &str, args: &Value) -> Box<dyn Command> {
    super::decode(method, &arguments(args)).unwrap()
}

/// The same with its concrete type.
pub(super) fn typed<C: Decode>(args: &Value) -> Result<C, DecodeError> {
    C::decode(&arguments(args))
}

fn decode<C: Decode>(args: Value) -> C {
    typed(&args).unwrap()
}

fn refusal(method: &str, args: Value) -> String {
    super::decode(method, &arguments(&args)).unwrap_err().to_string()
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
    assert_eq!(decode::<CreateUser>(bare), CreateUser { users: vec![new("a"), new("b")] });
    let full = json!({"users": [{
        "_name": "a", "_host": "10.%", "_password": "pw", "_databases": [{"_name": "d1", "_collate": null}, "d2"],
        "_is_root": false, "_new": {},
    }]});
    let CreateUser { users } = decode(full);
    assert_eq!(users[0].password, Some(Secret::new("pw")));
    assert_eq!(users[0].host, HostPattern::new("10.%"));
    assert_eq!(users[0].databases, [database("d1"), database("d2")]);
}

#[test]
fn passwords_appear_in_no_debug_text() {
    let commands = [
        decoded("create_user", &json!({"users": [{"_name": "a", "_password": "hunter2"}]})),
        decoded("change_passwords", &json!({"users": [{"name": "a", "password": "hunter2"}]})),
        decoded("update_attributes", &json!({"username": "a", "user_attrs": {"password": "hunter2"}})),
        decoded("enable_root_with_password", &json!({"root_password": "hunter2"})),
    ];
    for command in commands {
        let text = format!("{command:?}");
        assert!(text.contains("REDACTED") && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn attributes_that_are_null_or_absent_stay() {
    let update = |attributes: Value| {
        decode::<UpdateAttributes>(json!({"username": "a", "hostname": "%", "user_attrs": attributes}))
    };
    let nothing = update(json!({"name": null, "host": null, "password": null}));
    assert_eq!(nothing, update(json!({})));
    let all = update(json!({"name": "b", "host": "10.%", "password": "pw"}));
    let expected = UpdateAttributes {
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
    let page = |args: Value| {
        let ListUsers(page) = decode(args);
        page
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
    let expected = DeleteDatabase { database: database("db1") };
    assert_eq!(decode::<DeleteDatabase>(json!({"database": {"_name": "db1", "_collate": null}})), expected);
    assert_eq!(decode::<DeleteDatabase>(json!({"database": "db1"})), expected);
}

#[test]
fn every_method_of_the_guest_api_is_a_command_and_nothing_else_is() {
    let args = json!({
        "users": [], "databases": [], "database": "d", "user": {"_name": "a"}, "username": "a", "user_attrs": {},
        "state": "running", "operation": "00000000-0000-8000-8000-000000000000",
        "contents": "", "options": {},
    });
    for method in Method::ALL {
        let args = match method {
            Method::GetUserDetails => json!({"users": ["a"]}),
            Method::ConfigurationUnset => json!({"options": []}),
            _ => args.clone(),
        };
        let command = decoded(method.name(), &args);
        assert_eq!((command.name(), command.method()), (method.name(), *method));
    }
    let unsupported = format!("{:?}", Unsupported(Method::GetHwinfo));
    assert_eq!(format!("{:?}", decoded("get_hwinfo", &json!({"anything": 1}))), unsupported);
    let unknown = super::decode("__init__", &arguments(&json!({}))).unwrap_err();
    assert_eq!(unknown, DecodeError::UnknownMethod("__init__".into()));
}

#[test]
fn what_stop_db_and_restart_ask_for_depends_on_the_users_action() {
    let action = UserAction::Resize;
    let stop = |args: Value| StopDb::decode(&within(&args, action)).unwrap();
    assert_eq!(stop(json!({})), StopDb { stays_down: None, action });
    assert_eq!(stop(json!({"do_not_start_on_reboot": false})), StopDb { stays_down: Some(false), action });
    let nothing = json!({});
    assert_eq!(Restart::decode(&within(&nothing, action)), Ok(Restart { action }));
    assert_eq!(ResetConfiguration::decode(&within(&nothing, action)), Ok(ResetConfiguration { action }));
}

#[test]
fn an_empty_template_configures_nothing() {
    for (args, configured) in [
        (json!({}), false),
        (json!({"config_contents": "# nothing\n", "ds_version": "3.5"}), false),
        (json!({"config_contents": "[log]\nlevel = info"}), true),
    ] {
        let action = UserAction::Resize;
        assert_eq!(StartDb::decode(&within(&args, action)), Ok(StartDb { configured, action }));
    }
}

/// No method is in two families, and each command reports its own method.
#[test]
fn each_method_has_one_place() {
    let mut methods: Vec<_> = FAMILIES.iter().copied().flatten().map(|entry| entry.method.name()).collect();
    let served = methods.len();
    methods.sort_unstable();
    methods.dedup();
    assert_eq!(methods.len(), served);
}

/// Checks methods.md, which `tests/tests/guest_api.rs` compares with Trove.
#[test]
fn the_list_says_what_is_served() {
    let list = include_str!("methods.md");
    let rows =
        list.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "));
    let mut listed = Vec::new();
    for (name, cell) in rows {
        let method = Method::from_name(name).unwrap_or_else(|| panic!("{name} is no method"));
        assert_eq!(cell.starts_with("served"), is_served(method), "{name}: {cell}");
        let reason = cell.strip_prefix("refused: ").is_some_and(|reason| !reason.is_empty());
        assert!(cell.starts_with("served") || reason, "{name}: {cell}");
        listed.push(name);
    }
    listed.sort_unstable();
    let all: Vec<_> = Method::ALL.iter().map(|method| method.name()).collect();
    assert_eq!(listed, all);
}

#[test]
fn every_command_that_names_a_host_is_looked_at() {
    let narrow = "10.0.0.%";
    for (method, args) in [
        ("create_user", json!({"users": [{"_name": "a", "_password": "p", "_host": narrow}]})),
        ("prepare", json!({"users": [{"_name": "a", "_password": "p", "_host": narrow}]})),
        ("delete_user", json!({"user": {"_name": "a", "_host": narrow}})),
        ("get_user", json!({"username": "a", "hostname": narrow})),
        ("change_passwords", json!({"users": [{"name": "a", "password": "p", "host": narrow}]})),
        ("update_attributes", json!({"username": "a", "hostname": narrow, "user_attrs": {}})),
        ("update_attributes", json!({"username": "a", "hostname": "%", "user_attrs": {"host": narrow}})),
        ("grant_access", json!({"username": "a", "hostname": narrow, "databases": ["d"]})),
        ("revoke_access", json!({"username": "a", "hostname": narrow, "database": "d"})),
        ("list_access", json!({"username": "a", "hostname": narrow})),
    ] {
        assert!(decoded(method, &args).hosts().iter().any(|host| !host.is_any()), "{method}");
    }
}

/// Any JSON of moderate depth, in which the keys that the commands read appear often.
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
        drop(super::decode(method.name(), &arguments(&args.into())));
    }
}

/// Mutation: names-without-number (docs/guarantees.md).
#[test]
fn a_command_names_ten_thousand_things_at_most() {
    fn many(count: usize, item: Value) -> Value {
        Value::Array(vec![item; count])
    }
    fn user(databases: usize) -> Value {
        json!({"_name": "a", "_password": "p", "_databases": many(databases, json!("d"))})
    }
    type Args = fn(usize) -> Value;
    let commands: [(&str, Args); 6] = [
        ("create_user", |names| json!({"users": many(names, user(0))})),
        ("create_user", |names| json!({"users": [user(names - 1)]})),
        ("create_database", |names| json!({"databases": many(names, json!({"_name": "d"}))})),
        ("change_passwords", |names| json!({"users": many(names, json!({"name": "a", "password": "p"}))})),
        ("grant_access", |names| json!({"username": "a", "databases": many(names - 1, json!("d"))})),
        ("prepare", |names| json!({"databases": ["d"], "users": [user(names - 2)]})),
    ];
    let expected =
        "the command names 10001 users and databases, and at most 10000 are accepted; send several commands";
    for (method, args) in commands {
        let is_malformed = |command: &dyn Command| format!("{command:?}").starts_with("MalformedPrepare");
        assert!(!is_malformed(&*decoded(method, &args(MAX_NAMES))), "{method}");
        let too_many = args(MAX_NAMES + 1);
        match super::decode(method, &arguments(&too_many)) {
            Err(refused) => {
                assert_eq!(
                    (refused.to_string().as_str(), refused.kind()),
                    (expected, "too_many_names"),
                    "{method}"
                );
            }
            Ok(command) => {
                let debug = format!("{command:?}");
                assert_eq!(debug, "MalformedPrepare(TooManyNames { named: 10001 })", "{method}");
            }
        }
    }
}
