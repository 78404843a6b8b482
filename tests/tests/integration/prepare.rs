//! `prepare` makes a guest a database, or says why not; whatever happens meanwhile.

mod interrupted;

use std::time::Duration;

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule};
use serde_json::{Value, json};
use trove_couchdb_protocol::trove::{ConductorCast, ServiceStatus};
use trove_couchdb_tests::bus::{CallError, Request, notification};
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::shared_server::root_alone;
use trove_couchdb_tests::stage::{Plan, Stage, login, user_object};
use trove_couchdb_tests::until::{until, until_hit};

const SOON: Duration = trove_couchdb_tests::until::HUNG;

fn new_guest() -> Plan {
    Plan::default().set("heartbeat.assume_prepared", false).set("heartbeat.interval", 1)
}

/// As Trove 26 sends it for an instance without a volume, with what is ordered in `order`.
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

fn request(stage: &Stage, args: Value) -> Request {
    Request::new("prepare", order(args)).version("1.1").notified(notification(&stage.id, "instance_create"))
}

async fn told(stage: &Stage, wanted: ServiceStatus) -> Result<()> {
    let is_wanted = |cast: &ConductorCast| matches!(cast, ConductorCast::Heartbeat { status: Some(status), .. } if *status == wanted);
    stage.conductor.next(SOON, is_wanted).await.map(drop)
}

fn statuses(stage: &Stage) -> Vec<ServiceStatus> {
    let status = |cast: ConductorCast| match cast {
        ConductorCast::Heartbeat { status, .. } => status,
        _ => None,
    };
    let mut statuses: Vec<_> = stage.conductor.received().into_iter().filter_map(status).collect();
    statuses.dedup();
    statuses
}

async fn is_admin(stage: &Stage, root: &Credentials) -> Result<bool> {
    Ok(stage.client.get("/_session", Some(root)).await?.1["userCtx"]["roles"] == json!(["_admin"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_becomes_the_database_that_was_ordered() -> Result<()> {
    let stage = new_guest().encrypted().up().await?;
    let _alone = root_alone(&stage.couch).await;
    let (db, open, al) = (stage.name("db"), stage.name("open"), stage.name("al"));
    assert_eq!(statuses(&stage), [], "a guest is silent before prepare");
    let args = json!({
        "databases": [{"_name": db, "_collate": null, "_character_set": null}, {"_name": open}],
        "users": [user_object(&al, &[&db])], "root_password": "root-pw",
    });
    stage.bus.cast(&request(&stage, args)).await?;
    told(&stage, ServiceStatus::Healthy).await?;

    assert_eq!(statuses(&stage), [ServiceStatus::Building, ServiceStatus::Healthy]);
    assert!(stage.client.reads(&db, Some(&login(&al))).await?);
    assert!(!stage.client.reads(&open, Some(&login(&al))).await?, "only what was granted");
    assert!(!stage.anonymous_writes(&db).await? && !stage.anonymous_writes(&open).await?);
    assert!(is_admin(&stage, &Credentials::new("root", "root-pw")).await?);
    assert!(stage.conductor.received().iter().any(|cast| matches!(cast, ConductorCast::NotifyEnd { .. })));
    let settled = json!({"prepared": true, "guest_id": stage.id});
    until("the file of a guest that has settled", async || {
        let file = std::fs::read_to_string(stage.agent.directory().join("state/prepared.json"))?;
        Ok(serde_json::from_str::<Value>(&file)? == settled)
    })
    .await?;
    stage.call("disable_root", json!({})).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_does_not_bring_is_refused_before_anything_is_made() -> Result<()> {
    let stage = new_guest().up().await?;
    let db = stage.name("db");
    let databases = json!([{"_name": db}]);
    for (demand, named) in [
        (json!({"packages": ["couchdb"]}), "ignore_packages"),
        (json!({"device_path": "/dev/vdb"}), "ignore_volume"),
        (json!({"backup_info": {"id": "b1"}}), "backup"),
        (json!({"overrides": {"log.level": "debug"}}), "configuration group"),
        (json!({"snapshot": {"master": {}}}), "replica"),
        (json!({"cluster_config": {"id": "c"}}), "cluster"),
        (json!({"modules": [{"module": {}}]}), "modules"),
        (json!({"config_contents": "[log]\nlevel = debug"}), "config.template"),
        (json!({"users": [{"_name": "root", "_password": "x"}]}), "reserved"),
        (json!({"users": [{"_name": "al"}]}), "password"),
        (json!({"databases": [{"_name": "_replicator"}]}), "_replicator"),
        (json!({"databases": "db"}), "`databases` must be a list"),
    ] {
        let mut args = json!({ "databases": databases });
        args.as_object_mut().unwrap().extend(demand.as_object().unwrap().clone());
        let message = stage.cast("prepare", order(args)).await?.expect_err("it must be refused");
        assert!(
            message.starts_with("prepare failed at stage \"check\"") && message.contains(named),
            "{message}"
        );
        told(&stage, ServiceStatus::FailedToSpawn).await?;
    }
    let names: Value = stage.client.get("/_all_dbs", Some(stage.couch.admin())).await?.1;
    assert!(!names.to_string().contains(&db), "{names}");
    assert!(!statuses(&stage).contains(&ServiceStatus::Healthy));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_may_bring_packages_and_volume() -> Result<()> {
    let stage =
        new_guest().set("prepare.ignore_packages", true).set("prepare.ignore_volume", true).up().await?;
    let args = json!({"packages": "couchdb", "device_path": "/dev/vdb"});
    stage.must_cast("prepare", order(args)).await?;
    told(&stage, ServiceStatus::Healthy).await
}

/// The reason reaches the user with the stage, and a better order makes the same guest a database.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_names_its_stage_and_can_be_made_good() -> Result<()> {
    let mut stage = new_guest().up().await?;
    let (db, absent, al) = (stage.name("db"), stage.name("absent"), stage.name("al"));
    let args = json!({"databases": [{"_name": db}], "users": [user_object(&al, &[&absent])]});
    let message = stage.cast("prepare", order(args)).await?.expect_err("there is no such database");
    assert!(
        message.starts_with("prepare failed at stage \"users\"") && message.contains(&absent),
        "{message}"
    );
    told(&stage, ServiceStatus::FailedToSpawn).await?;
    stage.agent.terminate().await?;
    stage.agent.start_again()?;
    told(&stage, ServiceStatus::FailedToSpawn).await?;

    let args = json!({"databases": [{"_name": db}], "users": [user_object(&al, &[&db])]});
    stage.must_cast("prepare", order(args)).await?;
    told(&stage, ServiceStatus::Healthy).await?;
    assert!(stage.client.reads(&db, Some(&login(&al))).await?);
    Ok(())
}

/// Killed at each request to CouchDB that changes something, it goes on where it was, and says `building` all the while.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_goes_on_with_it() -> Result<()> {
    for (method, path) in [
        ("PUT", "/db*"),
        ("PUT", "/db*/_security"),
        ("POST", "/_users/_bulk_docs"),
        ("PUT", "/_node/_local/_config/admins/root"),
    ] {
        for after in [false, true] {
            let mut stage = new_guest().in_memory(Options::default()).up().await?;
            let (db, al) = (stage.name("db"), stage.name("al"));
            let mut hang = Rule::new(method, path, Fault::Hang).times(1);
            if after {
                hang = hang.after_effect();
            }
            stage.memory()?.faults().add(hang);
            let args = json!({
                "databases": [{"_name": db}], "users": [user_object(&al, &[&db])], "root_password": "root-pw",
            });
            stage.bus.cast(&request(&stage, args)).await?;
            until_hit(stage.memory()?).await?;
            stage.agent.kill9()?;
            stage.memory()?.faults().clear();
            stage.agent.start_again()?;
            told(&stage, ServiceStatus::Healthy).await?;
            assert_eq!(
                statuses(&stage),
                [ServiceStatus::Building, ServiceStatus::Healthy],
                "{method} {path}"
            );
            assert!(stage.client.reads(&db, Some(&login(&al))).await?, "{method} {path}");
            assert!(!stage.anonymous_writes(&db).await?);
            assert!(is_admin(&stage, &Credentials::new("root", "root-pw")).await?);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_prepare_changes_nothing() -> Result<()> {
    let stage = new_guest().up().await?;
    let (db, other, al) = (stage.name("db"), stage.name("other"), stage.name("al"));
    let args = order(json!({"databases": [{"_name": db}], "users": [user_object(&al, &[&db])]}));
    stage.must_cast("prepare", args.clone()).await?;
    told(&stage, ServiceStatus::Healthy).await?;
    stage.revoke(&al, &db).await?;
    stage.must_cast("prepare", args).await?;
    let late = json!({"databases": [{"_name": other}], "users": [{"_name": al, "_password": "late"}]});
    stage.must_cast("prepare", order(late)).await?;
    assert!(!stage.client.reads(&db, Some(&login(&al))).await?, "what was revoked stays so");
    assert!(stage.client.get("/_session", Some(&login(&al))).await?.0.is_success(), "the password holds");
    let (status, _) = stage.client.get(&format!("/{other}"), Some(stage.couch.admin())).await?;
    assert_eq!(status, 404);
    // Nor does a bad one mark a guest that serves as failed.
    let refused = stage.cast("prepare", json!({"databases": 5})).await?;
    assert!(refused.is_err_and(|message| message.contains("`databases`")));
    told(&stage, ServiceStatus::Healthy).await?;
    assert!(!statuses(&stage).contains(&ServiceStatus::FailedToSpawn));
    Ok(())
}

/// A failed order is repeated with another password: the users that the first one made are taken over.
#[tokio::test(flavor = "multi_thread")]
async fn the_passwords_of_the_last_order_count() -> Result<()> {
    let stage = new_guest().in_memory(Options::default()).up().await?;
    let (db, al) = (stage.name("db"), stage.name("al"));
    stage.memory()?.faults().add(Rule::new(
        "PUT",
        "*/admins/root",
        Fault::Answer { status: 400, body: r#"{"error":"bad_request","reason":"no"}"#.to_owned() },
    ));
    let user = |password: &str| json!([{"_name": al, "_password": password, "_databases": [{"_name": db}]}]);
    let args = |password: &str| {
        order(json!({"databases": [{"_name": db}], "users": user(password), "root_password": "r"}))
    };
    let message = stage.cast("prepare", args("first")).await?.expect_err("root is refused");
    assert!(message.starts_with("prepare failed at stage \"root\""), "{message}");
    assert!(stage.user_document(&al).await?.is_some());
    stage.memory()?.faults().clear();
    stage.must_cast("prepare", args("second")).await?;
    assert!(stage.client.reads(&db, Some(&Credentials::new(&al, "second"))).await?);
    assert!(!stage.client.reads(&db, Some(&Credentials::new(&al, "first"))).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_couchdb_as_long_as_it_may_and_then_says_why() -> Result<()> {
    let mut stage = new_guest().in_memory(Options::default()).set("rpc.prepare_patience", 4).up().await?;
    stage.couch.memory_mut().unwrap().stop().await;
    let message = stage.cast("prepare", order(json!({}))).await?.expect_err("there is no CouchDB");
    assert!(message.starts_with("prepare failed at stage \"secure\""), "{message}");
    assert!(message.contains("can't be reached"), "{message}");
    told(&stage, ServiceStatus::FailedToSpawn).await?;

    stage.agent.terminate().await?;
    stage.agent.options().settings.push(("rpc.prepare_patience".to_owned(), 1_500.into()));
    stage.agent.start_again()?;
    stage.bus.cast(&request(&stage, json!({}))).await?;
    told(&stage, ServiceStatus::Building).await?;
    stage.couch.memory_mut().unwrap().start_again().await?;
    told(&stage, ServiceStatus::Healthy).await?;
    let last = statuses(&stage);
    assert!(
        !last.contains(&ServiceStatus::Shutdown),
        "a creation that goes well is never called failed: {last:?}"
    );
    Ok(())
}

/// A server that has only just started may stumble; that it was away for long before does not use its patience up.
#[tokio::test(flavor = "multi_thread")]
async fn a_couchdb_that_comes_late_may_stumble() -> Result<()> {
    let mut stage = new_guest().in_memory(Options::default()).up().await?;
    let db = stage.name("db");
    stage.couch.memory_mut().unwrap().stop().await;
    stage.bus.cast(&request(&stage, json!({"databases": [{"_name": db}]}))).await?;
    told(&stage, ServiceStatus::Building).await?;
    // Longer than the agent bears with a CouchDB that answers with errors.
    tokio::time::sleep(Duration::from_secs(22)).await;
    let unavailable = Fault::Answer { status: 503, body: r#"{"error":"unavailable"}"#.to_owned() };
    stage.memory()?.faults().add(Rule::new("PUT", &format!("/{db}"), unavailable).times(2));
    stage.couch.memory_mut().unwrap().start_again().await?;
    told(&stage, ServiceStatus::Healthy).await?;
    assert!(!statuses(&stage).contains(&ServiceStatus::FailedToSpawn));
    Ok(())
}

/// Trove stops the database before it deletes an instance, and goes on whatever it hears; but it waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn stop_db_is_answered_and_stops_nothing() -> Result<()> {
    let stage = Stage::up().await?;
    for args in [json!({}), json!({"do_not_start_on_reboot": false})] {
        let answer = stage.bus.request(&Request::new("stop_db", args).version("1.1")).await;
        assert!(
            matches!(&answer, Err(CallError::Failure(failure)) if failure.message.contains("systemd")),
            "{answer:?}"
        );
    }
    stage.call("list_databases", json!({})).await?;
    Ok(())
}
