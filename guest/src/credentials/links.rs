//! Symbolic links in the path to a file that must be trusted.
//!
//! A linked directory of root is the administrator's decision (`/var/lib` on another disk). The owner of any
//! other link could replace the file at any time; so could a link in place of the file itself.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

const ROOT: u32 = 0;

/// The first untrusted link in the path, and its owner.
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
