//! TLS to a real RabbitMQ node, with real certificates: valid ones work, invalid ones are refused with a
//! useful reason, and replacing the certificate is the whole repair.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use tempfile::TempDir;
use trove_couchdb_protocol::trove::ConductorCast;
use trove_couchdb_tests::agent::{AgentOptions, AgentProcess};
use trove_couchdb_tests::certificates::{Authority, PairFiles, Wanted};
use trove_couchdb_tests::fixture::FixtureBuilder;
use trove_couchdb_tests::local::LocalClient;
use trove_couchdb_tests::rabbitmq::RabbitNode;

/// The agent retries after some seconds, and the machine may be busy.
const SOON: Duration = trove_couchdb_tests::until::HUNG;

/// A broker named `localhost` that accepts only clients with a certificate.
struct Secured {
    broker: RabbitNode,
    authority: Authority,
    ca: PathBuf,
    client: PairFiles,
    directory: TempDir,
}

impl Secured {
    async fn start(server: &Wanted) -> Result<Self> {
        let (authority, directory, ca) = Authority::in_directory("the cloud's authority")?;
        let server = authority.sign(server)?.write(directory.path(), "server")?;
        let client = authority.sign(&Wanted::client("guest"))?.write(directory.path(), "client")?;
        let broker = RabbitNode::start_secured(&server, &ca).await?;
        Ok(Self { broker, authority, ca, client, directory })
    }

    /// oslo's own options.
    fn oslo(&self) -> Vec<String> {
        vec![
            "ssl = true".to_owned(),
            format!("ssl_ca_file = {}", self.ca.display()),
            format!("ssl_cert_file = {}", self.client.cert.display()),
            format!("ssl_key_file = {}", self.client.key.display()),
        ]
    }

    /// Uses a different certificate from now on.
    async fn present(&mut self, server: &Wanted) -> Result<()> {
        self.authority.sign(server)?.write(self.directory.path(), "server")?;
        self.broker.kill9()?;
        self.broker.start_again().await
    }

    fn url(&self, host: &str, port: u16) -> String {
        self.broker.transport_url_at(port).replace("127.0.0.1", host)
    }

    fn secure_url(&self) -> String {
        self.url("localhost", self.broker.tls_port())
    }

    /// An agent that serves only its socket: CouchDB is down and the broker refuses it.
    async fn agent(&self, url: &str, oslo: Vec<String>) -> Result<Refused> {
        let mut options = AgentOptions::new("guest", url, "http://127.0.0.1:1")
            .set("broker.reconnect_min", 0.1)
            .set("broker.reconnect_max", 0.2);
        options.oslo = oslo;
        let agent = AgentProcess::start(options)?;
        agent.wait_log("No connection to the broker", SOON).await?;
        let password = self.broker.transport_url();
        let password = password.split(['/', ':', '@']).nth(4).context("no password")?;
        let key = std::fs::read_to_string(&self.client.key).unwrap_or_default();
        let key = key.lines().filter(|line| line.len() > 20).map(str::to_owned);
        let secrets = key.chain([password.to_owned(), "PRIVATE KEY".to_owned()]).collect();
        Ok(Refused { agent, secrets })
    }
}

/// An agent that the broker refuses, or that does not trust the broker.
struct Refused {
    agent: AgentProcess,
    secrets: Vec<String>,
}

impl Refused {
    /// The reason is in the log and in `get_agent_status`, and neither contains a secret.
    async fn says(&self, reason: &str) -> Result<()> {
        let status =
            LocalClient::connect(&self.agent.socket()).await?.call("get_agent_status", json!({})).await?;
        let reported = status["broker"]["reason"].as_str().unwrap_or_default().to_owned();
        assert_eq!(status["broker"]["state"], "down", "{status}");
        assert!(reported.contains(reason), "{reason}: {reported}");
        let log = self.agent.logs();
        assert!(log.contains(reason), "{log}");
        for text in [&reported, &log] {
            assert!(self.secrets.iter().all(|secret| !text.contains(secret)), "{text}");
        }
        Ok(())
    }

    /// The agent connects without a restart.
    async fn recovers(&self) -> Result<()> {
        self.agent.wait_log("Consuming.", SOON).await
    }
}

/// Call, cast and heartbeat work; the broker requires the client's certificate.
#[tokio::test(flavor = "multi_thread")]
async fn everything_works_over_tls() -> Result<()> {
    let secured = Secured::start(&Wanted::server(&["localhost"])).await?;
    for (url, lines) in [
        (secured.secure_url(), secured.oslo()),
        (secured.secure_url().replace("rabbit://", "rabbits://"), secured.oslo()[1..].to_vec()),
        (format!("{}?ssl=1", secured.secure_url()), secured.oslo()[1..].to_vec()),
    ] {
        let mut builder =
            FixtureBuilder::default().encrypted().transport_url(&url).set("heartbeat.interval", 1);
        for line in &lines {
            builder = builder.oslo(line);
        }
        let fixture = builder.up_on(&secured.broker).await?;
        assert_eq!(fixture.call("rpc_ping", json!({})).await?, true);
        let films = fixture.name("films");
        fixture.databases(&[&films]).await?;
        assert!(fixture.call("list_databases", json!({})).await?.to_string().contains(&films));
        let is_heartbeat = |cast: &ConductorCast| matches!(cast, ConductorCast::Heartbeat { .. });
        fixture.conductor.next(SOON, is_heartbeat).await?;
        let status = fixture.local().await?.call("get_agent_status", json!({})).await?;
        let address = format!("localhost:{}", secured.broker.tls_port());
        assert_eq!(status["broker"], json!({"state": "up", "address": address, "reason": null}));
    }
    Ok(())
}

/// Errors that only a new configuration can repair.
///
/// Mutation: tls-any-host-name.
#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_does_not_fit_is_explained() -> Result<()> {
    let secured = Secured::start(&Wanted::server(&["localhost"])).await?;
    let (tls, plain) = (secured.broker.tls_port(), secured.broker.port());
    let oslo = secured.oslo();
    let cases = [
        (secured.secure_url(), vec![], "speaks TLS on this port; begin the transport URL with rabbits://"),
        (secured.url("localhost", plain), oslo.clone(), "localhost does not speak TLS on this port"),
        (secured.url("127.0.0.1", tls), oslo.clone(), "of 127.0.0.1 is for another host: localhost"),
        (
            secured.secure_url(),
            oslo[..2].to_vec(),
            "localhost requires a client certificate; set broker.tls_cert",
        ),
        // The system's authorities do not include the test's.
        (secured.secure_url(), oslo[..1].to_vec(), "of this system; set broker.tls_ca_file"),
    ];
    for (url, lines, reason) in cases {
        secured.agent(&url, lines).await?.says(reason).await?;
    }
    Ok(())
}

/// Mutation: tls-files-read-once.
#[tokio::test(flavor = "multi_thread")]
async fn files_of_ours_that_are_wrong_are_explained_and_repaired_without_a_restart() -> Result<()> {
    let secured = Secured::start(&Wanted::server(&["localhost"])).await?;
    let stranger = Authority::new("somebody else's authority")?;
    let of_a_stranger = stranger.sign(&Wanted::client("guest"))?;
    let late = secured.authority.sign(&Wanted::client("guest").expired())?;
    let (cert, key, ca) = (&secured.client.cert, &secured.client.key, &secured.ca);
    let sound = [cert, key, ca];
    let texts = sound.iter().map(std::fs::read_to_string).collect::<Result<Vec<_>, _>>()?;
    let cases = [
        ("not signed by an authority of", vec![(ca, stranger.pem())]),
        ("holds no certificate in PEM format", vec![(ca, String::new())]),
        ("refuses our certificate", vec![(cert, of_a_stranger.cert), (key, of_a_stranger.key.clone())]),
        ("refuses our certificate", vec![(cert, late.cert), (key, late.key)]),
        ("they don't belong together", vec![(key, of_a_stranger.key)]),
        ("holds no key that can be used", vec![(key, encrypted_key().to_owned())]),
        ("holds no key that can be used", vec![(key, stranger.pem())]),
        ("can't be read: No such file", vec![]),
    ];
    for (reason, spoiled) in cases {
        if spoiled.is_empty() {
            std::fs::remove_file(ca)?;
        }
        spoiled.iter().try_for_each(|(path, text)| std::fs::write(path, text))?;
        let refused = secured.agent(&secured.secure_url(), secured.oslo()).await?;
        refused.says(reason).await?;
        sound.iter().zip(&texts).try_for_each(|(path, text)| std::fs::write(path, text))?;
        refused.recovers().await?;
    }
    Ok(())
}

/// A key with a pass phrase, as written by `openssl genpkey -aes256`.
fn encrypted_key() -> &'static str {
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGHMB4GCSqGSIb3DQEFAw==\n-----END ENCRYPTED PRIVATE KEY-----\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_the_broker_that_is_wrong_is_refused_until_it_is_renewed() -> Result<()> {
    let mut secured = Secured::start(&Wanted::server(&["localhost"]).expired()).await?;
    let refused = secured.agent(&secured.secure_url(), secured.oslo()).await?;
    refused.says("of localhost has expired; renew it, or correct the clock").await?;
    let wrong = [
        (Wanted::server(&["localhost"]).of_the_future(), "is not valid yet"),
        (Wanted::server(&["rabbit.example"]), "is for another host: rabbit.example"),
        (Wanted::client("localhost"), "is not made for a server"),
    ];
    for (wanted, reason) in wrong {
        secured.present(&wanted).await?;
        refused.agent.wait_log(reason, SOON).await?;
        refused.says(reason).await?;
    }
    secured.present(&Wanted::server(&["localhost"])).await?;
    refused.recovers().await
}

/// The system's authorities are used only if no others are configured.
///
/// Mutation: tls-system-trusted-as-well.
#[tokio::test(flavor = "multi_thread")]
async fn the_authorities_of_the_system_count_only_without_those_of_a_file() -> Result<()> {
    let secured = Secured::start(&Wanted::server(&["localhost"])).await?;
    // rustls-native-certs reads this file as the system's authorities.
    let of_the_system = ("SSL_CERT_FILE".to_owned(), secured.ca.to_string_lossy().into_owned());
    let other = secured.directory.path().join("other.pem");
    std::fs::write(&other, Authority::new("somebody else's authority")?.pem())?;
    let oslo = secured.oslo();
    let agent = |lines: Vec<String>| {
        let mut options = AgentOptions::new("guest", &secured.secure_url(), "http://127.0.0.1:1");
        options.environment.push(of_the_system.clone());
        options.oslo = lines;
        AgentProcess::start(options)
    };
    let without = agent([&oslo[..1], &oslo[2..]].concat())?;
    without.wait_log("Consuming.", SOON).await?;
    let with = agent([&oslo[..1], &[format!("ssl_ca_file = {}", other.display())], &oslo[2..]].concat())?;
    with.wait_log("is not signed by an authority of", SOON).await?;
    assert!(!with.logs().contains("Consuming."));
    Ok(())
}
