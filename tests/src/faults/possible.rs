//! The set of worlds that a namespace may be in, and the judgement whether what was seen can have happened.
//!
//! A command whose answer is sure leaves the worlds in which it could have ended so; one that is unsure adds worlds; a
//! read takes away those that it doesn't show. No world left means that the agent did something it must not.
//!
//! Several callers at once: a *round* is one list of commands for each caller, all sent without regard to the others and
//! all seen to their end before the next round. Each caller's commands keep their order; between callers any order is
//! allowed, and one of them must explain every answer at once. The worlds after a round are those of all orders that
//! do. They are found without trying the orders one by one: what may be after the first `i` commands of one caller and
//! the first `j` of another depends on `(i, j)` only.
//!
//! A call that nobody has answered may still be in the broker, or wait in the agent, when its caller has given up and sent
//! other things. So for a while it is one more caller of every round, whose only command may be done or not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::model::{Model, Op, Seen};

/// One command and what was seen of it.
#[derive(Debug, Clone)]
pub struct Step {
    /// The command.
    pub op: Op,
    /// How it ended.
    pub seen: Seen,
    /// Whether its caller no longer waits although nothing was heard: it may yet be done.
    pub given_up: bool,
    /// Whether a fault was at work between its sending and its end.
    pub disturbed: bool,
}

/// What was seen has no explanation.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no order of the commands explains what was seen of them; before: {before}")]
pub struct Inexplicable {
    before: String,
}

/// A call that was given up is over after this: at most its time to live in the broker (15 s), as long again from its
/// arrival at the agent on until it must have begun, and a run that CouchDB holds up.
const OVER_AFTER: Duration = Duration::from_secs(60);

/// All that a namespace may look like.
#[derive(Debug, Clone)]
pub struct Possible {
    worlds: BTreeSet<Model>,
    /// Calls that may still come to run, and when they were given up.
    late: Vec<(Op, Instant)>,
}

impl Possible {
    /// A namespace that looks like this.
    pub fn sure(model: Model) -> Self {
        Self { worlds: BTreeSet::from([model]), late: Vec::new() }
    }

    /// The worlds.
    pub fn worlds(&self) -> &BTreeSet<Model> {
        &self.worlds
    }

    /// Nothing more is sent; calls that were given up may still be done.
    pub fn end(&mut self) {
        // A round in which nothing was seen contradicts nothing.
        let _explained = self.observe_round(&[]);
    }

    /// Takes a command of the only caller into account.
    pub fn observe(&mut self, step: Step) -> Result<(), Inexplicable> {
        self.observe_round(&[vec![step]])
    }

    /// Takes a round into account: one list of commands for each caller.
    ///
    /// After an error the worlds are those in which each command may have been done or not, so that one disagreement
    /// isn't reported as many.
    pub fn observe_round(&mut self, lanes: &[Vec<Step>]) -> Result<(), Inexplicable> {
        self.late.retain(|(_, since)| since.elapsed() < OVER_AFTER);
        let still = |(op, _): &(Op, Instant)| {
            vec![Step { op: op.clone(), seen: Seen::Unsure, given_up: false, disturbed: true }]
        };
        let lanes: Vec<Vec<Step>> = lanes.iter().cloned().chain(self.late.iter().map(still)).collect();
        let given_up = lanes.iter().flatten().filter(|step| step.given_up);
        self.late.extend(given_up.map(|step| (step.op.clone(), Instant::now())));
        let explained = interleaved(&self.worlds, &lanes);
        if !explained.is_empty() {
            self.worlds = explained;
            return Ok(());
        }
        let before =
            self.worlds.iter().take(3).map(|model| format!("{model:?}")).collect::<Vec<_>>().join(" or ");
        let unsure = |step: &Step| Step { seen: Seen::Unsure, ..step.clone() };
        let lanes: Vec<Vec<Step>> = lanes.iter().map(|lane| lane.iter().map(unsure).collect()).collect();
        self.worlds = interleaved(&self.worlds, &lanes);
        Err(Inexplicable { before })
    }
}

fn interleaved(worlds: &BTreeSet<Model>, lanes: &[Vec<Step>]) -> BTreeSet<Model> {
    let start = vec![0; lanes.len()];
    let end: Vec<usize> = lanes.iter().map(Vec::len).collect();
    // By how many commands of each caller are done; in this order every predecessor comes first.
    let mut reached = BTreeMap::from([(start, worlds.clone())]);
    while let Some((done, worlds)) = reached.pop_first() {
        if done == end {
            return worlds;
        }
        for (lane, steps) in lanes.iter().enumerate() {
            let Some(step) = steps.get(done[lane]) else { continue };
            let mut next = done.clone();
            next[lane] += 1;
            let after = worlds.iter().flat_map(|model| model.after(&step.op, &step.seen, step.disturbed));
            reached.entry(next).or_default().extend(after);
        }
    }
    BTreeSet::new()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::{Value, json};

    use super::super::model::Refusal;
    use super::*;

    fn step(op: Op, seen: Seen) -> Step {
        Step { op, seen, given_up: false, disturbed: false }
    }

    fn create(password: &str) -> Op {
        Op::CreateUser { user: "al".into(), password: password.into(), databases: vec![] }
    }

    fn change(password: &str) -> Op {
        Op::ChangePassword { user: "al".into(), password: password.into() }
    }

    const DONE: Seen = Seen::Done(Value::Null);

    #[test]
    fn of_two_creators_one_must_be_refused() {
        let mut both = Possible::sure(Model::default());
        assert!(both.observe_round(&[vec![step(create("1"), DONE)], vec![step(create("2"), DONE)]]).is_err());
        let mut one = Possible::sure(Model::default());
        let refused = Seen::Refused(Refusal::UserExists);
        one.observe_round(&[vec![step(create("1"), refused)], vec![step(create("2"), DONE)]]).unwrap();
        assert_eq!(one.worlds().iter().map(|model| model.users["al"].clone()).collect::<Vec<_>>(), ["2"]);
    }

    #[test]
    fn the_last_of_two_passwords_is_either_but_each_caller_keeps_its_order() {
        let mut possible = Possible::sure(Model::default());
        possible.observe(step(create("0"), DONE)).unwrap();
        let lanes = [vec![step(change("1"), DONE), step(change("2"), DONE)], vec![step(change("3"), DONE)]];
        possible.observe_round(&lanes).unwrap();
        let last: Vec<_> = possible.worlds().iter().map(|model| model.users["al"].clone()).collect();
        assert_eq!(last, ["2", "3"]);
    }

    #[test]
    fn a_call_that_was_given_up_may_be_done_later() {
        let given_up = |password| Step { given_up: true, ..step(create(password), Seen::Unsure) };
        let get = || Op::GetUser { user: "al".into() };
        let nobody = || step(get(), DONE);
        let al = || step(get(), Seen::Done(json!({"_name": "al", "_databases": []})));
        let mut possible = Possible::sure(Model::default());
        possible.observe(given_up("1")).unwrap();
        possible.observe(nobody()).unwrap();
        possible.observe(al()).unwrap();
        possible.observe(nobody()).unwrap_err();
        let mut possible = Possible::sure(Model::default());
        possible.observe(step(create("1"), Seen::Unsure)).unwrap();
        possible.observe(nobody()).unwrap();
        possible.observe(al()).unwrap_err();
    }

    #[test]
    fn a_read_settles_what_was_unsure() {
        let mut possible = Possible::sure(Model::default());
        possible.observe(step(create("1"), Seen::Unsure)).unwrap();
        assert_eq!(possible.worlds().len(), 2);
        let get = Op::GetUser { user: "al".into() };
        possible.observe(step(get, Seen::Done(json!({"_name": "al", "_databases": []})))).unwrap();
        assert_eq!(possible.worlds().len(), 1);
    }
}
