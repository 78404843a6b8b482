//! Writes the seeds of all corpora again and removes outdated ones: `cargo run -p trove-couchdb-properties`.

use std::fs;

use anyhow::{Context, Result};
use trove_couchdb_properties::{TARGETS, seeds};

fn main() -> Result<()> {
    for (target, _) in TARGETS {
        let directory = seeds::corpus().join(target);
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(seeds::PREFIX.as_bytes()) {
                fs::remove_file(entry.path())?;
            }
        }
    }
    for seed in seeds::all()? {
        fs::write(seed.path(), &seed.bytes)
            .with_context(|| format!("cannot write {}", seed.path().display()))?;
    }
    Ok(())
}
