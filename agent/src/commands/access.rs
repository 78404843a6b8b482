//! `grant_access`, `revoke_access`, `list_access`. Unlike in `create_database`, databases are plain names
//! here.

use futures_util::FutureExt;
use serde_json::Value;
use trove_couchdb_protocol::{
    DatabaseName, DecodeError, Field, HostPattern, UserName,
    fields::at_most_max_names,
    trove::{DatabaseModel, Method},
};

use super::{Arguments, Command, CommandEntry, Decode, Guest, Run, Running, Scope, Scopes, entry};

pub(super) const COMMANDS: &[CommandEntry] = &[
    entry::<GrantAccess>(Method::GrantAccess),
    entry::<RevokeAccess>(Method::RevokeAccess),
    entry::<ListAccess>(Method::ListAccess),
];

/// `grant_access`
#[derive(Debug, Clone, PartialEq, Eq)]
struct GrantAccess {
    /// The user that gets access.
    user: UserName,
    /// The hosts from which the user can log in.
    host: HostPattern,
    /// The databases.
    databases: Vec<DatabaseName>,
}

impl Decode for GrantAccess {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        let (user, host) = args.user_and_host()?;
        let databases = args.required("databases")?.list_of(Field::database_name)?;
        at_most_max_names(1 + databases.len())?;
        Ok(Self { user, host, databases })
    }
}

impl Command for GrantAccess {
    fn method(&self) -> Method {
        Method::GrantAccess
    }

    /// A change of membership writes the user and the database.
    fn scopes(&self) -> Scopes {
        let user = Scope::user(&self.user);
        let databases = self.databases.iter().map(Scope::database);
        Scopes::writing([user].into_iter().chain(databases))
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move {
            let policy = guest.couch.policy();
            let user = policy.user(self.user.clone())?;
            guest.couch.grant_access(&user, &policy.databases(self.databases.clone())?).await?;
            Ok(Value::Null)
        }
        .boxed()
    }

    fn hosts(&self) -> Vec<&HostPattern> {
        vec![&self.host]
    }
}

/// `revoke_access`
#[derive(Debug, Clone, PartialEq, Eq)]
struct RevokeAccess {
    /// The user that loses access.
    user: UserName,
    /// The hosts from which the user can log in.
    host: HostPattern,
    /// The database.
    database: DatabaseName,
}

impl Decode for RevokeAccess {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        let (user, host) = args.user_and_host()?;
        let database = args.required("database")?.database_name()?;
        Ok(Self { user, host, database })
    }
}

impl Command for RevokeAccess {
    fn method(&self) -> Method {
        Method::RevokeAccess
    }

    fn scopes(&self) -> Scopes {
        Scopes::writing([Scope::user(&self.user), Scope::database(&self.database)])
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move {
            let policy = guest.couch.policy();
            let user = policy.user(self.user.clone())?;
            guest.couch.revoke_access(&user, &policy.database(self.database.clone())?).await?;
            Ok(Value::Null)
        }
        .boxed()
    }

    fn hosts(&self) -> Vec<&HostPattern> {
        vec![&self.host]
    }
}

/// `list_access`
#[derive(Debug, Clone, PartialEq, Eq)]
struct ListAccess {
    /// The user.
    user: UserName,
    /// The hosts from which the user can log in.
    host: HostPattern,
}

impl Decode for ListAccess {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        let (user, host) = args.user_and_host()?;
        Ok(Self { user, host })
    }
}

impl Command for ListAccess {
    fn method(&self) -> Method {
        Method::ListAccess
    }

    fn scopes(&self) -> Scopes {
        Scopes::of_access(&self.user)
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move {
            let couch = &guest.couch;
            let names = couch.list_access(&couch.policy().user(self.user.clone())?).await?;
            Ok(names.into_iter().map(|name| DatabaseModel { name }.to_value()).collect())
        }
        .boxed()
    }

    fn hosts(&self) -> Vec<&HostPattern> {
        vec![&self.host]
    }
}
