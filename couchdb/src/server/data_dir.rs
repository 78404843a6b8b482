//! CouchDB's database directory and its free space.

use std::{path::PathBuf, sync::PoisonError};

use trove_couchdb_system as system;

use crate::{
    Couch,
    path::resource::Resource,
    reply::error::absent_is_none,
    server::disk::{DiskUse, FULL, LowDisk, is_couchdbs},
};

impl Couch {
    /// CouchDB's database directory if the agent can see it, otherwise `couchdb.data_dir`.
    pub async fn data_dir(&self) -> PathBuf {
        self.seen_data_dir().await.unwrap_or_else(|| self.disk.configured.clone())
    }

    /// Whether CouchDB's databases have less space than `couchdb.min_free_mib`. `None` also if that is
    /// unknown.
    pub(crate) async fn low_disk(&self) -> Option<LowDisk> {
        self.less_free_than(self.disk.least_free).await
    }

    /// The same after a failure of CouchDB, even if `couchdb.min_free_mib` is 0.
    pub(crate) async fn full_disk(&self) -> Option<LowDisk> {
        self.less_free_than(self.disk.least_free.max(FULL)).await
    }

    async fn less_free_than(&self, wanted: u64) -> Option<LowDisk> {
        if wanted == 0 {
            return None;
        }
        let DiskUse { path, free, .. } = self.disk_use().await?;
        (free < wanted).then_some(LowDisk { path, free, wanted })
    }

    /// The file system of CouchDB's databases, if the agent can see it.
    pub async fn disk_use(&self) -> Option<DiskUse> {
        let path = self.seen_data_dir().await?;
        let usage = system::blocking(move || system::usage_of(&path).map(|usage| (path, usage)));
        let (path, usage) = usage.await.ok()?.ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(usage.block_size);
        let used = usage.total_blocks.saturating_sub(usage.free_blocks);
        // Blocks that are reserved for root are neither free nor used.
        let size = bytes(used.saturating_add(usage.available_blocks));
        Some(DiskUse { path, free: bytes(usage.available_blocks), size })
    }

    /// CouchDB's database directory, if the agent can see it.
    pub async fn seen_data_dir(&self) -> Option<PathBuf> {
        let path = self.database_dir().await.unwrap_or_else(|| self.disk.configured.clone());
        let couchdb_is_local = self.disk.couchdb_is_local;
        let seen = system::blocking(move || is_couchdbs(&path).unwrap_or(couchdb_is_local).then_some(path));
        seen.await.ok()?
    }

    /// The directory in CouchDB's configuration, requested once until the next outage.
    pub async fn database_dir(&self) -> Option<PathBuf> {
        if let Some(told) = self.disk.told.read().unwrap_or_else(PoisonError::into_inner).clone() {
            return told;
        }
        let server = self.server().await.ok()?;
        let answer = absent_is_none(self.get(&Resource::DatabaseDirectory(&server.config)).await).ok()?;
        // A path relative to CouchDB's working directory can't be resolved by the agent.
        let path = answer.and_then(|path| path.as_str().map(PathBuf::from));
        let told = path.filter(|path| path.is_absolute());
        *self.disk.told.write().unwrap_or_else(PoisonError::into_inner) = Some(told.clone());
        told
    }
}
