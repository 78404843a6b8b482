//! A machine: its own disk with CouchDB's data, its `host.toml`, and the helper.

#![allow(clippy::unnecessary_debug_formatting)] // it quotes a path as TOML needs it

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use trove_couchdb_tests::hostd::HostdProcess;

use super::disk::Disk;

/// An account for CouchDB's files.
const OWNER: u32 = 65_534;

/// `[volume]` for some devices, `file_system` and a mount point.
pub fn section(devices: &[&str], file_system: &str, mount_point: &Path) -> String {
    format!(
        "[volume]\nallow = [\"volume-status\", \"volume-format\", \"volume-move-data\", \"volume-mount\", \"volume-unmount\", \
         \"volume-grow\"]\ndevices = {devices:?}\nmount_point = {mount_point:?}\nfile_system = \"{file_system}\"\n"
    )
}

/// A machine whose CouchDB runs while a file exists.
pub struct Machine {
    // Fields drop in this order: the helper before its files.
    pub hostd: HostdProcess,
    directory: tempfile::TempDir,
}

impl Machine {
    pub async fn new(disks: &[&Disk], file_system: &str) -> Result<Self> {
        let devices: Vec<&str> = disks.iter().map(|disk| disk.path()).collect();
        Self::with_devices(&devices, file_system).await
    }

    pub async fn with_devices(devices: &[&str], file_system: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("trove-volume-").tempdir()?;
        let path = |name: &str| directory.path().join(name);
        let data = path("couchdb");
        std::fs::create_dir_all(data.join("shards/00000000-7fffffff"))?;
        std::fs::write(data.join("shards/00000000-7fffffff/shop.1.couch"), vec![7; 3_000_000])?;
        std::fs::write(data.join("_dbs.couch"), "databases")?;
        std::fs::set_permissions(&data, PermissionsExt::from_mode(0o750))?;
        for name in ["", "_dbs.couch", "shards", "shards/00000000-7fffffff/shop.1.couch"] {
            chown(data.join(name), Some(OWNER), Some(OWNER))?;
        }
        let running = path("running");
        let policy = format!(
            "[hostd]\naccount = \"0\"\nstate_dir = {:?}\n[service]\nname = \"couchdb\"\nsettle = 0.0\nallow = [\"service-start\", \
             \"service-stop\"]\n[service.commands]\nstart = [\"/usr/bin/touch\", {running:?}]\nstop = [\"/bin/rm\", \"-f\", \
             {running:?}]\nstatus = [\"/usr/bin/test\", \"-e\", {running:?}]\n{}",
            path("state"),
            section(devices, file_system, &data)
        );
        Ok(Self { hostd: HostdProcess::start(&policy).await?, directory })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The mount point.
    pub fn data(&self) -> PathBuf {
        self.path("couchdb")
    }

    /// CouchDB's old directory after the move.
    pub fn old_data(&self) -> Result<Option<PathBuf>> {
        let names = std::fs::read_dir(self.directory.path())?;
        let is_old = |path: &PathBuf| path.to_string_lossy().contains("couchdb.before-");
        Ok(names.flatten().map(|entry| entry.path()).find(is_old))
    }

    /// The last step that the helper recorded.
    pub fn step(&self) -> Result<String> {
        let text = std::fs::read_to_string(self.path("state/volume.json"))?;
        let record: Value = serde_json::from_str(&text)?;
        Ok(record["step"].as_str().context("no step")?.to_owned())
    }

    /// Writes a step into the record, as if the helper had been killed in it.
    pub fn pretend_step(&self, step: &str) -> Result<()> {
        let path = self.path("state/volume.json");
        let mut record: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
        record["step"] = json!(step);
        Ok(std::fs::write(&path, record.to_string())?)
    }

    /// As on a machine that was rebuilt for an existing volume: no record, an empty directory.
    pub fn rebuild(&self) -> Result<()> {
        std::fs::remove_dir_all(self.path("state"))?;
        if let Some(old) = self.old_data()? {
            std::fs::remove_dir_all(old)?;
        }
        Ok(())
    }

    /// The report of a verb that must succeed.
    pub async fn ask(&self, verb: Value) -> Result<Value> {
        let answer = self.hostd.ask(&json!({"id": "test", "verb": verb})).await?;
        match answer.get("done") {
            Some(done) => Ok(done.clone()),
            None => bail!("{verb}: {answer}"),
        }
    }

    /// Formats a disk.
    pub async fn format(&self, disk: &Disk) -> Result<Value> {
        self.ask(json!({"volume-format": disk.path()})).await
    }

    /// The reason of a verb that must be refused, and its kind.
    pub async fn refusal(&self, verb: Value) -> Result<(String, String)> {
        let answer = self.hostd.ask(&json!({"id": "test", "verb": verb})).await?;
        let failed = answer.get("failed").with_context(|| format!("{verb} was done: {answer}"))?;
        let kind = failed["kind"].as_str().context("no kind")?.to_owned();
        let words = |name: &str| failed[name].as_str().unwrap_or_default().to_owned();
        Ok((kind, [words("what"), words("reason"), words("advice")].concat()))
    }

    /// The state of the volume.
    pub async fn state(&self) -> Result<String> {
        let report = self.ask(json!("volume-status")).await?;
        Ok(report["state"].as_str().context("no state")?.to_owned())
    }

    /// Whether CouchDB's data are here, whole.
    pub fn has_data(directory: &Path) -> bool {
        let shard = std::fs::read(directory.join("shards/00000000-7fffffff/shop.1.couch"));
        let databases = std::fs::read(directory.join("_dbs.couch"));
        shard.is_ok_and(|shard| shard == vec![7; 3_000_000])
            && databases.is_ok_and(|text| text == b"databases")
    }

    /// Checks that CouchDB's data are here, whole, with their owner and modes.
    pub fn must_have_data(directory: &Path) -> Result<()> {
        use std::os::unix::fs::MetadataExt;

        let shard = directory.join("shards/00000000-7fffffff/shop.1.couch");
        assert_eq!(std::fs::read(&shard)?, vec![7; 3_000_000]);
        assert_eq!(std::fs::read(directory.join("_dbs.couch"))?, b"databases");
        assert_eq!(std::fs::metadata(&shard)?.uid(), OWNER);
        let itself = std::fs::metadata(directory)?;
        assert_eq!((itself.uid(), itself.mode() & 0o7777), (OWNER, 0o750));
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let data = self.data();
        while super::disk::run("mountpoint", &["-q", data.to_str().unwrap_or_default()]).is_ok() {
            if super::disk::run("umount", &[data.to_str().unwrap_or_default()]).is_err() {
                return;
            }
        }
    }
}
