//! Details of a user that Trove's own answers lack: its roles, and the database that is deleted with it.
//!
//! With `couch_peruser` CouchDB creates a database for each user, and with `delete_dbs` it deletes that
//! database with the user. The caller must know this before deleting a user.

use std::collections::BTreeMap;

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use serde_json::Value;
use trove_couchdb_protocol::DatabaseName;

use crate::{
    CommandError, Couch, CouchError, Resource, TenantUser, accounts::documents::UserDocument,
    reply::error::absent_is_none,
};

/// `couch_peruser`'s own default (`couch_peruser.erl`).
const DEFAULT_PREFIX: &str = "userdb-";

/// Details of a user beyond its name and memberships.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserDetails {
    /// From the user's document.
    pub roles: Vec<String>,
    /// The database that CouchDB deletes with the user.
    pub deleted_with_it: Option<OwnDatabase>,
}

/// A database of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnDatabase {
    /// Its name.
    pub database: String,
    /// The number of its documents.
    pub documents: u64,
    /// The size of its files.
    pub bytes: u64,
}

impl Couch {
    /// The details of those users that exist.
    pub async fn user_details(
        &self,
        users: &[TenantUser],
    ) -> Result<BTreeMap<String, UserDetails>, CommandError> {
        let all: Vec<&TenantUser> = users.iter().collect();
        let documents = self.user_documents(&all).await?;
        let prefix = self.prefix_of_databases_that_go().await?;
        let prefix = prefix.as_deref();
        let present = documents.into_iter().filter_map(|(user, document)| match document {
            UserDocument::Present(document) => Some((user.clone(), document.value("roles"))),
            UserDocument::Deleted | UserDocument::Missing => None,
        });
        stream::iter(present.collect::<Vec<_>>())
            .map(|(user, roles)| {
                async move {
                    let deleted_with_it = match prefix {
                        Some(prefix) => self.own_database(&user, prefix).await?,
                        None => None,
                    };
                    let roles = roles.and_then(Result::ok).unwrap_or_default();
                    let roles = roles.as_array().into_iter().flatten().filter_map(Value::as_str);
                    let roles = roles.map(str::to_owned).collect();
                    Ok((user.as_str().to_owned(), UserDetails { roles, deleted_with_it }))
                }
                .boxed()
            })
            .buffer_unordered(self.client.limits().connections)
            .try_collect()
            .await
    }

    /// The prefix of databases that are deleted with their users, if CouchDB deletes them.
    async fn prefix_of_databases_that_go(&self) -> Result<Option<String>, CommandError> {
        if !self.users_own_databases_go_with_them().await? {
            return Ok(None);
        }
        let server = self.server().await?;
        let set = absent_is_none(self.get(&Resource::PerUser(&server.config, "database_prefix")).await)?;
        let prefix = set.as_ref().and_then(Value::as_str).unwrap_or(DEFAULT_PREFIX);
        Ok(Some(prefix.to_owned()))
    }

    async fn own_database(&self, user: &TenantUser, prefix: &str) -> Result<Option<OwnDatabase>, CouchError> {
        // CouchDB creates no database if the prefix makes its name invalid.
        let Ok(name) = DatabaseName::try_from(own_name(prefix, user.as_str()).as_str()) else {
            return Ok(None);
        };
        let info = absent_is_none(self.get(&Resource::Database(&name)).await)?;
        Ok(info.map(|info| OwnDatabase {
            database: name.as_str().to_owned(),
            documents: info["doc_count"].as_u64().unwrap_or_default(),
            // CouchDB 1.x has no `sizes`.
            bytes: info["sizes"]["file"].as_u64().or_else(|| info["disk_size"].as_u64()).unwrap_or_default(),
        }))
    }
}

/// The prefix and the hexadecimal digits of each byte of the name, as `couch_peruser` writes them.
fn own_name(prefix: &str, user: &str) -> String {
    user.bytes().fold(prefix.to_owned(), |name, byte| name + &format!("{byte:x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_database_is_named_in_hexadecimal_digits() {
        assert_eq!(own_name("userdb-", "al"), "userdb-616c");
        assert_eq!(own_name("u_", "ö@Z"), "u_c3b6405a");
    }
}
