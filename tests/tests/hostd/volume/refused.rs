//! Devices that are not formatted, and moves that are not made.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::Result;
use rustix::fs::OFlags;
use serde_json::json;
use trove_couchdb_tests::test_log;

use super::disk::{Disk, MIB, run};
use super::machine::Machine;

/// A partition table of MBR with one partition.
fn partition_table() -> Vec<u8> {
    let mut sector = vec![0; 512];
    // Linux, from sector 2048, 4096 sectors.
    sector[450] = 0x83;
    sector[454..458].copy_from_slice(&2048_u32.to_le_bytes());
    sector[458..462].copy_from_slice(&4096_u32.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    sector
}

async fn must_refuse(machine: &Machine, disk: &Disk, words: &str) -> Result<()> {
    let before = run("sha256sum", &[disk.path()])?;
    let (kind, reason) = machine.refusal(json!({"volume-format": disk.path()})).await?;
    assert_eq!(kind, "volume", "{reason}");
    assert!(reason.contains(words) && reason.contains(disk.path()), "{reason}");
    assert_eq!(run("sha256sum", &[disk.path()])?, before, "something was written");
    assert!(machine.step().is_err(), "something was recorded");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_empty_device_is_formatted() -> Result<()> {
    let Some(disk) = Disk::new(32)? else { return Ok(()) };
    let machine = Machine::new(&[&disk], "ext4").await?;
    let end = 32 * MIB;
    for (at, bytes, words) in [
        (0, partition_table(), "has a partition table (dos)"),
        (MIB - 1, vec![1], "has data at byte 1048575"),
        (4000, vec![1], "has data at byte 4000"),
        (end - 1, vec![1], "has data at byte 33554431"),
        (end - MIB, vec![1], "has data at byte 32505856"),
        // RAID of an old version, known by blkid only.
        (end - 64 * 1024, 0xa92b_4efc_u32.to_le_bytes().to_vec(), "has "),
    ] {
        disk.write(at, &bytes)?;
        must_refuse(&machine, &disk, words).await?;
        disk.write(at, &vec![0; bytes.len()])?;
    }
    run("mkfs.ext4", &["-q", "-L", "theirs", disk.path()])?;
    must_refuse(&machine, &disk, "(ext4, label theirs)").await?;
    run("mkfs.ext4", &["-q", "-L", "trovecouchdb", disk.path()])?;
    must_refuse(&machine, &disk, "this machine did not make it").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_in_use_is_not_formatted() -> Result<()> {
    let Some(disk) = Disk::new(32)? else { return Ok(()) };
    let machine = Machine::new(&[&disk], "ext4").await?;
    let exclusively = i32::try_from(OFlags::EXCL.bits())?;
    let holder = File::options().read(true).custom_flags(exclusively).open(disk.path())?;
    must_refuse(&machine, &disk, "is used by another program").await?;
    drop(holder);

    run("mkfs.ext4", &["-q", disk.path()])?;
    let directory = tempfile::tempdir()?;
    let point = directory.path().to_str().unwrap();
    run("mount", &[disk.path(), point])?;
    must_refuse(&machine, &disk, &format!("is mounted on {point}")).await?;
    run("umount", &[point])?;
    must_refuse(&machine, &disk, "a file system").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_can_only_be_read_is_not_formatted() -> Result<()> {
    let Some(disk) = Disk::new(32)? else { return Ok(()) };
    let machine = Machine::new(&[&disk], "ext4").await?;
    run("blockdev", &["--setro", disk.path()])?;
    must_refuse(&machine, &disk, "can only be read").await
}

/// A link to a device counts as that device, whatever its own name is.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_outside_the_policy_is_not_formatted() -> Result<()> {
    let Some(disk) = Disk::new(32)? else { return Ok(()) };
    let Some(other) = Disk::new(32)? else { return Ok(()) };
    let directory = tempfile::Builder::new().prefix("trove-links-").tempdir_in("/dev");
    let Ok(directory) = directory else {
        test_log::skipped("no links can be made in /dev");
        return Ok(());
    };
    let link = |name: &str, target: &str| {
        let path = directory.path().join(name);
        std::os::unix::fs::symlink(target, &path).map(|()| path.to_str().unwrap().to_owned())
    };
    let allowed = link("virtio-data", disk.path())?;
    let away = link("virtio-file", "/etc/passwd")?;
    let stranger = link("other", other.path())?;
    let pattern = format!("{}/virtio-*", directory.path().display());
    let machine = Machine::with_devices(&[&pattern], "ext4").await?;
    for refused in [other.path(), &stranger, &away, "/dev/null", "/dev/nowhere"] {
        let (kind, reason) = machine.refusal(json!({"volume-format": refused})).await?;
        assert_eq!(kind, "not-allowed", "{reason}");
        assert!(reason.contains(&pattern) && reason.contains(disk.path()), "{reason}");
    }
    let made = machine.ask(json!({"volume-format": allowed})).await?;
    assert_eq!(made["device"], json!(disk.path()));
    assert_eq!(other.tag("TYPE"), "");
    Ok(())
}

/// Another disk has the name of the one whose format was interrupted.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_format_is_not_continued_on_another_device() -> Result<()> {
    let Some(mut disk) = Disk::new(32)? else { return Ok(()) };
    let machine = Machine::new(&[&disk], "ext4").await?;
    machine.format(&disk).await?;
    let uuid = disk.tag("UUID");
    machine.pretend_step("formatting")?;
    // It had ended: the file system is whole, and is not made again.
    let seed = disk.hash_seed()?;
    assert_eq!(machine.format(&disk).await?["state"], "made");
    assert_eq!((disk.tag("UUID"), disk.hash_seed()?), (uuid, seed));

    // A different program has used the device since.
    machine.pretend_step("formatting")?;
    run("mkfs.ext4", &["-q", "-F", "-L", "theirs", disk.path()])?;
    let (_, reason) = machine.refusal(json!({"volume-format": disk.path()})).await?;
    assert!(reason.contains("it is left alone"), "{reason}");
    assert_eq!(disk.tag("LABEL"), "theirs");

    disk.exchange()?;
    let (_, reason) = machine.refusal(json!({"volume-format": disk.path()})).await?;
    assert!(reason.contains("it is not certain that"), "{reason}");
    assert_eq!(disk.tag("TYPE"), "");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_do_not_fit_stay_where_they_are() -> Result<()> {
    let Some(disk) = Disk::new(16)? else { return Ok(()) };
    let machine = Machine::new(&[&disk], "ext4").await?;
    machine.format(&disk).await?;
    std::fs::write(machine.data().join("big.couch"), vec![1; 20_000_000])?;
    let (kind, reason) = machine.refusal(json!("volume-move-data")).await?;
    assert_eq!(kind, "volume");
    assert!(reason.contains("and the volume has room for"), "{reason}");
    assert!(machine.old_data()?.is_none());
    Machine::must_have_data(&machine.data())?;
    assert_eq!(std::fs::metadata(machine.data().join("big.couch"))?.len(), 20_000_000);
    machine.ask(json!("service-start")).await?;
    machine.ask(json!("service-stop")).await?;
    let (_, reason) = machine.refusal(json!("volume-mount")).await?;
    assert!(reason.contains("does not have CouchDB's data yet"), "{reason}");

    // With a larger device it is done.
    disk.grow(64)?;
    machine.ask(json!("volume-grow")).await?;
    machine.ask(json!("volume-move-data")).await?;
    machine.ask(json!("volume-mount")).await?;
    Machine::must_have_data(&machine.data())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_mounted_in_its_place_is_left_alone() -> Result<()> {
    let Some(disk) = Disk::new(32)? else { return Ok(()) };
    let machine = Machine::new(&[&disk], "ext4").await?;
    machine.format(&disk).await?;
    let data = machine.data();
    let point = data.to_str().unwrap();
    run("mount", &["-t", "tmpfs", "none", point])?;
    assert_eq!(machine.state().await?, "provided");
    for verb in ["volume-move-data", "volume-unmount"] {
        machine.refusal(json!(verb)).await?;
    }
    machine.ask(json!("service-start")).await?;
    machine.ask(json!("service-stop")).await?;
    run("umount", &[point])?;
    machine.ask(json!("volume-move-data")).await?;
    run("mount", &["-t", "tmpfs", "none", point])?;
    let (_, reason) = machine.refusal(json!("volume-mount")).await?;
    assert!(reason.contains("something else is mounted"), "{reason}");
    Ok(())
}
