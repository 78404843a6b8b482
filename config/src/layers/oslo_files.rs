//! The layer of oslo.config files that Trove injects into the guest: which files, and which value counts.
//!
//! As oslo.config does it (`cfg._Namespace._get_file_value`): the files are read in order and the last one that
//! names an option wins; within a file the current name of an option beats its deprecated ones, and the last of
//! repeated assignments counts. Options of other services are passed over in silence: one file may serve many.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::error::Mistake;
use crate::key::{Key, RABBIT_GROUP};
use crate::keys;
use crate::layer::Layer;
use crate::layers::oslo_ini::{self, Assignment};
use crate::layers::oslo_template;
use crate::text_file;

/// Reads `files`, then the `*.conf` of each of `directories` in order of their names.
pub(crate) fn read(files: &[PathBuf], directories: &[PathBuf]) -> Layer {
    let mut mistakes = Vec::new();
    let found = directories.iter().filter_map(|directory| {
        conf_files(directory).map_err(|cause| mistakes.push(unreadable(directory, cause))).ok()
    });
    let paths: Vec<PathBuf> = files.iter().cloned().chain(found.flatten()).collect();
    let read = |path: PathBuf| OsloFile::read(path).map_err(|error| mistakes.push(error)).ok();
    let files = paths.into_iter().filter_map(read).collect();
    OsloFiles { files }.layer(mistakes)
}

fn unreadable(directory: &Path, cause: io::Error) -> Mistake {
    Mistake::Unreadable { path: directory.to_owned(), cause }
}

/// What one file with this text says.
pub(crate) fn parse(path: &Path, text: &str) -> Layer {
    match oslo_ini::parse(path, text) {
        Ok(assignments) => {
            OsloFiles { files: vec![OsloFile { path: path.to_owned(), assignments }] }.layer(Vec::new())
        }
        Err(error) => Layer::unreadable(error),
    }
}

/// What `glob("DIR/*.conf")` finds, sorted; like it, names that begin with a dot are left out.
fn conf_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths =
        fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    let is_hidden =
        |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    paths.retain(|path| !is_hidden(path) && path.extension().is_some_and(|extension| extension == "conf"));
    paths.sort();
    Ok(paths)
}

struct OsloFile {
    path: PathBuf,
    assignments: Vec<Assignment>,
}

impl OsloFile {
    fn read(path: PathBuf) -> Result<Self, Mistake> {
        let text = text_file::read(&path)?;
        Ok(Self { assignments: oslo_ini::parse(&path, &text)?, path })
    }
}

struct OsloFiles {
    files: Vec<OsloFile>,
}

impl OsloFiles {
    fn layer(&self, mistakes: Vec<Mistake>) -> Layer {
        let mut layer = Layer { mistakes, misplaced: self.misplaced(), ..Layer::default() };
        for key in keys::all() {
            let Some((file, found)) = self.last(key.oslo) else {
                continue;
            };
            let origin =
                format!("{} line {}, [{}] {}", file.path.display(), found.line, found.section, found.option);
            let lookup = |group: &str, name: &str| self.referent(group, name);
            match oslo_template::substitute(&found.value, &found.section, &lookup) {
                Ok(text) if key.oslo_blank == Some(text.trim()) => {}
                Ok(text) => layer.read(key, &origin, &text),
                Err(error) => {
                    let advice = "define that option, or write $$ for a dollar sign";
                    layer.mistakes.push(Mistake::invalid(key.name, origin, error.to_string(), advice));
                }
            }
        }
        layer
    }

    /// Options that stand where neither the agent nor oslo reads them.
    fn misplaced(&self) -> Vec<(&'static str, String)> {
        let all = self.files.iter().flat_map(|file| file.assignments.iter().map(move |found| (file, found)));
        let warning = |(file, found): (&OsloFile, &Assignment)| {
            let Assignment { section, option, line, .. } = found;
            let named = |key: &'static Key| {
                key.oslo.iter().find(|(_, name)| name == option).map(|(group, _)| (key.name, *group))
            };
            let (key, group) = keys::all().find_map(named)?;
            let is_read = keys::all().any(|key| key.oslo.contains(&(section.as_str(), option.as_str())));
            if is_read || !is_nobody_elses(found, group) {
                return None;
            }
            let place = format!("{} line {line}", file.path.display());
            let text = format!(
                "{place}: {option} stands in the section [{section}], where it is not read; move it to [{group}]"
            );
            Some((key, text))
        };
        all.filter_map(warning).collect()
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
                // An option that nobody set stands for its default, or for nothing.
                None => known.map(|key| (key.default.unwrap_or_default().to_owned(), group.to_owned())),
            }
        })
    }
}

/// Whether an option that belongs in `group` can be no other program's where it stands. One file may serve many programs,
/// and other sections have options of the same name: `transport_url` is also one of `[oslo_messaging_notifications]`.
fn is_nobody_elses(found: &Assignment, group: &str) -> bool {
    /// Where one of ours is looked for in vain, and no other service has options of these names.
    const OURS: [&str; 3] = ["DEFAULT", "default", RABBIT_GROUP];
    let only_rabbits = ["rabbit_", "amqp_", "kombu_"].iter().any(|prefix| found.option.starts_with(prefix));
    let is_ours = OURS.contains(&found.section.as_str()) || found.section.is_empty();
    (group == "DEFAULT" && is_ours) || (group == RABBIT_GROUP && (is_ours || only_rabbits))
}
