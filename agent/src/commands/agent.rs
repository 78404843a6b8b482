//! The agent's own methods, for its operators: `get_agent_status`, `check_databases`, `list_database_access`,
//! `get_user_details`, `rotate_os_admin`, `set_log_filter`.

use futures_util::{FutureExt, future};
use serde_json::{Value, json};
use tracing::info;
use trove_couchdb_protocol::{
    DecodeError, Field, UserName,
    fields::at_most_max_names,
    trove::{LogFilter, Method},
};

use super::{
    Arguments, Command, CommandEntry, Decode, Guest, Needs, Run, RunError, Running, Scope, Scopes, entry,
    paging::Page,
};
use crate::couch::{DatabaseAccess, Group, UserDetails};

pub(super) const COMMANDS: &[CommandEntry] = &[
    entry::<GetAgentStatus>(Method::GetAgentStatus),
    entry::<CheckDatabases>(Method::CheckDatabases),
    entry::<ListDatabaseAccess>(Method::ListDatabaseAccess),
    entry::<GetUserDetails>(Method::GetUserDetails),
    entry::<RotateOsAdmin>(Method::RotateOsAdmin),
    entry::<SetLogFilter>(Method::SetLogFilter),
];

/// `get_agent_status`: the state of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct GetAgentStatus;

impl Decode for GetAgentStatus {
    fn decode(_: &Arguments<'_>) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

impl Command for GetAgentStatus {
    fn method(&self) -> Method {
        Method::GetAgentStatus
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move {
            let version = guest.couch.known_version().map(|version| version.to_string());
            Ok(guest.agent_status.now(version.as_deref()))
        }
        .boxed()
    }

    /// The command that reads the counts is not counted itself.
    fn is_counted(&self) -> bool {
        false
    }
}

/// `check_databases`: which databases are public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CheckDatabases;

impl Decode for CheckDatabases {
    fn decode(_: &Arguments<'_>) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

impl Command for CheckDatabases {
    fn method(&self) -> Method {
        Method::CheckDatabases
    }

    fn scopes(&self) -> Scopes {
        Scopes::reading([Scope::AllDatabases])
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move {
            let found = guest.couch.check_databases().await?;
            Ok(json!({
                "checked": found.checked, "public": found.public, "malformed": found.malformed,
                "unknown": found.unknown,
            }))
        }
        .boxed()
    }
}

/// `list_database_access`: who has access to which database: members and administrators, by name or by role,
/// and whether it is public. Trove's own answers have room for the names of members only.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ListDatabaseAccess(Page);

impl Decode for ListDatabaseAccess {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        Page::decode(args).map(Self)
    }
}

impl Command for ListDatabaseAccess {
    fn method(&self) -> Method {
        Method::ListDatabaseAccess
    }

    fn scopes(&self) -> Scopes {
        Scopes::reading([Scope::AllDatabases])
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move {
            let found = guest.couch.list_database_access(&self.0.of_databases()).await?;
            let group = |group: Group| json!({"names": group.names, "roles": group.roles});
            let database = |access: DatabaseAccess| {
                json!({
                    "database": access.database, "members": group(access.members), "admins": group(access.admins),
                    "public": access.public, "malformed": access.malformed,
                })
            };
            let databases: Vec<Value> = found.databases.into_iter().map(database).collect();
            Ok(json!({"databases": databases, "unknown": found.unknown, "next": found.next}))
        }
        .boxed()
    }
}

/// `get_user_details`: roles, and the database that CouchDB deletes with the user.
#[derive(Debug, Clone, PartialEq, Eq)]
struct GetUserDetails {
    /// The users. A user that does not exist is omitted from the answer.
    users: Vec<UserName>,
}

impl Decode for GetUserDetails {
    /// The names are plain text, because this is not one of Trove's methods.
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        let users = args.required("users")?.list_of(Field::user_name)?;
        at_most_max_names(users.len())?;
        Ok(Self { users })
    }
}

impl Command for GetUserDetails {
    fn method(&self) -> Method {
        Method::GetUserDetails
    }

    fn scopes(&self) -> Scopes {
        Scopes::reading(self.users.iter().map(Scope::user).chain([Scope::AllDatabases]))
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move {
            let policy = guest.couch.policy();
            let users = self.users.iter().map(|name| policy.user(name.clone()));
            let found = guest.couch.user_details(&users.collect::<Result<Vec<_>, _>>()?).await?;
            let details = |(name, details): (String, UserDetails)| {
                let own = details.deleted_with_it.map(
                    |own| json!({"database": own.database, "documents": own.documents, "bytes": own.bytes}),
                );
                (name, json!({"roles": details.roles, "deleted_with_it": own}))
            };
            Ok(Value::Object(found.into_iter().map(details).collect()))
        }
        .boxed()
    }
}

/// `rotate_os_admin`: changes the password of the agent's account on CouchDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotateOsAdmin;

impl Decode for RotateOsAdmin {
    fn decode(_: &Arguments<'_>) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

impl Command for RotateOsAdmin {
    fn method(&self) -> Method {
        Method::RotateOsAdmin
    }

    /// Only one of the two server administrators changes at a time.
    fn scopes(&self) -> Scopes {
        Scopes::writing([Scope::OsAdmin, Scope::Root])
    }

    /// A repeated run after a crash is harmless: it only changes the password once more.
    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move {
            guest.rotator.rotate().await.map_err(RunError::Rotation)?;
            Ok(Value::Null)
        }
        .boxed()
    }
}

/// The syntax that `set_log_filter` expects, as text.
const FILTER: &str = "a level (off, error, warn, info, debug, trace), or several as target=level with commas between, none for audit";

/// The target of the audit log's lines.
const AUDIT: &str = "audit";

/// `set_log_filter`: changes the log filter until the agent restarts or reads its configuration again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SetLogFilter {
    /// `None` for the configured filter.
    filter: Option<LogFilter>,
}

impl Decode for SetLogFilter {
    /// Rejects a filter that names the audit log: silencing it would also hide the line that records the
    /// change. Only the configuration may do so.
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        let text = args.optional_as("filter", Field::string)?;
        let filter = text.map(|text| text.parse::<LogFilter>().ok().filter(|filter| !filter.names(AUDIT)));
        match filter {
            Some(None) => Err(DecodeError::WrongType { field: "filter".to_owned(), expected: FILTER }),
            Some(filter @ Some(_)) => Ok(Self { filter }),
            None => Ok(Self { filter: None }),
        }
    }
}

impl Command for SetLogFilter {
    fn method(&self) -> Method {
        Method::SetLogFilter
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        let filter = guest.log.set(self.filter.as_ref());
        info!(filter = filter.as_str(), "What is logged has changed.");
        future::ready(Ok(json!({"filter": filter.as_str()}))).boxed()
    }

    /// A broker account alone must not suffice to silence a guest's log.
    fn is_local_only(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::commands::tests::typed;

    #[test]
    fn no_filter_is_the_configured_one_and_nonsense_is_refused() {
        let decode = |args: &Value| typed::<SetLogFilter>(args);
        assert_eq!(decode(&json!({})), Ok(SetLogFilter { filter: None }));
        assert_eq!(decode(&json!({"filter": null})), Ok(SetLogFilter { filter: None }));
        let debug = "debug".parse().unwrap();
        assert_eq!(decode(&json!({"filter": "debug"})), Ok(SetLogFilter { filter: Some(debug) }));
        for bad in [
            json!({"filter": "loud"}),
            json!({"filter": "info,audit=off"}),
            json!({"filter": 3}),
            json!({"filter": ["info"]}),
        ] {
            assert!(decode(&bad).is_err(), "{bad}");
        }
    }
}
