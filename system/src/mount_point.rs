//! Whether something is mounted on a directory.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

/// Whether another file system begins at this directory. `false` also if that can't be seen.
pub fn is_mount_point(path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev());
    match (device(path), path.parent().map(device)) {
        (Ok(here), Some(Ok(above))) => here != above,
        (Ok(_), None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_one_and_a_directory_is_none() {
        assert!(is_mount_point(Path::new("/proc")) && is_mount_point(Path::new("/")));
        assert!(!is_mount_point(Path::new("/proc/self")) && !is_mount_point(Path::new("/nowhere")));
    }
}
