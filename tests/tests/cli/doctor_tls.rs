//! `doctor` with wrong certificates.

use anyhow::Result;
use in_memory_couchdb::Options;
use trove_couchdb_tests::certificates::{Authority, Wanted};
use trove_couchdb_tests::fixture::FixtureBuilder;
use trove_couchdb_tests::local_fixture::LocalFixtureBuilder;
use trove_couchdb_tests::rabbitmq::RabbitNode;
use trove_couchdb_tests::tls_front::TlsFront;

use crate::doctor_host::Found;
use crate::tool::Tool;

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_with_tls() -> Result<()> {
    let (authority, directory, ca) = Authority::in_directory("the cloud's")?;
    let stranger = Authority::new("somebody else's")?;
    let server = authority.sign(&Wanted::server(&["localhost"]))?.write(directory.path(), "server")?;
    let client = authority.sign(&Wanted::client("guest"))?.write(directory.path(), "client")?;
    let broker = RabbitNode::start_secured(&server, &ca).await?;
    let url = broker.transport_url_at(broker.tls_port()).replace("127.0.0.1", "localhost");
    let fixture = FixtureBuilder::default()
        .transport_url(&url.replace("rabbit:", "rabbits:"))
        .oslo(&format!("ssl_ca_file = {}", ca.display()))
        .oslo(&format!("ssl_cert_file = {}", client.cert.display()))
        .oslo(&format!("ssl_key_file = {}", client.key.display()))
        .up_on(&broker)
        .await?;
    let cli = Tool::configured(&fixture.agent);
    assert_eq!(Found::by(&cli).await?.status("broker.login"), "ok");

    std::fs::write(&ca, stranger.pem())?;
    let found = Found::by(&cli).await?;
    found.must_have_failed(&["broker.login"]);
    assert!(found.detail("broker.login").contains("is not signed by an authority of"), "{found:#?}");
    std::fs::write(&ca, authority.pem())?;

    let unsafe_url = fixture.agent.directory().join("conf.d/trove-guestagent.conf");
    let text = std::fs::read_to_string(&unsafe_url)?;
    std::fs::write(&unsafe_url, text.replace("rabbits:", "rabbit:"))?;
    let found = Found::by(&cli).await?;
    found.must_have_failed(&["broker.login"]);
    assert!(found.detail("broker.login").contains("speaks TLS on this port"), "{found:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_couchdb_with_tls() -> Result<()> {
    let (authority, _directory, ca) = Authority::in_directory("the cloud's")?;
    let here = Wanted::server(&["localhost"]);
    let mut fixture = LocalFixtureBuilder::default().in_memory(Options::default()).up().await?;
    let target = fixture.couch.url().trim_start_matches("http://").to_owned();
    let front = TlsFront::start(&target, &authority.sign(&here)?, None).await?;

    fixture.agent.terminate().await?;
    let settings = &mut fixture.agent.options().settings;
    settings.push(("couchdb.url".into(), format!("https://localhost:{}", front.port()).into()));
    settings.push(("couchdb.tls_ca_file".into(), ca.to_string_lossy().into_owned().into()));
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    let cli = Tool::configured(&fixture.agent);
    assert_eq!(Found::by(&cli).await?.status("couchdb.login"), "ok");

    front.present(&authority.sign(&here.expired())?, None)?;
    let found = Found::by(&cli).await?;
    assert_eq!(found.status("couchdb.reachable"), "failed", "{found:#?}");
    assert!(found.detail("couchdb.reachable").contains("has expired"), "{found:#?}");
    assert_eq!(found.status("couchdb.login"), "skipped");
    Ok(())
}
