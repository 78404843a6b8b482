//! Whether CouchDB has an `os_admin`, as far as that can be found out without its password. It separates a CouchDB
//! that the agent does not manage yet from one whose `os_admin` has a password that the agent lost.
//!
//! Two places show it: the bootstrap administrator that the operator configured, and CouchDB's ini files. A cause is
//! asserted only if one of them was read.

use std::fs;

use trove_couchdb_client::{
    Client, CouchError, Login, Method, PasswordHash, Resource, ServerAdmin, ServerVersion, Session,
    config_root,
};
use trove_couchdb_config::Settings;
use trove_couchdb_guest::{RefusedLogins, ini};
use trove_couchdb_protocol::Secret;

use super::super::{Check, Finding, credentials::CredentialsFile, ini_files, process::Process};

pub(super) static OS_ADMIN: Check =
    Check::new("couchdb.os_admin", "CouchDB has the agent's account os_admin, as far as that can be seen");

/// The page on a CouchDB with an administrator of its own.
pub(super) const ADOPT: &str = "docs/adopt.md";

/// The section on a password that is lost or does not fit.
pub(super) const RECOVER: &str = "docs/operations.md#recover-lost-credentials";

/// What is known about the account, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Account {
    /// It exists.
    Present(String),
    /// An ini file has it with the password that CouchDB refuses.
    NotRead(String),
    /// It does not exist.
    Absent(String),
    /// Nothing shows it, for this reason.
    Unknown(String),
}

/// Looks for the account. Asks CouchDB only as the bootstrap administrator, and at most once.
pub(super) async fn find(
    client: &Client,
    settings: &Settings,
    refusals: &RefusedLogins,
    process: Option<&Process>,
    file: &CredentialsFile,
) -> Account {
    let mut unknown = Vec::new();
    let password = if let CredentialsFile::Known(known) = file { Some(&known.password) } else { None };
    for found in
        [as_bootstrap_admin(client, settings, refusals).await, in_ini_files(settings, process, password)]
    {
        match found {
            Account::Unknown(why) => unknown.push(why),
            known => return known,
        }
    }
    Account::Unknown(unknown.join("; "))
}

async fn as_bootstrap_admin(client: &Client, settings: &Settings, refusals: &RefusedLogins) -> Account {
    let Some((name, password)) = &settings.couchdb.bootstrap_admin else {
        return Account::Unknown("couchdb.bootstrap_admin is not set".to_owned());
    };
    if refusals.barred(name, password).is_some() {
        return Account::Unknown(format!("CouchDB refused bootstrap_admin {name:?} a short while ago"));
    }
    let login = Login::new(name, password);
    match is_seen_by(client, &login).await {
        Ok(true) => Account::Present(format!("bootstrap_admin {name:?} sees os_admin in CouchDB")),
        Ok(false) => Account::Absent(format!("bootstrap_admin {name:?} sees no os_admin in CouchDB")),
        Err(CouchError::LoginRefused) => {
            // The agent must not send it again soon. If it cannot be noted, the agent's own limit still holds.
            drop(refusals.note(name, password));
            Account::Unknown(format!("CouchDB refuses bootstrap_admin {name:?}"))
        }
        Err(error) => Account::Unknown(format!("asking as bootstrap_admin {name:?} failed: {error}")),
    }
}

async fn is_seen_by(client: &Client, login: &Login) -> Result<bool, CouchError> {
    let session = client.send(Some(login), Method::GET, &Resource::Session, None).await?;
    Session::from_answer(session)?.must_be_admin(login.name())?;
    let welcome = client.send(Some(login), Method::GET, &Resource::Welcome, None).await?;
    let config = config_root(client, Some(login), ServerVersion::from_welcome(welcome)?).await?;
    match client.send(Some(login), Method::GET, &Resource::Admin(&config, ServerAdmin::OsAdmin), None).await {
        Ok(_) => Ok(true),
        Err(CouchError::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn in_ini_files(settings: &Settings, process: Option<&Process>, password: Option<&Secret>) -> Account {
    let files = match ini_files::read_by_couchdb(settings, process) {
        Ok(files) => files,
        Err((path, error)) => {
            return Account::Unknown(format!(
                "{} can't be read: {error}; run the doctor as root",
                path.display()
            ));
        }
    };
    let (mut present, mut unreadable) = (None, None);
    for path in &files {
        let shown = path.display();
        match fs::read(path) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                let Some(value) = ini::os_admin_in(&text) else { continue };
                if password.is_some_and(|password| PasswordHash::admin_value_fits(value, password)) {
                    return Account::NotRead(format!(
                        "[admins] in {shown} has os_admin with the password of the file"
                    ));
                }
                present = Some(Account::Present(format!("[admins] in {shown} has os_admin")));
            }
            Err(error) => {
                unreadable =
                    Some(Account::Unknown(format!("{shown} can't be read: {error}; run the doctor as root")));
            }
        }
    }
    present.or(unreadable).unwrap_or_else(|| match files.len() {
        0 => Account::Unknown("no ini file of CouchDB is known on this machine".to_owned()),
        count => Account::Absent(format!("none of CouchDB's {count} ini files has os_admin in [admins]")),
    })
}

/// The finding for a server with some administrator.
pub(super) fn judged(account: &Account, file: &CredentialsFile) -> Finding {
    let has_file = !matches!(file, CredentialsFile::Absent);
    match (account, has_file) {
        (Account::Present(source), true) => OS_ADMIN.ok(source),
        (Account::NotRead(source), _) => OS_ADMIN.failed(
            format!("{source}, and CouchDB refuses it: it has not read that file, or another ini file has another os_admin"),
            format!("restart CouchDB; if that does not help, {RECOVER}"),
        ),
        (Account::Present(source), false) => OS_ADMIN.failed(
            format!("{source}, and the agent has no credentials file with its password"),
            format!("recover the lost credentials: {RECOVER}"),
        ),
        (Account::Absent(source), true) => OS_ADMIN.failed(
            format!("{source}, although the agent has a credentials file: os_admin was removed, or this is a different CouchDB"),
            format!("correct couchdb.url, or recover the lost credentials: {RECOVER}"),
        ),
        (Account::Absent(source), false) => OS_ADMIN.failed(
            format!("{source}, and the agent has no credentials file: it does not manage this CouchDB"),
            format!("let the agent adopt this CouchDB: {ADOPT}"),
        ),
        (Account::Unknown(why), true) => OS_ADMIN.warning(
            format!("not known: {why}"),
            format!("the credentials file shows that the agent had an os_admin once; recover the credentials: {RECOVER}"),
        ),
        (Account::Unknown(why), false) => OS_ADMIN.warning(
            format!("not known: {why}"),
            format!(
                "if the agent has not managed this CouchDB yet, let it adopt the server: {ADOPT}; if it has, recover the lost \
                 credentials: {RECOVER}"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::super::Verdict, *};

    #[test]
    fn a_cause_is_asserted_only_if_it_was_seen() {
        let file = |name: &str| match name {
            "file" => CredentialsFile::Unusable,
            _ => CredentialsFile::Absent,
        };
        let account = |kind: &str| match kind {
            "not read" => Account::NotRead("x has os_admin with the password".to_owned()),
            "present" => Account::Present("x has os_admin".to_owned()),
            "absent" => Account::Absent("x has no os_admin".to_owned()),
            _ => Account::Unknown("nothing shows it".to_owned()),
        };
        for (kind, name, verdict, pages) in [
            ("present", "file", Verdict::Ok, &[][..]),
            ("present", "none", Verdict::Failed, &[RECOVER]),
            ("not read", "file", Verdict::Failed, &[RECOVER]),
            ("absent", "file", Verdict::Failed, &[RECOVER]),
            ("absent", "none", Verdict::Failed, &[ADOPT]),
            ("unknown", "file", Verdict::Warning, &[RECOVER]),
            ("unknown", "none", Verdict::Warning, &[ADOPT, RECOVER]),
        ] {
            let finding = judged(&account(kind), &file(name));
            let advice = finding.advice.clone().unwrap_or_default();
            let named: Vec<&str> =
                [ADOPT, RECOVER].into_iter().filter(|page| advice.contains(page)).collect();
            assert_eq!((finding.verdict, named.as_slice()), (verdict, pages), "{finding:?}");
        }
    }

    #[test]
    fn the_pages_have_these_sections() {
        for page in [ADOPT, RECOVER] {
            let (file, anchor) =
                page.split_once('#').map_or((page, None), |(file, anchor)| (file, Some(anchor)));
            let text = fs::read_to_string(format!("{}/../{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
            let heading =
                |line: &str| line.strip_prefix("## ").map(|text| text.to_lowercase().replace(' ', "-"));
            let has = |anchor: &str| text.lines().filter_map(heading).any(|heading| heading == anchor);
            assert!(anchor.is_none_or(has), "{page}");
        }
    }
}
