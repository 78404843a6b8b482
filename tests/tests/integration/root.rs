//! `root`: a server administrator that is switched on and off.

use anyhow::Result;
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::stage::{Plan, Stage};

/// A real server has one root for all tests of this process.
pub(crate) async fn alone(stage: &Stage) -> Option<MutexGuard<'static, ()>> {
    static ROOT: Mutex<()> = Mutex::const_new(());
    if stage.couch.memory().is_some() { None } else { Some(ROOT.lock().await) }
}

async fn root_logs_in(stage: &Stage, password: &str) -> Result<bool> {
    stage.client.logs_in(&Credentials::new("root", password)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_password_holds_and_another_replaces_it() -> Result<()> {
    let stage = Plan::default().encrypted().up().await?;
    let _alone = alone(&stage).await;
    stage.call("disable_root", json!({})).await?;
    assert_eq!(stage.call("is_root_enabled", json!({})).await?, false);
    for password in ["gïven, 'quoted' and long enough", "-pbkdf2-looks,like,1"] {
        let root = stage.call("enable_root_with_password", json!({"root_password": password})).await?;
        assert_eq!(
            root,
            json!({"_name": "root", "_host": "%", "_password": password, "_databases": [], "_is_root": true})
        );
        assert!(root_logs_in(&stage, password).await?, "{password}");
        let (status, _) = stage.client.get("/_all_dbs", Some(&Credentials::new("root", password))).await?;
        assert!(status.is_success(), "root is a server administrator");
    }
    assert!(!root_logs_in(&stage, "gïven, 'quoted' and long enough").await?);
    assert_eq!(stage.call("is_root_enabled", json!({})).await?, true);
    stage.call("disable_root", json!({})).await?;
    assert_eq!(stage.call("is_root_enabled", json!({})).await?, false);
    stage.call("disable_root", json!({})).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_password_each_call_makes_a_strong_one() -> Result<()> {
    let stage = Stage::up().await?;
    let _alone = alone(&stage).await;
    let mut passwords = Vec::new();
    for (method, args) in [
        ("enable_root", json!({})),
        ("enable_root_with_password", json!({"root_password": null})),
        ("enable_root_with_password", json!({})),
    ] {
        let root = stage.call(method, args).await?;
        let password = root["_password"].as_str().unwrap().to_owned();
        assert!(password.len() >= 20 && !passwords.contains(&password));
        assert!(root_logs_in(&stage, &password).await?);
        passwords.push(password);
    }
    stage.call("disable_root", json!({})).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_password_is_refused_and_changes_nothing() -> Result<()> {
    let stage = Stage::up().await?;
    let _alone = alone(&stage).await;
    stage.call("disable_root", json!({})).await?;
    let error = stage.call("enable_root_with_password", json!({"root_password": ""})).await.unwrap_err();
    assert!(error.to_string().contains("password"), "{error}");
    assert_eq!(stage.call("is_root_enabled", json!({})).await?, false);
    Ok(())
}
