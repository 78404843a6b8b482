//! The order of commands: a pure queue without clock, lock or I/O.
//!
//! A command enters when it arrives and may run as soon as no earlier command that conflicts with it is left.
//! It leaves when it is done for good: answered and acknowledged. Leaving later than "took effect" matters: if
//! the agent is killed in between, the broker delivers the command again, and then no later command on the
//! same thing may have been acknowledged already.

use std::collections::{BTreeMap, BTreeSet};

use crate::commands::Scopes;

/// A command's place, in order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place(u64);

#[derive(Debug)]
struct Entry {
    scopes: Scopes,
    /// Earlier commands that it waits for.
    waits_for: usize,
    /// Later commands that wait for it.
    awaited_by: Vec<Place>,
}

/// The commands that have entered and not left. Their number is bounded by the broker's prefetch.
#[derive(Debug, Default)]
pub(super) struct Order {
    next: u64,
    entries: BTreeMap<Place, Entry>,
}

impl Order {
    /// Enters a command; true if it may run at once.
    pub(super) fn enter(&mut self, scopes: Scopes) -> (Place, bool) {
        let place = Place(self.next);
        self.next += 1;
        let mut waits_for = 0;
        for earlier in self.entries.values_mut() {
            if earlier.scopes.conflicts_with(&scopes) {
                earlier.awaited_by.push(place);
                waits_for += 1;
            }
        }
        self.entries.insert(place, Entry { scopes, waits_for, awaited_by: Vec::new() });
        (place, waits_for == 0)
    }

    /// Takes a command out, running or waiting, and answers which may run now.
    pub(super) fn leave(&mut self, place: Place) -> Vec<Place> {
        let Some(gone) = self.entries.remove(&place) else {
            return Vec::new();
        };
        let mut free = Vec::new();
        for waiting in gone.awaited_by {
            // One that gave up waiting has left already.
            if let Some(entry) = self.entries.get_mut(&waiting) {
                entry.waits_for -= 1;
                if entry.waits_for == 0 {
                    free.push(waiting);
                }
            }
        }
        free
    }

    /// All later commands that can't run before this one has left, directly or because one of them has to run first.
    pub(super) fn all_behind(&self, place: Place) -> BTreeSet<Place> {
        let mut behind = BTreeSet::new();
        let mut next = vec![place];
        while let Some(place) = next.pop() {
            let Some(entry) = self.entries.get(&place) else { continue };
            next.extend(entry.awaited_by.iter().copied().filter(|later| behind.insert(*later)));
        }
        behind
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::commands::tests::decoded;

    fn any_scopes() -> impl Strategy<Value = Scopes> {
        let user = "[ab]";
        let database = "[xy]";
        prop_oneof![
            user.prop_map(|u| ("delete_user", json!({"user": {"_name": u}}))),
            user.prop_map(|u| ("get_user", json!({"username": u, "hostname": "%"}))),
            (user, database).prop_map(|(u, d)| (
                "grant_access",
                json!({"username": u, "hostname": "%", "databases": [d]})
            )),
            database.prop_map(|d| ("delete_database", json!({"database": {"_name": d}}))),
            Just(("list_users", json!({}))),
            Just(("disable_root", json!({}))),
            Just(("rpc_ping", json!({}))),
        ]
        .prop_map(|(method, args)| decoded(method, &args).scopes())
    }

    proptest! {
        /// Whatever finishes when: conflicting commands run in order of arrival and never side by side, every
        /// command gets to run, and one that conflicts with nothing never waits.
        #[test]
        fn conflicting_commands_keep_their_order(
            all in prop::collection::vec(any_scopes(), 1..25),
            finish in prop::collection::vec(any::<prop::sample::Index>(), 60),
        ) {
            let mut order = Order::default();
            let mut running = BTreeSet::new();
            let mut started = Vec::new();
            let mut places = Vec::new();
            for scopes in &all {
                let (place, free) = order.enter(scopes.clone());
                let conflicts = places
                    .iter()
                    .any(|(_, earlier): &(Place, &Scopes)| earlier.conflicts_with(scopes));
                prop_assert_eq!(free, !conflicts);
                places.push((place, scopes));
                if free {
                    running.insert(place);
                    started.push(place);
                }
            }
            let scopes_of = |place: Place| places.iter().find(|(known, _)| *known == place).unwrap().1;
            let mut finish = finish.into_iter().cycle();
            while !running.is_empty() {
                let index = finish.next().unwrap().index(running.len());
                let done = *running.iter().nth(index).unwrap();
                running.remove(&done);
                for free in order.leave(done) {
                    for other in &running {
                        prop_assert!(!scopes_of(free).conflicts_with(scopes_of(*other)));
                    }
                    running.insert(free);
                    started.push(free);
                }
            }
            prop_assert!(order.is_empty());
            prop_assert_eq!(started.len(), all.len());
            for (index, later) in started.iter().enumerate() {
                for earlier in &started[index + 1..] {
                    prop_assert!(
                        later < earlier || !scopes_of(*later).conflicts_with(scopes_of(*earlier)),
                        "a later command ran first"
                    );
                }
            }
        }
    }

    #[test]
    fn one_that_gives_up_holds_nobody_back() {
        let write = || decoded("delete_user", &json!({"user": {"_name": "al"}})).scopes();
        let mut order = Order::default();
        let (first, free) = order.enter(write());
        let (second, waits) = order.enter(write());
        let (third, _) = order.enter(write());
        assert!(free && !waits);
        assert_eq!(order.leave(second), []);
        assert_eq!(order.leave(first), [third]);
        assert_eq!(order.leave(first), [], "leaving twice is nothing");
    }
}
