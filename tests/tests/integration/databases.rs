//! Databases: created as closed, listed, deleted.

use anyhow::Result;
use in_memory_couchdb::{Options, Version};
use serde_json::{Value, json};
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};

fn names(page: &Value) -> Vec<String> {
    page[0].as_array().unwrap().iter().map(|db| db["_name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_database_is_closed_and_an_old_one_stays_as_it_is() -> Result<()> {
    let fixture = FixtureBuilder::default().encrypted().up().await?;
    let db = fixture.name("db");
    fixture.databases(&[&db, &db]).await?;
    assert!(!fixture.client.reads(&db, None).await?);
    assert!(!fixture.anonymous_writes(&db).await?);
    let object = json!({"members": {"names": ["somebody"]}, "mine": 1});
    fixture.set_security(&db, &object).await?;
    fixture.databases(&[&db]).await?;
    assert_eq!(fixture.security(&db).await?, object);
    Ok(())
}

/// Mutation: new-database-open (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn no_version_and_no_default_makes_a_public_database() -> Result<()> {
    let everyone = |version| Options::new(version).set("couchdb", "default_security", "everyone");
    for options in [everyone(Version::V3_5), Options::new(Version::V2), Options::new(Version::V1)] {
        let version = options.version;
        let fixture =
            FixtureBuilder::default().in_memory(options).set("couchdb.sha1_iterations", 10).up().await?;
        let db = fixture.name("db");
        fixture.databases(&[&db]).await?;
        assert!(!fixture.client.reads(&db, None).await?, "{version:?}");
        assert!(!fixture.anonymous_writes(&db).await?, "{version:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_and_reserved_names_are_refused_with_their_rule() -> Result<()> {
    let fixture = Fixture::up().await?;
    let good = fixture.name("good");
    let long = format!("l{}", "o".repeat(238));
    for bad in [
        "_users",
        "_replicator",
        "_global_changes",
        "_new",
        "Upper",
        "1st",
        "",
        "a b",
        "a.couch",
        "a//b",
        "trail/",
        "a/_users",
        "ä",
        "../x",
        "a?x",
        "a#x",
        "a%2Fb",
        &long,
    ] {
        for method in ["create_database", "delete_database"] {
            let args = match method {
                "create_database" => json!({"databases": [{"_name": good}, {"_name": bad}]}),
                _ => json!({"database": {"_name": bad}}),
            };
            let error = fixture.cast(method, args).await?.unwrap_err();
            assert!(error.len() > 20, "{method} {bad:?}: {error}");
        }
    }
    let (status, _) = fixture.client.get(&format!("/{good}"), Some(fixture.couch.admin())).await?;
    assert_eq!(status.as_u16(), 404, "a refused command creates nothing");
    let (status, _) = fixture.client.get("/_users", Some(fixture.couch.admin())).await?;
    assert!(status.is_success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hide_system_databases() -> Result<()> {
    let fixture = FixtureBuilder::default().set("couchdb.ignore_dbs", vec!["hidden".to_owned()]).up().await?;
    let mut wanted: Vec<String> = (0..5).map(|number| fixture.name(&format!("page{number}"))).collect();
    wanted.sort();
    fixture.databases(&wanted.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let all = fixture.call("list_databases", json!({})).await?;
    assert!(all[1].is_null());
    assert!(names(&all).iter().all(|name| !name.starts_with('_') && name != "hidden"));
    assert_eq!(all[0][0], json!({"_name": names(&all)[0], "_collate": null, "_character_set": null}));

    let first = fixture
        .call("list_databases", json!({"limit": 2, "marker": wanted[0], "include_marker": true}))
        .await?;
    assert_eq!(names(&first)[0], wanted[0]);
    let mut seen = names(&first);
    let mut marker = first[1].clone();
    while !marker.is_null() {
        let page = fixture
            .call("list_databases", json!({"limit": 2, "marker": marker, "include_marker": false}))
            .await?;
        seen.extend(names(&page));
        marker = page[1].clone();
    }
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
    assert_eq!(seen.iter().filter(|name| wanted.contains(name)).count(), 5);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_missing_database_is_an_error() -> Result<()> {
    let fixture = Fixture::up().await?;
    let db = fixture.name("db");
    let error = fixture.cast("delete_database", json!({"database": {"_name": db}})).await?.unwrap_err();
    assert!(error.contains(&db) && error.contains("does not exist"), "{error}");
    fixture.databases(&[&db]).await?;
    fixture.must_cast("delete_database", json!({"database": {"_name": db}})).await?;
    assert!(!names(&fixture.call("list_databases", json!({})).await?).contains(&db));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_size_of_the_file_system_is_the_real_one() -> Result<()> {
    let fixture = Fixture::up().await?;
    let stats = fixture.call("get_filesystem_stats", json!({"fs_path": "/var/lib/postgresql"})).await?;
    let output = std::process::Command::new("df")
        .args(["-B1", "--output=size"])
        .arg(fixture.agent.directory())
        .output()?;
    let size: f64 = String::from_utf8(output.stdout)?.lines().nth(1).unwrap().trim().parse()?;
    let total = stats["total"].as_f64().unwrap();
    assert!((total - size / 1_073_741_824.0).abs() < 0.02, "{stats} against {size}");
    assert!(stats["used"].is_f64() && stats["used"].as_f64().unwrap() <= total);
    Ok(())
}
