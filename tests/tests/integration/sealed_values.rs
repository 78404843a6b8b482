//! An attacker with write access to the broker puts a recorded, encrypted value in place of a name. Failures
//! are sent unencrypted: none may reveal the value.

use anyhow::{Context, Result};
use in_memory_couchdb::Options;
use serde_json::{Value, json};
use trove_couchdb_protocol::trove::{ConductorCast, Method};
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::rpc::CallError;
use trove_couchdb_tests::until::until;

/// At most the first three characters of a value may be visible.
const RECORDED: &str = "Q7xZsecretOfRoot";
const TOO_MUCH: &str = "Q7xZ";
/// The same as a valid name of a database.
const RECORDED_LOWER: &str = "q7xzsecretofroot";
const TOO_MUCH_LOWER: &str = "q7xz";

/// The forms of an argument; without a password, so that no user is created from it.
fn shapes(value: &str) -> Vec<Value> {
    let object = json!({"_name": value, "name": value, "host": value, "_host": value, "id": value});
    let database_of = json!({"_name": "somebody", "_databases": [{"_name": value}], "name": "somebody"});
    vec![json!(value), json!([value]), json!([object]), object, json!([database_of])]
}

/// A harmless value of an argument while a different one is tested.
fn harmless(fixture: &Fixture, argument: &str) -> Value {
    match argument {
        "username" => json!(fixture.name("nobody")),
        "hostname" => json!("%"),
        "users" => json!([{"_name": fixture.name("nobody"), "name": fixture.name("nobody")}]),
        "user" => json!({"_name": fixture.name("nobody")}),
        "user_attrs" => json!({"name": fixture.name("other")}),
        "databases" => json!([fixture.name("db")]),
        "database" => json!(fixture.name("db")),
        _ => Value::Null,
    }
}

fn requests(fixture: &Fixture, method: Method) -> Vec<Value> {
    let mut requests = Vec::new();
    for tried in method.arguments() {
        for value in [RECORDED, RECORDED_LOWER] {
            for shape in shapes(value) {
                let of = |argument: &&'static str| {
                    let value = if argument == tried { shape.clone() } else { harmless(fixture, argument) };
                    ((*argument).to_owned(), value)
                };
                requests.push(Value::Object(method.arguments().iter().map(of).collect()));
            }
        }
    }
    requests
}

/// The reason of a failed operation, once it has failed.
async fn reason_of(fixture: &Fixture, id: &str) -> Result<String> {
    let local = fixture.local().await?;
    let mut over = Value::Null;
    until("the end of an operation", async || {
        over = local.call("operation_show", json!({"operation": id})).await?;
        Ok(!over["ended"].is_null())
    })
    .await?;
    Ok(over["reason"].as_str().unwrap_or_default().to_owned())
}

/// Mutation: failures-decrypt (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn no_failure_shows_more_of_an_encrypted_value_than_its_beginning() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let audit = directory.path().join("audit.log");
    let builder =
        FixtureBuilder::default().in_memory(Options::default()).encrypted().set("log.filter", "trace");
    let fixture = builder.set("audit.file", audit.to_str().context("a path")?).up().await?;
    let mut failures = Vec::new();
    for method in Method::ALL.iter().filter(|method| **method != Method::SetLogFilter) {
        for args in requests(&fixture, *method) {
            // This would create a database with that name, which may then be shown.
            if *method == Method::CreateDatabase && args.to_string().contains(RECORDED_LOWER) {
                continue;
            }
            match fixture.call(method.name(), args).await {
                // It fails later, as an operation.
                Ok(Value::String(id)) if *method == Method::Prepare => {
                    failures.push(reason_of(&fixture, &id).await?);
                }
                Ok(_) => {}
                Err(CallError::Failure(failure)) => failures.push(failure.message),
                Err(other) => anyhow::bail!("{}: {other}", method.name()),
            }
        }
    }
    // The results of casts go to the conductor in a notification, which the control plane shows to users.
    for args in requests(&fixture, Method::DeleteUser).into_iter().take(4) {
        failures.extend(fixture.cast("delete_user", args).await?.err());
    }
    assert!(failures.len() > 100, "{}", failures.len());
    for expected in [
        "user \"Q7x…\" (16 characters) does not exist; create it first",
        "database \"q7x…\" (16 characters) does not exist; create it first",
        "user \"Q7x…\" (16 characters) needs a password that is not empty",
        "`databases[0]`: the database name \"Q7x…\" (16 characters) is not allowed: it must begin with a lower-case letter",
        "the data volume \"Q7x…\" (16 characters) can't be provided",
        "the packages [\"Q7x…\" (16 characters)] can't be provided",
    ] {
        assert!(failures.iter().any(|text| text.contains(expected)), "{expected} is not among {failures:#?}");
    }
    // The answer to create_backup is encrypted and names the backup; results of commands are shown to users.
    let is_end = |cast: &ConductorCast| matches!(cast, ConductorCast::NotifyExcInfo { .. });
    let ends: Vec<_> = fixture.conductor.received().into_iter().filter(is_end).collect();
    let places = [
        ("failures", failures.join("\n")),
        ("log", fixture.agent.logs()),
        ("audit log", std::fs::read_to_string(&audit)?),
        ("conductor", format!("{ends:?}")),
        ("status", fixture.local().await?.call("get_agent_status", json!({})).await?.to_string()),
        ("systemd", fixture.agent.notifications().join("\n")),
        ("operations", fixture.local().await?.call("operation_list", json!({})).await?.to_string()),
    ];
    for (place, text) in places {
        for found in [TOO_MUCH, TOO_MUCH_LOWER] {
            let around =
                text.find(found).map(|at| text.get(at.saturating_sub(300)..(at + 40).min(text.len())));
            assert!(around.is_none(), "{found} is in the {place}: {around:?}");
        }
    }
    Ok(())
}

/// Socket peers are authenticated by the kernel and not encrypted, and an operator sees the whole name.
#[tokio::test(flavor = "multi_thread")]
async fn over_the_socket_names_are_shown_in_full_and_so_is_on_the_broker_what_exists() -> Result<()> {
    let fixture = FixtureBuilder::default().in_memory(Options::default()).encrypted().up().await?;
    let nobody = fixture.name("nobody");
    let missing = json!({"username": nobody, "hostname": "%"});
    let Err(failure) = fixture.local().await?.call("list_access", missing).await else {
        anyhow::bail!("there is no such user");
    };
    assert!(failure.to_string().contains(&format!("user {nobody:?} does not exist")), "{failure}");
    let al = fixture.name("al");
    fixture.user(&al, &[]).await?;
    let again = fixture.cast("create_user", json!({"users": [{"_name": al, "_password": "x"}]})).await?;
    let text = again.err().context("the user is there")?;
    assert!(text.contains(&format!("user {al:?} already exists")), "{text}");
    Ok(())
}
