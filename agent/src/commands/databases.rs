//! `create_database`, `delete_database`, `list_databases`.
//!
//! Trove sends its serialized model of a database. Character set and collation have no meaning in CouchDB and
//! are ignored.

use futures_util::FutureExt;
use serde_json::{Value, json};
use trove_couchdb_protocol::{
    DatabaseName, DecodeError, Field,
    fields::at_most_max_names,
    trove::{DatabaseModel, Method},
};

use super::{
    Arguments, Command, CommandEntry, Decode, Guest, Run, Running, Scope, Scopes, entry, paging::Page,
};
use crate::couch::CreateDatabases;

pub(super) const COMMANDS: &[CommandEntry] = &[
    entry::<CreateDatabase>(Method::CreateDatabase),
    entry::<DeleteDatabase>(Method::DeleteDatabase),
    entry::<ListDatabases>(Method::ListDatabases),
];

/// `create_database`: creates all databases, or reports the first error.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CreateDatabase {
    databases: Vec<DatabaseName>,
}

impl Decode for CreateDatabase {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        let databases = args.required("databases")?.list_of(Field::database_name)?;
        at_most_max_names(databases.len())?;
        Ok(Self { databases })
    }
}

impl Command for CreateDatabase {
    fn method(&self) -> Method {
        Method::CreateDatabase
    }

    fn scopes(&self) -> Scopes {
        Scopes::writing(self.databases.iter().map(Scope::database))
    }

    fn run<'a>(&'a self, guest: &'a Guest, run: Run<'a>) -> Running<'a> {
        async move {
            let databases = guest.couch.policy().databases(self.databases.clone())?;
            guest.couch.create_databases(&CreateDatabases { databases, command: run.id }).await?;
            Ok(Value::Null)
        }
        .boxed()
    }
}

/// `delete_database`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeleteDatabase {
    pub(super) database: DatabaseName,
}

impl Decode for DeleteDatabase {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        Ok(Self { database: args.required("database")?.database_name()? })
    }
}

impl Command for DeleteDatabase {
    fn method(&self) -> Method {
        Method::DeleteDatabase
    }

    fn scopes(&self) -> Scopes {
        Scopes::writing([Scope::database(&self.database)])
    }

    fn run<'a>(&'a self, guest: &'a Guest, run: Run<'a>) -> Running<'a> {
        async move {
            let couch = &guest.couch;
            couch.delete_database(&couch.policy().database(self.database.clone())?, run.again).await?;
            Ok(Value::Null)
        }
        .boxed()
    }
}

/// `list_databases`
#[derive(Debug, Clone, PartialEq, Eq)]
struct ListDatabases(Page);

impl Decode for ListDatabases {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        Page::decode(args).map(Self)
    }
}

impl Command for ListDatabases {
    fn method(&self) -> Method {
        Method::ListDatabases
    }

    fn scopes(&self) -> Scopes {
        Scopes::reading([Scope::AllDatabases])
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move {
            let (names, next) = guest.couch.list_databases(&self.0.of_databases()).await?;
            let model = |name| DatabaseModel { name }.to_value();
            let databases: Vec<Value> = names.into_iter().map(model).collect();
            Ok(json!([databases, next]))
        }
        .boxed()
    }
}
