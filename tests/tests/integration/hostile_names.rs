//! Sends 10,000 names that are designed to break out of a URL, as users and as databases: CouchDB must
//! receive only requests for exactly these names, and none for a different path.
//!
//! The test checks the raw request line. A name that smuggled in a header or a second request would appear as
//! a request that the agent never sent.

mod generated;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use futures_util::{StreamExt, stream};
use in_memory_couchdb::Options;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::rpc::CallError;

use generated::{is_database, is_user, names};

/// Calls in flight at once.
const SIDE_BY_SIDE: usize = 64;

/// The agent's own requests and those of its bootstrap; none contains a name.
const OWN: &[&str] = &[
    "/",
    "/_session",
    "/_up",
    "/_all_dbs",
    "/_users/_all_docs?include_docs=true&conflicts=true",
    "/_users/_bulk_docs",
    // Checks whether a proxy decodes paths.
    "/_users%2F_design%2F_auth",
    "/_node/_local/_config/admins",
    "/_node/_local/_config/chttpd_auth/authentication_db",
    "/_node/_local/_config/chttpd_auth/max_iterations",
    "/_node/_local/_config/chttpd_auth/min_iterations",
    "/_node/_local/_config/chttpd_auth/password_regexp",
    "/_node/_local/_config/couch_httpd_auth/max_iterations",
    "/_node/_local/_config/couch_httpd_auth/min_iterations",
    "/_node/_local/_config/couch_httpd_auth/password_regexp",
];

/// What a request line requests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    User(String),
    Database(String),
    Security(String),
    UsersFrom(String),
    DatabasesFrom(String),
    Own,
    /// A request that the agent has no reason to send.
    Other,
}

impl Asked {
    fn of(method: &str, target: &str) -> Self {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%/?&=".contains(&byte);
        if !target.bytes().all(plain) {
            return Self::Other;
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let segments: Vec<String> = path.split('/').skip(1).map(decoded).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (segments.as_slice(), query) {
            _ if OWN.contains(&target) => Self::Own,
            (["_all_dbs"], query) => key(query, "start_key", "").map_or(Self::Other, Self::DatabasesFrom),
            (["_users", "_all_docs"], query) => {
                key(query, "startkey", "org.couchdb.user:").map_or(Self::Other, Self::UsersFrom)
            }
            (["_users", id], query)
                if query.is_empty() || query == "conflicts=true" || query.starts_with("rev=") =>
            {
                id.strip_prefix("org.couchdb.user:").map_or(Self::Other, |name| Self::User(name.to_owned()))
            }
            // Checked for memberships that a deleted or renamed user would leave behind.
            (["_replicator" | "_global_changes", "_security"], "") if method == "GET" => Self::Own,
            ([name], "") if !name.starts_with('_') => Self::Database((*name).to_owned()),
            ([name, "_security"], "") if !name.starts_with('_') => Self::Security((*name).to_owned()),
            _ => Self::Other,
        }
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().unwrap().into_owned()
}

/// The text of a query's first key, after a prefix.
fn key(query: &str, name: &str, prefix: &str) -> Option<String> {
    let (found, value) = query.split('&').next()?.split_once('=')?;
    let text: String = serde_json::from_str(&decoded(value)).ok()?;
    (found == name).then_some(text)?.strip_prefix(prefix).map(str::to_owned)
}

/// Calls a method once for each name.
async fn call_each(
    fixture: &Fixture,
    names: &BTreeSet<String>,
    method: &str,
    args: impl Fn(&str) -> Value,
) -> BTreeMap<String, Result<Value, CallError>> {
    let calls = names.iter().map(|name| (name.clone(), args(name)));
    let calls = stream::iter(calls).map(|(name, args)| async move {
        let answer = fixture.call(method, args).await;
        (name, answer)
    });
    calls.buffer_unordered(SIDE_BY_SIDE).collect().await
}

/// Counts the requests since the last call, without the agent's own; an error for any other request.
fn asked(fixture: &Fixture) -> Result<BTreeMap<(String, Asked), usize>> {
    let log = fixture.memory()?.log();
    let mut counts = BTreeMap::new();
    for entry in log.entries() {
        let asked = Asked::of(&entry.method, &entry.target);
        anyhow::ensure!(
            asked != Asked::Other,
            "{} {} is none of the agent's business",
            entry.method,
            entry.target
        );
        if asked != Asked::Own {
            *counts.entry((entry.method, asked)).or_default() += 1;
        }
    }
    log.clear();
    Ok(counts)
}

async fn quiet_stage() -> Result<Fixture> {
    let builder = FixtureBuilder::default().in_memory(Options::default()).set("log.filter", "warn");
    let fixture = builder.up().await?;
    fixture.call("get_user", json!({"username": "first", "hostname": "%"})).await?;
    fixture.memory()?.log().clear();
    Ok(fixture)
}

/// Mutation: without `/` in `RESERVED` in `protocol/src/names.rs`, or with `document_id` instead of
/// `document_path`, requests for other paths appear; without a rule of `check_user` or `check_database`,
/// requests for invalid names appear.
///
/// Mutation: slash-in-a-path (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_names_reach_their_own_path_and_no_other() -> Result<()> {
    let fixture = quiet_stage().await?;
    let names = names();
    let (users, no_users): (BTreeSet<String>, BTreeSet<_>) =
        names.iter().cloned().partition(|name| is_user(name));
    let (databases, no_databases): (BTreeSet<String>, BTreeSet<_>) =
        names.iter().cloned().partition(|name| is_database(name));
    // Fewer names would make the test meaningless.
    let enough = [&users, &no_users, &databases, &no_databases].map(BTreeSet::len);
    assert!(enough.iter().all(|count| *count >= 1_500), "{enough:?}");

    let answers =
        call_each(&fixture, &names, "get_user", |name| json!({"username": name, "hostname": "%"})).await;
    for (name, answer) in &answers {
        match answer {
            Ok(answer) => assert!(users.contains(name) && *answer == Value::Null, "{name:?}: {answer}"),
            Err(error) => assert!(no_users.contains(name) && says_why(error), "{name:?}: {error}"),
        }
    }
    let once = |method: &str, asked: fn(String) -> Asked, names: &BTreeSet<String>| {
        names.iter().map(|name| ((method.to_owned(), asked(name.clone())), 1)).collect::<BTreeMap<_, usize>>()
    };
    assert_same(&asked(&fixture)?, &once("GET", Asked::User, &users));

    let answers =
        call_each(&fixture, &names, "delete_database", |name| json!({"database": {"_name": name}})).await;
    for (name, answer) in &answers {
        match answer {
            Ok(answer) => panic!("{name:?} was deleted and never was there: {answer}"),
            Err(error) => assert!(says_why(error) || databases.contains(name), "{name:?}: {error}"),
        }
    }
    assert_same(&asked(&fixture)?, &once("DELETE", Asked::Database, &databases));
    Ok(())
}

/// The same names in query parameters, and the accepted names in every command that writes.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_in_markers_and_in_every_command_stay_themselves() -> Result<()> {
    let fixture = quiet_stage().await?;
    let names: BTreeSet<String> = names().into_iter().step_by(10).collect();
    let pages = |marker: &str| json!({"limit": 1, "marker": marker, "include_marker": true});
    for method in ["list_users", "list_databases"] {
        for (name, answer) in call_each(&fixture, &names, method, pages).await {
            assert_eq!(answer.unwrap(), json!([[], null]), "{method} from {name:?}");
        }
    }
    for ((method, asked), _) in asked(&fixture)? {
        let text = match &asked {
            Asked::UsersFrom(text) | Asked::DatabasesFrom(text) | Asked::User(text) => text,
            other => panic!("{method} {other:?}"),
        };
        // A marker ends in `@host`, and may have been quoted twice (`couchdb/src/accounts/users.rs`,
        // `name_in_marker`).
        let is_ours = |name: &String| {
            name == text || name.starts_with(&format!("{text}@")) || decoded_lossy(name) == *text
        };
        assert!(text.is_empty() || names.iter().any(is_ours), "{method} {asked:?}");
    }

    let users: Vec<&String> = names.iter().filter(|name| is_user(name)).step_by(12).collect();
    let databases: Vec<&String> = names.iter().filter(|name| is_database(name)).step_by(12).collect();
    assert!(users.len() >= 15 && databases.len() >= 15, "{} and {}", users.len(), databases.len());
    let objects =
        |databases: &[&String]| databases.iter().map(|name| json!({"_name": name})).collect::<Vec<_>>();
    fixture.call("create_database", json!({"databases": objects(&databases)})).await?;
    let new = |name: &&String| json!({"_name": name, "_host": "%", "_password": "pw", "_databases": []});
    fixture.call("create_user", json!({"users": users.iter().map(new).collect::<Vec<_>>()})).await?;
    for (user, database) in users.iter().zip(databases.iter().cycle()) {
        fixture.grant(user, &[database]).await?;
        let shown = fixture.call("get_user", json!({"username": user, "hostname": "%"})).await?;
        assert_eq!(
            (&shown["_name"], Fixture::databases_of(&shown)),
            (&json!(user), vec![(*database).clone()])
        );
        fixture.revoke(user, database).await?;
    }
    let listed = fixture.call("list_users", json!({})).await?;
    let shown: BTreeSet<&str> =
        listed[0].as_array().context("no list")?.iter().filter_map(|user| user["_name"].as_str()).collect();
    assert_eq!(shown, users.iter().map(|name| name.as_str()).collect());
    for user in &users {
        fixture.call("delete_user", json!({"user": {"_name": user, "_host": "%"}})).await?;
    }
    for database in &databases {
        fixture.call("delete_database", json!({"database": {"_name": database}})).await?;
    }
    let (users, databases): (BTreeSet<_>, BTreeSet<_>) =
        (users.into_iter().collect(), databases.into_iter().collect());
    for ((method, asked), _) in asked(&fixture)? {
        let is_ours = match &asked {
            Asked::User(name) => users.contains(name),
            Asked::Database(name) | Asked::Security(name) => databases.contains(name),
            Asked::UsersFrom(text) => text.is_empty(),
            _ => false,
        };
        assert!(is_ours, "{method} {asked:?}");
    }
    assert_eq!(fixture.call("list_users", json!({})).await?, json!([[], null]));
    assert_eq!(fixture.call("list_databases", json!({})).await?, json!([[], null]));
    Ok(())
}

fn decoded_lossy(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Whether the refusal names the reason in one harmless line.
fn says_why(error: &CallError) -> bool {
    let CallError::Failure(failure) = error else { return false };
    let says = ["is not allowed", "reserved"].iter().any(|words| failure.message.contains(words));
    says && !failure.message.contains(char::is_control) && failure.message.len() < 500
}

fn assert_same(found: &BTreeMap<(String, Asked), usize>, expected: &BTreeMap<(String, Asked), usize>) {
    for (request, count) in found {
        assert_eq!(expected.get(request), Some(count), "asked {count} times: {request:?}");
    }
    for request in expected.keys() {
        assert!(found.contains_key(request), "never asked: {request:?}");
    }
}
