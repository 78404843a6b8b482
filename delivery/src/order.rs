//! The order of commands: which commands wait for which.
//!
//! A command enters on arrival and may run when no earlier command that conflicts with it is left. It leaves
//! when it can't run a second time: if the agent is killed before that, the broker redelivers the command,
//! and no later command on the same user or database may have run.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{DeliveryId, Scopes};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Queued<S> {
    scopes: S,
    /// The number of earlier commands for which it waits.
    waits_for: usize,
    /// Later commands that wait for it.
    awaited_by: Vec<DeliveryId>,
}

/// The commands that have entered and not left. The broker's prefetch limits their number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Order<S> {
    entries: BTreeMap<DeliveryId, Queued<S>>,
}

impl<S> Default for Order<S> {
    fn default() -> Self {
        Self { entries: BTreeMap::new() }
    }
}

impl<S: Scopes> Order<S> {
    /// Enters a command. True if it may run at once.
    pub(crate) fn enter(&mut self, delivery: DeliveryId, scopes: S) -> bool {
        let mut waits_for = 0;
        for earlier in self.entries.values_mut() {
            if earlier.scopes.conflicts_with(&scopes) {
                earlier.awaited_by.push(delivery);
                waits_for += 1;
            }
        }
        self.entries.insert(delivery, Queued { scopes, waits_for, awaited_by: Vec::new() });
        waits_for == 0
    }

    /// Removes a command, running or waiting. Returns the commands that may run now.
    pub(crate) fn leave(&mut self, delivery: DeliveryId) -> Vec<DeliveryId> {
        let Some(gone) = self.entries.remove(&delivery) else {
            return Vec::new();
        };
        let mut free = Vec::new();
        for waiting in gone.awaited_by {
            // A command that gave up waiting has already left.
            if let Some(entry) = self.entries.get_mut(&waiting) {
                entry.waits_for -= 1;
                if entry.waits_for == 0 {
                    free.push(waiting);
                }
            }
        }
        free
    }

    /// Replaces a command by another, for which the later commands now wait. Returns the later commands.
    pub(crate) fn pass_on(&mut self, from: DeliveryId, to: DeliveryId) -> Vec<DeliveryId> {
        let Some(entry) = self.entries.remove(&from) else { return Vec::new() };
        let behind = entry.awaited_by.clone();
        self.entries.insert(to, entry);
        behind
    }

    /// Whether a command conflicts with one that has entered.
    pub(crate) fn conflicts(&self, entered: DeliveryId, scopes: &S) -> bool {
        self.entries.get(&entered).is_some_and(|entry| entry.scopes.conflicts_with(scopes))
    }

    /// All later commands that can't run before this one leaves, directly or indirectly.
    pub(crate) fn all_behind(&self, delivery: DeliveryId) -> BTreeSet<DeliveryId> {
        let mut behind = BTreeSet::new();
        let mut next = vec![delivery];
        while let Some(one) = next.pop() {
            let Some(entry) = self.entries.get(&one) else { continue };
            next.extend(entry.awaited_by.iter().copied().filter(|later| behind.insert(*later)));
        }
        behind
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bit sets of the objects that are read and written.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    struct Bits(u8, u8);

    impl Scopes for Bits {
        fn conflicts_with(&self, other: &Self) -> bool {
            self.1 & (other.0 | other.1) != 0 || other.1 & self.0 != 0
        }

        fn only_reads(&self) -> bool {
            self.1 == 0
        }
    }

    proptest! {
        /// For any order of completion, conflicting commands run in the order of arrival and never
        /// concurrently, every command runs, and a command without conflicts never waits.
        #[test]
        fn conflicting_commands_keep_their_order(
            all in prop::collection::vec((0_u8..8, 0_u8..8).prop_map(|(reads, writes)| Bits(reads, writes)), 1..25),
            finish in prop::collection::vec(any::<prop::sample::Index>(), 60),
        ) {
            let mut order = Order::default();
            let mut running = BTreeSet::new();
            let mut started = Vec::new();
            for (index, scopes) in all.iter().enumerate() {
                let free = order.enter(DeliveryId(index as u64), *scopes);
                let conflicts = all[..index].iter().any(|earlier| earlier.conflicts_with(scopes));
                prop_assert_eq!(free, !conflicts);
                if free {
                    running.insert(index);
                    started.push(index);
                }
            }
            let mut finish = finish.into_iter().cycle();
            while !running.is_empty() {
                let index = finish.next().map_or(0, |index| index.index(running.len()));
                let Some(done) = running.iter().nth(index).copied() else { break };
                running.remove(&done);
                for free in order.leave(DeliveryId(done as u64)) {
                    let free = usize::try_from(free.0).unwrap_or_default();
                    prop_assert!(running.iter().all(|other| !all[free].conflicts_with(&all[*other])));
                    running.insert(free);
                    started.push(free);
                }
            }
            prop_assert!(order.is_empty());
            prop_assert_eq!(started.len(), all.len());
            for (index, later) in started.iter().enumerate() {
                for earlier in &started[index + 1..] {
                    prop_assert!(later < earlier || !all[*later].conflicts_with(&all[*earlier]));
                }
            }
        }
    }

    #[test]
    fn a_caller_that_gives_up_holds_no_other_back() {
        let write = Bits(0, 1);
        let mut order = Order::default();
        let [first, second, third] = [DeliveryId(0), DeliveryId(1), DeliveryId(2)];
        assert!(order.enter(first, write) && !order.enter(second, write) && !order.enter(third, write));
        assert_eq!(order.all_behind(first).len(), 2);
        assert_eq!(order.leave(second), []);
        assert_eq!(order.leave(first), [third]);
        assert_eq!(order.leave(first), [], "leaving twice is nothing");
    }
}
