//! One pass over all commands on each CouchDB from 1.x to 3.5, and on that of `COUCHDB_URL`.

use anyhow::Result;
use in_memory_couchdb::{Options, Version};
use serde_json::{Value, json};
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::fixture::{FixtureBuilder, login};
use trove_couchdb_tests::shared_server::root_alone;

async fn everything_on(builder: FixtureBuilder) -> Result<()> {
    let fixture = builder.encrypted().up().await?;
    let (db, al, zoe) = (fixture.name("db"), fixture.name("al"), fixture.name("zoe"));
    fixture.databases(&[&db]).await?;
    let user = fixture.user(&al, &[&db]).await?;
    assert!(fixture.client.reads(&db, Some(&user)).await?, "the hash is one that this server takes");
    assert!(!fixture.client.reads(&db, None).await?);
    let change = json!({"users": [{"name": al, "host": "%", "password": "second"}]});
    fixture.must_cast("change_passwords", change).await?;
    assert!(fixture.client.logs_in(&Credentials::new(&al, "second")).await?);
    let rename = json!({"username": al, "hostname": "%", "user_attrs": {"name": zoe, "password": "third"}});
    fixture.must_cast("update_attributes", rename).await?;
    let zoe_login = Credentials::new(&zoe, "third");
    assert!(fixture.client.reads(&db, Some(&zoe_login)).await?);
    for (method, name) in [("list_users", &zoe), ("list_databases", &db)] {
        // A real server has users and databases of other tests, too.
        let page = fixture.call(method, json!({"limit": 1, "marker": name, "include_marker": true})).await?;
        assert_eq!(page[0][0]["_name"], name.as_str());
        if fixture.couch.memory().is_some() {
            assert_eq!(
                fixture.call(method, json!({"limit": 20, "marker": null})).await?,
                json!([page[0], null])
            );
        }
    }
    fixture.revoke(&zoe, &db).await?;
    assert!(!fixture.client.reads(&db, Some(&zoe_login)).await? && !fixture.anonymous_writes(&db).await?);

    let _alone = root_alone(&fixture.couch).await;
    let root = fixture.call("enable_root", json!({})).await?;
    let root = Credentials::new("root", root["_password"].as_str().unwrap());
    assert!(fixture.client.logs_in(&root).await?, "the hash is not taken for the password itself");
    assert_eq!(fixture.call("is_root_enabled", json!({})).await?, true);
    fixture.call("disable_root", json!({})).await?;
    assert!(fixture.client.refuses(&root).await?);
    fixture.must_cast("delete_user", json!({"user": {"_name": zoe}})).await?;
    assert_eq!(fixture.call("get_user", json!({"username": zoe, "hostname": "%"})).await?, Value::Null);
    fixture.must_cast("delete_database", json!({"database": {"_name": db}})).await?;
    assert!(fixture.client.refuses(&login(&al)).await?);
    Ok(())
}

macro_rules! on {
    ($($name:ident: $version:ident;)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() -> Result<()> {
            everything_on(FixtureBuilder::default().in_memory(Options::new(Version::$version))).await
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

/// Without `COUCHDB_URL` this is a second pass on the newest version.
#[tokio::test(flavor = "multi_thread")]
async fn couchdb_of_the_environment() -> Result<()> {
    everything_on(FixtureBuilder::default()).await
}
