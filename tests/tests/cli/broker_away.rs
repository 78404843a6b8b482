//! With the broker stopped, every command works over the socket, and over RabbitMQ the error explains the
//! problem.

use anyhow::Result;
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::fixture::FixtureBuilder;
use trove_couchdb_tests::rabbitmq::RabbitNode;
use trove_couchdb_tests::shared_server::root_alone;

use crate::tool::Tool;

#[tokio::test(flavor = "multi_thread")]
async fn every_command_works_over_the_socket() -> Result<()> {
    let mut broker = RabbitNode::start().await?;
    let fixture = FixtureBuilder::default().up_on(&broker).await?;
    let url = broker.transport_url();
    broker.stop().await?;
    let cli = Tool::local(&fixture.agent);
    let (db, al) = (fixture.name("db"), fixture.name("al"));
    cli.must(&["ping"]).await?;
    cli.must(&["database-create", &db]).await?;
    cli.must_with(&["user-create", &al, "--password-stdin"], "pw").await?;
    cli.must(&["user-grant-access", &al, &db]).await?;
    assert!(fixture.client.reads(&db, Some(&Credentials::new(&al, "pw"))).await?);
    for verb in ["user-show", "user-show-access", "credentials"] {
        assert!(cli.must(&[verb, &al]).await?.contains(&db), "{verb}");
    }
    for verb in ["user-list", "database-list", "export", "root-show", "status"] {
        cli.must(&[verb]).await?;
    }
    assert_eq!(cli.json(&["status"]).await?["broker"]["state"], "down");
    let alone = root_alone(&fixture.couch).await;
    cli.must(&["root-enable"]).await?;
    cli.must(&["root-disable", "-y"]).await?;
    drop(alone);
    cli.must(&["user-update-attributes", &al, "--generate"]).await?;
    cli.must(&["user-revoke-access", &al, &db]).await?;
    cli.must(&["user-delete", &al, "-y"]).await?;
    cli.must(&["database-delete", &db, "-y"]).await?;

    let over_the_broker =
        Tool::plain(&["--config-dir", &fixture.agent.directory().join("conf.d").to_string_lossy()])
            .env("TROVE_COUCHDB_TRANSPORT_URL", &url);
    let error = over_the_broker.refused(4, &["ping"]).await?;
    assert!(error.contains("RabbitMQ at 127.0.0.1") && error.contains("refused"), "{error}");
    assert!(!error.contains("trove:"), "no credentials in errors: {error}");
    Ok(())
}
