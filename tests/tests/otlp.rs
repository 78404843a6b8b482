//! Spans of commands in a collector of OpenTelemetry. `make test-otlp`, as it wants an agent that was built with it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use anyhow::{Context, Result};
use in_memory_couchdb::Options;
use serde_json::json;
use trove_couchdb_tests::collector::{CollectedSpan, Collector};
use trove_couchdb_tests::local_stage::{LocalPlan, LocalStage};

async fn stage(collector: &Collector) -> Result<LocalStage> {
    LocalPlan::default().in_memory(Options::default()).set("trace.otlp_endpoint", collector.url()).up().await
}

fn named<'a>(spans: &'a [CollectedSpan], name: &str) -> &'a CollectedSpan {
    let found = spans.iter().find(|span| span.name == name);
    found.unwrap_or_else(|| panic!("no span {name} among {spans:#?}"))
}

fn children<'a>(spans: &'a [CollectedSpan], parent: &CollectedSpan) -> Vec<&'a CollectedSpan> {
    spans.iter().filter(|span| span.parent == parent.id && span.trace == parent.trace).collect()
}

/// What is still unsent when the agent is told to end is sent before it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_a_trace_with_its_requests_and_holds_no_name_or_password() -> Result<()> {
    let collector = Collector::start().await?;
    let mut stage = stage(&collector).await?;
    let (db, user) = (stage.name("planteddb"), stage.name("planteduser"));
    stage.databases(&[&db]).await?;
    let credentials = stage.user(&user, &[&db]).await?;
    let missing = json!({"username": stage.name("nobody"), "hostname": "%"});
    stage.call("list_access", missing).await.expect_err("there is no such user");
    assert!(stage.agent.terminate().await?.success());

    let spans = collector.spans();
    let create = named(&spans, "create_user");
    assert!(create.parent.is_empty() && !create.failed, "{create:#?}");
    assert_eq!(create.resource["service.name"], "trove-couchdb-agent");
    assert!(!create.resource["service.instance.id"].is_empty());
    assert_eq!(create.attributes["rpc.method"], "create_user");
    assert_eq!(create.attributes["outcome"], "ok");
    let parts = children(&spans, create);
    for part in ["turn", "attempt", "answer"] {
        assert_eq!(parts.iter().filter(|span| span.name == part).count(), 1, "{part} of {parts:#?}");
    }
    let attempt = parts.iter().find(|span| span.name == "attempt").context("no attempt")?;
    let requests = children(&spans, attempt);
    let written = requests.iter().find(|span| {
        span.name == "security"
            && span.attributes["http.request.method"] == "PUT"
            && span.attributes["outcome"] == "200"
    });
    assert!(written.is_some(), "{requests:#?}");

    let refused = named(&spans, "list_access");
    assert!(refused.failed && refused.attributes["outcome"] != "ok", "{refused:#?}");
    assert_ne!(refused.trace, create.trace);

    let bodies = collector.bodies().concat();
    for planted in [db.as_str(), user.as_str(), credentials.password.as_str()] {
        assert!(!bodies.windows(planted.len()).any(|part| part == planted.as_bytes()), "{planted} was sent");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_disturbs_nobody() -> Result<()> {
    let collector = Collector::start().await?;
    let url = collector.url().to_owned();
    drop(collector);
    let plan = LocalPlan::default().in_memory(Options::default());
    let mut stage = plan.set("trace.otlp_endpoint", url).up().await?;
    let db = stage.name("db");
    stage.databases(&[&db]).await?;
    stage.user(&stage.name("al"), &[&db]).await?;
    assert!(stage.agent.terminate().await?.success());
    let said = stage.agent.logs();
    assert!(said.contains("Spans are lost: the collector can't be reached."), "{said}");
    Ok(())
}
