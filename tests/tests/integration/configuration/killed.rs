//! The agent is killed at every request of a change. The next agent completes the same command.

use anyhow::Result;
use in_memory_couchdb::{Fault, InMemoryCouch, Options, Rule};
use serde_json::json;
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::rpc::Request;
use trove_couchdb_tests::until::{until, until_hit};

use super::{OPTIONS, attach, detach, group, put, values};

/// Requests of an attach and of a detach at which the agent is killed: `log.level` has a value before, the others
/// have none.
const POINTS: [(&str, &str, &str); 5] = [
    ("GET", "GET", "/_membership"),
    ("GET", "GET", "/_node/*/_config/log/level"),
    ("PUT", "DELETE", "/_node/*/_config/chttpd_auth/timeout"),
    ("PUT", "PUT", "/_node/*/_config/log/level"),
    ("PUT", "DELETE", "/_node/*/_config/chttpd_auth_cache/max_objects"),
];

/// Kills the agent at a request, before or after its effect, and starts the next one.
async fn killed_at(fixture: &mut Fixture, rule: Rule, request: &Request) -> Result<()> {
    let memory: &InMemoryCouch = fixture.memory()?;
    memory.faults().add(rule.times(1));
    let call = fixture.rpc.encode_call(request);
    let reply = fixture.rpc.expect_reply(&call);
    fixture.rpc.send(&call).await?;
    until_hit(fixture.memory()?).await?;
    fixture.agent.kill9()?;
    fixture.memory()?.faults().clear();
    fixture.agent.start_again()?;
    reply.within(trove_couchdb_tests::until::HUNG).await?;
    Ok(())
}

/// Mutation: configuration-is-recorded-late (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn an_attach_and_a_detach_are_completed_by_the_next_agent() -> Result<()> {
    for (attach_with, detach_with, path) in POINTS {
        for takes_effect in [false, true] {
            let mut fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
            put(&fixture.couch, "log.level", "notice").await?;
            let before = values(&fixture.couch, &OPTIONS).await?;
            let rule = |method: &str| {
                let rule = Rule::new(method, path, Fault::Hang);
                if takes_effect { rule.after_effect() } else { rule }
            };
            let attached = Request::new("update_overrides", json!({"overrides": group(), "remove": false}));
            killed_at(&mut fixture, rule(attach_with), &attached).await?;
            assert_eq!(values(&fixture.couch, &OPTIONS).await?, ["warning", "1200", "500"], "{path}");
            let detached = Request::new("update_overrides", json!({"overrides": {}, "remove": true}));
            killed_at(&mut fixture, rule(detach_with), &detached).await?;
            assert_eq!(values(&fixture.couch, &OPTIONS).await?, before, "{path}");
        }
    }
    Ok(())
}

/// What was cut short and never sent again is taken back by the next change.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_given_up_is_taken_back_by_the_next_one() -> Result<()> {
    let mut fixture =
        FixtureBuilder::default().in_memory(Options::default()).set("rpc.call_retry_timeout", 1).up().await?;
    let before = values(&fixture.couch, &OPTIONS).await?;
    attach(&fixture, &json!({"cluster.q": 4})).await?;
    let path = "/_node/*/_config/log/level";
    fixture.memory()?.faults().add(Rule::new("PUT", path, Fault::Cut));
    attach(&fixture, &group()).await.unwrap_err();
    fixture.memory()?.faults().clear();
    fixture.agent.kill9()?;
    fixture.agent.start_again()?;
    until("a login", async || Ok(detach(&fixture).await.is_ok())).await?;
    assert_eq!(values(&fixture.couch, &OPTIONS).await?, before);
    assert_eq!(values(&fixture.couch, &["cluster.q"]).await?, [serde_json::Value::Null]);
    Ok(())
}
