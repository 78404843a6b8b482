//! The reports to the conductor and the taskmanager for actions that the agent does not support: no instance
//! may stay in a transient state, and every refusal has a reason. With a real Trove:
//! `tests/control_plane/test_lifecycle.py`.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use trove_couchdb_protocol::trove::{ConductorCast, ServiceStatus};
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::rpc::{Request, notification};

const SOON: Duration = Duration::from_secs(30);

/// The notification of a user action with this class.
fn of_action(fixture: &Fixture, class: &str) -> Value {
    let mut notification = notification(&fixture.id, "action");
    notification["notification_classname"] = format!("trove.common.notification.{class}").into();
    notification
}

/// The fault that was reported for `request_id`.
async fn fault(fixture: &Fixture, request_id: &Value) -> Result<String> {
    let is_it = |cast: &ConductorCast| matches!(cast, ConductorCast::NotifyExcInfo { notification, .. } if notification["request_id"] == *request_id);
    match fixture.conductor.next(SOON, is_it).await? {
        ConductorCast::NotifyExcInfo { notification, message, .. } => {
            assert_eq!(notification["instance_id"], fixture.id, "without it no fault is stored");
            Ok(message)
        }
        other => unreachable!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_backup_is_reported_as_failed_before_anything_else() -> Result<()> {
    for builder in [FixtureBuilder::default(), FixtureBuilder::default().encrypted()] {
        let fixture = builder.up().await?;
        let notification = of_action(&fixture, "DBaaSBackupCreate");
        let wanted = notification["request_id"].clone();
        let backup = json!({"backup_info": {"id": "6f1d2c3a-0b4e-4c5d-8e9f-a0b1c2d3e4f5", "name": "nightly", "parent": null}});
        fixture.rpc.cast(&Request::new("create_backup", backup).notified(notification)).await?;
        let message = fault(&fixture, &wanted).await?;
        assert!(message.contains("create_backup is not supported") && message.contains("no backup was made"));
        let reported = fixture.conductor.received();
        let of_backup = |cast: &ConductorCast| matches!(cast, ConductorCast::UpdateBackup { backup_id, .. } if backup_id == "6f1d2c3a-0b4e-4c5d-8e9f-a0b1c2d3e4f5");
        let at = reported.iter().position(of_backup).expect("the backup's state was told");
        assert!(
            reported.iter().skip(at).any(|cast| matches!(cast, ConductorCast::NotifyExcInfo { .. })),
            "first"
        );
        match &reported[at] {
            ConductorCast::UpdateBackup { changes, sent, .. } => {
                assert_eq!(Value::from(changes.clone()), json!({"state": "FAILED"}));
                assert!(*sent > 1_700_000_000.0);
            }
            other => unreachable!("{other:?}"),
        }
    }
    Ok(())
}

/// Also if the command is refused before it is parsed.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_an_unknown_version_of_the_api_is_reported_as_failed() -> Result<()> {
    let fixture = Fixture::up().await?;
    let backup = json!({"backup_info": {"id": "7a2e3d4b-1c5f-4d6e-9fa0-b1c2d3e4f506"}});
    fixture.rpc.cast(&Request::new("create_backup", backup).version("2.0")).await?;
    let failed = |cast: &ConductorCast| matches!(cast, ConductorCast::UpdateBackup { backup_id, .. } if backup_id == "7a2e3d4b-1c5f-4d6e-9fa0-b1c2d3e4f506");
    fixture.conductor.next(SOON, failed).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_call_whose_failure_the_taskmanager_swallows_is_reported_as_a_fault() -> Result<()> {
    let fixture = Fixture::up().await?;
    for (method, class) in [("restart", "DBaaSInstanceRestart"), ("pre_upgrade", "DBaaSInstanceUpgrade")] {
        let notification = of_action(&fixture, class);
        let wanted = notification["request_id"].clone();
        let refused = fixture.rpc.request(&Request::new(method, json!({})).notified(notification)).await;
        let refusal = refused.expect_err("it is refused").to_string();
        assert!(refusal.contains(&format!("{method} is not supported")), "{refusal}");
        assert!(refusal.contains(&fault(&fixture, &wanted).await?), "{refusal}");
    }
    // trove-api itself ends the notifications of its own calls.
    let notification = of_action(&fixture, "DBaaSGuestLogList");
    let wanted = notification["request_id"].clone();
    let refused =
        fixture.rpc.request(&Request::new("guest_log_list", json!({})).notified(notification)).await;
    assert!(refused.is_err());
    fixture.call("rpc_ping", json!({})).await?;
    let reported = |cast: &ConductorCast| matches!(cast, ConductorCast::NotifyExcInfo { notification, .. } if notification["request_id"] == wanted);
    assert!(!fixture.conductor.received().iter().any(reported));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_stop_db_depends_on_what_trove_does_next() -> Result<()> {
    let fixture = Fixture::up().await?;
    let stop = async |class: &str, args: Value| {
        let request = Request::new("stop_db", args).version("1.1").notified(of_action(&fixture, class));
        fixture.rpc.request(&request).await
    };
    for class in ["DBaaSInstanceResizeInstance", "DBaaSInstanceMigrate"] {
        assert_eq!(stop(class, json!({})).await?, Value::Null, "{class}: it would be stuck in RESIZE");
        // Trove 12 and 13 would wait for `shutdown`.
        assert!(stop(class, json!({"do_not_start_on_reboot": true})).await.is_err());
    }
    for class in ["DBaaSInstanceDelete", "DBaaSInstanceReboot", "DBaaSInstanceResizeVolume"] {
        let refusal = stop(class, json!({})).await.expect_err(class).to_string();
        assert!(refusal.contains("CouchDB was not stopped"), "{refusal}");
    }
    assert!(fixture.call("stop_db", json!({})).await.is_err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_up_again_is_answered_when_couchdb_runs() -> Result<()> {
    let fixture = Fixture::up().await?;
    for class in ["DBaaSInstanceReboot", "DBaaSInstanceResizeInstance", "DBaaSInstanceMigrate"] {
        let restart = Request::new("restart", json!({})).notified(of_action(&fixture, class));
        assert_eq!(fixture.rpc.request(&restart).await?, Value::Null, "{class}");
    }
    let resize = async |method: &str, args: Value| {
        let notification = of_action(&fixture, "DBaaSInstanceResizeInstance");
        fixture.rpc.request(&Request::new(method, args).notified(notification)).await
    };
    let start = json!({"config_contents": "# nothing\n", "ds_version": "3.5"});
    assert_eq!(resize("start_db_with_conf_changes", start.clone()).await?, Value::Null);
    assert!(fixture.call("start_db_with_conf_changes", start).await.is_err(), "nobody resizes anything");
    let configured = json!({"config_contents": "[log]\nlevel = info\n", "ds_version": "3.5"});
    let refusal = resize("start_db_with_conf_changes", configured).await.expect_err("a configuration");
    assert!(refusal.to_string().contains("it applies no configuration"), "{refusal}");
    let old = json!({"configuration": {"config_contents": ""}});
    assert_eq!(resize("reset_configuration", old).await?, Value::Null);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_on_an_empty_disk_is_not_silent() -> Result<()> {
    let fixture = FixtureBuilder::default().set("heartbeat.assume_prepared", false).encrypted().up().await?;
    let rebuild = json!({"ds_version": "3.5.0", "config_contents": "", "config_overrides": {}});
    let request = Request::new("rebuild", rebuild);
    let wanted = request.context["request_id"].clone();
    fixture.rpc.cast(&request).await?;
    let message = fault(&fixture, &wanted).await?;
    assert!(
        message.contains("rebuild is not supported") && message.contains("nothing was restored"),
        "{message}"
    );
    let failed = |cast: &ConductorCast| matches!(cast, ConductorCast::Heartbeat { status: Some(status), .. } if *status == ServiceStatus::FailedToSpawn);
    assert!(
        fixture.conductor.received().iter().any(failed) || fixture.conductor.next(SOON, failed).await.is_ok()
    );
    Ok(())
}

/// Trove 26 overwrites the first fault with its own text; this takes five seconds.
#[tokio::test(flavor = "multi_thread")]
async fn the_failure_of_a_creation_is_reported_again_and_with_a_new_id() -> Result<()> {
    let fixture = FixtureBuilder::default().set("heartbeat.assume_prepared", false).up().await?;
    let notification = of_action(&fixture, "DBaaSInstanceCreate");
    let wanted = notification["request_id"].clone();
    let order = json!({"packages": "", "memory_mb": 512, "device_path": "/dev/vdb", "ds_version": "3.5.0"});
    fixture.rpc.cast(&Request::new("prepare", order).version("1.1").notified(notification)).await?;
    let first = fault(&fixture, &wanted).await?;
    assert!(first.starts_with("prepare failed at stage \"check\""), "{first}");
    // The test conductor keeps all reports; the real one drops an id that it knows.
    assert_eq!(fault(&fixture, &wanted).await?, first);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn trove_12_gets_running_and_14_healthy() -> Result<()> {
    let status_after = async |args: Value| -> Result<ServiceStatus> {
        let builder =
            FixtureBuilder::default().set("heartbeat.assume_prepared", false).set("heartbeat.interval", 1);
        let fixture = builder.up().await?;
        fixture.must_cast("prepare", args).await?;
        let is_up =
            |status: &ServiceStatus| matches!(status, ServiceStatus::Running | ServiceStatus::Healthy);
        let up = |cast: &ConductorCast| matches!(cast, ConductorCast::Heartbeat { status: Some(status), .. } if is_up(status));
        match fixture.conductor.next(SOON, up).await? {
            ConductorCast::Heartbeat { status: Some(status), .. } => Ok(status),
            other => unreachable!("{other:?}"),
        }
    };
    let old = json!({"packages": "", "memory_mb": 512, "mount_point": "/var/lib/couchdb"});
    let mut new = old.clone();
    new["ds_version"] = "3.5.0".into();
    assert_eq!(status_after(old).await?, ServiceStatus::Running);
    assert_eq!(status_after(new).await?, ServiceStatus::Healthy);
    Ok(())
}
