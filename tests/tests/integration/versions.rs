//! One pass of everything on each CouchDB from 1.x to 3.5, and on that of `COUCHDB_URL`.

use anyhow::Result;
use in_memory_couchdb::{Options, Version};
use serde_json::{Value, json};
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::shared_server::root_alone;
use trove_couchdb_tests::stage::{Plan, login};

async fn everything_on(plan: Plan) -> Result<()> {
    let stage = plan.encrypted().up().await?;
    let (db, al, zoe) = (stage.name("db"), stage.name("al"), stage.name("zoe"));
    stage.databases(&[&db]).await?;
    let user = stage.user(&al, &[&db]).await?;
    assert!(stage.client.reads(&db, Some(&user)).await?, "the hash is one that this server takes");
    assert!(!stage.client.reads(&db, None).await?);
    let change = json!({"users": [{"name": al, "host": "%", "password": "second"}]});
    stage.must_cast("change_passwords", change).await?;
    assert!(stage.client.logs_in(&Credentials::new(&al, "second")).await?);
    let rename = json!({"username": al, "hostname": "%", "user_attrs": {"name": zoe, "password": "third"}});
    stage.must_cast("update_attributes", rename).await?;
    let zoe_login = Credentials::new(&zoe, "third");
    assert!(stage.client.reads(&db, Some(&zoe_login)).await?);
    for (method, name) in [("list_users", &zoe), ("list_databases", &db)] {
        // A real server holds the users and databases of other tests, too.
        let page = stage.call(method, json!({"limit": 1, "marker": name, "include_marker": true})).await?;
        assert_eq!(page[0][0]["_name"], name.as_str());
        if stage.couch.memory().is_some() {
            assert_eq!(
                stage.call(method, json!({"limit": 20, "marker": null})).await?,
                json!([page[0], null])
            );
        }
    }
    stage.revoke(&zoe, &db).await?;
    assert!(!stage.client.reads(&db, Some(&zoe_login)).await? && !stage.anonymous_writes(&db).await?);

    let _alone = root_alone(&stage.couch).await;
    let root = stage.call("enable_root", json!({})).await?;
    let root = Credentials::new("root", root["_password"].as_str().unwrap());
    assert!(stage.client.logs_in(&root).await?, "the hash is not taken for the password itself");
    assert_eq!(stage.call("is_root_enabled", json!({})).await?, true);
    stage.call("disable_root", json!({})).await?;
    assert!(stage.client.refuses(&root).await?);
    stage.must_cast("delete_user", json!({"user": {"_name": zoe}})).await?;
    assert_eq!(stage.call("get_user", json!({"username": zoe, "hostname": "%"})).await?, Value::Null);
    stage.must_cast("delete_database", json!({"database": {"_name": db}})).await?;
    assert!(stage.client.refuses(&login(&al)).await?);
    Ok(())
}

macro_rules! on {
    ($($name:ident: $version:ident;)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() -> Result<()> {
            everything_on(Plan::default().in_memory(Options::new(Version::$version))).await
        })*
    };
}

on! {
    couchdb_1_6: V1;
    couchdb_2_3: V2;
    couchdb_3_3: V3_3;
    couchdb_3_4: V3_4;
    couchdb_3_5: V3_5;
}

/// Without `COUCHDB_URL` this is another pass on the newest.
#[tokio::test(flavor = "multi_thread")]
async fn couchdb_of_the_environment() -> Result<()> {
    everything_on(Plan::default()).await
}
