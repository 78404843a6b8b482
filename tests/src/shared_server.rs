//! Lets tests share one real server (`COUCHDB_URL`, `COUCHDB_HOME`): gives agents their credentials, and
//! removes what earlier runs left there.
//!
//! Callers: the fixtures, the oslo.messaging tests and the tour, before they start an agent. An in-memory
//! server belongs to one test, whose agent creates its own `os_admin`. On a real server the first agent of
//! the process creates it, and all others use its credentials file. Databases and users with names that are
//! not a test's own are never touched.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::agent::{AgentOptions, AgentProcess, write_private};
use crate::couch::{CouchServer, escape};

/// Part of every name that [`own_name`] creates, and too unusual to be part of other names.
const MARK: &str = "-trovetest-";
const OS_ADMIN: &str = "os_admin";
const ROOT: &str = "root";
/// Port 1 refuses connections: bootstrap needs no broker.
const NO_BROKER: &str = "rabbit://nobody:nothing@127.0.0.1:1//";
/// A fresh server needs 5 s to install the validation of `_users`.
const BOOTSTRAP_LIMIT: Duration = crate::until::HUNG;

/// A name that no other test uses, legal for users and databases; `id` is that of the test's guest.
pub fn own_name(base: &str, id: &str) -> String {
    format!("{base}{MARK}{}", id.get(..10).unwrap_or(id))
}

/// Configures how an agent becomes, or already is, `os_admin`.
pub async fn with_way_in(options: AgentOptions, couch: &CouchServer) -> Result<AgentOptions> {
    // Lives as long as the process. A failure is kept too, so that the other tests do not wait for the same
    // failure.
    static FIRST: OnceCell<Result<AgentProcess, String>> = OnceCell::const_new();
    if !couch.is_shared() {
        return Ok(options.bootstrap_admin(&couch.admin().name, &couch.admin().password));
    }
    let first =
        FIRST.get_or_init(|| async { first_agent(couch).await.map_err(|error| format!("{error:#}")) });
    match first.await {
        Ok(first) => {
            let file = first.credentials_file().to_string_lossy().into_owned();
            Ok(options.set("couchdb.credentials_file", file))
        }
        Err(reason) => {
            Err(anyhow!("the tests have no os_admin on the real CouchDB that they share: {reason}"))
        }
    }
}

/// Held by a test that enables or disables `root`: all tests on a real server share one `root`.
pub async fn root_alone(couch: &CouchServer) -> Option<MutexGuard<'static, ()>> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
    if couch.is_shared() { Some(ONE_AT_A_TIME.lock().await) } else { None }
}

/// On a shared server, deletes `root` and the databases and users of earlier runs with names that `is_ours`
/// accepts.
pub async fn remove_leftovers(couch: &CouchServer, is_ours: impl Fn(&str) -> bool) -> Result<()> {
    if !couch.is_shared() {
        return Ok(());
    }
    let (client, admin) = (couch.client()?, couch.admin());
    let (_, databases) = client.get("/_all_dbs", Some(admin)).await?;
    let names =
        databases.as_array().context("the server does not tell its databases to the admin of COUCHDB_URL")?;
    let databases = names.iter().filter_map(Value::as_str).filter(|name| is_ours(name));
    // A fresh server has no `_users` and answers 404.
    let (_, users) = client.get("/_users/_all_docs", Some(admin)).await?;
    let users = users["rows"].as_array().into_iter().flatten().filter_map(|row| {
        let (id, rev) = (row["id"].as_str()?, row["value"]["rev"].as_str()?);
        let name = id.strip_prefix("org.couchdb.user:")?;
        is_ours(name).then(|| format!("/_users/{}?rev={rev}", escape(id)))
    });
    for path in databases.map(|name| format!("/{}", escape(name))).chain(users) {
        delete(couch, &path).await?;
    }
    remove_admin(couch, ROOT).await
}

/// The agent that bootstraps a real server. It lives as long as this process, to keep its credentials file.
async fn first_agent(couch: &CouchServer) -> Result<AgentProcess> {
    remove_leftovers(couch, |name| name.contains(MARK)).await?;
    let options = AgentOptions::new("first", NO_BROKER, &couch.url()).set("log.filter", "info");
    let admin = couch.admin();
    let agent = if admin.name == OS_ADMIN {
        let agent = AgentProcess::start(options)?;
        let content = json!({"username": OS_ADMIN, "password": admin.password}).to_string();
        write_private(&agent.credentials_file(), &content)?;
        agent
    } else {
        // The account of an earlier run, whose password is lost.
        remove_admin(couch, OS_ADMIN).await?;
        AgentProcess::start(options.bootstrap_admin(&admin.name, &admin.password))?
    };
    agent.wait_log("CouchDB is bootstrapped", BOOTSTRAP_LIMIT).await?;
    Ok(agent)
}

async fn remove_admin(couch: &CouchServer, name: &str) -> Result<()> {
    delete(couch, &format!("/_node/_local/_config/admins/{name}")).await
}

async fn delete(couch: &CouchServer, path: &str) -> Result<()> {
    let (status, body) = couch.client()?.request(Method::DELETE, path, Some(couch.admin()), None).await?;
    anyhow::ensure!(status.is_success() || status == StatusCode::NOT_FOUND, "DELETE {path}: {status} {body}");
    Ok(())
}
