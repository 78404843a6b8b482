//! The units of systemd: one that mounts the volume, and an addition to CouchDB's.
//!
//! They are in `/etc/systemd/system`, as the next boot must have them, too.

use std::{fs, path::Path};

use trove_couchdb_protocol::host::HostError;

use super::{
    context::Volume,
    record::replace,
    tools::{self, failed},
};
use crate::policy::FileSystem;

/// Root's own units.
const UNITS: &str = "/etc/systemd/system";

/// The addition's name.
const ADDITION: &str = "50-trove-couchdb-volume.conf";

/// Forbids CouchDB's unit to start while nothing is mounted.
pub(super) async fn guard(volume: &Volume<'_>) -> Result<(), HostError> {
    let Some(unit) = volume.unit else { return Ok(()) };
    let directory = Path::new(UNITS).join(format!("{unit}.d"));
    fs::create_dir_all(&directory).map_err(|error| failed(directory.display(), &error))?;
    write(&directory.join(ADDITION), &addition(volume.mount_point))?;
    systemctl(&["daemon-reload"]).await
}

/// Writes both units, and has systemd mount the volume at every boot.
pub(super) async fn install(
    volume: &Volume<'_>,
    uuid: &str,
    file_system: FileSystem,
) -> Result<(), HostError> {
    write(&Path::new(UNITS).join(name(volume.mount_point)), &mount_unit(volume, uuid, file_system))?;
    guard(volume).await?;
    systemctl(&["daemon-reload"]).await?;
    systemctl(&["enable", "--quiet", &name(volume.mount_point)]).await
}

/// Mounts the volume by its unit.
pub(super) async fn start(mount_point: &Path) -> Result<(), HostError> {
    systemctl(&["start", &name(mount_point)]).await
}

/// Unmounts the volume by its unit. Until the next boot nothing mounts it but a start of CouchDB.
pub(super) async fn stop(mount_point: &Path) -> Result<(), HostError> {
    systemctl(&["stop", &name(mount_point)]).await
}

async fn systemctl(arguments: &[&str]) -> Result<(), HostError> {
    tools::must("systemctl", arguments, &[0]).await.map(drop)
}

fn write(path: &Path, text: &str) -> Result<(), HostError> {
    if fs::read_to_string(path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    replace(path, text.as_bytes(), 0o644).map_err(|error| failed(path.display(), &error))
}

/// By UUID: a label is looked for within the devices of host.toml, which systemd does not know. `nofail`: a
/// machine whose volume is missing boots, so that its agent can say what is missing.
fn mount_unit(volume: &Volume<'_>, uuid: &str, file_system: FileSystem) -> String {
    format!(
        "# Written by trove-couchdb-hostd (volume-mount).\n\
         [Unit]\n\
         Description=Volume of CouchDB's data\n\
         Documentation=man:trove-couchdb-hostd(8)\n\
         \n\
         [Mount]\n\
         What=/dev/disk/by-uuid/{uuid}\n\
         Where={}\n\
         Type={}\n\
         Options={},nofail\n\
         \n\
         [Install]\n\
         WantedBy=local-fs.target\n",
        quoted(volume.mount_point),
        file_system.name(),
        volume.policy.options,
    )
}

/// CouchDB is not started without the volume, nor without this unit's mount of it.
fn addition(mount_point: &Path) -> String {
    let point = quoted(mount_point);
    format!(
        "# Written by trove-couchdb-hostd (volume-mount).\n\
         [Unit]\n\
         RequiresMountsFor={point}\n\
         AssertPathIsMountPoint={point}\n"
    )
}

/// `%` begins a specifier.
fn quoted(path: &Path) -> String {
    path.display().to_string().replace('%', "%%")
}

/// The name that systemd demands of the unit of a mount point; systemd.unit(5).
fn name(mount_point: &Path) -> String {
    let path = mount_point.display().to_string();
    let mut name = String::new();
    for (at, byte) in path.trim_matches('/').bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if at == 0 => name.push_str("\\x2e"),
            b'.' | b'_' | b':' => name.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
            byte => name.extend(format!("\\x{byte:02x}").chars()),
        }
    }
    name + ".mount"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::process::Command;

    use super::*;
    use crate::policy::Policy;

    const POLICY: &str = "[service]\nname = \"couchdb\"\nallow = []\n[service.systemd]\nunit = \"couchdb.service\"\n[volume]\ndevices = \
                          [\"/dev/vdb\"]\nmount_point = \"/var/lib/couchdb\"\n";

    #[test]
    fn a_mount_point_has_the_units_name_that_systemd_demands() {
        for (path, expected) in [
            ("/var/lib/couchdb", "var-lib-couchdb.mount"),
            ("/srv/my-data/a.b_c", "srv-my\\x2ddata-a.b_c.mount"),
            ("/.hidden", "\\x2ehidden.mount"),
            ("/a b/\u{e9}", "a\\x20b-\\xc3\\xa9.mount"),
        ] {
            assert_eq!(name(Path::new(path)), expected);
            let escaped = Command::new("systemd-escape").args(["--path", "--suffix=mount", path]).output();
            if let Ok(escaped) = escaped {
                assert_eq!(String::from_utf8_lossy(&escaped.stdout).trim(), expected);
            }
        }
    }

    #[test]
    fn systemd_has_no_remarks_on_the_units() {
        let policy: Policy = POLICY.parse().unwrap();
        let volume = Volume::of(&policy, true).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("var-lib-couchdb.mount");
        let text = mount_unit(&volume, "0a1b", FileSystem::Xfs);
        assert!(text.contains("Options=noatime,nodev,nosuid,noexec,nofail\n"), "{text}");
        fs::write(&path, text).unwrap();
        let service = directory.path().join("couchdb.service");
        fs::write(&service, format!("[Service]\nExecStart=/bin/true\n{}", addition(volume.mount_point)))
            .unwrap();
        let Ok(verified) = Command::new("systemd-analyze").arg("verify").args([&path, &service]).output()
        else {
            return;
        };
        // It looks for the manual's page, which is not installed here.
        let said = String::from_utf8_lossy(&verified.stderr);
        let said: Vec<_> =
            said.lines().filter(|line| line.contains("couchdb") && !line.contains("man ")).collect();
        assert!(said.is_empty(), "{said:?}");
    }
}
