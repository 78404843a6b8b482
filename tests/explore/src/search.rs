//! Breadth first through every state, each only once.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{monitor::Violation, scenario::Scenario, step::Step, world::World};

/// A drain that takes longer goes round in circles.
const LONGEST_DRAIN: usize = 1_000;

/// Of such a drain, so much is printed.
const LONGEST_SHOWN: usize = 40;

/// How far a search went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Different states.
    pub states: usize,
    /// Steps of the longest schedule.
    pub deepest: usize,
    /// Every state was reached: there was time enough.
    pub is_complete: bool,
}

/// A guarantee that does not hold, and the shortest schedule that shows it.
#[derive(Debug, Clone)]
pub struct Counterexample {
    /// What does not hold.
    pub violation: String,
    /// What happens, in order.
    pub schedule: Vec<String>,
}

/// What a search found.
#[derive(Debug, Clone)]
pub struct Found {
    /// How far it went.
    pub reach: Reach,
    /// The first violation, if there is one.
    pub counterexample: Option<Counterexample>,
}

/// How a state was reached the first time.
struct Origin {
    parent: u64,
    step: Step,
}

type Fast = BuildHasherDefault<Own>;

/// Collects the numbers of deliveries in a state: nothing else in it is hashed as a `u64`.
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

/// States are told apart by 64 bits. Among 100 million, two are taken for one with a probability of 1 in 4,000.
///
/// Of deliveries only the order matters, so two states that differ in nothing but their numbers are one.
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

/// The keys are hashes already.
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

/// Tries everything that can happen with at most so many faults, until the time is over.
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
    /// States from which everything comes to an end without a fault.
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

    /// Once faults stop, everything that is under way must come to its end.
    fn drains(&mut self, at: u64, world: &World) -> Result<(), (Violation, Vec<Step>)> {
        if self.drained.contains(&at) {
            return Ok(());
        }
        let (mut world, mut way, mut steps) = (world.clone(), Vec::new(), Vec::new());
        for _ in 0..LONGEST_DRAIN {
            let state = key(&world);
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
