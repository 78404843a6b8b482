//! The file: TOML that lists the databases, the users, and the databases that each user can access.
//!
//! ```toml
//! databases = ["log", "shop"]
//!
//! [users.al]
//! databases = ["shop"]
//! password_file = "/run/secrets/al"    # or password_env = "AL_PASSWORD", or generate = true
//! ```
//!
//! Reading is strict (`reader`): an unknown key, a name that CouchDB refuses, or access to a database that is
//! not in the file is an error before the first change. All such mistakes are reported at once.

use std::{
    env,
    fmt::Display,
    io::Read,
    path::{Path, PathBuf},
};

use trove_couchdb_protocol::{Secret, UserName, text};
use zeroize::Zeroizing;

use super::{
    reader,
    wanted::{PasswordSource, Wanted},
};
use crate::{exit::CliError, prompt};

/// A parsed file.
#[derive(Debug)]
pub struct File {
    /// The described state.
    pub wanted: Wanted,
    /// The base directory of relative paths in the file.
    directory: PathBuf,
}

/// Reads and checks a file; `-` is standard input.
pub(super) fn read(path: &Path) -> Result<File, CliError> {
    let shown = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let unreadable = |reason: &dyn Display| CliError::usage(format!("{shown} can't be read: {reason}"));
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    } else {
        bytes = std::fs::read(path).map_err(|error| unreadable(&error))?;
    }
    let text = text::decode(bytes).map_err(|problem| unreadable(&problem))?;
    let wanted = reader::wanted(text.trim_start_matches(text::BYTE_ORDER_MARK)).map_err(|mistakes| {
        let texts: Vec<String> = mistakes.iter().map(|mistake| format!("{shown} {mistake}")).collect();
        CliError::usage(together(&texts)).advise("the format is in docs/cli.md; `export` writes it")
    })?;
    let directory = path.parent().map(Path::to_owned).unwrap_or_default();
    Ok(File { wanted, directory })
}

/// Several mistakes as one message.
pub(super) fn together(mistakes: &[String]) -> String {
    match mistakes {
        [one] => one.clone(),
        several => {
            let lines: String = several.iter().map(|mistake| format!("\n  {mistake}")).collect();
            format!("{} mistakes; nothing was done:{lines}", several.len())
        }
    }
}

impl File {
    /// The password for a user, and whether it was generated and so must be shown.
    pub(super) fn password(&self, name: &UserName) -> Result<(Secret, bool), CliError> {
        let place = format!("users.{:?}", name.as_str());
        let source = self.wanted.users.get(name).and_then(|user| user.password.as_ref());
        let secret = match source {
            None => {
                return Err(CliError::usage(format!("{place} is to be created and has no password"))
                    .advise("write password_file, password_env or generate = true"));
            }
            Some(PasswordSource::Generated) => return Ok((prompt::generated_password(), true)),
            Some(PasswordSource::Environment(variable)) => {
                let text = env::var(variable).map(Zeroizing::new).map_err(|_| {
                    CliError::usage(format!("{place}: the variable {variable} is not set, or no text"))
                })?;
                let secret = text::secret(&text);
                if secret.contains('\n') {
                    return Err(CliError::usage(format!(
                        "{place}: the variable {variable} has several lines"
                    )));
                }
                Secret::new(secret)
            }
            Some(PasswordSource::File(path)) => {
                let path = self.directory.join(path);
                let unreadable = |reason: &dyn Display| {
                    CliError::usage(format!("{place}: {} can't be read: {reason}", path.display()))
                };
                let bytes = std::fs::read(&path).map_err(|error| unreadable(&error))?;
                let text = Zeroizing::new(text::decode(bytes).map_err(|problem| unreadable(&problem))?);
                Secret::new(text::secret_line(&text))
            }
        };
        if secret.expose().is_empty() {
            return Err(CliError::usage(format!("{place}: the password is empty")));
        }
        Ok((secret, false))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_password_that_is_unavailable_is_an_error_before_anything_is_done() {
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
        std::fs::write(directory.path().join("al"), "\u{feff}s3cret\r\nmore\n").unwrap();
        assert_eq!(password("al").unwrap(), (Secret::new("s3cret"), false));
        std::fs::write(directory.path().join("al"), "s3cret\n").unwrap();
        assert_eq!(password("al").unwrap(), (Secret::new("s3cret"), false));
        assert!(password("fa").unwrap().1);
        for (name, says) in
            [("bo", "has no password"), ("cy", "NO_SUCH_VARIABLE"), ("di", "empty"), ("ed", "missing")]
        {
            assert!(password(name).unwrap_err().to_string().contains(says), "{name}");
        }
    }
}
