//! The releases of CouchDB that `COUCHDB_HOME` names.
//!
//! Who calls: [`super::RealPlan`]. A release is what CouchDB's build leaves in `rel/couchdb`, or a package in
//! `/opt/couchdb`: a directory with `bin/couchdb`. Several may be named, with `:` between them; the first is the one
//! that tests use if they don't need a certain version.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Names the releases.
pub(super) const VARIABLE: &str = "COUCHDB_HOME";

/// A release and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    pub(super) directory: PathBuf,
    version: String,
}

impl Release {
    /// All that are named; an error if one of them is none.
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

    /// E.g. `3.5.2`.
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
