//! Reads the current state from the agent, which hides the accounts and
//! databases that the operator cannot manage.

use std::collections::BTreeSet;

use trove_couchdb_protocol::{DatabaseName, UserName};

use super::{plan::Present, wanted::Wanted};
use crate::client::{CallError, Connection};

/// Reads all databases and users.
///
/// Reads the users first, so that access to a database created between the two requests is in neither. If the
/// file is the complete state (`all`), also reads what is deleted with the users that are not in it.
pub(super) async fn observe(agent: &Connection, all: Option<&Wanted>) -> Result<Present, CallError> {
    let (users, _) = agent.users(None, None).await?;
    let (databases, _) = agent.databases(None, None).await?;
    let mut present = Present::default();
    for name in databases {
        match DatabaseName::try_from(name.as_str()) {
            Ok(valid) => drop(present.databases.insert(valid)),
            Err(_) => drop(present.odd.insert(name)),
        }
    }
    for user in users {
        let Ok(name) = UserName::try_from(user.name.as_str()) else {
            present.odd.insert(user.name);
            continue;
        };
        let valid = user.databases.iter().filter_map(|name| DatabaseName::try_from(name.as_str()).ok());
        let access: BTreeSet<_> = valid.filter(|name| present.databases.contains(name)).collect();
        present.users.insert(name, access);
    }
    present.access = agent.database_access().await?;
    if let Some(wanted) = all {
        let surplus: Vec<&UserName> =
            present.users.keys().filter(|name| !wanted.users.contains_key(*name)).collect();
        let names: Vec<&str> = surplus.iter().map(|name| name.as_str()).collect();
        let details = agent.user_details(&names).await?.unwrap_or_default();
        for name in surplus {
            let own = details.get(name.as_str()).and_then(|details| details.deleted_with_it.clone());
            present.own.extend(own.map(|own| (name.clone(), own)));
        }
    }
    Ok(present)
}
