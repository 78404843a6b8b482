//! The set of models that a namespace may be in, and the check whether observed results are possible.
//!
//! A command with a certain result leaves the models that allow it; an uncertain one adds models; a read
//! removes the models that contradict it. An empty set means that the agent violated the reference.
//!
//! Several callers at once: a *round* is one list of commands for each caller. All are sent independently,
//! and all have ended before the next round. Each caller's commands keep their order; between callers any
//! order is allowed, and a single order must explain all answers. The models after a round are those of all
//! such orders. They are found without enumerating the orders: what is possible after the first `i` commands
//! of one caller and the first `j` of a second depends only on `(i, j)`.
//!
//! A call that timed out may still be in the broker or wait in the agent while its caller sends other
//! commands. So for a while it is an additional caller of every round, whose only command may be done or not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::model::{Model, Observed, Op};

/// One command and its observed result.
#[derive(Debug, Clone)]
pub struct ModelStep {
    /// The command.
    pub op: Op,
    /// The result.
    pub observed: Observed,
    /// Whether its caller timed out, so that the command may still run.
    pub given_up: bool,
    /// Whether a fault was active between sending and result.
    pub disturbed: bool,
}

/// The observed results are impossible.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no order of the commands explains what was seen of them; before: {before}")]
pub struct Inexplicable {
    before: String,
}

/// A call that timed out is over after this: at most its TTL in the broker (15 s), as long again from its
/// arrival at the agent until its start, and a run that CouchDB delays.
const OVER_AFTER: Duration = Duration::from_secs(60);

/// The models that are possible for a namespace.
#[derive(Debug, Clone)]
pub struct Possible {
    worlds: BTreeSet<Model>,
    /// Calls that timed out and may still run, with the time when they timed out.
    late: Vec<(Op, Instant)>,
}

impl Possible {
    /// A namespace with exactly this state.
    pub fn sure(model: Model) -> Self {
        Self { worlds: BTreeSet::from([model]), late: Vec::new() }
    }

    /// The possible models.
    pub fn worlds(&self) -> &BTreeSet<Model> {
        &self.worlds
    }

    /// No further commands are sent; calls that timed out may still run.
    pub fn end(&mut self) {
        // A round without observations contradicts nothing.
        let _explained = self.observe_round(&[]);
    }

    /// Applies a command of the only caller.
    pub fn observe(&mut self, step: ModelStep) -> Result<(), Inexplicable> {
        self.observe_round(&[vec![step]])
    }

    /// Applies a round: one list of commands for each caller.
    ///
    /// After an error the set has the models in which each command may have been done or not, so that one
    /// disagreement is not reported several times.
    pub fn observe_round(&mut self, lanes: &[Vec<ModelStep>]) -> Result<(), Inexplicable> {
        self.late.retain(|(_, since)| since.elapsed() < OVER_AFTER);
        let still = |(op, _): &(Op, Instant)| {
            vec![ModelStep { op: op.clone(), observed: Observed::Unsure, given_up: false, disturbed: true }]
        };
        let lanes: Vec<Vec<ModelStep>> = lanes.iter().cloned().chain(self.late.iter().map(still)).collect();
        let given_up = lanes.iter().flatten().filter(|step| step.given_up);
        self.late.extend(given_up.map(|step| (step.op.clone(), Instant::now())));
        let explained = interleaved(&self.worlds, &lanes);
        if !explained.is_empty() {
            self.worlds = explained;
            return Ok(());
        }
        let before =
            self.worlds.iter().take(3).map(|model| format!("{model:?}")).collect::<Vec<_>>().join(" or ");
        let unsure = |step: &ModelStep| ModelStep { observed: Observed::Unsure, ..step.clone() };
        let lanes: Vec<Vec<ModelStep>> = lanes.iter().map(|lane| lane.iter().map(unsure).collect()).collect();
        self.worlds = interleaved(&self.worlds, &lanes);
        Err(Inexplicable { before })
    }
}

fn interleaved(worlds: &BTreeSet<Model>, lanes: &[Vec<ModelStep>]) -> BTreeSet<Model> {
    let start = vec![0; lanes.len()];
    let end: Vec<usize> = lanes.iter().map(Vec::len).collect();
    // Keyed by the number of finished commands of each caller; in this order every predecessor comes first.
    let mut reached = BTreeMap::from([(start, worlds.clone())]);
    while let Some((done, worlds)) = reached.pop_first() {
        if done == end {
            return worlds;
        }
        for (lane, steps) in lanes.iter().enumerate() {
            let Some(step) = steps.get(done[lane]) else { continue };
            let mut next = done.clone();
            next[lane] += 1;
            let after = worlds.iter().flat_map(|model| model.after(&step.op, &step.observed, step.disturbed));
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

    fn step(op: Op, observed: Observed) -> ModelStep {
        ModelStep { op, observed, given_up: false, disturbed: false }
    }

    fn create(password: &str) -> Op {
        Op::CreateUser { user: "al".into(), password: password.into(), databases: vec![] }
    }

    fn change(password: &str) -> Op {
        Op::ChangePassword { user: "al".into(), password: password.into() }
    }

    const DONE: Observed = Observed::Done(Value::Null);

    #[test]
    fn of_two_creators_one_must_be_refused() {
        let mut both = Possible::sure(Model::default());
        assert!(both.observe_round(&[vec![step(create("1"), DONE)], vec![step(create("2"), DONE)]]).is_err());
        let mut one = Possible::sure(Model::default());
        let refused = Observed::Refused(Refusal::UserExists);
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
        let given_up = |password| ModelStep { given_up: true, ..step(create(password), Observed::Unsure) };
        let get = || Op::GetUser { user: "al".into() };
        let nobody = || step(get(), DONE);
        let al = || step(get(), Observed::Done(json!({"_name": "al", "_databases": []})));
        let mut possible = Possible::sure(Model::default());
        possible.observe(given_up("1")).unwrap();
        possible.observe(nobody()).unwrap();
        possible.observe(al()).unwrap();
        possible.observe(nobody()).unwrap_err();
        let mut possible = Possible::sure(Model::default());
        possible.observe(step(create("1"), Observed::Unsure)).unwrap();
        possible.observe(nobody()).unwrap();
        possible.observe(al()).unwrap_err();
    }

    #[test]
    fn a_read_settles_what_was_unsure() {
        let mut possible = Possible::sure(Model::default());
        possible.observe(step(create("1"), Observed::Unsure)).unwrap();
        assert_eq!(possible.worlds().len(), 2);
        let get = Op::GetUser { user: "al".into() };
        possible.observe(step(get, Observed::Done(json!({"_name": "al", "_databases": []})))).unwrap();
        assert_eq!(possible.worlds().len(), 1);
    }
}
