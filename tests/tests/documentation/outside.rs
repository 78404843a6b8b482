//! External resources of the documents still exist: links, and addresses in commands.
//!
//! It requires the network and working external servers: `make links`, and .github/workflows/outside.yml once
//! a week.

use std::collections::BTreeSet;
use std::time::Duration;

use in_memory_couchdb::{InMemoryCouch, Options};

use super::links::HOSTS;
use super::{files, read};

/// Hosts that appear only in commands and settings.
const OF_COMMANDS: [&str; 2] = ["apache.jfrog.io", "sh.rustup.rs"];

/// Hosts that do not exist: placeholders (in capitals), examples, and the machine itself.
fn is_example(host: &str) -> bool {
    !host.starts_with(|c: char| c.is_ascii_lowercase())
        || host.starts_with("localhost")
        || host.ends_with(".example")
}

/// All texts with addresses for readers or downloads: documents, and the files that build images.
fn texts() -> Vec<(String, String)> {
    let mut names: Vec<String> = ["md", "rst"].iter().flat_map(|extension| files("", extension)).collect();
    names.extend(files("packaging/cloud-init", "yaml"));
    names.push("packaging/dib/trove-couchdb-agent/environment.d/10-trove-couchdb-agent.bash".to_owned());
    names.into_iter().map(|name| (name.clone(), read(&name))).collect()
}

/// Every address except examples.
fn addresses(text: &str) -> BTreeSet<String> {
    let ends =
        |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ')' | '>' | '<' | ']' | '}' | '|');
    let rests = text.split("https://").skip(1).map(|rest| rest.split(ends).next().unwrap());
    rests
        .map(|rest| rest.trim_end_matches(['.', ',', ':', ';']))
        .filter(|rest| !is_example(rest.split('/').next().unwrap()))
        .map(|rest| format!("https://{rest}"))
        .collect()
}

fn client() -> reqwest::Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder()
        .user_agent("trove-couchdb-agent: are our links alive?")
        .timeout(Duration::from_secs(60))
        .build()
        .unwrap()
}

/// The problem with an address, if any.
async fn problem(client: &reqwest::Client, address: &str) -> Option<String> {
    match client.get(address).send().await {
        Ok(answer) if answer.status().is_success() => None,
        Ok(answer) => Some(format!("{address}: {}", answer.status())),
        Err(error) => Some(format!("{address}: {error}")),
    }
}

#[tokio::test]
#[ignore = "goes to other people's servers: make links"]
async fn every_address_outside_answers() {
    let addresses: BTreeSet<String> = texts().iter().flat_map(|(_, text)| addresses(text)).collect();
    let client = client();
    let mut problems = Vec::new();
    for address in &addresses {
        problems.extend(problem(&client, address).await);
    }
    assert!(problems.is_empty(), "of {} addresses:\n{}", addresses.len(), problems.join("\n"));
}

/// Every external host must be in one of the two lists, so that `make links` checks it.
#[test]
fn every_host_outside_is_known() {
    for (name, text) in texts() {
        for address in addresses(&text) {
            let host = address.trim_start_matches("https://").split('/').next().unwrap();
            assert!(HOSTS.contains(&host) || OF_COMMANDS.contains(&host), "{name}: {address}");
        }
    }
}

#[test]
fn addresses_of_links_and_of_commands_are_found() {
    let text = "[a](https://semver.org/x.html), `https://apache.jfrog.io/y/`. curl \"https://couchdb.apache.org/z\" https://HOST/";
    let wanted = ["https://apache.jfrog.io/y/", "https://couchdb.apache.org/z", "https://semver.org/x.html"];
    assert_eq!(addresses(text).into_iter().collect::<Vec<_>>(), wanted);
    // The quick start must have the addresses for CouchDB's package.
    let page = read("docs/quick-start.md");
    assert!(addresses(&page).len() >= 2, "{:?}", addresses(&page));
}

#[tokio::test]
async fn an_address_that_is_gone_is_reported() {
    let admin = Some(("admin".to_owned(), "pw".to_owned()));
    let server =
        InMemoryCouch::start(Options { admin, iterations: Some(10), ..Options::default() }).await.unwrap();
    let client = client();
    assert_eq!(problem(&client, &format!("{}/", server.url())).await, None);
    let gone = problem(&client, &format!("{}/nothing", server.url())).await.unwrap();
    assert!(gone.contains("404") || gone.contains("401"), "{gone}");
    let url = server.url();
    drop(server);
    assert!(problem(&client, &url).await.is_some());
}
