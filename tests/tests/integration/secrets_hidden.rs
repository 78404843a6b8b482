//! Distinctive passwords are used wherever possible, and must not appear anywhere else.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use base64::{Engine, prelude::BASE64_STANDARD};
use in_memory_couchdb::Options;
use serde_json::{Value, json};
use trove_couchdb_protocol::trove::ConductorCast;
use trove_couchdb_tests::agent::{AgentOptions, AgentProcess};
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::local_fixture::LocalFixtureBuilder;
use trove_couchdb_tests::rpc::{Request, notification};
use trove_couchdb_tests::shared_server::root_alone;
use trove_couchdb_tests::until::HUNG;
use trove_couchdb_tests::web;

/// The socket with the metrics, in a directory of the test.
const METRICS: &str = "metrics.sock";

/// A distinctive password.
fn planted(fixture: &Fixture, number: u32) -> String {
    format!("Planted{number}Secret{}", fixture.id)
}

async fn use_everything(fixture: &Fixture) -> Result<Vec<String>> {
    let secrets: Vec<String> = (0..6).map(|number| planted(fixture, number)).collect();
    let (al, bad) = (fixture.name("al"), fixture.name("bad"));
    let user =
        |name: &str, secret: &str| json!({"users": [{"_name": name, "_password": secret, "_databases": []}]});
    let mut errors = Vec::new();
    fixture.must_cast("create_user", user(&al, &secrets[0])).await?;
    errors.extend(fixture.cast("create_user", user(&al, &secrets[1])).await?.err());
    errors.extend(fixture.cast("create_user", user("_bad", &secrets[1])).await?.err());
    errors.extend(
        fixture
            .cast("create_user", json!({"users": [{"_name": bad, "_password": [secrets[1]]}]}))
            .await?
            .err(),
    );
    errors.extend(fixture.cast("create_user", json!({"users": secrets[1]})).await?.err());
    let change = json!({"users": [{"name": al, "host": "%", "password": secrets[2]}]});
    fixture.must_cast("change_passwords", change).await?;
    let update = json!({"username": al, "hostname": "%", "user_attrs": {"password": secrets[3]}});
    fixture.must_cast("update_attributes", update).await?;
    let odd = json!({"username": al, "hostname": "%", "user_attrs": {"password": {"x": secrets[3]}}});
    errors.extend(fixture.cast("update_attributes", odd).await?.err());
    let _alone = root_alone(&fixture.couch).await;
    let root = fixture.call("enable_root_with_password", json!({"root_password": secrets[4]})).await?;
    assert_eq!(root["_password"], secrets[4].as_str());
    // A caller that is gone: the broker returns the reply, and lapin would print it.
    let gone = Request::new("enable_root_with_password", json!({"root_password": secrets[4]}));
    let mut message: Value = serde_json::from_slice(&fixture.rpc.encode_call(&gone).body)?;
    let inner =
        message["oslo.message"].as_str().unwrap().replace(fixture.rpc.reply_queue(), "reply_of_nobody");
    message["oslo.message"] = inner.into();
    fixture.rpc.publish_raw(message.to_string().as_bytes()).await?;
    fixture
        .rpc
        .publish_raw(
            format!("{{\"oslo.version\": \"2.0\", \"oslo.message\": \"{}\"}}", secrets[5]).as_bytes(),
        )
        .await?;
    fixture.call("disable_root", json!({})).await?;
    for error in &errors {
        assert!(secrets.iter().all(|secret| !error.contains(secret)), "{error}");
    }
    assert_eq!(errors.len(), 5, "{errors:?}");
    Ok(secrets)
}

async fn look_everywhere(fixture: &Fixture, secrets: &[String], directory: &Path) -> Result<()> {
    let process = format!("/proc/{}", fixture.agent.pid());
    let status = fixture.local().await?.call("get_agent_status", json!({})).await?;
    let metrics = web::get_unix(&directory.join(METRICS), "/metrics").await?.body;
    assert!(metrics.contains("trove_couchdb_agent_commands_total"), "{metrics}");
    let places = [
        ("log", fixture.agent.logs()),
        ("command line", String::from_utf8_lossy(&std::fs::read(format!("{process}/cmdline"))?).into_owned()),
        ("environment", String::from_utf8_lossy(&std::fs::read(format!("{process}/environ"))?).into_owned()),
        ("systemd", fixture.agent.notifications().join("\n")),
        ("conductor", format!("{:?}", fixture.conductor.received())),
        ("status", status.to_string()),
        ("metrics", metrics),
    ];
    for (place, text) in places {
        for secret in secrets {
            // lapin prints messages as lists of numbers.
            let numbers = secret.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
            let found = text.contains(secret.as_str()) || text.contains(&numbers);
            assert!(!found, "{secret} is in the {place}");
        }
    }
    let own = fixture.agent.credentials_file();
    for path in written(fixture.agent.directory()).iter().filter(|path| **path != own) {
        let text = String::from_utf8_lossy(&std::fs::read(path)?).into_owned();
        assert!(secrets.iter().all(|secret| !text.contains(secret.as_str())), "{}", path.display());
    }
    Ok(())
}

/// All files below the agent's directory, including half-written ones, except the files given to the agent.
fn written(directory: &Path) -> Vec<PathBuf> {
    let given = ["agent.toml", "conf.d"];
    let entries = std::fs::read_dir(directory).unwrap().flatten();
    let ours = entries.filter(|entry| !given.iter().any(|name| entry.file_name() == *name));
    let files = ours.flat_map(|entry| match entry.file_type().unwrap() {
        kind if kind.is_dir() => written(&entry.path()),
        kind if kind.is_file() => vec![entry.path()],
        _ => Vec::new(),
    });
    files.collect()
}

/// The secrets in the agent's configuration, and those that it created itself.
async fn own_secrets(fixture: &Fixture) -> Result<Vec<String>> {
    let file = fixture.agent.credentials_file();
    let content: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    let mut secrets = vec![content["password"].as_str().unwrap().to_owned()];
    assert_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    secrets.extend(fixture.key.clone());
    let url = trove_couchdb_tests::rabbitmq::shared().await?.transport_url();
    secrets.push(url.split(['/', ':', '@']).nth(4).unwrap().to_owned());
    // A real server's admin password may be a common word, and is not in this agent's configuration.
    if fixture.couch.memory().is_some() {
        secrets.push(fixture.couch.admin().password.clone());
    }
    // As HTTP transmits them.
    secrets.push(BASE64_STANDARD.encode(format!("os_admin:{}", secrets[0])));
    assert!(secrets.iter().all(|secret| secret.len() >= 6), "{secrets:?}");
    Ok(secrets)
}

/// With all log output of the agent's dependencies.
fn talkative(directory: &Path) -> FixtureBuilder {
    FixtureBuilder::default()
        .set("log.filter", "trace,lapin=trace,hyper=trace,hyper_util=trace,reqwest=trace,rustls=trace")
        .set("metrics.listen", directory.join(METRICS).to_string_lossy().into_owned())
}

/// Mutations: credentials-for-everybody, other-crates-speak (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn no_password_is_shown_at_trace_level() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let audit = directory.path().join("audit.log");
    let audited = talkative(directory.path()).set("audit.file", audit.to_string_lossy().into_owned());
    for builder in [talkative(directory.path()), audited.encrypted()] {
        let fixture = builder.up().await?;
        assert!(fixture.agent.logs().contains("INFO"), "the net holds");
        let mut secrets = use_everything(&fixture).await?;
        secrets.extend(own_secrets(&fixture).await?);
        // A real server's os_admin is shared with other tests.
        if fixture.couch.memory().is_some() {
            fixture.call("rotate_os_admin", json!({})).await?;
            secrets.extend(own_secrets(&fixture).await?);
        }
        look_everywhere(&fixture, &secrets, directory.path()).await?;
    }
    let lines = std::fs::read_to_string(&audit)?;
    assert!(lines.contains("change_passwords") && !lines.contains("Planted"), "{lines}");
    assert_eq!(std::fs::metadata(&audit)?.permissions().mode() & 0o777, 0o600);
    Ok(())
}

/// A `prepare` contains passwords of users and of root; they stay hidden whether it succeeds or fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepare_shows_no_password() -> Result<()> {
    let order = |fixture: &Fixture, packages: Value| {
        let al = fixture.name("al");
        json!({
            "packages": packages, "databases": [], "memory_mb": 512, "device_path": null, "mount_point": "/x",
            "users": [{"_name": al, "_host": "%", "_password": planted(fixture, 0), "_databases": []}],
            "backup_info": null, "config_contents": "", "root_password": planted(fixture, 1), "overrides": {},
            "cluster_config": null, "snapshot": null, "modules": [], "ds_version": "3.5.0",
        })
    };
    let directory = tempfile::tempdir()?;
    for packages in [json!(["couchdb"]), json!("")] {
        let builder =
            talkative(directory.path()).in_memory(Options::default()).set("heartbeat.assume_prepared", false);
        let fixture = builder.encrypted().up().await?;
        let notification = notification(&fixture.id, "instance_create");
        let request = Request::new("prepare", order(&fixture, packages.clone())).version("1.1");
        fixture.rpc.cast(&request.notified(notification)).await?;
        fixture
            .conductor
            .next(HUNG, |cast| {
                matches!(cast, ConductorCast::NotifyEnd { .. } | ConductorCast::NotifyExcInfo { .. })
            })
            .await?;
        let mut secrets: Vec<String> = (0..2).map(|number| planted(&fixture, number)).collect();
        secrets.extend(own_secrets(&fixture).await?);
        look_everywhere(&fixture, &secrets, directory.path()).await?;
    }
    Ok(())
}

/// The agent reports errors in its configuration without quoting values.
#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_refused_shows_no_secret() -> Result<()> {
    const SECRET: &str = "PlantedSecretOfAConfiguration";
    let broker = |url: &str| AgentOptions::new("g", &url.replace("PW", SECRET), "http://127.0.0.1:1");
    let couchdb = |url: &str| AgentOptions::new("g", "rabbit://h//", &url.replace("PW", SECRET));
    let mut in_the_environment = broker("rabbit://h//");
    let value = format!("http://u:{SECRET}@h");
    in_the_environment.environment.push(("TROVE_COUCHDB_COUCHDB__URL".to_owned(), value));
    for options in [
        broker("rabbit://u:PW@h:port//"),
        broker("http://u:PW@h//"),
        broker("u:PW@h"),
        broker("rabbit://u:PW#x@h//"),
        couchdb("http://u:PW@h:5984"),
        couchdb("ftp://u:PW@h"),
        couchdb("http://h/PW"),
        in_the_environment,
        broker("rabbit://h//").set("couchdb.bootstrap_admin_password", SECRET),
    ] {
        let mut agent = AgentProcess::start(options)?;
        let status = agent.exit_within(HUNG).await?;
        let said = agent.logs();
        assert_eq!(status.code(), Some(64), "{said}");
        assert!(!said.is_empty() && !said.contains(SECRET), "{said}");
    }
    Ok(())
}

/// The environment of a service may name a proxy for outgoing requests, which must not get `os_admin`'s
/// password.
///
/// Mutation: proxy-of-the-environment (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_of_the_environment_is_sent_nothing() -> Result<()> {
    let proxy = std::net::TcpListener::bind("127.0.0.1:0")?;
    proxy.set_nonblocking(true)?;
    let url = format!("http://{}", proxy.local_addr()?);
    let names = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    let builder =
        names.iter().fold(LocalFixtureBuilder::default(), |builder, name| builder.variable(name, &url));
    let asked = async {
        while proxy.accept().is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let fixture = tokio::select! {
        fixture = builder.up() => fixture?,
        () = asked => anyhow::bail!("the proxy was asked"),
    };
    let (db, al) = (fixture.name("db"), fixture.name("al"));
    fixture.databases(&[&db]).await?;
    let user = fixture.user(&al, &[&db]).await?;
    assert!(fixture.client.reads(&db, Some(&user)).await?);
    assert!(proxy.accept().is_err(), "the proxy was asked");
    Ok(())
}
