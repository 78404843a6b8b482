//! `packaging/rabbitmq/rabbitmq.conf`: RabbitMQ accepts every line of it, an agent works with it, and it
//! refuses what it should refuse.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use serde_json::json;
use trove_couchdb_protocol::new_id;
use trove_couchdb_tests::agent::{AgentOptions, AgentProcess};
use trove_couchdb_tests::couch::CouchServer;
use trove_couchdb_tests::rabbitmq::RabbitNode;
use trove_couchdb_tests::rpc::RpcClient;

fn packaged() -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/rabbitmq/rabbitmq.conf");
    std::fs::read_to_string(path).context("no rabbitmq.conf")
}

/// A self-signed certificate.
fn certificate(directory: &Path) -> Result<()> {
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "server.key", "-out", "server.pem"])
        .current_dir(directory)
        .output()
        .context("openssl is missing: run `make deps`")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::copy(directory.join("server.pem"), directory.join("ca.pem"))?;
    Ok(())
}

/// The packaged file with the node's own ports and account, a certificate of this test, and a listener
/// without TLS, which the harness uses to see that the node is up.
fn adapted(packaged: &str, usual: &str, tls: &Path) -> String {
    let usual = usual.lines().filter(|line| !line.starts_with("loopback_users"));
    let port: u16 = usual.clone().find_map(|line| line.rsplit_once(':')?.1.parse().ok()).unwrap();
    let packaged = packaged
        .replace("/etc/rabbitmq/tls", &tls.to_string_lossy())
        .replace("listeners.ssl.default = 5671", &format!("listeners.ssl.1 = 127.0.0.1:{}", port + 3))
        .replace("listeners.tcp = none\n", "")
        // The disk of a test machine may be fuller than a broker's.
        .replace("disk_free_limit.absolute = 2GB", "disk_free_limit.absolute = 50MB");
    usual.chain(packaged.lines()).collect::<Vec<_>>().join("\n") + "\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_takes_it_and_an_agent_works_on_it() -> Result<()> {
    let packaged = packaged()?;
    assert!(packaged.contains("\nlisteners.tcp = none\n"), "nothing in clear");
    let tls = tempfile::tempdir()?;
    certificate(tls.path())?;
    let node = RabbitNode::start_with(|usual| adapted(&packaged, &usual, tls.path())).await?;

    let couch = CouchServer::in_memory(in_memory_couchdb::Options::default()).await?;
    let id = new_id();
    let url = node.transport_url().replace("127.0.0.1", "localhost");
    let url = url.replace(&node.port().to_string(), &(node.port() + 3).to_string());
    let url = format!("{url}?ssl=1&ssl_ca_file={}/ca.pem", tls.path().display());
    let options = AgentOptions::new(&id, &url, &couch.url());
    let exchange = options.control_exchange.clone();
    let mut agent =
        AgentProcess::start(trove_couchdb_tests::shared_server::with_way_in(options, &couch).await?)?;
    agent.wait_ready().await?;
    let rpc = RpcClient::connect(&node.amqp_uri(), &exchange, &id, None).await?;
    assert_eq!(rpc.call("rpc_ping", json!({})).await?, true);

    // A message larger than any command of Trove is refused before it fills a queue.
    let channel = rpc.channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let body = vec![b' '; 16_777_217];
    let sent = async {
        let topic = rpc.topic().into();
        let options = BasicPublishOptions::default();
        channel
            .basic_publish(exchange.as_str().into(), topic, options, &body, BasicProperties::default())
            .await?
            .await
    };
    let refused = tokio::time::timeout(Duration::from_secs(30), sent).await?.unwrap_err().to_string();
    assert!(refused.contains("larger than configured max size"), "{refused}");
    assert_eq!(rpc.call("rpc_ping", json!({})).await?, true);
    Ok(())
}
