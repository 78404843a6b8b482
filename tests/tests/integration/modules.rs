//! Modules: `ping` answers, others are refused in their result, and all survive a restart.

use anyhow::Result;
use in_memory_couchdb::Options;
use serde_json::{Value, json};
use trove_couchdb_tests::bus::{CallError, Request};
use trove_couchdb_tests::fixture::{Fixture, FixturePlan};

use super::{full_disk::Disk, guest_logs::restart};

fn plan() -> FixturePlan {
    FixturePlan::default().in_memory(Options::default())
}

/// As trove-api sends it (captured in `flows/module-apply.json`); the contents are `message=Hello`.
pub fn module(id: &str, kind: &str) -> Value {
    json!({"module": {
        "id": id, "name": format!("name of {id}"), "type": kind, "description": null, "tenant_id": "t", "datastore_id": null,
        "datastore_version_id": null, "auto_apply": false, "priority_apply": false, "apply_order": 5, "is_admin": true,
        "md5": "8bc258abe59ea362e3f432bad53c4df2", "visible": true, "created": "2026-11-23T07:57:41.781963",
        "updated": "2026-11-23T07:57:41.782091", "tenant": "t", "datastore": "all", "datastore_version": "all",
        "live_update": false, "contents": "bWVzc2FnZT1IZWxsbwo=",
    }})
}

async fn listed(fixture: &Fixture, is_admin: bool, contents: bool) -> Result<Vec<Value>, CallError> {
    let mut request = Request::new("module_list", json!({"include_contents": contents}));
    request.context.insert("is_admin".to_owned(), json!(is_admin));
    Ok(fixture.bus.request(&request).await?.as_array().unwrap().clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_answers_and_other_types_say_why_not() -> Result<()> {
    let mut fixture = plan().encrypted().up().await?;
    assert_eq!(listed(&fixture, true, true).await?, Vec::<Value>::new());
    let modules = json!({"modules": [module("m1", "ping"), module("m2", "new_relic_license")]});
    let results = fixture.call("module_apply", modules).await?;
    let mut first = results[0].clone();
    for time in ["created", "updated"] {
        assert_eq!(first[time].as_str().unwrap().len(), 22, "{first}");
        first[time] = Value::Null;
    }
    assert_eq!(
        first,
        json!({
            "type": "ping", "name": "name of m1", "datastore": "all", "datastore_version": "all", "tenant": "t", "id": "m1",
            "md5": "8bc258abe59ea362e3f432bad53c4df2", "status": "OK", "message": "Hello", "created": null, "updated": null,
            "removed": null, "auto_apply": false, "visible": true, "is_admin": true, "contents": null,
        })
    );
    assert_eq!(results[1]["status"], "ERROR");
    let reason = results[1]["message"].as_str().unwrap();
    assert!(reason.contains("modules of the type ping only"), "{reason}");

    restart(&mut fixture).await?;
    let found = listed(&fixture, true, true).await?;
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|one| one["contents"] == "bWVzc2FnZT1IZWxsbwo="));
    // Trove's own words, for a user who may not see what is in it.
    let found = listed(&fixture, false, true).await?;
    assert!(found.iter().all(|one| one["contents"].as_str().unwrap().starts_with("TXVzdCBiZSBhZG1pbi")));
    assert_eq!(listed(&fixture, false, false).await?[0]["contents"], Value::Null);

    let created = results[0]["created"].clone();
    let again = fixture.call("module_apply", json!({"modules": [module("m1", "ping")]})).await?;
    assert_eq!(again[0]["created"], created, "applied once more");
    for _ in 0..2 {
        assert_eq!(
            fixture.call("module_remove", json!({ "module": module("m1", "ping") })).await?,
            Value::Null
        );
    }
    let found = listed(&fixture, true, false).await?;
    assert_eq!(found.iter().map(|one| one["id"].clone()).collect::<Vec<_>>(), ["m2"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_modules_stay_in_their_directory() -> Result<()> {
    let fixture = plan().up().await?;
    for id in ["../../prepared", "a/b", "", ".", "x\0", &"x".repeat(65)] {
        let error = fixture.call("module_apply", json!({"modules": [module(id, "ping")]})).await.unwrap_err();
        assert!(error.to_string().contains("`modules[0].module.id` must be the id of a module"), "{error}");
        let error = fixture.call("module_remove", json!({"module": module(id, "ping")})).await.unwrap_err();
        assert!(error.to_string().contains("`module.module.id` must be the id of a module"), "{error}");
    }
    let mut odd = module("odd", "ping");
    odd["module"]["name"] = json!("../../<script>\n\u{202e}");
    odd["module"]["contents"] = json!("not base64!");
    let mut large = module("large", "ping");
    large["module"]["contents"] = json!("A".repeat(100_000));
    let results = fixture.call("module_apply", json!({"modules": [odd, large]})).await?;
    assert_eq!(results[0]["message"], "The contents are not Base64");
    assert_eq!(results[1]["message"], "The contents have more than 65536 bytes");
    let mut names: Vec<_> = std::fs::read_dir(fixture.agent.directory().join("state/modules"))?
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["large.json", "odd.json"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_state_directory_fails_and_another_guests_modules_are_not_ours() -> Result<()> {
    let Some(disk) = Disk::of_mib(8)? else { return Ok(()) };
    let fixture = plan().set("guest.state_dir", disk.path().display().to_string()).up().await?;
    fixture.call("module_apply", json!({"modules": [module("m1", "ping")]})).await?;
    let file = disk.path().join("modules/m1.json");
    let foreign = std::fs::read_to_string(&file)?.replace(&fixture.id, "another");
    std::fs::write(disk.path().join("modules/m2.json"), foreign.replace("\"m1\"", "\"m2\""))?;
    std::fs::write(disk.path().join("modules/m3.json"), "{")?;
    assert_eq!(listed(&fixture, true, false).await?.len(), 1);
    disk.fill();
    let error = fixture.call("module_apply", json!({"modules": [module("m4", "ping")]})).await.unwrap_err();
    assert!(error.to_string().contains("FilesystemError: a module can't be stored"), "{error}");
    assert_eq!(listed(&fixture, true, false).await?.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_machine_and_the_agent_are_described_as_trove_reads_them() -> Result<()> {
    let fixture = plan().up().await?;
    let machine = fixture.call("get_hwinfo", json!({})).await?;
    assert!(machine["mem_total"].as_u64().unwrap() > 100_000 && machine["num_cpus"].as_u64().unwrap() >= 1);
    let found = fixture.call("get_diagnostics", json!({})).await?;
    // The members that trove/extensions/mgmt/instances/views.py reads.
    for member in ["threads", "fd_size", "vm_size", "vm_peak", "vm_rss", "vm_hwm"] {
        assert!(found[member].as_u64().unwrap() >= 1, "{member}");
    }
    assert_eq!(found["version"], env!("CARGO_PKG_VERSION"));
    Ok(())
}
