//! The layer of oslo.config files that Trove injects into the guest: which files, and which value counts.
//!
//! As oslo.config does it (`cfg._Namespace._get_file_value`): the files are read in order and the last one that
//! names an option wins; within a file the current name of an option beats its deprecated ones, and the last of
//! repeated assignments counts. Options of other services are passed over in silence: one file may serve many.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::fragment::Fragment;
use super::keys::{self, Key};
use super::oslo_ini::{self, Assignment};
use super::oslo_template;

/// The group whose options may also stand in the query of a `transport_url`.
pub(super) const RABBIT_GROUP: &str = "oslo_messaging_rabbit";

/// Reads `files`, then the `*.conf` of each of `directories` in order of their names.
pub(super) fn read(files: &[PathBuf], directories: &[PathBuf]) -> Result<Fragment, ConfigError> {
    let mut paths = files.to_vec();
    for directory in directories {
        paths.extend(conf_files(directory)?);
    }
    let files = paths.into_iter().map(OsloFile::read).collect::<Result<_, _>>()?;
    OsloFiles { files }.fragment()
}

/// What one file with this text says.
pub(super) fn parse(path: PathBuf, text: &str) -> Result<Fragment, ConfigError> {
    OsloFiles { files: vec![OsloFile::parse(path, text)?] }.fragment()
}

/// What `glob("DIR/*.conf")` finds, sorted; like it, names that begin with a dot are left out.
fn conf_files(directory: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let unreadable = |error| ConfigError::unreadable(directory, error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "conf") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

struct OsloFile {
    path: PathBuf,
    assignments: Vec<Assignment>,
}

impl OsloFile {
    fn read(path: PathBuf) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(&path).map_err(|error| ConfigError::unreadable(&path, error))?;
        Self::parse(path, &text)
    }

    fn parse(path: PathBuf, text: &str) -> Result<Self, ConfigError> {
        let assignments = oslo_ini::parse(&path, text)?;
        Ok(Self { path, assignments })
    }
}

struct OsloFiles {
    files: Vec<OsloFile>,
}

impl OsloFiles {
    fn fragment(&self) -> Result<Fragment, ConfigError> {
        let mut fragment = Fragment::default();
        for key in keys::all() {
            let Some((file, found)) = self.last(key.oslo) else {
                continue;
            };
            let origin =
                format!("{} line {}, [{}] {}", file.path.display(), found.line, found.section, found.option);
            let lookup = |group: &str, name: &str| self.referent(group, name);
            let text = oslo_template::substitute(&found.value, &found.section, &lookup).map_err(|error| {
                let advice = "define that option, or write $$ for a dollar sign";
                ConfigError::invalid(key, &origin, error.to_string(), advice)
            })?;
            if key.oslo_blank != Some(text.trim()) {
                fragment.read(key, &origin, &text)?;
            }
        }
        Ok(fragment)
    }

    /// The assignment that counts for an option known by any of `names`.
    fn last(&self, names: &[(&str, &str)]) -> Option<(&OsloFile, &Assignment)> {
        self.files.iter().rev().find_map(|file| {
            names.iter().find_map(|(group, option)| {
                let is_it = |a: &&Assignment| a.section == *group && a.option == *option;
                file.assignments.iter().rfind(is_it).map(|found| (file, found))
            })
        })
    }

    /// What `$name` in `group` stands for: `group.name`, an option of the same group, or one of `DEFAULT`.
    ///
    /// oslo knows only options that its program registered; here any option that a file sets will do.
    fn referent(&self, group: &str, name: &str) -> Option<oslo_template::Referent> {
        let (group, name) = match name.split_once('.') {
            Some((group, name)) => (group.to_owned(), name),
            None => (group.to_owned(), name),
        };
        [group.as_str(), "DEFAULT"].into_iter().find_map(|group| {
            let known = keys::all().find(|key| key.oslo.first() == Some(&(group, name)));
            let as_written = [(group, name)];
            let names = known.map_or(&as_written[..], |key| key.oslo);
            match self.last(names) {
                Some((_, found)) => Some((found.value.clone(), found.section.clone())),
                None => known.map(|key| (default_text(key), group.to_owned())),
            }
        })
    }
}

/// An option that nobody set stands for its default, or for nothing.
fn default_text(key: &Key) -> String {
    key.default.unwrap_or_default().to_owned()
}
