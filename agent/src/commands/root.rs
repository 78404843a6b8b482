//! `enable_root`, `enable_root_with_password`, `disable_root`, `is_root_enabled`.

use futures_util::FutureExt;
use serde_json::Value;
use trove_couchdb_protocol::{
    DecodeError, Field, Secret,
    trove::{Method, root_user},
};

use super::{
    Arguments, Command, CommandEntry, Decode, Guest, Run, RunError, Running, Scope, Scopes, Seed, entry,
};

pub(super) const COMMANDS: &[CommandEntry] = &[
    entry::<EnableRoot>(Method::EnableRoot),
    entry::<EnableRootWithPassword>(Method::EnableRootWithPassword),
    entry::<DisableRoot>(Method::DisableRoot),
    entry::<IsRootEnabled>(Method::IsRootEnabled),
];

/// Sets root's password and answers with it.
async fn enable(guest: &Guest, password: &Secret) -> Result<Value, RunError> {
    guest.couch.enable_root(password).await?;
    Ok(root_user(password))
}

/// The answer with a generated password. The password is derived from the command's seed, so that a second
/// run does not replace a password that the user may have seen.
fn generated_again(seed: Option<&Seed>) -> Option<Value> {
    seed.map(|seed| root_user(&seed.password()))
}

/// `enable_root`: the guest chooses the password and answers with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct EnableRoot;

impl Decode for EnableRoot {
    fn decode(_: &Arguments<'_>) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

impl Command for EnableRoot {
    fn method(&self) -> Method {
        Method::EnableRoot
    }

    fn scopes(&self) -> Scopes {
        Scopes::writing([Scope::Root])
    }

    fn run<'a>(&'a self, guest: &'a Guest, run: Run<'a>) -> Running<'a> {
        async move { enable(guest, &run.seed.password()).await }.boxed()
    }

    fn generates_a_password(&self) -> bool {
        true
    }

    fn result_again(&self, seed: Option<&Seed>) -> Option<Value> {
        generated_again(seed)
    }
}

/// `enable_root_with_password`. Trove's own default for the password is null (`trove/guestagent/api.py`),
/// which means that the guest chooses one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct EnableRootWithPassword {
    password: Option<Secret>,
}

impl Decode for EnableRootWithPassword {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        Ok(Self { password: args.optional_as("root_password", Field::secret)? })
    }
}

impl Command for EnableRootWithPassword {
    fn method(&self) -> Method {
        Method::EnableRootWithPassword
    }

    fn scopes(&self) -> Scopes {
        Scopes::writing([Scope::Root])
    }

    fn run<'a>(&'a self, guest: &'a Guest, run: Run<'a>) -> Running<'a> {
        async move {
            match &self.password {
                Some(given) => enable(guest, given).await,
                None => enable(guest, &run.seed.password()).await,
            }
        }
        .boxed()
    }

    fn generates_a_password(&self) -> bool {
        self.password.is_none()
    }

    fn result_again(&self, seed: Option<&Seed>) -> Option<Value> {
        match &self.password {
            Some(given) => Some(root_user(given)),
            None => generated_again(seed),
        }
    }
}

/// `disable_root`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DisableRoot;

impl Decode for DisableRoot {
    fn decode(_: &Arguments<'_>) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

impl Command for DisableRoot {
    fn method(&self) -> Method {
        Method::DisableRoot
    }

    fn scopes(&self) -> Scopes {
        Scopes::writing([Scope::Root])
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move {
            guest.couch.disable_root().await?;
            Ok(Value::Null)
        }
        .boxed()
    }
}

/// `is_root_enabled`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct IsRootEnabled;

impl Decode for IsRootEnabled {
    fn decode(_: &Arguments<'_>) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

impl Command for IsRootEnabled {
    fn method(&self) -> Method {
        Method::IsRootEnabled
    }

    fn scopes(&self) -> Scopes {
        Scopes::reading([Scope::Root])
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move { Ok(Value::Bool(guest.couch.is_root_enabled().await?)) }.boxed()
    }
}
