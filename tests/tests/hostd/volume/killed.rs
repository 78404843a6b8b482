//! `kill -9` at each step of a volume's making: never a second format, never data lost.
//!
//! strace kills the helper's task, or a program that it runs, at the n-th of the system calls by which something
//! becomes durable or visible: the record of each step, the rename of the old directory, the marker, each sync,
//! each mount. With n = 1, 2, … until nothing is killed any more, each step is hit before and after its record.

use std::process::Command;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use trove_couchdb_tests::test_log;
use trove_couchdb_tests::until::until;

use super::disk::Disk;
use super::machine::Machine;

/// The system calls at which something is killed. No run makes more than this many of one of them.
const CALLS: [&str; 3] = ["rename,renameat,renameat2", "fsync,fdatasync,syncfs", "mount,umount2"];
const MOST: usize = 40;

/// From an empty device to a mounted volume.
async fn make(machine: &Machine, disk: &Disk) -> Result<()> {
    machine.format(disk).await?;
    machine.ask(json!("volume-move-data")).await?;
    machine.ask(json!("volume-mount")).await.map(drop)
}

/// What is known after a kill.
struct Before {
    step: String,
    seed: Option<String>,
}

impl Before {
    fn of(machine: &Machine, disk: &Disk) -> Self {
        let step = machine.step().unwrap_or_default();
        let is_made = !["", "formatting"].contains(&step.as_str());
        Self { seed: is_made.then(|| disk.hash_seed().unwrap_or_default()), step }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_killed_anywhere_is_continued() -> Result<()> {
    if Command::new("strace").arg("-V").output().is_err() {
        test_log::skipped("there is no strace");
        return Ok(());
    }
    let mut steps = std::collections::BTreeSet::new();
    for calls in CALLS {
        for n in 1.. {
            assert!(n < MOST, "the {n}th of {calls} was still killed");
            let Some(disk) = Disk::new(16)? else { return Ok(()) };
            let mut machine = Machine::new(&[&disk], "ext4").await?;
            machine.hostd.terminate().await?;
            let inject = format!("inject={calls}:signal=KILL:when={n}");
            let trace = format!("trace={calls}");
            // -D: the process that is started is hostd, and not strace.
            let below = ["strace", "-D", "-f", "-o", "/dev/null", "-e", &trace, "-e", &inject];
            if machine.hostd.start_below(&below).await.is_err() {
                test_log::skipped("hostd can't be traced");
                return Ok(());
            }
            let result = make(&machine, &disk).await;
            let was_killed = result.is_err();
            machine.hostd.kill9()?;
            let before = Before::of(&machine, &disk);
            // The data are in one place at least, whole.
            let places = [Some(machine.data()), machine.old_data()?];
            assert!(
                places.into_iter().flatten().any(|place| Machine::has_data(&place)),
                "{calls} {n}: no place has the data; {:?}",
                result.err()
            );
            machine.hostd.start_again().await?;
            make(&machine, &disk).await?;
            Machine::must_have_data(&machine.data())?;
            if let Some(seed) = &before.seed {
                assert_eq!(&disk.hash_seed()?, seed, "{calls} {n}: formatted again after {}", before.step);
            }
            assert_eq!(machine.step()?, "in-use");
            steps.insert(before.step);
            if !was_killed {
                break;
            }
        }
    }
    let all = ["", "formatting", "formatted", "copying", "switching", "moved", "in-use"];
    assert_eq!(steps.into_iter().collect::<Vec<_>>(), sorted(&all), "each step was interrupted");
    Ok(())
}

fn sorted(words: &[&str]) -> Vec<String> {
    let mut words: Vec<String> = words.iter().map(ToString::to_string).collect();
    words.sort();
    words
}

/// hostd itself is killed while its task works: the task ends its work, and the next hostd waits for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_hostd_leaves_its_task_to_the_next_one() -> Result<()> {
    let Some(disk) = Disk::new(512)? else { return Ok(()) };
    let mut machine = Machine::new(&[&disk], "ext4").await?;
    for (verb, step) in
        [(json!({"volume-format": disk.path()}), "formatting"), (json!("volume-move-data"), "copying")]
    {
        let request = json!({"id": "killed", "verb": verb});
        let asking = machine.hostd.ask(&request);
        let killed = async {
            until("the step begins", async || Ok(machine.step().is_ok_and(|now| now == step))).await
        };
        let ended = tokio::select! {
            biased;
            found = killed => found.map(|()| Value::Null),
            // It was too quick for this machine: the verb is asked for again all the same.
            answer = asking => answer,
        };
        ended?;
        machine.hostd.kill9()?;
        machine.hostd.start_again().await?;
        let report = machine.ask(verb.clone()).await?;
        if report["state"] == "none" {
            bail!("{verb}: {report}");
        }
    }
    machine.ask(json!("volume-mount")).await?;
    Machine::must_have_data(&machine.data())
}
