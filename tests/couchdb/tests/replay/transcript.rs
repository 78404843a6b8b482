//! The recorded transcripts, and the steps that their recorder took without recording them.
//!
//! A transcript is one scenario on one real server; the files are the project's recordings without the
//! response headers that are not compared. `fixtures/unrecorded.json` has the inferred steps, each with its
//! reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// One scenario.
#[derive(Debug, Deserialize)]
pub(crate) struct Transcript {
    pub(crate) server: String,
    pub(crate) config: Setup,
    pub(crate) exchanges: Vec<Exchange>,
}

impl Transcript {
    /// The raw paths of all requests.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.exchanges
            .iter()
            .filter_map(|exchange| exchange.request.as_ref().map(|asked| asked.path.as_str()))
    }
}

/// The configuration of the recorded node.
#[derive(Debug, Deserialize)]
pub(crate) struct Setup {
    extra_ini: String,
    /// `SETUP`: `put` or `none`; `NOSETTLE`: the recording starts in the first seconds; `GLOBAL_CHANGES`.
    pub(crate) start_env: BTreeMap<String, String>,
    pub(crate) admin: (String, String),
}

impl Setup {
    /// Section, key and value of every line that the recorder added to the ini file.
    pub(crate) fn values(&self) -> Vec<(String, String, String)> {
        let mut section = String::new();
        let mut values = Vec::new();
        for line in self.extra_ini.lines() {
            if let Some(name) = line.strip_prefix('[') {
                name.trim_end_matches(']').clone_into(&mut section);
            } else {
                let (key, value) = line.split_once('=').unwrap();
                values.push((section.clone(), key.trim().to_owned(), value.trim().to_owned()));
            }
        }
        values
    }
}

/// A request and its answer, or only a remark of the recorder.
#[derive(Debug, Deserialize)]
pub(crate) struct Exchange {
    #[serde(default)]
    pub(crate) note: String,
    pub(crate) request: Option<Asked>,
    pub(crate) response: Option<Answered>,
    /// How long the answer took in milliseconds; kept where it shows whether a password was hashed.
    #[serde(default)]
    pub(crate) ms: f64,
}

/// The request.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Option<Value>,
    pub(crate) body_raw: Option<String>,
}

/// The response.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) set_cookie: Option<String>,
    #[serde(default)]
    pub(crate) body: Value,
}

/// A step that must have happened before the recorded request number `before`, sent as the admin.
///
/// `PATCH` merges its body into the current document; `DELETE` deletes the current revision.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Unrecorded {
    pub(crate) before: usize,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Option<Value>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// All scenarios recorded on this server, by name.
pub(crate) fn load(server: &str) -> BTreeMap<String, Transcript> {
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        (name, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    fs::read_dir(fixtures().join(server)).unwrap().map(|entry| read(entry.unwrap().path())).collect()
}

/// The inferred steps, by scenario.
pub(crate) fn unrecorded() -> BTreeMap<String, Vec<Unrecorded>> {
    let text = fs::read_to_string(fixtures().join("unrecorded.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}
