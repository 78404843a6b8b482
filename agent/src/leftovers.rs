//! What an agent that was killed left on the disk.

use std::path::Path;

use tracing::{error, info, warn};
use trove_couchdb_config::Settings;

use crate::system;

/// Removes temporary files of an agent that was killed while it wrote a file. They may hold `os_admin`'s
/// password.
pub async fn remove(settings: &Settings) {
    let (state, couchdb) = (settings.guest.state_dir.clone(), &settings.couchdb);
    let credentials = couchdb.credentials_file.parent().map(Path::to_owned);
    let shared = credentials.into_iter().chain(couchdb.local_ini_dir.clone());
    let places: Vec<_> = std::iter::once((state, true)).chain(shared.map(|place| (place, false))).collect();
    let removed = system::blocking(move || {
        for (directory, private) in places {
            let directory_shown = directory.display();
            match system::remove_leftovers(&directory, private) {
                Ok(files) if files.is_empty() => {}
                Ok(files) => info!(?files, "Removed what a killed agent had left."),
                Err(error) => {
                    warn!(directory = %directory_shown, %error, "What a killed agent left may not be removed.");
                }
            }
        }
    });
    if let Err(error) = removed.await {
        error!(%error, "Looking for what a killed agent left ended in a panic.");
    }
}
