//! The file: TOML that says which databases there are, which users, and who has access to what.
//!
//! ```toml
//! databases = ["log", "shop"]
//!
//! [users.al]
//! databases = ["shop"]
//! password_file = "/run/secrets/al"    # or password_env = "AL_PASSWORD", or generate = true
//! ```
//!
//! Read strictly: a key that does not exist, a name that CouchDB would not take, or access to a database that the file
//! doesn't have is an error before anything is done.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::Read,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use trove_couchdb_protocol::{DatabaseName, Secret, UserName};

use super::plan::Access;
use crate::{
    ask,
    exit::{CliError, Code},
};

/// The state that a file describes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The databases.
    pub databases: BTreeSet<DatabaseName>,
    /// The users.
    pub users: BTreeMap<UserName, WantedUser>,
}

/// A user that a file describes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedUser {
    /// Its access.
    pub databases: Access,
    /// Where its password comes from when one is set.
    pub password: Option<PasswordSource>,
    /// Whether it gets that password also if it is there already.
    pub rotate_password: bool,
}

/// Where a password comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// The first line of a file.
    File(PathBuf),
    /// A variable of the environment.
    Environment(String),
    /// Generated and shown once.
    Generated,
}

/// A file that was read.
#[derive(Debug)]
pub struct File {
    /// What it describes.
    pub wanted: Wanted,
    /// What relative paths in it start from.
    directory: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    databases: Vec<String>,
    #[serde(default)]
    users: BTreeMap<String, RawUser>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUser {
    #[serde(default)]
    databases: Vec<String>,
    password_file: Option<PathBuf>,
    password_env: Option<String>,
    #[serde(default)]
    generate: bool,
    #[serde(default)]
    rotate_password: bool,
}

/// Reads and checks a file; `-` is standard input.
pub(super) fn read(path: &Path) -> Result<File, CliError> {
    let shown = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let unreadable = |error: std::io::Error| CliError::usage(format!("{shown} can't be read: {error}"));
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().lock().read_to_string(&mut text).map_err(unreadable)?;
    } else {
        text = std::fs::read_to_string(path).map_err(unreadable)?;
    }
    let wanted = parse(&text).map_err(|problem| {
        CliError::usage(format!("{shown}: {problem}"))
            .advise("the format is in docs/cli.md; `export` writes it")
    })?;
    let directory = path.parent().map(Path::to_owned).unwrap_or_default();
    Ok(File { wanted, directory })
}

fn parse(text: &str) -> Result<Wanted, String> {
    let raw: RawFile = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    let databases = names(&raw.databases, "databases")?;
    let mut users = BTreeMap::new();
    for (name, raw) in raw.users {
        let place = format!("users.{name:?}");
        let name: UserName = name.parse().map_err(|error| format!("{place}: {error}"))?;
        users.insert(name, user(raw, &databases, &place)?);
    }
    Ok(Wanted { databases, users })
}

fn user(raw: RawUser, databases: &BTreeSet<DatabaseName>, place: &str) -> Result<WantedUser, String> {
    let access = names(&raw.databases, &format!("{place}.databases"))?;
    if let Some(missing) = access.difference(databases).next() {
        let missing = missing.as_str();
        return Err(format!("{place}: the database {missing:?} is not in `databases`; add it there"));
    }
    let sources = [
        raw.password_file.map(PasswordSource::File),
        raw.password_env.map(PasswordSource::Environment),
        raw.generate.then_some(PasswordSource::Generated),
    ];
    let mut sources: Vec<_> = sources.into_iter().flatten().collect();
    if sources.len() > 1 {
        return Err(format!("{place}: password_file, password_env and generate exclude each other"));
    }
    let password = sources.pop();
    if raw.rotate_password && password.is_none() {
        return Err(format!("{place}: rotate_password needs password_file, password_env or generate"));
    }
    Ok(WantedUser { databases: access, password, rotate_password: raw.rotate_password })
}

fn names(raw: &[String], place: &str) -> Result<BTreeSet<DatabaseName>, String> {
    let mut names = BTreeSet::new();
    for name in raw {
        let valid = DatabaseName::try_from(name.as_str()).map_err(|error| format!("{place}: {error}"))?;
        if !names.insert(valid) {
            return Err(format!("{place}: {name:?} is there twice"));
        }
    }
    Ok(names)
}

impl File {
    /// The password that the file has for a user, and whether nobody knows it yet.
    pub(super) fn password(&self, name: &UserName) -> Result<(Secret, bool), CliError> {
        let place = format!("users.{:?}", name.as_str());
        let source = self.wanted.users.get(name).and_then(|user| user.password.as_ref());
        let text = match source {
            None => {
                return Err(CliError::usage(format!("{place} is to be created and has no password"))
                    .advise("write password_file, password_env or generate = true"));
            }
            Some(PasswordSource::Generated) => return Ok((ask::generated_password(), true)),
            Some(PasswordSource::Environment(variable)) => env::var(variable).map_err(|_| {
                CliError::usage(format!("{place}: the variable {variable} is not set, or no text"))
            })?,
            Some(PasswordSource::File(path)) => {
                let path = self.directory.join(path);
                let text = std::fs::read_to_string(&path).map_err(|error| {
                    CliError::usage(format!("{place}: {} can't be read: {error}", path.display()))
                })?;
                text.lines().next().unwrap_or_default().to_owned()
            }
        };
        if text.is_empty() {
            return Err(CliError::new(Code::Usage, format!("{place}: the password is empty")));
        }
        Ok((Secret::new(text), false))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_says_databases_users_and_access() {
        let wanted = parse(
            "databases = ['shop', 'log']\n[users.al]\ndatabases = ['shop']\npassword_file = 'x'\n\
             [users.'b o@x']\ngenerate = true\nrotate_password = true\n[users.c]\n",
        )
        .unwrap();
        assert_eq!(wanted.databases.len(), 2);
        let al = &wanted.users[&"al".parse().unwrap()];
        assert_eq!(al.password, Some(PasswordSource::File("x".into())));
        assert!(al.databases.contains(&"shop".parse().unwrap()));
        assert!(wanted.users[&"b o@x".parse().unwrap()].rotate_password);
        assert_eq!(wanted.users[&"c".parse().unwrap()], WantedUser::default());
        assert_eq!(parse("").unwrap(), Wanted::default());
    }

    #[test]
    fn every_mistake_is_named_with_its_place() {
        for (text, says) in [
            ("databses = []", "databses"),
            ("databases = ['Shop']", "lower-case"),
            ("databases = ['a', 'a']", "twice"),
            ("[users.al]\ndatabases = ['a']", "not in `databases`"),
            ("[users.'a:b']", "colon"),
            ("[users.al]\npassword = 'x'", "unknown field"),
            ("[users.al]\ngenerate = true\npassword_env = 'X'", "exclude each other"),
            ("[users.al]\nrotate_password = true", "rotate_password needs"),
            ("[[users]]", "users"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(says), "{text}: {problem}");
        }
    }

    #[test]
    fn a_password_that_is_not_to_be_had_is_an_error_before_anything_is_done() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.toml");
        std::fs::write(directory.path().join("al"), "s3cret\nmore\n").unwrap();
        std::fs::write(directory.path().join("empty"), "\n").unwrap();
        std::fs::write(
            &path,
            "[users.al]\npassword_file='al'\n[users.bo]\n[users.cy]\npassword_env='NO_SUCH_VARIABLE'\n\
             [users.di]\npassword_file='empty'\n[users.ed]\npassword_file='missing'\n[users.fa]\ngenerate=true\n",
        )
        .unwrap();
        let file = read(&path).unwrap();
        let password = |name: &str| file.password(&name.parse().unwrap());
        assert_eq!(password("al").unwrap(), (Secret::new("s3cret"), false));
        assert!(password("fa").unwrap().1);
        for (name, says) in
            [("bo", "has no password"), ("cy", "NO_SUCH_VARIABLE"), ("di", "empty"), ("ed", "missing")]
        {
            assert!(password(name).unwrap_err().to_string().contains(says), "{name}");
        }
    }
}
