//! What is mounted where, from the kernel.

use std::{
    fs,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use rustix::fs::makedev;
use trove_couchdb_protocol::host::HostError;

use super::tools::failed;

/// The mounts that this process sees.
const MOUNTS: &str = "/proc/self/mountinfo";

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// The device's number.
    pub(super) number: u64,
    /// Where it is mounted.
    pub(super) point: PathBuf,
}

/// All mounts; of several on one directory the last is what is seen there.
pub(super) fn all() -> Result<Vec<Mount>, HostError> {
    let text = fs::read_to_string(MOUNTS).map_err(|error| failed(MOUNTS, &error))?;
    Ok(text.lines().filter_map(of_line).collect())
}

/// What is mounted on this very directory.
pub(super) fn at(point: &Path) -> Result<Option<Mount>, HostError> {
    Ok(all()?.into_iter().rev().find(|mount| mount.point == point))
}

/// `36 35 98:0 /root /point options - type source more`
fn of_line(line: &str) -> Option<Mount> {
    let mut fields = line.split(' ');
    let (major, minor) = fields.nth(2)?.split_once(':')?;
    let point = fields.nth(1)?;
    Some(Mount { number: makedev(major.parse().ok()?, minor.parse().ok()?), point: unescaped(point) })
}

/// The kernel writes blanks and backslashes as `\040`.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| first == b'\\');
        let code = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 8).ok());
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lines_as_the_kernel_writes_them() {
        let mount =
            of_line("36 35 98:3 / /srv/a\\040b\\134c rw,noatime master:1 - ext4 /dev/vdb rw").unwrap();
        assert_eq!(mount, Mount { number: makedev(98, 3), point: "/srv/a b\\c".into() });
        assert_eq!(of_line("nonsense"), None);
    }

    #[test]
    fn the_root_is_mounted() {
        assert!(at(Path::new("/")).unwrap().is_some());
        assert_eq!(at(Path::new("/nowhere")).unwrap(), None);
    }
}
