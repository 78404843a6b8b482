//! Breadth-first search through all states, each visited once.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{monitor::Violation, scenario::Scenario, step::Step, world::World};

/// A longer drain is a cycle.
const LONGEST_DRAIN: usize = 1_000;

/// The number of printed steps of such a drain.
const LONGEST_SHOWN: usize = 40;

/// The extent of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Number of distinct states.
    pub states: usize,
    /// Number of steps of the longest schedule.
    pub deepest: usize,
    /// Whether the time was enough to reach every state.
    pub is_complete: bool,
}

/// A violated guarantee and the shortest schedule that violates it.
#[derive(Debug, Clone)]
pub struct Counterexample {
    /// The violation.
    pub violation: String,
    /// The steps, in order.
    pub schedule: Vec<String>,
}

/// The result of a search.
#[derive(Debug, Clone)]
pub struct Found {
    /// The extent of the search.
    pub reach: Reach,
    /// The first violation, if there is one.
    pub counterexample: Option<Counterexample>,
}

/// How a state was first reached.
struct Origin {
    parent: u64,
    step: Step,
}

type Fast = BuildHasherDefault<Own>;

/// Collects the delivery numbers in a state: no other part of it is hashed as a `u64`.
#[derive(Default)]
struct Deliveries(Vec<u64>);

impl Hasher for Deliveries {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, _bytes: &[u8]) {}

    fn write_u64(&mut self, delivery: u64) {
        self.0.push(delivery);
    }
}

/// Identifies a state by 64 bits. Among 100 million states, two have the same hash with a probability of 1 in
/// 4,000.
///
/// Only the order of deliveries matters, so states that differ only in delivery numbers have the same hash.
#[derive(Default)]
struct Mix {
    state: u64,
    deliveries: Vec<u64>,
}

impl Mix {
    fn mix(&mut self, value: u64) {
        let product = u128::from(self.state ^ value ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
        #[allow(clippy::cast_possible_truncation, reason = "both halves are used")]
        {
            self.state = (product as u64) ^ ((product >> 64) as u64);
        }
    }
}

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        let mut last = Self { state: self.state, deliveries: Vec::new() };
        last.mix(0x1234_5678_9abc_def1);
        last.state
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.mix(u64::from(value));
    }

    fn write_u64(&mut self, delivery: u64) {
        self.mix(self.deliveries.partition_point(|one| *one < delivery) as u64);
    }

    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.mix(value.cast_unsigned() as u64);
    }
}

/// The keys are already hashes.
#[derive(Default)]
struct Own(u64);

impl Hasher for Own {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {}

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

fn key(world: &World) -> u64 {
    let mut deliveries = Deliveries::default();
    world.state.hash(&mut deliveries);
    let Deliveries(mut deliveries) = deliveries;
    deliveries.sort_unstable();
    deliveries.dedup();
    let mut hasher = Mix { state: 0, deliveries };
    world.state.hash(&mut hasher);
    hasher.finish()
}

/// Tries all steps with at most this many faults, until the time is over.
pub fn search(scenario: &Scenario, faults: u8, limit: Duration) -> Found {
    let (began, scenario) = (Instant::now(), Arc::new(scenario.clone()));
    let first = World::new(&scenario, faults);
    let root = key(&first);
    let mut search =
        Search { origins: HashMap::default(), drained: HashSet::default(), root, first: first.clone() };
    search.origins.insert(root, Origin { parent: root, step: Step::Start });
    let (mut level, mut deepest) = (vec![(root, first)], 0);
    while !level.is_empty() {
        let mut next = Vec::new();
        for (at, world) in level {
            if began.elapsed() > limit {
                return search.found(deepest, false, None);
            }
            let progress = world.progress();
            if let Err((violation, last)) = search.drains(at, &world) {
                return search.found(deepest, false, Some((violation, at, last)));
            }
            for step in progress.into_iter().chain(world.disturbances()) {
                match world.after(step) {
                    Ok(after) => {
                        let state = key(&after);
                        if search.is_new(state, at, step) {
                            next.push((state, after));
                        }
                    }
                    Err(violation) => {
                        return search.found(deepest, false, Some((violation, at, vec![step])));
                    }
                }
            }
        }
        deepest += usize::from(!next.is_empty());
        level = next;
    }
    search.found(deepest, true, None)
}

struct Search {
    origins: HashMap<u64, Origin, Fast>,
    /// States from which all commands end without further faults.
    drained: HashSet<u64, Fast>,
    root: u64,
    first: World,
}

impl Search {
    fn is_new(&mut self, state: u64, parent: u64, step: Step) -> bool {
        let mut is_new = false;
        self.origins.entry(state).or_insert_with(|| {
            is_new = true;
            Origin { parent, step }
        });
        is_new
    }

    /// Once faults stop, everything in flight must end.
    fn drains(&mut self, at: u64, world: &World) -> Result<(), (Violation, Vec<Step>)> {
        if self.drained.contains(&at) {
            return Ok(());
        }
        let (mut state, mut world, mut way, mut steps) = (at, world.clone(), Vec::new(), Vec::new());
        for _ in 0..LONGEST_DRAIN {
            if self.drained.contains(&state) {
                self.drained.extend(way);
                return Ok(());
            }
            way.push(state);
            let Some(step) = world.progress().first().copied() else {
                world.is_at_rest().map_err(|violation| (violation, steps))?;
                self.drained.extend(way);
                return Ok(());
            };
            steps.push(step);
            world = match world.after(step) {
                Ok(after) => after,
                Err(violation) => return Err((violation, steps)),
            };
            state = key(&world);
        }
        steps.truncate(LONGEST_SHOWN);
        Err(("without any further fault, the agent does not come to rest".to_owned(), steps))
    }

    fn found(
        &self,
        deepest: usize,
        is_complete: bool,
        violation: Option<(Violation, u64, Vec<Step>)>,
    ) -> Found {
        let reach = Reach { states: self.origins.len(), deepest, is_complete };
        let counterexample = violation.map(|(violation, state, last)| {
            let mut steps: Vec<Step> = last.into_iter().rev().collect();
            let mut state = state;
            while state != self.root
                && let Some(origin) = self.origins.get(&state)
            {
                steps.push(origin.step);
                state = origin.parent;
            }
            steps.reverse();
            Counterexample { violation, schedule: self.in_words(&steps) }
        });
        Found { reach, counterexample }
    }

    fn in_words(&self, steps: &[Step]) -> Vec<String> {
        let mut world = self.first.clone();
        let mut words = Vec::new();
        for step in steps {
            words.push(step.describe(&world));
            match world.after(*step) {
                Ok(after) => world = after,
                Err(_) => break,
            }
        }
        words
    }
}
