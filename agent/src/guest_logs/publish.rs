//! Publishes what is new in a log.
//!
//! ```text
//! metafile: N bytes, next is piece P  ->  P  ->  metafile: N + P bytes, next is piece Q  ->  Q  ->  …
//! ```
//!
//! Killed between any two of them, the next publication writes the same piece once more.

use std::{sync::Arc, time::SystemTime};

use tokio::time::Instant;
use trove_couchdb_guest::redact::Redactor;

use super::{
    GuestLogError,
    file::LogFile,
    metafile::{Metafile, NextPiece},
    names, piece,
    store::Store,
};
use crate::{swift::SwiftError, system};

/// Publishes until the end of the file, and begins no piece after `until`, except for the first.
pub(super) async fn publish(
    store: &Store<'_>,
    file: LogFile,
    redactor: Redactor,
    longest: usize,
    until: Instant,
) -> Result<(), GuestLogError> {
    let mut metafile = match store.metafile().await? {
        Some(known) if known.is_rotated(&file) => {
            // As Trove's guests do: what was published of the old file is gone.
            store.discard().await?;
            Metafile::begin(store.log, &file)
        }
        Some(known) => known.of_today(&file),
        None => Metafile::begin(store.log, &file),
    };
    let (before, source) = (metafile.size, Arc::new((file, redactor)));
    loop {
        let (file, _) = &*source;
        let left = metafile.interrupted(file, u64::try_from(longest).unwrap_or(u64::MAX)).cloned();
        let (name, end) = match left {
            Some(NextPiece { name, end }) => (name, Some(end)),
            None => (names::piece(SystemTime::now()), None),
        };
        let (reading, from) = (Arc::clone(&source), metafile.size);
        let read = system::blocking(move || piece::read(&reading.0, from, end, longest, &reading.1)).await;
        let read = read.map_err(|_| GuestLogError::Stopping)?.map_err(|error| file.failed(&error))?;
        let bytes = metafile.size - before;
        let Some(piece) = read.filter(|_| bytes == 0 || Instant::now() < until) else {
            metafile.next = None;
            return store.put_metafile(&metafile).await.map_err(|cause| partly(bytes, cause));
        };
        let end = piece.end;
        metafile.next = Some(NextPiece { name: name.clone(), end });
        store.put_metafile(&metafile).await.map_err(|cause| partly(bytes, cause))?;
        store.put_piece(&name, piece).await.map_err(|cause| partly(bytes, cause))?;
        metafile.size = end;
    }
}

fn partly(bytes: u64, cause: SwiftError) -> GuestLogError {
    match bytes {
        0 => cause.into(),
        bytes => GuestLogError::Partly { bytes, cause },
    }
}
