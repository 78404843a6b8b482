//! The life of a volume, from an empty device to another machine.

use anyhow::Result;
use rustix::fs::statvfs;
use serde_json::json;

use super::disk::{Disk, MIB, grows_online, mounted};
use super::machine::Machine;

/// mkfs.xfs makes nothing smaller than 300 MiB.
const SIZES: [u64; 3] = [320, 400, 480];

fn size_of_file_system(machine: &Machine) -> Result<u64> {
    let stat = statvfs(machine.data())?;
    Ok(stat.f_blocks * stat.f_frsize / MIB)
}

async fn whole_life(file_system: &str) -> Result<()> {
    let Some(disk) = Disk::new(SIZES[0])? else { return Ok(()) };
    let machine = Machine::new(&[&disk], file_system).await?;
    assert_eq!(machine.state().await?, "none");

    let made = machine.format(&disk).await?;
    assert_eq!((&made["state"], &made["changed"]), (&json!("made"), &json!(true)));
    assert_eq!((disk.tag("TYPE"), disk.tag("LABEL")), (file_system.to_owned(), "trovecouchdb".to_owned()));
    let uuid = disk.tag("UUID");
    Machine::must_have_data(&machine.data())?;
    // CouchDB may run until its data move.
    machine.ask(json!("service-start")).await?;
    for verb in ["volume-move-data", "volume-mount"] {
        let (kind, reason) = machine.refusal(json!(verb)).await?;
        assert_eq!(kind, "volume", "{reason}");
    }
    machine.ask(json!("service-stop")).await?;

    let moved = machine.ask(json!("volume-move-data")).await?;
    assert_eq!((&moved["state"], &moved["changed"]), (&json!("unmounted"), &json!(true)));
    let old = machine.old_data()?.unwrap();
    assert_eq!(moved["moved_from"], json!(old));
    Machine::must_have_data(&old)?;
    assert_eq!(std::fs::read_dir(machine.data())?.count(), 0);
    assert!(mounted(disk.path()).is_empty(), "the copy was unmounted");
    let (kind, reason) = machine.refusal(json!("service-start")).await?;
    assert_eq!(kind, "volume");
    assert!(reason.contains("is not mounted on") && reason.contains("volume-mount"), "{reason}");

    let there = machine.ask(json!("volume-mount")).await?;
    assert_eq!((&there["state"], &there["changed"]), (&json!("mounted"), &json!(true)));
    Machine::must_have_data(&machine.data())?;
    machine.ask(json!("service-start")).await?;
    let (_, reason) = machine.refusal(json!("volume-unmount")).await?;
    assert!(reason.contains("service couchdb runs; stop it first"), "{reason}");

    // While CouchDB runs.
    let before = size_of_file_system(&machine)?;
    let same = machine.ask(json!("volume-grow")).await?;
    assert_eq!(same["changed"], false, "the device has its old size");
    disk.grow(SIZES[1])?;
    let mut online = before;
    if grows_online(file_system)? {
        let grown = machine.ask(json!("volume-grow")).await?;
        assert_eq!((&grown["size"], &grown["changed"]), (&json!(SIZES[1] * MIB), &json!(true)));
        online = size_of_file_system(&machine)?;
        assert!(online >= before + 60, "{before} MiB, then {online} MiB");
    }

    // Without it.
    machine.ask(json!("service-stop")).await?;
    for changed in [true, false] {
        let gone = machine.ask(json!("volume-unmount")).await?;
        assert_eq!((&gone["state"], &gone["changed"]), (&json!("unmounted"), &json!(changed)));
    }
    machine.refusal(json!("service-start")).await?;
    disk.grow(SIZES[2])?;
    assert_eq!(machine.ask(json!("volume-grow")).await?["changed"], true);
    assert!(mounted(disk.path()).is_empty());
    machine.ask(json!("volume-mount")).await?;
    let offline = size_of_file_system(&machine)?;
    assert!(offline >= online + 60, "{online} MiB, then {offline} MiB");

    // All of it again changes nothing.
    machine.ask(json!("service-start")).await?;
    assert_eq!(machine.format(&disk).await?["changed"], false);
    for verb in ["volume-move-data", "volume-mount"] {
        assert_eq!(machine.ask(json!(verb)).await?["changed"], false);
    }
    assert_eq!(disk.tag("UUID"), uuid);
    Machine::must_have_data(&machine.data())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ext4_volume_is_made_filled_mounted_and_grown() -> Result<()> {
    whole_life("ext4").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_xfs_volume_is_made_filled_mounted_and_grown() -> Result<()> {
    if super::disk::run("mkfs.xfs", &["-V"]).is_err() {
        trove_couchdb_tests::test_log::skipped("there is no mkfs.xfs (Debian's xfsprogs)");
        return Ok(());
    }
    whole_life("xfs").await
}

/// A machine that was rebuilt knows neither the UUID nor the device.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_machine_finds_the_volume_by_its_label_and_formats_nothing() -> Result<()> {
    let Some(disk) = Disk::new(64)? else { return Ok(()) };
    let Some(empty) = Disk::new(64)? else { return Ok(()) };
    let machine = Machine::new(&[&empty, &disk], "ext4").await?;
    machine.format(&disk).await?;
    machine.rebuild()?;
    let (_, reason) = machine.refusal(json!("volume-mount")).await?;
    assert!(reason.contains("was never finished"), "a volume without data is not mounted: {reason}");
    for other in [&empty, &disk] {
        let (_, reason) = machine.refusal(json!({"volume-format": other.path()})).await?;
        assert!(reason.contains("has the label trovecouchdb, and this machine did not make it"), "{reason}");
    }

    // With data.
    let machine = Machine::new(&[&empty, &disk], "ext4").await?;
    disk.write(0, &vec![0; usize::try_from(64 * MIB)?])?;
    machine.format(&disk).await?;
    machine.ask(json!("volume-move-data")).await?;
    machine.ask(json!("volume-mount")).await?;
    machine.ask(json!("volume-unmount")).await?;
    machine.rebuild()?;
    assert_eq!(machine.state().await?, "unmounted");
    let (_, reason) = machine.refusal(json!("service-start")).await?;
    assert!(reason.contains("is not mounted"), "{reason}");
    machine.refusal(json!({"volume-format": empty.path()})).await?;
    assert_eq!(machine.ask(json!("volume-mount")).await?["device"], json!(disk.path()));
    Machine::must_have_data(&machine.data())?;
    machine.ask(json!("service-start")).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_gone_is_named_and_nothing_starts_without_it() -> Result<()> {
    let Some(disk) = Disk::new(64)? else { return Ok(()) };
    let Some(other) = Disk::new(64)? else { return Ok(()) };
    let machine = Machine::new(&[&disk, &other], "ext4").await?;
    machine.format(&disk).await?;
    machine.ask(json!("volume-move-data")).await?;
    machine.ask(json!("volume-mount")).await?;
    machine.ask(json!("volume-unmount")).await?;

    // Two devices with our label: neither is taken.
    other.copy(&disk)?;
    let (_, reason) = machine.refusal(json!("volume-mount")).await?;
    assert!(reason.contains("have the label trovecouchdb, and one may"), "{reason}");
    assert!(reason.contains(disk.path()) && reason.contains(other.path()), "{reason}");
    let report = machine.ask(json!("volume-status")).await?;
    assert_eq!((&report["state"], &report["device"]), (&json!("missing"), &json!(null)));
    machine.refusal(json!("service-start")).await?;

    // Another volume than this machine's.
    drop(disk);
    super::disk::run("e2fsck", &["-f", "-p", other.path()])?;
    super::disk::run("tune2fs", &["-f", "-U", "random", other.path()])?;
    let (_, reason) = machine.refusal(json!("volume-mount")).await?;
    assert!(reason.contains("is another volume than the one of this machine"), "{reason}");

    // None.
    drop(other);
    let (_, reason) = machine.refusal(json!("service-start")).await?;
    assert!(
        reason.contains("no device of volume.devices has the label trovecouchdb; attach the volume"),
        "{reason}"
    );
    Ok(())
}
