//! The account that the agent runs as, and the protection of its process.

use std::{ffi::OsString, io};

use nix::unistd::{Uid, User};
use rustix::process::{DumpableBehavior, Resource, Rlimit, geteuid, set_dumpable_behavior, setrlimit};

/// The account of the systemd unit (`packaging/sysusers.d`).
pub const ACCOUNT: &str = "trove-couchdb";

/// Keeps the passwords in this process's memory out of core dumps, and protects its memory, environment and
/// file descriptors from other processes of the same account.
///
/// # Errors
/// The kernel refused. The caller may continue, because the unit sets the limit as well.
pub fn forbid_core_dumps() -> io::Result<()> {
    // The limit does not apply to cores that are piped to a program (systemd-coredump), so both are set.
    let not_dumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    not_dumpable.map_err(io::Error::from)
}

/// The environment for reading the agent's configuration. For root, `HOME` is that of the agent's account, if
/// it exists on this machine, so that `~` in the settings has the same meaning.
pub fn environment_of_account() -> impl Iterator<Item = (OsString, OsString)> {
    let home = geteuid().is_root().then(home_of_account).flatten();
    with_home(std::env::vars_os(), home)
}

/// An account in words: its number, and its name if this machine knows it.
///
/// Blocks: the name service may use the network.
pub fn account_of(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => format!("uid {uid} ({})", user.name),
        _ => format!("uid {uid}"),
    }
}

fn home_of_account() -> Option<OsString> {
    User::from_name(ACCOUNT).ok().flatten().map(|account| account.dir.into_os_string())
}

fn with_home(
    environment: impl Iterator<Item = (OsString, OsString)>,
    home: Option<OsString>,
) -> impl Iterator<Item = (OsString, OsString)> {
    let replaced = home.is_some();
    let others = environment.filter(move |(name, _)| !(replaced && name == "HOME"));
    others.chain(home.map(|home| ("HOME".into(), home)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_named_if_it_has_a_name() {
        assert_eq!(account_of(0), "uid 0 (root)");
        assert_eq!(account_of(3_999_999_999), "uid 3999999999");
    }

    #[test]
    fn only_home_is_replaced_and_only_by_a_home() {
        let own = || [("HOME", "/root"), ("PATH", "/bin")].map(|(name, value)| (name.into(), value.into()));
        let with =
            |home: Option<&str>| with_home(own().into_iter(), home.map(OsString::from)).collect::<Vec<_>>();
        assert_eq!(with(None), own());
        let of_account = [("PATH", "/bin"), ("HOME", "/var/lib/x")];
        assert_eq!(with(Some("/var/lib/x")), of_account.map(|(name, value)| (name.into(), value.into())));
    }
}
