//! The releases of CouchDB that `COUCHDB_HOME` names.
//!
//! Caller: [`super::RealBuilder`]. A release is a directory with `bin/couchdb`: `rel/couchdb` of CouchDB's
//! build, or `/opt/couchdb` of a package. Several releases are separated by `:`; tests that need no
//! particular version use the first.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The variable that names the releases.
pub(super) const VARIABLE: &str = "COUCHDB_HOME";

/// A release and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    pub(super) directory: PathBuf,
    version: String,
}

impl Release {
    /// All named releases; an error if a directory is not a release.
    pub fn all() -> Result<Vec<Self>> {
        let paths = std::env::var_os(VARIABLE).unwrap_or_default();
        let paths = std::env::split_paths(&paths).filter(|path| !path.as_os_str().is_empty());
        paths.map(|path| Self::at(&path)).collect()
    }

    fn at(path: &Path) -> Result<Self> {
        let directory =
            path.canonicalize().with_context(|| format!("{VARIABLE}: cannot find {}", path.display()))?;
        let program = directory.join("bin/couchdb");
        ensure!(program.is_file(), "{VARIABLE}: there is no {}", program.display());
        // Both `releases/*.rel` and `start_erl.data` of some builds lack the version.
        let libraries = directory.join("lib");
        let version = std::fs::read_dir(&libraries)
            .with_context(|| format!("{VARIABLE}: cannot read {}", libraries.display()))?
            .flatten()
            .find_map(|entry| Some(entry.file_name().to_str()?.strip_prefix("couch-")?.to_owned()))
            .with_context(|| format!("{VARIABLE}: there is no couch-VERSION in {}", libraries.display()))?;
        Ok(Self { directory, version })
    }

    /// The version, e.g. `3.5.2`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether the version is `wanted` or begins with it, e.g. `3.5`.
    pub fn is(&self, wanted: &str) -> bool {
        self.version.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_version_is_that_of_the_library() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Release::at(directory.path()).is_err());
        for made in ["bin", "lib/couch_log-9.9.9", "lib/couch-3.50.1"] {
            std::fs::create_dir_all(directory.path().join(made)).unwrap();
        }
        std::fs::write(directory.path().join("bin/couchdb"), "").unwrap();
        let release = Release::at(directory.path()).unwrap();
        assert_eq!(release.version(), "3.50.1");
        assert!(release.is("3.50") && release.is("3") && release.is("3.50.1"));
        assert!(!release.is("3.5") && !release.is("3.50.10"));
    }
}
