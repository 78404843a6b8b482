//! `root`: a server administrator that is switched on and off.

use anyhow::Result;
use serde_json::json;
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::shared_server::root_alone;
use trove_couchdb_tests::stage::{Plan, Stage};

fn root(password: &str) -> Credentials {
    Credentials::new("root", password)
}

/// The harness takes no answer in clear where there is a key. Trove's own serializer would.
///
/// Mutation: peer-in-clear-only (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_given_password_holds_and_another_replaces_it() -> Result<()> {
    let stage = Plan::default().encrypted().up().await?;
    let _alone = root_alone(&stage.couch).await;
    stage.call("disable_root", json!({})).await?;
    assert_eq!(stage.call("is_root_enabled", json!({})).await?, false);
    for password in ["gïven, 'quoted' and long enough", "-pbkdf2-looks,like,1"] {
        let answer = stage.call("enable_root_with_password", json!({"root_password": password})).await?;
        assert_eq!(
            answer,
            json!({"_name": "root", "_host": "%", "_password": password, "_databases": [], "_is_root": true})
        );
        assert!(stage.client.logs_in(&root(password)).await?, "{password}");
        let (status, _) = stage.client.get("/_all_dbs", Some(&root(password))).await?;
        assert!(status.is_success(), "root is a server administrator");
    }
    assert!(stage.client.refuses(&root("gïven, 'quoted' and long enough")).await?);
    assert_eq!(stage.call("is_root_enabled", json!({})).await?, true);
    stage.call("disable_root", json!({})).await?;
    assert_eq!(stage.call("is_root_enabled", json!({})).await?, false);
    stage.call("disable_root", json!({})).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_password_each_call_makes_a_strong_one() -> Result<()> {
    let stage = Stage::up().await?;
    let _alone = root_alone(&stage.couch).await;
    let mut passwords = Vec::new();
    for (method, args) in [
        ("enable_root", json!({})),
        ("enable_root_with_password", json!({"root_password": null})),
        ("enable_root_with_password", json!({})),
    ] {
        let answer = stage.call(method, args).await?;
        let password = answer["_password"].as_str().unwrap().to_owned();
        assert!(password.len() >= 20 && !passwords.contains(&password));
        assert!(stage.client.logs_in(&root(&password)).await?);
        passwords.push(password);
    }
    stage.call("disable_root", json!({})).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_password_is_refused_and_changes_nothing() -> Result<()> {
    let stage = Stage::up().await?;
    let _alone = root_alone(&stage.couch).await;
    stage.call("disable_root", json!({})).await?;
    let error = stage.call("enable_root_with_password", json!({"root_password": ""})).await.unwrap_err();
    assert!(error.to_string().contains("password"), "{error}");
    assert_eq!(stage.call("is_root_enabled", json!({})).await?, false);
    Ok(())
}
