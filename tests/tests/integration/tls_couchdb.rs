//! TLS to CouchDB, with real certificates: a server with an invalid certificate or name gets no password, the
//! reason suggests a fix, and replacing the certificate is the whole repair.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use in_memory_couchdb::Options;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use trove_couchdb_tests::agent::{AgentOptions, AgentProcess};
use trove_couchdb_tests::certificates::{Authority, Wanted};
use trove_couchdb_tests::couch::CouchServer;
use trove_couchdb_tests::local::LocalClient;
use trove_couchdb_tests::tls_front::TlsFront;

const SOON: Duration = trove_couchdb_tests::until::HUNG;

/// A CouchDB at `https://localhost`.
struct Secured {
    couch: CouchServer,
    front: TlsFront,
    authority: Authority,
    ca: PathBuf,
    directory: TempDir,
}

impl Secured {
    async fn start(server: &Wanted) -> Result<Self> {
        let (authority, directory, ca) = Authority::in_directory("the cloud's authority")?;
        let couch = CouchServer::in_memory(Options::default()).await?;
        let target = couch.url().trim_start_matches("http://").to_owned();
        let front = TlsFront::start(&target, &authority.sign(server)?, None).await?;
        Ok(Self { couch, front, authority, ca, directory })
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.front.port())
    }

    fn options(&self, url: &str) -> AgentOptions {
        let admin = self.couch.admin();
        AgentOptions::without_broker(url)
            .set("couchdb.tls_ca_file", self.ca.to_string_lossy().into_owned())
            .set("heartbeat.interval", 1)
            .set("rpc.call_retry_timeout", 1)
            .bootstrap_admin(&admin.name, &admin.password)
    }

    /// An agent and a client of its socket.
    async fn agent(&self, options: AgentOptions) -> Result<Client> {
        let agent = AgentProcess::start(options)?;
        agent.wait_log("CouchDB guest agent starts", SOON).await?;
        let deadline = Instant::now() + SOON;
        let local = loop {
            match LocalClient::connect(&agent.socket()).await {
                Ok(local) => break local,
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        };
        Ok(Client { agent, local, password: self.couch.admin().password.clone() })
    }
}

struct Client {
    agent: AgentProcess,
    local: LocalClient,
    password: String,
}

impl Client {
    /// CouchDB's part of `get_agent_status`, once `wanted` accepts it.
    async fn status(&self, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + SOON;
        loop {
            let couchdb = self.local.call("get_agent_status", json!({})).await?["couchdb"].clone();
            if wanted(&couchdb) {
                return Ok(couchdb);
            }
            if Instant::now() > deadline {
                bail!("{couchdb}\n{}", self.agent.logs());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The reason is in `get_agent_status`, in the log and in the reply to a command, and none contains a
    /// secret.
    async fn says(&self, reason: &str) -> Result<()> {
        let status = self
            .status(|couchdb| couchdb["reason"].as_str().is_some_and(|reported| reported.contains(reason)));
        let reported = status.await?.to_string();
        let failed =
            self.local.call("list_users", json!({})).await.err().context("it was answered")?.to_string();
        assert!(failed.contains(reason), "{failed}");
        let log = self.agent.logs();
        assert!(log.contains(reason), "{log}");
        for text in [&reported, &failed, &log] {
            assert!(!text.contains(&self.password) && !text.contains("PRIVATE KEY"), "{text}");
        }
        Ok(())
    }

    async fn serves(&self) -> Result<()> {
        self.status(|couchdb| couchdb["state"] == "healthy").await?;
        self.local.call("create_database", json!({"databases": [{"_name": "films"}]})).await?;
        assert!(self.local.call("list_databases", json!({})).await?.to_string().contains("films"));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_over_tls_also_with_a_certificate_of_ours() -> Result<()> {
    let secured = Secured::start(&Wanted::server(&["localhost"])).await?;
    secured.agent(secured.options(&secured.url())).await?.serves().await?;

    // A new agent on a new server: the first server already has the first agent's os_admin.
    let secured = Secured::start(&Wanted::server(&["localhost", "127.0.0.1"])).await?;
    secured.front.present(
        &secured.authority.sign(&Wanted::server(&["localhost", "127.0.0.1"]))?,
        Some(&secured.authority),
    )?;
    let ours = secured.authority.sign(&Wanted::client("guest"))?.write(secured.directory.path(), "client")?;
    let options = secured
        .options(&secured.url().replace("localhost", "127.0.0.1"))
        .set("couchdb.tls_cert_file", ours.cert.to_string_lossy().into_owned())
        .set("couchdb.tls_key_file", ours.key.to_string_lossy().into_owned());
    secured.agent(options).await?.serves().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_the_right_one_gets_no_password_until_it_is() -> Result<()> {
    let stranger = Authority::new("somebody else's authority")?;
    let here = Wanted::server(&["localhost"]);
    let cases = [
        (Some(here.clone().expired()), "of localhost has expired; renew it"),
        (Some(here.clone().of_the_future()), "is not valid yet; correct the clock"),
        (Some(Wanted::server(&["db.example"])), "is for another host: db.example"),
        (Some(Wanted::client("localhost")), "is not made for a server"),
        (None, "is not signed by an authority of "),
    ];
    for (wanted, reason) in cases {
        let secured = Secured::start(&here).await?;
        let shown = match &wanted {
            Some(wanted) => secured.authority.sign(wanted)?,
            None => stranger.sign(&here)?,
        };
        secured.front.present(&shown, None)?;
        let client = secured.agent(secured.options(&secured.url())).await?;
        client.says(reason).await?;
        assert!(secured.couch.memory().unwrap().log().entries().is_empty(), "it was asked something");
        secured.front.present(&secured.authority.sign(&here)?, None)?;
        client.serves().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_urls_that_do_not_fit_are_explained() -> Result<()> {
    let here = Wanted::server(&["localhost"]);
    let secured = Secured::start(&here).await?;

    // A CA file that appears late, with a different authority: the agent reads it without a restart.
    std::fs::remove_file(&secured.ca)?;
    let client = secured.agent(secured.options(&secured.url())).await?;
    client.says("ca.pem can't be read: No such file").await?;
    std::fs::write(&secured.ca, Authority::new("somebody else's authority")?.pem())?;
    client.says("is not signed by an authority of ").await?;
    std::fs::write(&secured.ca, secured.authority.pem())?;
    client.serves().await?;

    let in_clear = secured.url().replace("https", "http");
    let client = secured.agent(secured.options(&in_clear)).await?;
    client.says("if it is TLS, couchdb.url must begin with https://").await?;
    let over_tls = secured.couch.url().replace("http://127.0.0.1", "https://localhost");
    let client = secured.agent(secured.options(&over_tls)).await?;
    client.says("localhost does not speak TLS on this port").await?;

    secured.front.present(&secured.authority.sign(&here)?, Some(&secured.authority))?;
    let client = secured.agent(secured.options(&secured.url())).await?;
    client.says("localhost requires a client certificate; set couchdb.tls_cert_file").await
}
