//! Compares the in-memory CouchDB with transcripts of real 3.5.0, 3.4.3 and 3.3.3 servers.
//!
//! Every recorded request is sent again, and status and body are compared. Endpoints that are not imitated
//! answer 501 and count as skipped, which is an error for endpoints that the agent calls. The lists are
//! printed; see them with `--no-capture`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;
mod replay;

use replay::{load, replay};

/// Exchanges that cannot agree: scenario, positions (of requests, from 0) and the reason. Remove an entry
/// that agrees.
const ALLOWED: &[(&str, &[usize], &str)] = &[
    ("databases", &[170], "GET /_dbs: a node's own table of shards, which is no database here"),
    ("users_self_service", &[45], "an anonymous update of a user crashes a real server's own check (500)"),
];

/// The number of exchanges that were replayed.
async fn conforms(server: &str) -> usize {
    let transcripts = load(server);
    let reports =
        transcripts.iter().map(|(name, transcript)| async move { (name, replay(name, transcript).await) });
    let mut wrong = Vec::new();
    let mut total = 0;
    for (name, report) in futures_util::future::join_all(reports).await {
        let skipped: usize = report.skipped.values().sum();
        println!("{server} {name}: {} replayed, {skipped} skipped", report.replayed);
        for (endpoint, times) in &report.skipped {
            println!("    skipped {times:>3} × {endpoint}");
        }
        total += report.replayed;
        let allowed = ALLOWED
            .iter()
            .find(|(scenario, ..)| scenario == name)
            .map_or(&[][..], |(_, positions, _)| positions);
        let failed: Vec<usize> = report.failures.iter().map(|(position, _)| *position).collect();
        let unexpected = report.failures.iter().filter(|(position, _)| !allowed.contains(position));
        wrong.extend(unexpected.map(|(position, text)| format!("{server} {name} #{position} {text}")));
        let stale = allowed.iter().filter(|position| !failed.contains(position));
        wrong.extend(
            stale.map(|position| format!("{server} {name} #{position} agrees: take it off the list")),
        );
    }
    assert!(wrong.is_empty(), "{} of {total} differ:\n{}", wrong.len(), wrong.join("\n"));
    total
}

#[tokio::test(flavor = "multi_thread")]
async fn couchdb_3_5_0() {
    assert!(conforms("3.5.0").await > 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn couchdb_3_4_3() {
    assert!(conforms("3.4.3").await > 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn couchdb_3_3_3() {
    assert!(conforms("3.3.3").await > 500);
}

/// Servers with a full disk and with a changed node name.
#[tokio::test(flavor = "multi_thread")]
async fn servers_in_trouble() {
    for server in ["trouble-3.5", "trouble-3.3"] {
        assert!(conforms(server).await > 30, "{server}");
    }
}
