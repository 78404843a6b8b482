//! `root`: a server administrator that can be enabled and disabled.

use anyhow::Result;
use serde_json::json;
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::shared_server::root_alone;

fn root(password: &str) -> Credentials {
    Credentials::new("root", password)
}

/// The harness rejects unencrypted replies if there is a key. Trove's own serializer accepts them.
///
/// Mutation: peer-in-clear-only (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_given_password_holds_and_another_replaces_it() -> Result<()> {
    let fixture = FixtureBuilder::default().encrypted().up().await?;
    let _alone = root_alone(&fixture.couch).await;
    fixture.call("disable_root", json!({})).await?;
    assert_eq!(fixture.call("is_root_enabled", json!({})).await?, false);
    for password in ["gïven, 'quoted' and long enough", "-pbkdf2-looks,like,1"] {
        let answer = fixture.call("enable_root_with_password", json!({"root_password": password})).await?;
        assert_eq!(
            answer,
            json!({"_name": "root", "_host": "%", "_password": password, "_databases": [], "_is_root": true})
        );
        assert!(fixture.client.logs_in(&root(password)).await?, "{password}");
        let (status, _) = fixture.client.get("/_all_dbs", Some(&root(password))).await?;
        assert!(status.is_success(), "root is a server administrator");
    }
    assert!(fixture.client.refuses(&root("gïven, 'quoted' and long enough")).await?);
    assert_eq!(fixture.call("is_root_enabled", json!({})).await?, true);
    fixture.call("disable_root", json!({})).await?;
    assert_eq!(fixture.call("is_root_enabled", json!({})).await?, false);
    fixture.call("disable_root", json!({})).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_password_each_call_makes_a_strong_one() -> Result<()> {
    let fixture = Fixture::up().await?;
    let _alone = root_alone(&fixture.couch).await;
    let mut passwords = Vec::new();
    for (method, args) in [
        ("enable_root", json!({})),
        ("enable_root_with_password", json!({"root_password": null})),
        ("enable_root_with_password", json!({})),
    ] {
        let answer = fixture.call(method, args).await?;
        let password = answer["_password"].as_str().unwrap().to_owned();
        assert!(password.len() >= 20 && !passwords.contains(&password));
        assert!(fixture.client.logs_in(&root(&password)).await?);
        passwords.push(password);
    }
    fixture.call("disable_root", json!({})).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_password_is_refused_and_changes_nothing() -> Result<()> {
    let fixture = Fixture::up().await?;
    let _alone = root_alone(&fixture.couch).await;
    fixture.call("disable_root", json!({})).await?;
    let error = fixture.call("enable_root_with_password", json!({"root_password": ""})).await.unwrap_err();
    assert!(error.to_string().contains("password"), "{error}");
    assert_eq!(fixture.call("is_root_enabled", json!({})).await?, false);
    Ok(())
}
