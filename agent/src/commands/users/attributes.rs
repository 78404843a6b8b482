//! `change_passwords`, `update_attributes`: change an existing user.

use futures_util::FutureExt;
use serde_json::Value;
use trove_couchdb_protocol::{
    DecodeError, Field, HostPattern, Secret, UserName, fields::at_most_max_names, trove::Method,
};

use crate::commands::{Arguments, Command, Decode, Guest, Run, Running, Scope, Scopes};

/// A user's new password.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PasswordChange {
    /// The user.
    user: UserName,
    /// The hosts from which the user can log in.
    host: HostPattern,
    /// The new password.
    password: Secret,
}

/// `change_passwords`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) struct ChangePasswords {
    /// The users and their new passwords.
    users: Vec<PasswordChange>,
}

impl Decode for ChangePasswords {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        let users = args.required("users")?.list_of(|change| {
            let change = change.object()?;
            Ok(PasswordChange {
                user: change.required("name")?.user_name()?,
                host: change.host("host")?,
                password: change.required("password")?.secret()?,
            })
        })?;
        at_most_max_names(users.len())?;
        Ok(Self { users })
    }
}

impl Command for ChangePasswords {
    fn method(&self) -> Method {
        Method::ChangePasswords
    }

    fn scopes(&self) -> Scopes {
        Scopes::writing(self.users.iter().map(|change| Scope::user(&change.user)))
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move {
            let policy = guest.couch.policy();
            let mut passwords = Vec::with_capacity(self.users.len());
            for change in &self.users {
                passwords.push((policy.user(change.user.clone())?, change.password.clone()));
            }
            guest.couch.change_passwords(&passwords).await?;
            Ok(Value::Null)
        }
        .boxed()
    }

    fn hosts(&self) -> Vec<&HostPattern> {
        self.users.iter().map(|change| &change.host).collect()
    }
}

/// `update_attributes`: `None` leaves an attribute unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) struct UpdateAttributes {
    /// The user.
    pub(in crate::commands) user: UserName,
    /// The hosts from which the user can log in now.
    pub(in crate::commands) host: HostPattern,
    /// The new name.
    pub(in crate::commands) rename: Option<UserName>,
    /// The new password.
    pub(in crate::commands) password: Option<Secret>,
    /// The hosts from which the user will be able to log in.
    pub(in crate::commands) new_host: Option<HostPattern>,
}

impl Decode for UpdateAttributes {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        let (user, host) = args.user_and_host()?;
        let wanted = args.required("user_attrs")?.object()?;
        Ok(Self {
            user,
            host,
            rename: wanted.optional_as("name", Field::user_name)?,
            password: wanted.optional_as("password", Field::secret)?,
            new_host: wanted.optional_as("host", Field::host)?,
        })
    }
}

impl Command for UpdateAttributes {
    fn method(&self) -> Method {
        Method::UpdateAttributes
    }

    fn scopes(&self) -> Scopes {
        let renamed = self.rename.iter().map(Scope::user);
        Scopes::writing([Scope::user(&self.user)].into_iter().chain(renamed))
    }

    fn run<'a>(&'a self, guest: &'a Guest, run: Run<'a>) -> Running<'a> {
        async move {
            let (couch, policy) = (&guest.couch, guest.couch.policy());
            let current = policy.user(self.user.clone())?;
            match (self.rename.as_ref().filter(|name| **name != self.user), self.password.as_ref()) {
                (Some(name), password) => {
                    couch.rename_user(&current, &policy.user(name.clone())?, password, run.id).await?;
                }
                (None, Some(password)) => couch.change_passwords(&[(current, password.clone())]).await?,
                // Without a change the command succeeds, but only if the user exists.
                (None, None) => couch.require_user(&current).await?,
            }
            Ok(Value::Null)
        }
        .boxed()
    }

    fn hosts(&self) -> Vec<&HostPattern> {
        std::iter::once(&self.host).chain(&self.new_host).collect()
    }
}
