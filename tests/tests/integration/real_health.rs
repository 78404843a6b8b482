//! Health, room and causes on a real CouchDB (`COUCHDB_HOME`): a disk that fills up, and a changed node
//! name.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use trove_couchdb_tests::couch::Method;
use trove_couchdb_tests::local_fixture::{LocalFixture, LocalFixturePlan};
use trove_couchdb_tests::ports::PortBlock;
use trove_couchdb_tests::real_couch::{RealNode, RealPlan};
use trove_couchdb_tests::until::until;
use trove_couchdb_tests::web;

const VERSIONS: [&str; 2] = ["3.5", "3.3"];

/// CouchDB's own compactions are off, so that the agent's are seen.
const NO_SMOOSH: &str = "[smoosh]\ndb_channels =\nview_channels =\n";

fn plan(node: &RealNode) -> LocalFixturePlan {
    let plan = LocalFixturePlan::default().on(node).set("heartbeat.interval", 1).set("rpc.call_patience", 1);
    plan.set("couchdb.write_check_interval", 0.2).set("room.interval", 0.2)
}

async fn couchdb(fixture: &LocalFixture) -> Result<Value> {
    Ok(fixture.call("get_agent_status", json!({})).await?["couchdb"].clone())
}

async fn becomes(fixture: &LocalFixture, state: &str) -> Result<String> {
    let reached = until(state, async || Ok(couchdb(fixture).await?["state"] == state)).await;
    let seen = couchdb(fixture).await?;
    reached.with_context(|| format!("{seen}\n{}", fixture.agent.logs()))?;
    Ok(couchdb(fixture).await?["reason"].as_str().unwrap_or_default().to_owned())
}

async fn refused(fixture: &LocalFixture, method: &str, args: Value) -> String {
    fixture.call(method, args).await.unwrap_err().to_string()
}

/// Adds versions of one large document, of which only the last is in use.
async fn bloat(node: &RealNode, database: &str, mib: usize) -> Result<()> {
    let path = format!("/{database}/doc");
    let mut rev = None;
    for number in 0..mib {
        // CouchDB compresses its files.
        let filling = hex::encode((0..1 << 19).map(|_| rand::random::<u8>()).collect::<Vec<_>>());
        let document = match &rev {
            None => json!({"number": number, "filling": filling}),
            Some(rev) => json!({"number": number, "filling": filling, "_rev": rev}),
        };
        rev = Some(node.admin_request(Method::PUT, &path, Some(&document)).await?["rev"].clone());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_write_check_leaves_no_trace() -> Result<()> {
    for version in VERSIONS {
        let Some(node) = RealPlan::default().version(version).up().await? else { continue };
        let ports = PortBlock::reserve()?;
        let address = format!("127.0.0.1:{}", ports.port(0));
        let fixture = plan(&node).set("metrics.listen", address.as_str()).up().await?;
        becomes(&fixture, "healthy").await?;
        let trace = async || {
            let info = node.admin_request(Method::GET, "/_users", None).await?;
            let changes = node.admin_request(Method::GET, "/_users/_changes", None).await?;
            // The sequences of single changes differ from request to request.
            let rows = changes["results"].as_array().cloned().unwrap_or_default();
            let rows: Vec<_> = rows.iter().map(|row| (row["id"].clone(), row["changes"].clone())).collect();
            anyhow::Ok((info["update_seq"].clone(), info["doc_count"].clone(), rows))
        };
        let checks = async || {
            let text = web::get_tcp(&address, "/metrics").await?.body;
            let count = |line: &str| {
                let count = line
                    .strip_prefix(r#"trove_couchdb_agent_couchdb_requests_total{endpoint="write_check","#)?;
                count.strip_prefix(r#"status="201"} "#)?.parse::<u64>().ok()
            };
            anyhow::Ok(text.lines().find_map(count).unwrap_or_default())
        };
        let (before, so_far) = (trace().await?, checks().await?);
        until("further checks", async || Ok(checks().await? >= so_far + 5)).await?;
        assert_eq!(trace().await?, before, "{version}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_named_and_a_deletion_makes_room() -> Result<()> {
    for version in VERSIONS {
        let Some(node) = RealPlan::default().version(version).disk_mib(48).up().await? else { continue };
        let fixture = plan(&node).set("couchdb.min_free_mib", 4).up().await?;
        becomes(&fixture, "healthy").await?;
        fixture.databases(&["shop"]).await?;
        bloat(&node, "shop", 8).await?;
        let disk = node.disk()?;
        disk.fill();
        let place = node.data_dir().display().to_string();
        let reason = becomes(&fixture, "degraded").await?;
        assert!(reason.contains(&place) && reason.contains("has 0 MiB free"), "{version}: {reason}");
        let create = json!({"databases": [{"_name": "new"}]});
        let users = json!({"users": [{"_name": "al", "_password": "pw", "_databases": []}]});
        for (method, args) in [("create_database", create), ("create_user", users)] {
            let error = refused(&fixture, method, args).await;
            assert!(error.contains(&place) && error.contains("0 MiB free"), "{version} {method}: {error}");
        }
        fixture.call("delete_database", json!({"database": {"_name": "shop"}})).await?;
        let (status, _) = node.client()?.get("/shop", Some(node.admin())).await?;
        assert_eq!(status.as_u16(), 404, "{version}");
        becomes(&fixture, "healthy").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_compacts_before_the_disk_is_full() -> Result<()> {
    for version in VERSIONS {
        let real = RealPlan::default().version(version).ini(NO_SMOOSH).disk_mib(160);
        let Some(node) = real.up().await? else { continue };
        let plan = plan(&node).set("room.warn_free_percent", 70).set("room.compact_free_percent", 60);
        let fixture = plan.set("room.compact_min_gain_mib", 8).up().await?;
        becomes(&fixture, "healthy").await?;
        fixture.databases(&["shop", "lean"]).await?;
        bloat(&node, "lean", 3).await?;
        bloat(&node, "shop", 70).await?;
        let said =
            async || Ok::<_, anyhow::Error>(couchdb(&fixture).await?["room"].as_str().map(str::to_owned));
        until("the compaction", async || {
            let is_over = fixture.agent.logs().contains("A database was compacted.");
            Ok(is_over && said().await?.is_none())
        })
        .await?;
        let size = node.admin_request(Method::GET, "/shop", None).await?["sizes"]["file"].clone();
        assert!(size.as_u64().context("a size")? < 10 << 20, "{version}: {size}");
        let document = node.admin_request(Method::GET, "/shop/doc", None).await?;
        assert_eq!(document["number"], 69, "{version}");
        assert!(!fixture.agent.logs().contains("database=\"lean\""), "{version}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_node_name_is_named_until_it_is_changed_back() -> Result<()> {
    for version in VERSIONS {
        // A single node would stop by itself soon after its start.
        let real = RealPlan::default().version(version).ini("[couchdb]\nsingle_node = false");
        let Some(mut node) = real.start()? else { continue };
        until("it answers", async || {
            Ok(node.client()?.get("/_up", None).await.is_ok_and(|(status, _)| status.is_success()))
        })
        .await?;
        for database in ["/_users", "/_replicator"] {
            node.admin_request(Method::PUT, database, None).await?;
        }
        let fixture = plan(&node).up().await?;
        becomes(&fixture, "healthy").await?;
        fixture.databases(&["shop"]).await?;
        let old = node.node_name();
        for renamed in [true, false] {
            node.stop().await?;
            becomes(&fixture, "down").await?;
            node.rename();
            node.spawn_again()?;
            if renamed {
                let reason = becomes(&fixture, "degraded").await?;
                let told = format!("has changed to {}, and its databases belong to {old}", node.node_name());
                assert!(reason.contains(&told) && reason.contains(&format!("-name {old}")), "{reason}");
                let access = json!({"username": "al", "hostname": "%", "databases": ["shop"]});
                let error = refused(&fixture, "grant_access", access).await;
                assert!(error.contains(&told), "{version}: {error}");
            } else {
                becomes(&fixture, "healthy").await?;
            }
        }
    }
    Ok(())
}
