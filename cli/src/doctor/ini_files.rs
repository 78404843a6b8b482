//! CouchDB's ini files: whether other users can read a password, a password hash or a secret there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use trove_couchdb_config::Settings;

use super::{Check, Finding, process::Process};

static FILES: Check = Check::new(
    "couchdb.ini_files",
    "No other account can read passwords, hashes or secrets in CouchDB's ini files",
);

pub(super) const CHECKS: &[&Check] = &[&FILES];

/// The permission bits for others, who are neither the owner nor in the group.
const READ: u32 = 0o004;
const PASS: u32 = 0o001;

/// What a configuration directory of CouchDB has.
const TREE: [&str; 4] = ["default.ini", "local.ini", "default.d", "local.d"];

/// Parts of the names of secret settings, and settings whose names match but that are not secret.
const SECRETS: [&str; 2] = ["secret", "password"];
const NO_SECRETS: [&str; 3] = ["password_regexp", "password_scheme", "secret_file"];

pub(super) fn look(settings: &Settings, process: Option<&Process>, findings: &mut Vec<Finding>) {
    let erlang = process.filter(|process| process.is_local_erlang());
    let own = settings.couchdb.local_ini_dir.as_deref();
    let files = match files(own, erlang) {
        Ok(files) => files,
        Err((path, error)) => {
            findings.push(FILES.not_run(format!("{} can't be read: {error}", path.display())));
            return;
        }
    };
    findings.push(match (files.is_empty(), erlang) {
        (true, Some(process)) => FILES.not_run(format!("no ini file of pid {} was found", process.pid)),
        (true, None) => FILES.skipped("no ini file of CouchDB is known on this machine"),
        (false, _) => judged(&files),
    });
}

fn judged(files: &BTreeSet<PathBuf>) -> Finding {
    let mut exposed = BTreeMap::new();
    for path in files.iter().filter(|path| others_can_read(path)) {
        // The doctor can also read a file that others can read.
        let text =
            fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let kinds = secrets(&text);
        if !kinds.is_empty() {
            let kinds: Vec<&str> = kinds.into_iter().collect();
            exposed.insert(path.display().to_string(), kinds.join(" and "));
        }
    }
    if exposed.is_empty() {
        return FILES.ok(format!("{} files", files.len()));
    }
    let list: Vec<String> = exposed.iter().map(|(path, kinds)| format!("{path} ({kinds})")).collect();
    let paths: Vec<&str> = exposed.keys().map(String::as_str).collect();
    FILES.failed(
        format!("every account of this machine can read {}", list.join(", ")),
        format!(
            "`chmod o-rwx {}`, with CouchDB's account as owner; then change those secrets if other people have accounts here",
            paths.join(" ")
        ),
    )
}

type Files = Result<BTreeSet<PathBuf>, (PathBuf, io::Error)>;

/// The ini files that this CouchDB reads, as far as its command line and the agent's configuration show.
pub(super) fn read_by_couchdb(settings: &Settings, process: Option<&Process>) -> Files {
    let erlang = process.filter(|process| process.is_local_erlang());
    match erlang.map(|process| after(&process.arguments, "-couch_ini")) {
        // It reads these files and directories, and no others.
        Some(named) if !named.is_empty() => existing(named),
        _ => files(settings.couchdb.local_ini_dir.as_deref(), erlang),
    }
}

/// All ini files of this CouchDB, also those that it does not read.
fn files(own: Option<&Path>, process: Option<&Process>) -> Files {
    let mut named: Vec<PathBuf> = own.into_iter().map(Path::to_path_buf).collect();
    let mut trees: Vec<PathBuf> = own.and_then(Path::parent).map(Path::to_path_buf).into_iter().collect();
    if let Some(process) = process {
        trees.extend(argument(&process.arguments, "-root").map(|root| root.join("etc")));
        named.extend(after(&process.arguments, "-couch_ini"));
    }
    named.extend(trees.iter().flat_map(|tree| TREE.map(|name| tree.join(name))));
    existing(named)
}

/// The ini files among these files and in these directories.
fn existing(named: Vec<PathBuf>) -> Files {
    let mut files = BTreeSet::new();
    for path in named {
        let Some(path) = resolved(path)? else { continue };
        if !path.is_dir() {
            files.insert(path);
            continue;
        }
        for entry in fs::read_dir(&path).map_err(|error| (path.clone(), error))?.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "ini") {
                files.extend(resolved(entry.path())?);
            }
        }
    }
    files.retain(|path| path.is_file());
    Ok(files)
}

/// The path without links; `None` if nothing is there.
fn resolved(path: PathBuf) -> Result<Option<PathBuf>, (PathBuf, io::Error)> {
    match path.canonicalize() {
        Ok(path) => Ok(Some(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err((path, error)),
    }
}

fn argument(arguments: &[String], name: &str) -> Option<PathBuf> {
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.get(at + 1).map(PathBuf::from)
}

/// The values of an option of the Erlang VM that takes several.
fn after(arguments: &[String], name: &str) -> Vec<PathBuf> {
    let values = arguments.iter().skip_while(|argument| *argument != name).skip(1);
    values
        .take_while(|argument| !argument.starts_with('-') && !argument.is_empty())
        .map(PathBuf::from)
        .collect()
}

/// Whether others, who are neither the owner nor in the group, can reach and read a file.
fn others_can_read(path: &Path) -> bool {
    let mode = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    mode(path) & READ != 0 && path.ancestors().skip(1).all(|above| mode(above) & PASS != 0)
}

/// The kinds of secrets in an ini file, without their values.
fn secrets(text: &str) -> BTreeSet<&'static str> {
    let mut kinds = BTreeSet::new();
    let mut section = "";
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        }
        let Some((key, value)) = line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) else {
            continue;
        };
        if line.starts_with([';', '#']) || value.is_empty() {
            continue;
        }
        let is_secret = SECRETS.iter().any(|word| key.contains(word)) && !NO_SECRETS.contains(&key);
        match section {
            "admins" if value.starts_with("-pbkdf2") || value.starts_with("-hashed-") => {
                kinds.insert("an administrator's hash");
            }
            "admins" => drop(kinds.insert("an administrator's password")),
            "jwt_keys" if key.starts_with("hmac:") => drop(kinds.insert("a key of JSON Web Tokens")),
            _ if is_secret => drop(kinds.insert("a secret")),
            _ => {}
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::Verdict, *};

    #[test]
    fn what_is_to_be_hidden_is_recognised() {
        let text = "[admins]\n; al = x\nal = -pbkdf2:sha256-aa,bb,1\n[chttpd_auth]\npassword_regexp = [{\"x\"}]\nsecret = s\n\
                    [jwt_keys]\nrsa:a = public\n";
        assert_eq!(secrets(text).into_iter().collect::<Vec<_>>(), ["a secret", "an administrator's hash"]);
        assert_eq!(
            secrets("[admins]\nbo = hunter2\n").into_iter().next(),
            Some("an administrator's password")
        );
        assert_eq!(secrets("[jwt_keys]\nhmac:a = k\n").len(), 1);
        assert!(secrets("[couchdb]\nuuid = x\n[chttpd_auth]\nsecret =\n").is_empty());
    }

    #[test]
    fn only_what_others_can_read_counts() {
        let directory = tempfile::tempdir().unwrap();
        let local_d = directory.path().join("etc/local.d");
        fs::create_dir_all(&local_d).unwrap();
        let file = local_d.join("10-admins.ini");
        fs::write(&file, "[admins]\nal = -pbkdf2-aa,bb,10\n").unwrap();
        let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let verdict = || judged(&files(Some(&local_d), None).unwrap());
        // A temporary directory is only accessible to its owner.
        chmod(directory.path(), 0o755);
        chmod(&file, 0o644);
        let found = verdict();
        assert_eq!(found.verdict, Verdict::Failed);
        assert!(found.detail.contains("10-admins.ini (an administrator's hash)"), "{}", found.detail);
        chmod(&file, 0o640);
        assert_eq!(verdict().verdict, Verdict::Ok);
        chmod(&file, 0o644);
        chmod(directory.path(), 0o700);
        assert_eq!(verdict().verdict, Verdict::Ok, "nobody else gets there");
    }

    #[test]
    fn the_command_line_of_couchdb_names_files() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let line = words("beam.smp -root /opt/couchdb -couch_ini /a.ini /b.ini -boot x");
        assert_eq!(after(&line, "-couch_ini"), [PathBuf::from("/a.ini"), "/b.ini".into()]);
        assert_eq!(argument(&line, "-root"), Some("/opt/couchdb".into()));
        assert!(after(&line, "-none").is_empty());
    }
}
