//! The layer of oslo.config files that Trove injects into the guest: which
//! files are read, and which value wins.
//!
//! As in oslo.config (`cfg._Namespace._get_file_value`), the files are read in order and the last
//! file that sets an option wins. Within a file the current name of an option overrides its
//! deprecated names, and the last of repeated assignments wins. Options of other services are
//! ignored, because services may share a file.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::error::Mistake;
use crate::key::RABBIT_GROUP;
use crate::keys;
use crate::layers::oslo_ini::{self, Assignment};
use crate::layers::oslo_template;
use crate::layers::{Layers, Warning};
use crate::text_file;

/// Reads `files`, then the `*.conf` of each of `directories` in alphabetical order.
pub(crate) fn read(layers: &mut Layers, files: &[PathBuf], directories: &[PathBuf]) {
    let (mut paths, mut texts) = (files.to_vec(), Vec::new());
    for path in directories {
        match conf_files(path) {
            Ok(found) => paths.extend(found),
            Err(cause) => layers.mistakes.push(Mistake::Unreadable { path: path.clone(), cause }),
        }
    }
    for path in paths {
        match text_file::read(&path) {
            Ok(text) => texts.push((path, text)),
            Err(mistake) => layers.mistakes.push(mistake),
        }
    }
    parse(layers, texts);
}

/// Parses the files' texts.
pub(crate) fn parse(layers: &mut Layers, texts: Vec<(PathBuf, String)>) {
    let mut read = OsloFiles::default();
    for (path, text) in texts {
        match oslo_ini::parse(&path, &text) {
            Ok(assignments) => read.0.push((path, assignments)),
            Err(mistakes) => layers.mistakes.extend(mistakes),
        }
    }
    read.set(layers);
    layers.warnings.extend(read.misplaced());
}

/// The sorted result of `glob("DIR/*.conf")`, which skips names that begin with a dot.
fn conf_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths =
        fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    let is_hidden =
        |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    paths.retain(|path| !is_hidden(path) && path.extension().is_some_and(|extension| extension == "conf"));
    paths.sort();
    Ok(paths)
}

/// The content of each file, in reading order.
#[derive(Default)]
struct OsloFiles(Vec<(PathBuf, Vec<Assignment>)>);

impl OsloFiles {
    /// Sets every key in the files.
    fn set(&self, layers: &mut Layers) {
        for key in keys::all() {
            let Some((path, found)) = self.last(key.oslo) else { continue };
            let Assignment { section, option, value, line } = found;
            let origin = format!("{} line {line}, [{section}] {option}", path.display());
            match oslo_template::substitute(value, section, &|group, name| self.referent(group, name)) {
                Ok(text) if key.oslo_blank == Some(text.trim()) => {}
                Ok(text) => layers.read(key, &origin, &text),
                Err(error) => {
                    let advice = "define that option, or write $$ for a dollar sign";
                    layers.refuse(key, &origin, error.to_string(), advice);
                }
            }
        }
    }

    /// Warnings for options in sections where neither the agent nor oslo reads them.
    fn misplaced(&self) -> Vec<Warning> {
        let options = || keys::all().flat_map(|key| key.oslo.iter().map(move |option| (key.name, option)));
        let warning = |path: &Path, found: &Assignment| {
            let Assignment { section, option, line, .. } = found;
            let (key, (group, _)) = options().find(|(_, (_, name))| name == option)?;
            let is_read = options().any(|(_, known)| *known == (section.as_str(), option.as_str()));
            let text = format!(
                "{} line {line}: {option} is in the section [{section}], where it is not read; move it to [{group}]",
                path.display()
            );
            (!is_read && is_nobody_elses(found, group)).then_some((Some(key), text))
        };
        let of_a_file = |(path, found): &(PathBuf, Vec<Assignment>)| -> Vec<Warning> {
            found.iter().filter_map(|found| warning(path, found)).collect()
        };
        self.0.iter().flat_map(of_a_file).collect()
    }

    /// The effective assignment for an option with any of these names.
    fn last(&self, names: &[(&str, &str)]) -> Option<(&Path, &Assignment)> {
        self.0.iter().rev().find_map(|(path, assignments)| {
            names.iter().find_map(|(group, option)| {
                let is_it = |a: &&Assignment| a.section == *group && a.option == *option;
                assignments.iter().rfind(is_it).map(|found| (path.as_path(), found))
            })
        })
    }

    /// The value that `$name` in `group` refers to: `group.name`, an option of the
    /// same group, or an option of `DEFAULT`.
    ///
    /// oslo only knows options that its program registered; here any option in the files can be referenced.
    fn referent(&self, group: &str, name: &str) -> Option<oslo_template::Referent> {
        let (group, name) = name.split_once('.').unwrap_or((group, name));
        [group, "DEFAULT"].into_iter().find_map(|group| {
            let known = keys::all().find(|key| key.oslo.first() == Some(&(group, name)));
            let as_written = [(group, name)];
            let names = known.map_or(&as_written[..], |key| key.oslo);
            match self.last(names) {
                Some((_, found)) => Some((found.value.clone(), found.section.clone())),
                // An unset option refers to its default, or to an empty text.
                None => known.map(|key| (key.default.unwrap_or_default().to_owned(), group.to_owned())),
            }
        })
    }
}

/// Whether a misplaced option of `group` cannot belong to a different program. Programs may share a file, and
/// other sections have options of the same name: `transport_url` also exists in
/// `[oslo_messaging_notifications]`.
fn is_nobody_elses(found: &Assignment, group: &str) -> bool {
    /// Sections where no other service has options of these names.
    const OURS: [&str; 3] = ["DEFAULT", "default", RABBIT_GROUP];
    let only_rabbits = ["rabbit_", "amqp_", "kombu_"].iter().any(|prefix| found.option.starts_with(prefix));
    let is_ours = OURS.contains(&found.section.as_str()) || found.section.is_empty();
    (group == "DEFAULT" && is_ours) || (group == RABBIT_GROUP && (is_ours || only_rabbits))
}
