//! Distinctive passwords are planted wherever one can be, and looked for wherever none may be.

use std::os::unix::fs::PermissionsExt;

use anyhow::Result;
use serde_json::{Value, json};
use trove_couchdb_tests::bus::Request;
use trove_couchdb_tests::shared_server::root_alone;
use trove_couchdb_tests::stage::{Plan, Stage};

/// One that looks like nothing else.
fn planted(stage: &Stage, number: u32) -> String {
    format!("Planted{number}Secret{}", stage.id)
}

async fn use_everything(stage: &Stage) -> Result<Vec<String>> {
    let secrets: Vec<String> = (0..6).map(|number| planted(stage, number)).collect();
    let (al, bad) = (stage.name("al"), stage.name("bad"));
    let user =
        |name: &str, secret: &str| json!({"users": [{"_name": name, "_password": secret, "_databases": []}]});
    let mut errors = Vec::new();
    stage.must_cast("create_user", user(&al, &secrets[0])).await?;
    errors.extend(stage.cast("create_user", user(&al, &secrets[1])).await?.err());
    errors.extend(stage.cast("create_user", user("_bad", &secrets[1])).await?.err());
    errors.extend(
        stage.cast("create_user", json!({"users": [{"_name": bad, "_password": [secrets[1]]}]})).await?.err(),
    );
    errors.extend(stage.cast("create_user", json!({"users": secrets[1]})).await?.err());
    let change = json!({"users": [{"name": al, "host": "%", "password": secrets[2]}]});
    stage.must_cast("change_passwords", change).await?;
    let update = json!({"username": al, "hostname": "%", "user_attrs": {"password": secrets[3]}});
    stage.must_cast("update_attributes", update).await?;
    let odd = json!({"username": al, "hostname": "%", "user_attrs": {"password": {"x": secrets[3]}}});
    errors.extend(stage.cast("update_attributes", odd).await?.err());
    let _alone = root_alone(&stage.couch).await;
    let root = stage.call("enable_root_with_password", json!({"root_password": secrets[4]})).await?;
    assert_eq!(root["_password"], secrets[4].as_str());
    // A caller that is gone: the answer comes back, and lapin would print it.
    let gone = Request::new("enable_root_with_password", json!({"root_password": secrets[4]}));
    let mut message: Value = serde_json::from_slice(&stage.bus.encode_call(&gone).body)?;
    let inner = message["oslo.message"].as_str().unwrap().replace(stage.bus.reply_queue(), "reply_of_nobody");
    message["oslo.message"] = inner.into();
    stage.bus.publish_raw(message.to_string().as_bytes()).await?;
    stage
        .bus
        .publish_raw(
            format!("{{\"oslo.version\": \"2.0\", \"oslo.message\": \"{}\"}}", secrets[5]).as_bytes(),
        )
        .await?;
    stage.call("disable_root", json!({})).await?;
    for error in &errors {
        assert!(secrets.iter().all(|secret| !error.contains(secret)), "{error}");
    }
    assert_eq!(errors.len(), 5, "{errors:?}");
    Ok(secrets)
}

fn look_everywhere(stage: &Stage, secrets: &[String]) -> Result<()> {
    let process = format!("/proc/{}", stage.agent.pid());
    let places = [
        ("log", stage.agent.logs()),
        ("command line", String::from_utf8_lossy(&std::fs::read(format!("{process}/cmdline"))?).into_owned()),
        ("environment", String::from_utf8_lossy(&std::fs::read(format!("{process}/environ"))?).into_owned()),
        ("systemd", stage.agent.notifications().join("\n")),
        ("conductor", format!("{:?}", stage.conductor.received())),
    ];
    for (place, text) in places {
        for secret in secrets {
            assert!(!text.contains(secret.as_str()), "{secret} is in the {place}");
        }
    }
    for entry in std::fs::read_dir(stage.agent.directory().join("state"))?.flatten() {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        assert!(secrets.iter().all(|secret| !text.contains(secret.as_str())), "{}", entry.path().display());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_password_is_shown_at_trace_level() -> Result<()> {
    for plan in [Plan::default(), Plan::default().encrypted()] {
        let stage = plan.up().await?;
        assert!(
            stage.agent.logs().contains("TRACE")
                || stage.agent.logs().contains("DEBUG")
                || stage.agent.logs().contains("INFO")
        );
        let mut secrets = use_everything(&stage).await?;
        secrets.extend(stage.key.clone());
        let file = stage.agent.credentials_file();
        let content: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
        secrets.push(content["password"].as_str().unwrap().to_owned());
        assert_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
        let url = trove_couchdb_tests::rabbitmq::shared().await?.transport_url();
        secrets.push(url.split(['/', ':', '@']).nth(4).unwrap().to_owned());
        // A real server's may be a common word, and this agent was not told it.
        if stage.couch.memory().is_some() {
            secrets.push(stage.couch.admin().password.clone());
        }
        assert!(secrets.iter().all(|secret| secret.len() >= 6), "{secrets:?}");
        look_everywhere(&stage, &secrets)?;
    }
    Ok(())
}
