//! `configuration.json` in the state directory: the [`Record`], with the guest's id.
//!
//! ```json
//! {"format": 1, "guest_id": "6f3d…", "layers": {"group": {"log.level": "info"}},
//!  "nodes": {"couchdb@127.0.0.1": {"log.level": {"before": null, "ours": ["info"]}}}}
//! ```
//!
//! An image that was made of a guest holds that guest's file, which another guest ignores.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use tracing::warn;
use trove_couchdb_config::Settings;

use super::{
    error::ConfigurationError,
    record::{Kept, Layer, Layers, Record},
};
use crate::{
    couch::configuration::{
        option::ConfigOption,
        values::{Values, named},
    },
    system,
};

const FILE_NAME: &str = "configuration.json";
const FORMAT: u32 = 1;
const MODE: u32 = 0o600;

/// The file, and what the agent's own settings say about CouchDB's options.
#[derive(Debug, Clone)]
pub struct Configuration {
    path: Arc<PathBuf>,
    guest_id: Arc<str>,
    /// `couchdb.require_valid_user`.
    pub(super) requires_logins: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    format: u32,
    guest_id: String,
    layers: BTreeMap<Layer, BTreeMap<String, String>>,
    nodes: BTreeMap<String, BTreeMap<String, Kept>>,
}

impl Configuration {
    /// The file of this agent. Reads nothing.
    pub fn of(settings: &Settings) -> Self {
        let (guest, couchdb) = (&settings.guest, &settings.couchdb);
        Self::new(&guest.state_dir, &guest.id, couchdb.require_valid_user)
    }

    fn new(state_dir: &Path, guest_id: &str, requires_logins: bool) -> Self {
        Self { path: Arc::new(state_dir.join(FILE_NAME)), guest_id: guest_id.into(), requires_logins }
    }

    /// Reads the record. Without a file, or with another guest's, it is empty.
    ///
    /// # Errors
    /// The file can't be read, or a newer agent wrote it.
    pub(super) async fn read(&self) -> Result<Record, ConfigurationError> {
        let this = self.clone();
        let read = system::blocking(move || this.read_now());
        match read.await {
            Ok(read) => read.map_err(|error| ConfigurationError::Record(error.to_string())),
            Err(stopped) => Err(ConfigurationError::Record(stopped.to_string())),
        }
    }

    /// Writes the record; returns when it is on the disk.
    ///
    /// # Errors
    /// The file can't be written. The old one stays.
    pub(super) async fn write(&self, record: &Record) -> Result<(), ConfigurationError> {
        let content = Content::of(record, &self.guest_id);
        let path = Arc::clone(&self.path);
        let written = system::blocking(move || {
            let text = serde_json::to_vec(&content)?;
            system::replace(&path, &text, MODE)
        });
        match written.await {
            Ok(written) => written.map_err(|error| ConfigurationError::Record(error.to_string())),
            Err(stopped) => Err(ConfigurationError::Record(stopped.to_string())),
        }
    }

    fn read_now(&self) -> io::Result<Record> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let text = match fs::read(&*self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Record::default()),
            Err(error) => return Err(error),
        };
        let Format { format } = serde_json::from_slice(&text)?;
        if format != FORMAT {
            let path = self.path.display();
            return Err(io::Error::other(format!(
                "{path} has format {format}, which this agent does not know"
            )));
        }
        let content: Content = serde_json::from_slice(&text)?;
        if content.guest_id != *self.guest_id {
            let path = self.path.display();
            warn!(%path, "This file is another guest's, left in the image perhaps; it is passed over.");
            return Ok(Record::default());
        }
        Ok(content.into_record())
    }
}

impl Content {
    fn of(record: &Record, guest_id: &str) -> Self {
        let texts = |values: &Values| {
            values.iter().map(|(option, value)| (option.name.into(), value.into())).collect()
        };
        let kept = |options: &BTreeMap<&'static str, Kept>| {
            options.iter().map(|(name, kept)| ((*name).to_owned(), kept.clone())).collect()
        };
        Self {
            format: FORMAT,
            guest_id: guest_id.to_owned(),
            layers: record.layers.iter().map(|(layer, values)| (layer, texts(values))).collect(),
            nodes: record.nodes.iter().map(|(node, options)| (node.clone(), kept(options))).collect(),
        }
    }

    /// Leaves out options that this agent does not know (any more).
    fn into_record(self) -> Record {
        let mut layers = Layers::default();
        for (layer, texts) in self.layers {
            let mut values = Values::default();
            for (name, text) in texts {
                if values.add(&name, &text, name.as_str().into()).is_err() {
                    warn!(
                        option = name,
                        "An option that was set before can't be set any more; it is left as it is."
                    );
                }
            }
            layers.set(layer, values);
        }
        let known = |name: &str| -> Option<&'static ConfigOption> { named(name, name.into()).ok() };
        let options = |options: BTreeMap<String, Kept>| {
            options.into_iter().filter_map(|(name, kept)| Some((known(&name)?.name, kept))).collect()
        };
        Record { layers, nodes: self.nodes.into_iter().map(|(node, kept)| (node, options(kept))).collect() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn what_was_written_is_read_by_the_same_guest() {
        let directory = tempfile::tempdir().unwrap();
        let file = Configuration::new(directory.path(), "g", false);
        assert_eq!(file.read().await, Ok(Record::default()));
        let mut record = Record::default();
        let mut values = Values::default();
        values.add("log.level", "info", "".into()).unwrap();
        let level = named("log.level", "".into()).unwrap();
        record.layers.set(Layer::Group, values);
        record.about_to_set("n", level, None, "info");
        file.write(&record).await.unwrap();
        assert_eq!(file.read().await, Ok(record));
        assert_eq!(fs::metadata(&*file.path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Configuration::new(directory.path(), "h", false).read().await, Ok(Record::default()));
    }

    #[tokio::test]
    async fn a_file_that_is_not_understood_is_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let file = Configuration::new(directory.path(), "g", false);
        for text in ["{\"format\": 2}", "no json", "{}"] {
            fs::write(&*file.path, text).unwrap();
            assert!(matches!(file.read().await, Err(ConfigurationError::Record(_))), "{text}");
        }
    }
}
