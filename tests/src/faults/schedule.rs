//! The commands and faults of a campaign and their times, all derived from one seed.
//!
//! Commands are chosen for the state that would result without faults: most are sensible, some must be
//! refused. Results do not influence later commands. So two runs of a seed send the same commands in the same
//! order of each caller, and begin the same faults after the same number of commands. Passwords and names
//! come from the seed too; only message ids and the clock differ.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::kinds::{FaultKind, ScheduledFault};
use super::model::{Model, Op};

/// A database of each guest in which every caller grants and revokes; no caller deletes it.
pub const SHARED: &str = "shared";

/// How a command is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// The caller waits for a reply.
    Call,
    /// The conductor receives the result.
    Cast,
}

/// A command to be sent.
#[derive(Debug, Clone)]
pub struct ScheduledCommand {
    /// The command.
    pub op: Op,
    /// Call or cast.
    pub kind: MessageKind,
    /// Whether the same message is sent twice.
    pub twice: bool,
}

/// The script of one or several callers of a guest.
#[derive(Debug)]
#[allow(missing_docs)] // See the variants.
pub enum Script {
    /// One caller alone with its own users and databases; several commands may be in flight.
    Alone { prefix: String, steps: Vec<ScheduledCommand> },
    /// Several callers on the same users and databases: rounds of one list for each.
    Contested { prefix: String, rounds: Vec<Vec<Vec<ScheduledCommand>>> },
}

/// The size of a campaign.
#[derive(Debug, Clone)]
pub struct Size {
    /// Commands of all guests together.
    pub commands: usize,
    /// Faults of all guests together.
    pub faults: usize,
    /// Guests.
    pub guests: usize,
    /// Callers of each guest with their own namespace.
    pub alone: usize,
    /// No fault may stop an agent's process.
    pub lasting: bool,
}

/// Callers that contend in a round.
const LANES: usize = 3;
/// Of a hundred commands of a guest, this many are about root, and this many are contested.
const ROOT_SHARE: usize = 5;
const CONTESTED_SHARE: usize = 20;

/// The scripts of each guest.
pub fn scripts(seed: u64, size: &Size) -> Vec<Vec<Script>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let of_guest = size.commands / size.guests;
    (0..size.guests)
        .map(|guest| {
            let (root, contested) = (of_guest * ROOT_SHARE / 100, of_guest * CONTESTED_SHARE / 100);
            let alone = of_guest - root - contested;
            let mut scripts = vec![root_script(&mut rng, guest, root), contest(&mut rng, contested)];
            scripts.extend((0..size.alone).map(|number| {
                let extra = usize::from(number < alone % size.alone);
                let mut chooser = Chooser::new(&mut rng, &format!("c{number}-"));
                let steps = (0..alone / size.alone + extra).map(|_| chooser.step(true)).collect();
                Script::Alone { prefix: chooser.prefix, steps }
            }));
            scripts
        })
        .collect()
}

/// The faults, in the order in which they begin.
pub fn faults(seed: u64, size: &Size) -> Vec<ScheduledFault> {
    // A random stream of its own: more faults must not change the commands.
    let mut rng = StdRng::seed_from_u64(seed ^ 0x6661_756c_7473);
    let last = size.commands * 95 / 100;
    let mut scheduled: Vec<ScheduledFault> = (0..size.faults)
        .map(|number| ScheduledFault {
            after_commands: (number + 1) * last / (size.faults + 1),
            kind: FaultKind::random(&mut rng, size.lasting),
            guest: rng.random_range(0..size.guests),
            hold_ms: rng.random_range(50..3_000),
            dice: rng.random_range(0..1_000_000),
        })
        .collect();
    // Every fourth fault begins together with the previous one.
    for index in 1..scheduled.len() {
        if rng.random_ratio(1, 4) {
            scheduled[index].after_commands = scheduled[index - 1].after_commands;
        }
    }
    scheduled
}

fn root_script(rng: &mut StdRng, guest: usize, count: usize) -> Script {
    let steps = (0..count).map(|number| {
        let op = match rng.random_range(0..10) {
            0..3 => Op::EnableRoot { password: None },
            3..5 => Op::EnableRoot { password: Some(format!("root-{guest}-{number}")) },
            5..8 => Op::DisableRoot,
            _ => Op::IsRootEnabled,
        };
        ScheduledCommand { op, kind: MessageKind::Call, twice: rng.random_ratio(1, 20) }
    });
    Script::Alone { prefix: "root".to_owned(), steps: steps.collect() }
}

fn contest(rng: &mut StdRng, count: usize) -> Script {
    let mut chooser = Chooser::new(rng, "x-");
    let mut left = count;
    let mut rounds = Vec::new();
    while left > 0 {
        let lanes = (0..LANES).map(|_| {
            let length = chooser.rng.random_range(1..=2).min(left);
            left -= length;
            (0..length).map(|_| chooser.step(false)).collect()
        });
        rounds.push(lanes.collect());
    }
    Script::Contested { prefix: chooser.prefix, rounds }
}

/// Chooses commands for one namespace.
struct Chooser<'a> {
    rng: &'a mut StdRng,
    prefix: String,
    users: Vec<String>,
    databases: Vec<String>,
    /// The state if every command so far had succeeded.
    model: Model,
    passwords: u32,
}

impl<'a> Chooser<'a> {
    fn new(rng: &'a mut StdRng, prefix: &str) -> Self {
        let odd = ["al", "bo b", "ü", "s/l", "p+%41"];
        let users = odd.map(|name| format!("{prefix}{name}")).to_vec();
        let databases = ["a", "b/c", "d+e"].map(|name| format!("{prefix}{name}")).to_vec();
        let model = Model { databases: BTreeSet::from([SHARED.to_owned()]), ..Model::default() };
        Self { rng, prefix: prefix.to_owned(), users, databases, model, passwords: 0 }
    }

    /// The next command. Only a caller with its own namespace may send a message twice, or send a command
    /// that may stop halfway.
    fn step(&mut self, alone: bool) -> ScheduledCommand {
        let op = self.op();
        if let Ok(next) = self.model.run(&op) {
            self.model = next;
        }
        // As Trove sends them; single-step commands may also be calls, as `trove-couchdb` sends them.
        let kind = match &op {
            Op::DeleteUser { .. } | Op::Rename { .. } => MessageKind::Cast,
            Op::CreateUser { .. }
            | Op::ChangePassword { .. }
            | Op::CreateDatabases { .. }
            | Op::DeleteDatabase { .. } => {
                if self.rng.random_ratio(1, 5) {
                    MessageKind::Call
                } else {
                    MessageKind::Cast
                }
            }
            Op::Grant { .. } | Op::Revoke { .. } => {
                if self.rng.random_ratio(1, 10) {
                    MessageKind::Cast
                } else {
                    MessageKind::Call
                }
            }
            _ => MessageKind::Call,
        };
        ScheduledCommand { op, kind, twice: alone && self.rng.random_ratio(1, 20) }
    }

    fn op(&mut self) -> Op {
        let user = self.user();
        match self.rng.random_range(0..100) {
            0..16 => {
                let user = self.free_user();
                Op::CreateUser { user, password: self.password(), databases: self.some_databases(0) }
            }
            16..23 => Op::DeleteUser { user },
            23..37 => Op::ChangePassword { user, password: self.password() },
            37..45 => {
                let new = self.free_user();
                if new == user {
                    return Op::GetUser { user };
                }
                let password = self.rng.random_ratio(1, 3).then(|| self.password());
                Op::Rename { old: user, new, password }
            }
            45..60 => Op::Grant { user, databases: self.some_databases(1) },
            60..70 => {
                let database = if self.rng.random_ratio(1, 3) { SHARED.to_owned() } else { self.database() };
                Op::Revoke { user, database }
            }
            70..79 => {
                let database = self.any_database();
                let other = self.rng.random_ratio(1, 4).then(|| self.any_database());
                let databases: BTreeSet<String> = [Some(database), other].into_iter().flatten().collect();
                Op::CreateDatabases { databases: databases.into_iter().collect() }
            }
            79..84 => Op::DeleteDatabase { database: self.any_database() },
            84..90 => Op::GetUser { user },
            90..94 => Op::ListAccess { user },
            94..97 => Op::ListUsers { prefix: self.prefix.clone() },
            97..99 => Op::ListDatabases { prefix: self.prefix.clone() },
            _ => Op::Ping,
        }
    }

    fn password(&mut self) -> String {
        self.passwords += 1;
        format!("{}pw-{}-{:08x}", self.prefix, self.passwords, self.rng.random::<u32>())
    }

    /// Mostly an existing user.
    fn user(&mut self) -> String {
        let there: Vec<String> = self.model.users.keys().cloned().collect();
        if there.is_empty() || self.rng.random_ratio(1, 8) { self.pick_user() } else { self.pick(&there) }
    }

    /// Mostly a new name.
    fn free_user(&mut self) -> String {
        let free: Vec<String> =
            self.users.iter().filter(|name| !self.model.users.contains_key(*name)).cloned().collect();
        if free.is_empty() || self.rng.random_ratio(1, 8) { self.pick_user() } else { self.pick(&free) }
    }

    fn pick_user(&mut self) -> String {
        let all = self.users.clone();
        self.pick(&all)
    }

    fn any_database(&mut self) -> String {
        let all = self.databases.clone();
        self.pick(&all)
    }

    /// Mostly an existing database, including [`SHARED`].
    fn database(&mut self) -> String {
        let there: Vec<String> = self.model.databases.iter().cloned().collect();
        if self.rng.random_ratio(1, 12) { self.any_database() } else { self.pick(&there) }
    }

    fn some_databases(&mut self, least: usize) -> Vec<String> {
        let count = self.rng.random_range(least..=2);
        let some: BTreeSet<String> = (0..count).map(|_| self.database()).collect();
        some.into_iter().collect()
    }

    fn pick(&mut self, names: &[String]) -> String {
        names[self.rng.random_range(0..names.len())].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_plan_and_another_seed_another() {
        let size = Size { commands: 400, faults: 20, guests: 2, alone: 3, lasting: false };
        let shown = |seed| format!("{:?}{:?}", scripts(seed, &size), faults(seed, &size));
        assert_eq!(shown(1), shown(1));
        assert_ne!(shown(1), shown(2));
    }

    #[test]
    fn exactly_the_wanted_commands_are_planned() {
        let size = Size { commands: 1_000, faults: 0, guests: 2, alone: 3, lasting: false };
        let count = |script: &Script| match script {
            Script::Alone { steps, .. } => steps.len(),
            Script::Contested { rounds, .. } => rounds.iter().flatten().map(Vec::len).sum(),
        };
        let scheduled: usize = scripts(7, &size).iter().flatten().map(count).sum();
        assert_eq!(scheduled, 1_000);
    }
}
