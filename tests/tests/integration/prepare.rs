//! `prepare` turns a guest into a database instance or reports why it cannot, even if it is interrupted.

mod interrupted;

use std::time::Duration;

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule};
use serde_json::{Value, json};
use trove_couchdb_protocol::trove::{ConductorCast, ServiceStatus};
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder, login, user_object};
use trove_couchdb_tests::rpc::{CallError, Request, notification};
use trove_couchdb_tests::shared_server::root_alone;
use trove_couchdb_tests::until::{until, until_hit};

const SOON: Duration = trove_couchdb_tests::until::HUNG;

fn new_guest() -> FixtureBuilder {
    FixtureBuilder::default().set("heartbeat.assume_prepared", false).set("heartbeat.interval", 1)
}

/// As Trove 26 sends it for an instance without a volume; `order` has the requested databases, users and
/// root.
fn order(order: Value) -> Value {
    let mut args = json!({
        "packages": "", "databases": [], "memory_mb": 512, "users": [], "device_path": null,
        "mount_point": "/var/lib/couchdb", "backup_info": null, "config_contents": "", "root_password": null,
        "overrides": {}, "cluster_config": null, "snapshot": null, "modules": [], "ds_version": "3.5.0",
    });
    if let (Value::Object(args), Value::Object(order)) = (&mut args, order) {
        args.extend(order);
    }
    args
}

fn request(fixture: &Fixture, args: Value) -> Request {
    Request::new("prepare", order(args)).version("1.1").notified(notification(&fixture.id, "instance_create"))
}

async fn reported(fixture: &Fixture, wanted: ServiceStatus) -> Result<()> {
    let is_wanted = |cast: &ConductorCast| matches!(cast, ConductorCast::Heartbeat { status: Some(status), .. } if *status == wanted);
    fixture.conductor.next(SOON, is_wanted).await.map(drop)
}

fn statuses(fixture: &Fixture) -> Vec<ServiceStatus> {
    let status = |cast: ConductorCast| match cast {
        ConductorCast::Heartbeat { status, .. } => status,
        _ => None,
    };
    let mut statuses: Vec<_> = fixture.conductor.received().into_iter().filter_map(status).collect();
    statuses.dedup();
    statuses
}

async fn is_admin(fixture: &Fixture, root: &Credentials) -> Result<bool> {
    Ok(fixture.client.get("/_session", Some(root)).await?.1["userCtx"]["roles"] == json!(["_admin"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_becomes_the_database_that_was_ordered() -> Result<()> {
    let fixture = new_guest().encrypted().up().await?;
    let _alone = root_alone(&fixture.couch).await;
    let (db, open, al) = (fixture.name("db"), fixture.name("open"), fixture.name("al"));
    assert_eq!(statuses(&fixture), [], "a guest is silent before prepare");
    let args = json!({
        "databases": [{"_name": db, "_collate": null, "_character_set": null}, {"_name": open}],
        "users": [user_object(&al, &[&db])], "root_password": "root-pw",
    });
    fixture.rpc.cast(&request(&fixture, args)).await?;
    reported(&fixture, ServiceStatus::Healthy).await?;

    assert_eq!(statuses(&fixture), [ServiceStatus::Building, ServiceStatus::Healthy]);
    assert!(fixture.client.reads(&db, Some(&login(&al))).await?);
    assert!(!fixture.client.reads(&open, Some(&login(&al))).await?, "only what was granted");
    assert!(!fixture.anonymous_writes(&db).await? && !fixture.anonymous_writes(&open).await?);
    assert!(is_admin(&fixture, &Credentials::new("root", "root-pw")).await?);
    assert!(fixture.conductor.received().iter().any(|cast| matches!(cast, ConductorCast::NotifyEnd { .. })));
    let settled = json!({"prepared": true, "guest_id": fixture.id});
    until("the file of a guest that has settled", async || {
        let file = std::fs::read_to_string(fixture.agent.directory().join("state/prepared.json"))?;
        Ok(serde_json::from_str::<Value>(&file)? == settled)
    })
    .await?;
    fixture.call("disable_root", json!({})).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_does_not_bring_is_refused_before_anything_is_made() -> Result<()> {
    let fixture = new_guest().up().await?;
    let db = fixture.name("db");
    let databases = json!([{"_name": db}]);
    for (demand, named) in [
        (json!({"packages": ["couchdb"]}), "ignore_packages"),
        (json!({"device_path": "/dev/vdb"}), "host.toml"),
        (json!({"backup_info": {"id": "b1"}}), "backup"),
        (json!({"overrides": {"log.level": "loud"}}), "log.level must be one of"),
        (json!({"overrides": {"admins.x": "y"}}), "admins can't be set"),
        (json!({"snapshot": {"master": {}}}), "replica"),
        (json!({"cluster_config": {"id": "c"}}), "cluster"),
        (json!({"modules": [{"module": {}}]}), "modules"),
        (json!({"config_contents": "[log]\nlevel = loud"}), "log.level must be one of"),
        (json!({"config_contents": "level = debug"}), "line 1 of the configuration"),
        (json!({"users": [{"_name": "root", "_password": "x"}]}), "reserved"),
        (json!({"users": [{"_name": "al"}]}), "password"),
        (json!({"databases": [{"_name": "_replicator"}]}), "_replicator"),
        (json!({"databases": "db"}), "`databases` must be a list"),
    ] {
        let mut args = json!({ "databases": databases });
        args.as_object_mut().unwrap().extend(demand.as_object().unwrap().clone());
        let message = fixture.cast("prepare", order(args)).await?.expect_err("it must be refused");
        assert!(
            message.starts_with("prepare failed at stage \"check\"") && message.contains(named),
            "{message}"
        );
        reported(&fixture, ServiceStatus::FailedToSpawn).await?;
    }
    let names: Value = fixture.client.get("/_all_dbs", Some(fixture.couch.admin())).await?.1;
    assert!(!names.to_string().contains(&db), "{names}");
    assert!(!statuses(&fixture).contains(&ServiceStatus::Healthy));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_may_bring_packages_and_volume() -> Result<()> {
    let fixture =
        new_guest().set("prepare.ignore_packages", true).set("prepare.ignore_volume", true).up().await?;
    let args = json!({"packages": "couchdb", "device_path": "/dev/vdb"});
    fixture.must_cast("prepare", order(args)).await?;
    reported(&fixture, ServiceStatus::Healthy).await
}

/// The user gets the reason with the stage, and a corrected order succeeds on the same guest.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_names_its_stage_and_can_be_repaired() -> Result<()> {
    let mut fixture = new_guest().up().await?;
    let (db, absent, al) = (fixture.name("db"), fixture.name("absent"), fixture.name("al"));
    let args = json!({"databases": [{"_name": db}], "users": [user_object(&al, &[&absent])]});
    let message = fixture.cast("prepare", order(args)).await?.expect_err("there is no such database");
    assert!(
        message.starts_with("prepare failed at stage \"users\"") && message.contains(&absent),
        "{message}"
    );
    reported(&fixture, ServiceStatus::FailedToSpawn).await?;
    fixture.agent.terminate().await?;
    fixture.agent.start_again()?;
    reported(&fixture, ServiceStatus::FailedToSpawn).await?;

    let args = json!({"databases": [{"_name": db}], "users": [user_object(&al, &[&db])]});
    fixture.must_cast("prepare", order(args)).await?;
    reported(&fixture, ServiceStatus::Healthy).await?;
    assert!(fixture.client.reads(&db, Some(&login(&al))).await?);
    Ok(())
}

/// Killed at each modifying request to CouchDB, the agent continues where it was, and reports `building` all
/// the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_goes_on_with_it() -> Result<()> {
    for (method, path) in [
        ("PUT", "/db*"),
        ("PUT", "/db*/_security"),
        ("POST", "/_users/_bulk_docs"),
        ("PUT", "/_node/_local/_config/admins/root"),
    ] {
        for after in [false, true] {
            let mut fixture = new_guest().in_memory(Options::default()).up().await?;
            let (db, al) = (fixture.name("db"), fixture.name("al"));
            let mut hang = Rule::new(method, path, Fault::Hang).times(1);
            if after {
                hang = hang.after_effect();
            }
            fixture.memory()?.faults().add(hang);
            let args = json!({
                "databases": [{"_name": db}], "users": [user_object(&al, &[&db])], "root_password": "root-pw",
            });
            fixture.rpc.cast(&request(&fixture, args)).await?;
            until_hit(fixture.memory()?).await?;
            fixture.agent.kill9()?;
            fixture.memory()?.faults().clear();
            fixture.agent.start_again()?;
            reported(&fixture, ServiceStatus::Healthy).await?;
            assert_eq!(
                statuses(&fixture),
                [ServiceStatus::Building, ServiceStatus::Healthy],
                "{method} {path}"
            );
            assert!(fixture.client.reads(&db, Some(&login(&al))).await?, "{method} {path}");
            assert!(!fixture.anonymous_writes(&db).await?);
            assert!(is_admin(&fixture, &Credentials::new("root", "root-pw")).await?);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_prepare_changes_nothing() -> Result<()> {
    let fixture = new_guest().up().await?;
    let (db, other, al) = (fixture.name("db"), fixture.name("other"), fixture.name("al"));
    let args = order(json!({"databases": [{"_name": db}], "users": [user_object(&al, &[&db])]}));
    fixture.must_cast("prepare", args.clone()).await?;
    reported(&fixture, ServiceStatus::Healthy).await?;
    fixture.revoke(&al, &db).await?;
    fixture.must_cast("prepare", args).await?;
    let late = json!({"databases": [{"_name": other}], "users": [{"_name": al, "_password": "late"}]});
    fixture.must_cast("prepare", order(late)).await?;
    assert!(!fixture.client.reads(&db, Some(&login(&al))).await?, "what was revoked stays so");
    assert!(fixture.client.get("/_session", Some(&login(&al))).await?.0.is_success(), "the password holds");
    let (status, _) = fixture.client.get(&format!("/{other}"), Some(fixture.couch.admin())).await?;
    assert_eq!(status, 404);
    // An invalid order does not mark a working guest as failed.
    let refused = fixture.cast("prepare", json!({"databases": 5})).await?;
    assert!(refused.is_err_and(|message| message.contains("`databases`")));
    reported(&fixture, ServiceStatus::Healthy).await?;
    assert!(!statuses(&fixture).contains(&ServiceStatus::FailedToSpawn));
    Ok(())
}

/// A failed order is repeated with a new password: users of the first order are taken over.
#[tokio::test(flavor = "multi_thread")]
async fn the_passwords_of_the_last_order_count() -> Result<()> {
    let fixture = new_guest().in_memory(Options::default()).up().await?;
    let (db, al) = (fixture.name("db"), fixture.name("al"));
    fixture.memory()?.faults().add(Rule::new(
        "PUT",
        "*/admins/root",
        Fault::Answer { status: 400, body: r#"{"error":"bad_request","reason":"no"}"#.to_owned() },
    ));
    let user = |password: &str| json!([{"_name": al, "_password": password, "_databases": [{"_name": db}]}]);
    let args = |password: &str| {
        order(json!({"databases": [{"_name": db}], "users": user(password), "root_password": "r"}))
    };
    let message = fixture.cast("prepare", args("first")).await?.expect_err("root is refused");
    assert!(message.starts_with("prepare failed at stage \"root\""), "{message}");
    assert!(fixture.user_document(&al).await?.is_some());
    fixture.memory()?.faults().clear();
    fixture.must_cast("prepare", args("second")).await?;
    assert!(fixture.client.reads(&db, Some(&Credentials::new(&al, "second"))).await?);
    assert!(!fixture.client.reads(&db, Some(&Credentials::new(&al, "first"))).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_couchdb_as_long_as_it_may_and_then_says_why() -> Result<()> {
    let mut fixture =
        new_guest().in_memory(Options::default()).set("rpc.prepare_retry_timeout", 4).up().await?;
    fixture.couch.memory_mut().unwrap().stop().await;
    let message = fixture.cast("prepare", order(json!({}))).await?.expect_err("there is no CouchDB");
    assert!(message.starts_with("prepare failed at stage \"secure\""), "{message}");
    assert!(message.contains("can't be reached"), "{message}");
    reported(&fixture, ServiceStatus::FailedToSpawn).await?;

    fixture.agent.terminate().await?;
    fixture.agent.options().settings.push(("rpc.prepare_retry_timeout".to_owned(), 1_500.into()));
    fixture.agent.start_again()?;
    fixture.rpc.cast(&request(&fixture, json!({}))).await?;
    reported(&fixture, ServiceStatus::Building).await?;
    fixture.couch.memory_mut().unwrap().start_again().await?;
    reported(&fixture, ServiceStatus::Healthy).await?;
    let last = statuses(&fixture);
    assert!(
        !last.contains(&ServiceStatus::Shutdown),
        "a creation that goes well is never called failed: {last:?}"
    );
    Ok(())
}

/// A server that has just started may fail; the time of its outage before does not count towards the retry
/// timeout.
#[tokio::test(flavor = "multi_thread")]
async fn a_couchdb_that_comes_late_may_stumble() -> Result<()> {
    let mut fixture = new_guest().in_memory(Options::default()).up().await?;
    let db = fixture.name("db");
    fixture.couch.memory_mut().unwrap().stop().await;
    fixture.rpc.cast(&request(&fixture, json!({"databases": [{"_name": db}]}))).await?;
    reported(&fixture, ServiceStatus::Building).await?;
    // Longer than the agent retries while CouchDB answers with errors.
    tokio::time::sleep(Duration::from_secs(22)).await;
    let unavailable = Fault::Answer { status: 503, body: r#"{"error":"unavailable"}"#.to_owned() };
    fixture.memory()?.faults().add(Rule::new("PUT", &format!("/{db}"), unavailable).times(2));
    fixture.couch.memory_mut().unwrap().start_again().await?;
    reported(&fixture, ServiceStatus::Healthy).await?;
    assert!(!statuses(&fixture).contains(&ServiceStatus::FailedToSpawn));
    Ok(())
}

/// Trove stops the database before it deletes an instance. It continues whatever the reply is, but waits for
/// a reply.
#[tokio::test(flavor = "multi_thread")]
async fn stop_db_is_answered_and_stops_nothing() -> Result<()> {
    let fixture = Fixture::up().await?;
    for args in [json!({}), json!({"do_not_start_on_reboot": false})] {
        let answer = fixture.rpc.request(&Request::new("stop_db", args).version("1.1")).await;
        assert!(
            matches!(&answer, Err(CallError::Failure(failure)) if failure.message.contains("systemd")),
            "{answer:?}"
        );
    }
    fixture.call("list_databases", json!({})).await?;
    Ok(())
}
