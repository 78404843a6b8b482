//! The PBKDF2 rounds of the accounts on a server, which its limits must not exclude.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    ConfigRoot, Couch, CouchError, Resource, path::resource::USER_ID_PREFIX, reply::error::absent_is_none,
};

/// The number of users per request.
const BATCH: usize = 500;

#[derive(Deserialize)]
struct Rows {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    id: String,
    doc: Option<Document>,
}

#[derive(Deserialize)]
struct Document {
    iterations: Option<u64>,
}

impl Couch {
    /// The fewest and the most rounds of all users, and of a node's administrators.
    pub(super) async fn rounds_of_accounts(
        &self,
        node: &ConfigRoot,
    ) -> Result<Option<(u64, u64)>, CouchError> {
        let admins = absent_is_none(self.get(&Resource::Admins(node)).await)?;
        let admins =
            admins.as_ref().and_then(Value::as_object).into_iter().flat_map(|admins| admins.values());
        let mut rounds: Vec<u64> = admins.filter_map(|value| of_admin(value.as_str()?)).collect();
        let mut start = String::new();
        loop {
            let answer = self.get(&Resource::UsersWithConflicts { start: &start, limit: BATCH + 1 }).await?;
            let odd =
                |_| CouchError::Unexpected { what: "GET /_users/_all_docs", problem: "no rows".to_owned() };
            let Rows { rows } = serde_json::from_value(answer).map_err(odd)?;
            rounds.extend(rows.iter().filter_map(|row| row.doc.as_ref()?.iterations));
            // The extra row is the start of the next request.
            match rows.get(BATCH).and_then(|row| row.id.strip_prefix(USER_ID_PREFIX)) {
                Some(next) if next > start.as_str() => start = next.to_owned(),
                _ => break,
            }
        }
        Ok(rounds.iter().min().copied().zip(rounds.iter().max().copied()))
    }
}

/// The rounds in `-pbkdf2-KEY,SALT,ROUNDS`.
fn of_admin(value: &str) -> Option<u64> {
    value.strip_prefix("-pbkdf2").and_then(|rest| rest.rsplit(',').next()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn administrators_have_their_rounds_in_their_hash() {
        assert_eq!(of_admin("-pbkdf2:sha256-00ff,aabb,600000"), Some(600_000));
        assert_eq!(of_admin("-pbkdf2-00ff,aabb,10"), Some(10));
        assert_eq!(of_admin("-hashed-00ff,aabb"), None);
        assert_eq!(of_admin("plain,10"), None);
    }
}
