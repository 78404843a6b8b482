//! Information that Trove's answers do not contain: access by role, as a database's
//! administrator, and of everybody; the roles of users; the databases that CouchDB deletes with a
//! user. It comes from the agent's own methods.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use trove_couchdb_protocol::{DecodeError, FailureClass};

use super::{CallError, Connection};

/// The number of databases or users per request.
const PAGE: usize = 500;

/// Names and roles with the same access.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Group {
    /// User names, including names of users that do not exist.
    pub names: Vec<String>,
    /// Roles.
    pub roles: Vec<String>,
}

/// Who has access to one database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct DatabaseAccess {
    /// Its name.
    pub database: String,
    /// Can read and write documents.
    pub members: Group,
    /// Can also change design documents and the access itself.
    pub admins: Group,
    /// Whether everybody can read and write the database.
    pub public: bool,
    /// Whether the access is unknown, because `_security` is malformed.
    pub malformed: bool,
}

/// Who has access to which database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessReport {
    /// Ordered by name.
    pub databases: Vec<DatabaseAccess>,
    /// Databases that CouchDB cannot open.
    pub unknown: Vec<String>,
    /// Whether the agent is too old to report access.
    pub silent: bool,
}

/// The message for an agent that is too old.
const SILENT: &str = "roles, databases' administrators and public databases are unknown, because the agent is too old: \
                      update it";

/// A database that CouchDB deletes with its user (`couch_peruser` with `delete_dbs`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OwnDatabase {
    /// Its name.
    pub database: String,
    /// How many documents are in it.
    pub documents: u64,
    /// The size of its files.
    pub bytes: u64,
}

/// Details of a user that Trove's answers do not contain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct UserDetails {
    /// Its roles.
    pub roles: Vec<String>,
    /// The database that is deleted with the user.
    pub deleted_with_it: Option<OwnDatabase>,
}

#[derive(Deserialize)]
struct Part {
    databases: Vec<DatabaseAccess>,
    unknown: Vec<String>,
    next: Option<String>,
}

impl Connection {
    /// Who has access to which database.
    pub async fn database_access(&self) -> Result<AccessReport, CallError> {
        const METHOD: &str = "list_database_access";
        let mut report = AccessReport::default();
        let mut marker: Option<String> = None;
        loop {
            let args = json!({ "limit": PAGE, "marker": marker, "include_marker": false });
            let Some(answer) = known(self.call(METHOD, args).await)? else {
                return Ok(AccessReport { silent: true, ..AccessReport::default() });
            };
            let part: Part = read(METHOD, answer)?;
            report.databases.extend(part.databases);
            report.unknown.extend(part.unknown);
            if part.next.is_none() || part.next == marker {
                return Ok(report);
            }
            marker = part.next;
        }
    }

    /// The details of those users that exist; `None` if the agent is too old to report them.
    pub async fn user_details(
        &self,
        names: &[&str],
    ) -> Result<Option<BTreeMap<String, UserDetails>>, CallError> {
        const METHOD: &str = "get_user_details";
        let mut details = BTreeMap::new();
        for part in names.chunks(PAGE) {
            let Some(answer) = known(self.call(METHOD, json!({ "users": part })).await)? else {
                return Ok(None);
            };
            details.extend(read::<BTreeMap<String, UserDetails>>(METHOD, answer)?);
        }
        Ok(Some(details))
    }
}

/// `None` if the agent does not know the method, or has a different method of that name.
fn known(answer: Result<Value, CallError>) -> Result<Option<Value>, CallError> {
    match answer {
        Err(CallError::Failure(failure)) if failure.is(FailureClass::NoSuchMethod) => Ok(None),
        answer => answer.map(|value| value.is_object().then_some(value)),
    }
}

fn read<T: for<'de> Deserialize<'de>>(method: &str, answer: Value) -> Result<T, CallError> {
    let odd = |_| DecodeError::WrongType {
        field: format!("result of {method}"),
        expected: "as the agent writes it",
    };
    serde_json::from_value(answer).map_err(|error| CallError::Undecodable(odd(error)))
}

impl AccessReport {
    /// A sentence for each access that is not the membership of one of `users`, and for each public database.
    /// Omits the databases for which `skip` returns true.
    pub fn beyond<'a>(
        &self,
        is_user: impl Fn(&str) -> bool,
        skip: impl Fn(&str) -> bool + 'a,
    ) -> Vec<String> {
        let mut texts = Vec::new();
        for access in self.databases.iter().filter(|access| !skip(&access.database)) {
            let database = format!("database {:?}", access.database);
            if access.malformed {
                texts.push(format!(
                    "{database}: it is unknown who has access, because its _security is malformed"
                ));
            } else if access.public {
                texts.push(format!("{database} is public: everybody may read and write it"));
            }
            let stranger = |name: &str| if is_user(name) { "" } else { ", who is no listed user" };
            let strangers = access.members.names.iter().filter(|name| !is_user(name));
            texts.extend(strangers.map(|name| format!("{database}: member {name:?}{}", stranger(name))));
            texts.extend(
                access.members.roles.iter().map(|role| format!("{database}: members by role {role:?}")),
            );
            let admins = access.admins.names.iter();
            texts.extend(admins.map(|name| format!("{database}: administrator {name:?}{}", stranger(name))));
            let roles = access.admins.roles.iter();
            texts.extend(roles.map(|role| format!("{database}: administrators by role {role:?}")));
        }
        let unknown = self.unknown.iter().filter(|name| !skip(name));
        texts.extend(unknown.map(|name| {
            format!("database {name:?}: it is unknown who has access, because CouchDB can't open it")
        }));
        texts.extend(self.silent.then(|| SILENT.to_owned()));
        texts
    }

    /// The user's access other than as a member by name.
    pub fn other_ways(&self, user: &str, roles: &[String]) -> Vec<String> {
        let has = |all: &[String], role: &String| all.contains(role);
        let mut texts = Vec::new();
        for access in &self.databases {
            let mut ways = Vec::new();
            ways.extend(access.public.then(|| "which is public: everybody may read and write it".to_owned()));
            let by_role = access.members.roles.iter().filter(|role| has(roles, role));
            ways.extend(by_role.map(|role| format!("as a member by role {role:?}")));
            if access.admins.names.iter().any(|name| name == user) {
                ways.push("as its administrator".to_owned());
            }
            let by_role = access.admins.roles.iter().filter(|role| has(roles, role));
            ways.extend(by_role.map(|role| format!("as its administrator by role {role:?}")));
            texts.extend(ways.iter().map(|transport| format!("database {:?}, {transport}", access.database)));
        }
        let unknown = self.unknown.iter();
        texts.extend(unknown.map(|name| format!("database {name:?}, perhaps: CouchDB can't open it")));
        texts.extend(self.silent.then(|| SILENT.to_owned()));
        texts
    }
}

impl OwnDatabase {
    /// A description, such as `database "userdb-616c" (3 documents, 12.0 KiB)`.
    pub fn describe(&self) -> String {
        let documents = if self.documents == 1 { "document" } else { "documents" };
        format!("database {:?} ({} {documents}, {})", self.database, self.documents, size(self.bytes))
    }

    /// For programs.
    pub fn document(&self) -> Value {
        json!({ "database": self.database, "documents": self.documents, "bytes": self.bytes })
    }
}

/// The size in the largest unit that gives at least 1.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let Some((unit, power)) = UNITS.into_iter().find(|(_, power)| bytes >> power > 0) else {
        return format!("{bytes} bytes");
    };
    let tenths = (u128::from(bytes) * 10) >> power;
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    fn report() -> AccessReport {
        let access =
            |database: &str, members: (&[&str], &[&str]), admins: (&[&str], &[&str])| DatabaseAccess {
                database: database.to_owned(),
                members: Group { names: texts(members.0), roles: texts(members.1) },
                admins: Group { names: texts(admins.0), roles: texts(admins.1) },
                ..DatabaseAccess::default()
            };
        AccessReport {
            databases: vec![
                access("byrole", (&[], &["editor"]), (&[], &[])),
                access("dbadmin", (&["ed"], &[]), (&["wr"], &["dba"])),
                access("plain", (&["al"], &[]), (&[], &[])),
                DatabaseAccess { public: true, ..access("public", (&[], &[]), (&[], &[])) },
            ],
            unknown: texts(&["broken"]),
            silent: false,
        }
    }

    #[test]
    fn all_access_is_named_that_trove_has_no_place_for() {
        let all = [
            r#"database "byrole": members by role "editor""#,
            r#"database "dbadmin": member "ed", who is no listed user"#,
            r#"database "dbadmin": administrator "wr""#,
            r#"database "dbadmin": administrators by role "dba""#,
            r#"database "public" is public: everybody may read and write it"#,
            r#"database "broken": it is unknown who has access, because CouchDB can't open it"#,
        ];
        assert_eq!(report().beyond(|name| name == "al" || name == "wr", |_| false), all);
        assert_eq!(report().beyond(|_| true, |name| name != "plain"), [""; 0]);
        let silent = AccessReport { silent: true, ..AccessReport::default() };
        assert!(silent.beyond(|_| true, |_| false).concat().contains("too old"));
    }

    #[test]
    fn a_user_has_access_in_several_ways() {
        let ways = report().other_ways("wr", &texts(&["editor"]));
        assert_eq!(
            ways,
            [
                r#"database "byrole", as a member by role "editor""#,
                r#"database "dbadmin", as its administrator"#,
                r#"database "public", which is public: everybody may read and write it"#,
                r#"database "broken", perhaps: CouchDB can't open it"#,
            ]
        );
        assert_eq!(report().other_ways("al", &[]).len(), 2);
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!((size(0).as_str(), size(1023).as_str()), ("0 bytes", "1023 bytes"));
        assert_eq!((size(1024).as_str(), size(1536 * 1024).as_str()), ("1.0 KiB", "1.5 MiB"));
        assert_eq!(size(u64::MAX), "16777215.9 TiB");
    }
}
