//! Symbolic links on the way to a file that is to be trusted.
//!
//! A directory that root linked elsewhere is an administrator's doing (`/var/lib` on another disk). A link of anybody else
//! lets them choose the file at any time, and so does one in the place of the file itself.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

const ROOT: u32 = 0;

/// A link that must not be followed, and whose it is.
pub(super) fn on_the_way_to(path: &Path, agent: u32) -> Option<(PathBuf, u32)> {
    let trusted = |owner: u32| owner == ROOT || owner == agent;
    path.ancestors().find_map(|place| {
        let found = fs::symlink_metadata(place).ok().filter(fs::Metadata::is_symlink)?;
        (place == path || !trusted(found.uid())).then(|| (place.to_owned(), found.uid()))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::{lchown, symlink};

    use super::*;

    #[test]
    fn a_directory_that_root_linked_is_followed_and_another_ones_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().join("real");
        fs::create_dir(&real).unwrap();
        fs::write(real.join("f"), "").unwrap();
        let link = directory.path().join("link");
        symlink(&real, &link).unwrap();
        let we = fs::metadata(&real).unwrap().uid();
        assert_eq!(on_the_way_to(&link.join("f"), we), None);
        assert_eq!(on_the_way_to(&real.join("f"), we), None);
        assert_eq!(on_the_way_to(&link, we), Some((link.clone(), we)), "in the place of the file itself");
        if we == ROOT {
            lchown(&link, Some(12_345), None).unwrap();
            assert_eq!(on_the_way_to(&link.join("f"), we), Some((link, 12_345)));
        }
    }
}
