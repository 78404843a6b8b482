//! The databases: does one stand open to everybody? The agent closes what it makes; what others made or changed, drifts.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::watch;
use trove_couchdb_agent::{
    config::Settings,
    couch::{AdminLogin, Couch, Hasher, Iterations, Policy},
};

use super::{Asked, Check, Finding, couchdb::Access};

static PUBLIC: Check = Check::new("databases.public", "No database can be read by everybody");
static MALFORMED: Check = Check::new("databases.malformed", "Every database's _security has a known shape");

pub(super) const CHECKS: &[&Check] = &[&PUBLIC, &MALFORMED];

/// So many names fit into a line; the rest is counted.
const NAMED: usize = 10;

/// What a look at every `_security` found.
struct Exposure {
    checked: u64,
    public: Vec<String>,
    malformed: Vec<String>,
}

pub(super) async fn look(
    agent: Asked<'_>,
    access: Option<Access>,
    settings: &Settings,
    findings: &mut Vec<Finding>,
) {
    let exposure = match (agent, access) {
        (Some(agent), _) => agent
            .call("check_databases", json!({}))
            .await
            .map(|answer| told(&answer))
            .map_err(|e| e.to_string()),
        (None, Some(access)) => seen(access, settings).await,
        (None, None) => Err("neither the agent nor CouchDB as os_admin can be asked".to_owned()),
    };
    match exposure {
        Ok(exposure) => findings.extend(judged(&exposure)),
        Err(reason) => findings.extend([&PUBLIC, &MALFORMED].map(|check| check.skipped(reason.clone()))),
    }
}

fn told(answer: &Value) -> Exposure {
    let names = |key: &str| {
        let names = answer[key].as_array().into_iter().flatten();
        names.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    Exposure {
        checked: answer["checked"].as_u64().unwrap_or_default(),
        public: names("public"),
        malformed: names("malformed"),
    }
}

/// While the agent is down: the same function of the same library, here.
async fn seen(access: Access, settings: &Settings) -> Result<Exposure, String> {
    let (_writer, admin) = watch::channel(AdminLogin::Ready(Arc::new(access.login)));
    let couchdb = &settings.couchdb;
    let hasher = Hasher::new(Iterations { sha256: couchdb.sha256_iterations, sha1: couchdb.sha1_iterations });
    let policy = Policy::new(&couchdb.ignore_users, &couchdb.ignore_dbs);
    let couch = Couch::new(access.client, admin, hasher, policy);
    let exposure = couch.check_databases().await.map_err(|error| error.to_string())?;
    let checked = u64::try_from(exposure.checked).unwrap_or(u64::MAX);
    Ok(Exposure { checked, public: exposure.public, malformed: exposure.malformed })
}

fn judged(exposure: &Exposure) -> [Finding; 2] {
    let Exposure { checked, public, malformed } = exposure;
    let open = match public.as_slice() {
        [] => PUBLIC.ok(format!("none of {checked}")),
        some => PUBLIC.failed(
            format!("everybody may read and write {}", named(some)),
            "give each an owner, which closes it (`trove-couchdb user-grant-access USER DATABASE`), or put \
             {\"members\": {\"roles\": [\"_admin\"]}} into its _security; then find out who opened it",
        ),
    };
    let odd = match malformed.as_slice() {
        [] => MALFORMED.ok(format!("all {checked}")),
        some => MALFORMED.failed(
            format!("nobody can tell who has access to {}", named(some)),
            "write a _security of the documented shape: {\"admins\": {\"names\": [], \"roles\": []}, \"members\": \
             {\"names\": [], \"roles\": [\"_admin\"]}}",
        ),
    };
    [open, odd]
}

fn named(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    let more = names.len() - shown.len();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_are_counted() {
        let names: Vec<String> = (0..12).map(|number| format!("d{number}")).collect();
        assert!(named(&names).ends_with("d9 and 2 more"));
        assert_eq!(named(&names[..2]), "d0, d1");
    }
}
