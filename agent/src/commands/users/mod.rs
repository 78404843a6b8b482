//! `create_user`, `delete_user`, `get_user`, `list_users`, `change_passwords`, `update_attributes`.
//!
//! Trove has two notations for a user (`trove/extensions/mysql/models.py`): its serialized model (`_name`,
//! `_host`, `_password`, `_databases`) in `create_user`, `prepare` and `delete_user`, and plain keys (`name`,
//! `host`, `password`) in `change_passwords` and `update_attributes`.

pub(super) mod attributes;

use futures_util::FutureExt;
use serde_json::{Value, json};
use trove_couchdb_protocol::{
    DatabaseName, DecodeError, Field, HostPattern, Secret, UserName,
    fields::at_most_max_names,
    trove::{Method, UserModel},
};

use super::{
    Arguments, Command, CommandEntry, Decode, Guest, Run, Running, Scope, Scopes, entry,
    paging::{Page, marker_of_user},
};
use crate::couch::{CommandError, Couch, ListedUser, NewAccount};

pub(super) const COMMANDS: &[CommandEntry] = &[
    entry::<CreateUser>(Method::CreateUser),
    entry::<DeleteUser>(Method::DeleteUser),
    entry::<GetUser>(Method::GetUser),
    entry::<ListUsers>(Method::ListUsers),
    entry::<attributes::ChangePasswords>(Method::ChangePasswords),
    entry::<attributes::UpdateAttributes>(Method::UpdateAttributes),
];

/// A user to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewUser {
    /// Its name.
    pub(super) name: UserName,
    /// The hosts from which the user may log in.
    pub(super) host: HostPattern,
    /// Its password. Trove's model permits a user without a password.
    pub(super) password: Option<Secret>,
    /// The databases that the user gets access to.
    pub(super) databases: Vec<DatabaseName>,
}

impl NewUser {
    /// A user in Trove's serialized model, as `create_user` and `prepare` send it.
    pub(super) fn read(field: &Field<'_>) -> Result<Self, DecodeError> {
        let user = field.object()?;
        let databases = user.optional_as("_databases", |list| list.list_of(Field::database_name))?;
        Ok(Self {
            name: user.required("_name")?.user_name()?,
            host: user.host("_host")?,
            password: user.optional_as("_password", Field::secret)?,
            databases: databases.unwrap_or_default(),
        })
    }
}

/// The number of users and databases that these users name.
pub(super) fn names_in(users: &[NewUser]) -> usize {
    users.iter().map(|user| 1 + user.databases.len()).sum()
}

/// The accounts of a command. Fails if a name is reserved or a password is missing.
pub(super) fn accounts(couch: &Couch, users: &[NewUser]) -> Result<Vec<NewAccount>, CommandError> {
    let policy = couch.policy();
    let account = |new: &NewUser| {
        let user = policy.user(new.name.clone())?;
        let Some(password) = new.password.clone() else {
            return Err(CommandError::PasswordMissing(new.name.clone()));
        };
        Ok(NewAccount { user, password, databases: policy.databases(new.databases.clone())? })
    };
    users.iter().map(account).collect()
}

fn model(user: ListedUser) -> Value {
    UserModel { name: user.name, databases: user.databases }.to_value()
}

/// `create_user`: creates all users, or reports the first error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CreateUser {
    pub(super) users: Vec<NewUser>,
}

impl Decode for CreateUser {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        let users = args.required("users")?.list_of(NewUser::read)?;
        at_most_max_names(names_in(&users))?;
        Ok(Self { users })
    }
}

impl Command for CreateUser {
    fn method(&self) -> Method {
        Method::CreateUser
    }

    fn scopes(&self) -> Scopes {
        let names = self.users.iter().map(|new| Scope::user(&new.name));
        let granted = self.users.iter().flat_map(|new| new.databases.iter().map(Scope::database));
        Scopes::writing(names.chain(granted))
    }

    fn run<'a>(&'a self, guest: &'a Guest, run: Run<'a>) -> Running<'a> {
        async move {
            guest.couch.create_users(&accounts(&guest.couch, &self.users)?, run.id).await?;
            Ok(Value::Null)
        }
        .boxed()
    }

    fn hosts(&self) -> Vec<&HostPattern> {
        self.users.iter().map(|user| &user.host).collect()
    }
}

/// `delete_user`
#[derive(Debug, Clone, PartialEq, Eq)]
struct DeleteUser {
    /// The user.
    user: UserName,
    /// The hosts from which the user could log in.
    host: HostPattern,
}

impl Decode for DeleteUser {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        let user = args.required("user")?.object()?;
        Ok(Self { user: user.required("_name")?.user_name()?, host: user.host("_host")? })
    }
}

impl Command for DeleteUser {
    fn method(&self) -> Method {
        Method::DeleteUser
    }

    fn scopes(&self) -> Scopes {
        Scopes::writing([Scope::user(&self.user)])
    }

    fn run<'a>(&'a self, guest: &'a Guest, run: Run<'a>) -> Running<'a> {
        async move {
            let couch = &guest.couch;
            couch.delete_user(&couch.policy().user(self.user.clone())?, run.again).await?;
            Ok(Value::Null)
        }
        .boxed()
    }

    fn hosts(&self) -> Vec<&HostPattern> {
        vec![&self.host]
    }
}

/// `get_user`
#[derive(Debug, Clone, PartialEq, Eq)]
struct GetUser {
    /// The user.
    user: UserName,
    /// The hosts from which the user can log in.
    host: HostPattern,
}

impl Decode for GetUser {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        let (user, host) = args.user_and_host()?;
        Ok(Self { user, host })
    }
}

impl Command for GetUser {
    fn method(&self) -> Method {
        Method::GetUser
    }

    fn scopes(&self) -> Scopes {
        Scopes::of_access(&self.user)
    }

    /// `null` for a user that does not exist: the API turns it into its own 404.
    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move {
            let couch = &guest.couch;
            let found = couch.get_user(&couch.policy().user(self.user.clone())?).await?;
            Ok(found.map_or(Value::Null, model))
        }
        .boxed()
    }

    fn hosts(&self) -> Vec<&HostPattern> {
        vec![&self.host]
    }
}

/// `list_users`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListUsers(pub(super) Page);

impl Decode for ListUsers {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        Page::decode(args).map(Self)
    }
}

impl Command for ListUsers {
    fn method(&self) -> Method {
        Method::ListUsers
    }

    fn scopes(&self) -> Scopes {
        Scopes::reading([Scope::AllUsers, Scope::AllDatabases])
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move {
            let couch = &guest.couch;
            let (users, next) = couch.list_users(&self.0.of_users(couch).await?).await?;
            let users: Vec<Value> = users.into_iter().map(model).collect();
            Ok(json!([users, next.as_deref().map(marker_of_user)]))
        }
        .boxed()
    }
}
