//! The support archive: its contents, and the secrets that must not be in it.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use anyhow::Result;
use trove_couchdb_tests::agent::write_private;
use trove_couchdb_tests::fixture::FixtureBuilder;

use crate::tool::Tool;

#[tokio::test(flavor = "multi_thread")]
async fn the_archive_tells_much_and_no_secret() -> Result<()> {
    let fixture = FixtureBuilder::default().encrypted().up().await?;
    let directory = fixture.agent.directory();
    let config = directory.join("agent.toml");
    let audit = directory.join("audit.log");
    let mut settings: toml::Table = std::fs::read_to_string(&config)?.parse()?;
    settings.insert(
        "audit".into(),
        toml::Value::Table(
            [("file".to_owned(), audit.to_string_lossy().into_owned().into())].into_iter().collect(),
        ),
    );
    write_private(&config, &settings.to_string())?;

    let credentials: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(fixture.agent.credentials_file())?)?;
    let os_admin = credentials["password"].as_str().unwrap().to_owned();
    let key = fixture.key.clone().unwrap();
    let url = trove_couchdb_tests::rabbitmq::shared().await?.transport_url();
    let broker = url.split(':').nth(2).unwrap().split('@').next().unwrap().to_owned();
    let admin = fixture.couch.admin().password.clone();
    let mut secrets = vec![os_admin.clone(), key.clone(), broker.clone()];
    if fixture.couch.memory().is_some() {
        secrets.push(admin);
    }
    // Secrets are planted where none belong, to test the filter.
    std::fs::write(&audit, format!("{{\"target\": \"{os_admin}\"}}\nkey {key} url {url}\nlast line\n"))?;
    std::fs::write(
        directory.join("state/prepared.json"),
        format!("{{\"prepared\": true, \"x\": \"{broker}\"}}"),
    )?;

    let archive = directory.join("bundle.tar.gz");
    let name = archive.to_string_lossy();
    let cli = Tool::configured(&fixture.agent);
    let ended = cli.run(&["doctor", "--bundle", &name]).await?;
    assert!([Some(0), Some(1), Some(8)].contains(&ended.code), "{ended:?}");
    assert!(ended.errors.contains("bundle.tar.gz"), "{ended:?}");
    assert_eq!(std::fs::metadata(&archive)?.permissions().mode() & 0o777, 0o600);

    let mut files = std::collections::BTreeMap::new();
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(&archive)?));
    for entry in tar.entries()? {
        let mut entry = entry?;
        let mut text = String::new();
        entry.read_to_string(&mut text)?;
        files.insert(entry.path()?.file_name().unwrap().to_string_lossy().into_owned(), text);
    }
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "audit.txt",
            "configuration.toml",
            "doctor.json",
            "doctor.txt",
            "journal.txt",
            "last_sent.txt",
            "prepared.json",
            "status.json",
            "versions.txt",
        ]
    );
    for (name, text) in &files {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "a secret is in {name}:\n{text}");
        }
    }
    assert!(files["audit.txt"].contains("last line") && files["audit.txt"].contains("REDACTED"));
    assert!(files["configuration.toml"].contains("control_exchange"));
    assert!(files["status.json"].contains(&fixture.id));
    assert!(files["doctor.txt"].contains("couchdb.login"));

    let again = cli.refused(1, &["doctor", "--bundle", &name]).await?;
    assert!(again.contains("can't be written"), "another archive is never replaced: {again}");
    Ok(())
}
