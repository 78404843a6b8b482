//! Spans of commands in an OpenTelemetry collector. `make test-otlp` runs it, because it requires an agent
//! built for it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use anyhow::{Context, Result};
use in_memory_couchdb::Options;
use serde_json::json;
use trove_couchdb_tests::certificates::{Authority, Wanted};
use trove_couchdb_tests::collector::{CollectedSpan, Collector};
use trove_couchdb_tests::local_fixture::{LocalFixture, LocalFixtureBuilder};
use trove_couchdb_tests::tls_front::TlsFront;

/// Long, because the machine may be busy.
const SOON: Duration = trove_couchdb_tests::until::HUNG;

async fn fixture(collector: &Collector) -> Result<LocalFixture> {
    // Spans bypass the environment's proxy: nothing listens at this one.
    let builder = LocalFixtureBuilder::default().variable("HTTP_PROXY", "http://127.0.0.1:1");
    builder.in_memory(Options::default()).set("trace.otlp_endpoint", collector.url()).up().await
}

fn named<'a>(spans: &'a [CollectedSpan], name: &str) -> &'a CollectedSpan {
    let found = spans.iter().find(|span| span.name == name);
    found.unwrap_or_else(|| panic!("no span {name} among {spans:#?}"))
}

fn children<'a>(spans: &'a [CollectedSpan], parent: &CollectedSpan) -> Vec<&'a CollectedSpan> {
    spans.iter().filter(|span| span.parent == parent.id && span.trace == parent.trace).collect()
}

/// On SIGTERM the agent sends the remaining spans before it exits.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_a_trace_with_its_requests_and_holds_no_name_or_password() -> Result<()> {
    let collector = Collector::start().await?;
    let mut fixture = fixture(&collector).await?;
    let (db, user) = (fixture.name("planteddb"), fixture.name("planteduser"));
    fixture.databases(&[&db]).await?;
    let credentials = fixture.user(&user, &[&db]).await?;
    let missing = json!({"username": fixture.name("nobody"), "hostname": "%"});
    fixture.call("list_access", missing).await.expect_err("there is no such user");
    fixture.call("delete_user", json!({"user": 7})).await.expect_err("no user is a number");
    assert!(fixture.agent.terminate().await?.success());

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
    assert!(refused.failed && refused.attributes["outcome"] == "failed", "{refused:#?}");
    assert_ne!(refused.trace, create.trace);
    // Its arguments are invalid, so it never ran.
    let refused = named(&spans, "delete_user");
    assert!(refused.failed && refused.attributes["outcome"] == "refused", "{refused:#?}");
    let parts: Vec<&str> = children(&spans, refused).iter().map(|span| span.name.as_str()).collect();
    assert_eq!(parts, ["answer"]);

    let bodies = collector.bodies().concat();
    for planted in [db.as_str(), user.as_str(), credentials.password.as_str()] {
        assert!(!bodies.windows(planted.len()).any(|part| part == planted.as_bytes()), "{planted} was sent");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_collector_disturbs_no_command() -> Result<()> {
    let collector = Collector::start().await?;
    let url = collector.url().to_owned();
    drop(collector);
    let builder = LocalFixtureBuilder::default().in_memory(Options::default());
    let mut fixture = builder.set("trace.otlp_endpoint", url).up().await?;
    let db = fixture.name("db");
    fixture.databases(&[&db]).await?;
    fixture.user(&fixture.name("al"), &[&db]).await?;
    assert!(fixture.agent.terminate().await?.success());
    let said = fixture.agent.logs();
    assert!(said.contains("Spans are lost: the collector can't be reached."), "{said}");
    Ok(())
}

/// The header is a secret: some collectors require a token in it.
#[tokio::test(flavor = "multi_thread")]
async fn over_https_with_a_token_in_a_header_and_only_to_whom_the_machine_trusts() -> Result<()> {
    const TOKEN: &str = "planted-token-9f31";
    let collector = Collector::start().await?;
    let (authority, _directory, trusted) = Authority::in_directory("the collector's")?;
    let (stranger, _, _) = Authority::in_directory("nobody's")?;
    let wanted = Wanted::server(&["localhost", "127.0.0.1"]);
    let front = TlsFront::start(collector.address(), &stranger.sign(&wanted)?, None).await?;
    let builder = LocalFixtureBuilder::default()
        .in_memory(Options::default())
        .set("trace.otlp_endpoint", format!("https://127.0.0.1:{}", front.port()))
        .set("log.filter", "trace")
        .variable("SSL_CERT_FILE", trusted.to_str().context("no UTF-8")?)
        .variable("OTEL_EXPORTER_OTLP_HEADERS", &format!("x-token={TOKEN}"))
        .variable("OTEL_BSP_SCHEDULE_DELAY", "50");
    let mut fixture = builder.up().await?;
    let name = fixture.name("first");
    fixture.databases(&[&name]).await?;
    fixture.agent.wait_log("Spans are lost: the collector can't be reached.", SOON).await?;
    assert!(collector.heads().is_empty(), "sent to a stranger");

    front.present(&authority.sign(&wanted)?, None)?;
    let name = fixture.name("second");
    fixture.databases(&[&name]).await?;
    assert!(fixture.agent.terminate().await?.success());
    named(&collector.spans(), "create_database");
    let heads = collector.heads();
    assert!(heads.iter().all(|head| head.contains(&format!("\r\nx-token: {TOKEN}\r\n"))), "{heads:#?}");
    let said = fixture.agent.logs();
    assert!(!said.contains(TOKEN), "{said}");
    Ok(())
}
