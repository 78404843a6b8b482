//! The databases: whether one is open to everybody. The agent creates closed databases, but others
//! may create open ones or change them.

use serde_json::{Value, json};
use trove_couchdb_client::Couch;

use super::{Asked, Check, Finding};

static PUBLIC: Check = Check::new("databases.public", "No database can be read by everybody");
static MALFORMED: Check = Check::new("databases.malformed", "Every database's _security has a known shape");

static OPENED: Check = Check::new("databases.opened", "CouchDB can open every database");

pub(super) const CHECKS: &[&Check] = &[&PUBLIC, &MALFORMED, &OPENED];

/// The database with the accounts.
const USERS: &str = "_users";

/// The maximum number of names in a message; the rest are counted.
const NAMED: usize = 10;

/// The result of reading every `_security`.
struct PublicDatabases {
    checked: u64,
    public: Vec<String>,
    malformed: Vec<String>,
    unknown: Vec<String>,
}

pub(super) async fn look(agent: Asked<'_>, couch: Option<&Couch>, findings: &mut Vec<Finding>) {
    let public_databases = match (agent, couch) {
        (Some(agent), _) => agent
            .call("check_databases", json!({}))
            .await
            .map(|answer| reported(&answer))
            .map_err(|e| e.to_string()),
        (None, Some(couch)) => observed(couch).await,
        (None, None) => {
            let why = "neither the agent nor CouchDB as os_admin can be asked";
            findings.extend(CHECKS.iter().map(|check| check.skipped(why)));
            return;
        }
    };
    match public_databases {
        Ok(public_databases) => findings.extend(judged(&public_databases)),
        Err(reason) => findings.extend(CHECKS.iter().map(|check| {
            let advice = "run the doctor again, with a longer --timeout if the machine is busy";
            check.warning(format!("not checked: {reason}"), advice)
        })),
    }
}

fn reported(answer: &Value) -> PublicDatabases {
    let names = |key: &str| {
        let names = answer[key].as_array().into_iter().flatten();
        names.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    PublicDatabases {
        checked: answer["checked"].as_u64().unwrap_or_default(),
        public: names("public"),
        malformed: names("malformed"),
        unknown: names("unknown"),
    }
}

/// Runs the library's check in this process, for when the agent is down.
async fn observed(couch: &Couch) -> Result<PublicDatabases, String> {
    let found = couch.check_databases().await.map_err(|error| error.to_string())?;
    let checked = u64::try_from(found.checked).unwrap_or(u64::MAX);
    Ok(PublicDatabases { checked, public: found.public, malformed: found.malformed, unknown: found.unknown })
}

fn judged(public_databases: &PublicDatabases) -> [Finding; 3] {
    let PublicDatabases { checked, public, malformed, unknown } = public_databases;
    let open = if public.is_empty() {
        PUBLIC.ok(format!("none of {checked}"))
    } else {
        PUBLIC.failed(format!("everybody may read and write {}", named(public)), close(public))
    };
    let odd = match malformed.as_slice() {
        [] => MALFORMED.ok(format!("all {checked}")),
        some => MALFORMED.failed(
            format!("it is unknown who has access to {}", named(some)),
            "write a _security of the documented shape: {\"admins\": {\"names\": [], \"roles\": []}, \"members\": \
             {\"names\": [], \"roles\": [\"_admin\"]}}",
        ),
    };
    let closed = match unknown.as_slice() {
        [] => OPENED.ok(format!("all {checked}")),
        some => OPENED.failed(
            format!("it is unknown who has access to {}", named(some)),
            "look at CouchDB's log for the cause. Restore the files of these databases, or delete the databases: until then \
             a user that was deleted from them can't be created again",
        ),
    };
    [open, odd, closed]
}

/// How to close these databases. CouchDB's system databases have no owner,
/// and `_users` has its own protection.
fn close(public: &[String]) -> String {
    let is_users = |name: &&String| *name == USERS;
    let own = |name: &&String| name.starts_with('_') && !is_users(name);
    let mut advice = Vec::new();
    if public.iter().any(|name| !name.starts_with('_')) {
        advice.push(
            "give each an owner, which closes it (`trove-couchdb user-grant-access USER DATABASE`), or put \
             {\"members\": {\"roles\": [\"_admin\"]}} into its _security",
        );
    }
    if public.iter().any(|name| own(&name)) {
        advice.push("restart the agent, which closes CouchDB's own databases but _users");
    }
    if public.iter().any(|name| is_users(&name)) {
        advice.push(
            "_users lets everybody make accounts, and CouchDB refuses to change its _security (403): set \
             users_db_security_editable = true in [couchdb], put {\"members\": {\"roles\": [\"_admin\"]}, \"admins\": \
             {\"roles\": [\"_admin\"]}} into its _security, and take the setting back",
        );
    }
    advice.push("set default_security = admin_only in [couchdb], and find out who opened what was closed");
    advice.join("; ")
}

pub(super) fn named(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    let more = names.len() - shown.len();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_is_what_works_for_each_kind_of_database() {
        let advice = |names: &[&str]| close(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let tenants = advice(&["films"]);
        assert!(tenants.contains("user-grant-access") && !tenants.contains("_users"), "{tenants}");
        let users = advice(&["_users"]);
        assert!(
            users.contains("users_db_security_editable") && !users.contains("user-grant-access"),
            "{users}"
        );
        let replicator = advice(&["_replicator"]);
        assert!(replicator.contains("restart the agent") && !replicator.contains("editable"), "{replicator}");
    }

    #[test]
    fn many_names_are_counted() {
        let names: Vec<String> = (0..12).map(|number| format!("d{number}")).collect();
        assert!(named(&names).ends_with("d9 and 2 more"));
        assert_eq!(named(&names[..2]), "d0, d1");
    }
}
