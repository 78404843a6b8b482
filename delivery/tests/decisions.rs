//! Tests of the core's decisions for given sequences of events. The search in `tests/explore` tries all
//! orders; these tests also cover wrong decisions that break no guarantee.

#![allow(clippy::unwrap_used)]

use trove_couchdb_delivery::{
    Action, Answer, Core, Delivered, DeliveryId, Durable, Event, Limits, Refusal, ReplayTag, Request,
    Resumed, Scopes, Source, WaitsFor, Work,
};

/// Bit sets of the objects that a command reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bits(u8, u8);

impl Scopes for Bits {
    fn conflicts_with(&self, other: &Self) -> bool {
        self.1 & (other.0 | other.1) != 0 || other.1 & self.0 != 0
    }

    fn only_reads(&self) -> bool {
        self.1 == 0
    }
}

struct Fixture {
    core: Core<Bits, u8>,
    next: u64,
}

fn tag(number: u8) -> ReplayTag {
    ReplayTag([number; 16])
}

impl Fixture {
    fn new(slots: usize) -> Self {
        Self::resumed(slots, Resumed::default())
    }

    fn resumed(slots: usize, resumed: Resumed<Bits, u8>) -> Self {
        Self { core: Core::new(Limits { slots, endings: 10, tags: 10 }, resumed), next: 0 }
    }

    fn deliver(
        &mut self,
        source: Source,
        id: u8,
        scopes: Bits,
        at_once: bool,
    ) -> (DeliveryId, Vec<Action<u8>>) {
        self.next += 1;
        let delivery = DeliveryId(self.next);
        let work = Work { scopes, changes: scopes.1 != 0, needs_slot: true, at_once, long: false };
        let request = Request::Run(work);
        let message =
            Delivered { delivery, source, id: tag(id), parts: Vec::new(), redelivered: false, request };
        (delivery, self.core.handle(Event::Delivered(message)))
    }

    fn broker(&mut self, id: u8, writes: u8) -> (DeliveryId, Vec<Action<u8>>) {
        self.deliver(Source::Broker, id, Bits(0, writes), false)
    }

    fn socket(&mut self, id: u8, writes: u8) -> (DeliveryId, Vec<Action<u8>>) {
        self.deliver(Source::Socket, id, Bits(0, writes), false)
    }

    /// From the record of the beginning to the outcome.
    fn ends(&mut self, delivery: DeliveryId) -> Vec<Action<u8>> {
        let actions = self.core.handle(Event::Noted { delivery, ready: true });
        assert_eq!(actions, [Action::Run { delivery, again: false }]);
        self.core.handle(Event::Finished { delivery, outcome: 7, succeeded: true })
    }
}

#[test]
fn a_command_is_written_down_answered_and_acknowledged_in_this_order() {
    let mut fixture = Fixture::new(1);
    let (delivery, actions) = fixture.broker(1, 1);
    assert_eq!(actions, [Action::Accept(delivery), Action::NoteBeginning(delivery)]);
    let id = tag(1);
    assert_eq!(fixture.ends(delivery), [Action::Write { delivery, id, durable: Durable::Outcome }]);
    let actions = fixture.core.handle(Event::Written { delivery, stored: true });
    assert_eq!(actions, [Action::Reply { delivery, answer: Answer::Own }]);
    let actions = fixture.core.handle(Event::Replied { delivery, sent: true });
    assert_eq!(actions, [Action::Acknowledge(delivery)]);
    let actions = fixture.core.handle(Event::Acknowledged { delivery, sent: true });
    assert_eq!(actions, [Action::Forget(id)]);
    assert!(fixture.core.is_idle() && fixture.core.holds_nothing(1));
}

#[test]
fn behind_one_whose_outcome_is_refused_local_commands_are_refused_and_others_wait() {
    let mut fixture = Fixture::new(4);
    let (held, _) = fixture.broker(1, 1);
    let (local, actions) = fixture.socket(2, 1);
    assert_eq!(actions, [Action::Accept(local)]);
    let (later, _) = fixture.broker(3, 1);
    fixture.ends(held);
    let actions = fixture.core.handle(Event::Written { delivery: held, stored: false });
    let refused = |delivery| Action::Refuse { delivery, why: Refusal::Held(held) };
    assert_eq!(
        actions,
        [
            refused(local),
            Action::Reply { delivery: held, answer: Answer::Own },
            Action::Write { delivery: held, id: tag(1), durable: Durable::OutcomeAgain },
        ]
    );
    let (behind, actions) = fixture.socket(4, 1);
    assert_eq!(
        actions,
        [Action::Accept(behind), refused(behind)],
        "also behind one of the broker that waits"
    );
    let (other, actions) = fixture.socket(5, 2);
    assert_eq!(actions, [Action::Accept(other), Action::Run { delivery: other, again: false }]);
    for refused in [local, behind] {
        let actions =
            fixture.core.handle(Event::Finished { delivery: refused, outcome: 9, succeeded: false });
        assert_eq!(actions, [Action::Reply { delivery: refused, answer: Answer::Own }]);
    }
    let actions = fixture.core.handle(Event::Written { delivery: held, stored: true });
    assert_eq!(actions, [Action::NoteBeginning(later)]);
}

#[test]
fn local_changes_are_refused_until_an_interrupted_command_comes_again() {
    let interrupted = vec![(tag(1), Bits(0, 1))];
    let mut fixture = Fixture::resumed(4, Resumed { interrupted, ..Resumed::default() });
    let (local, actions) = fixture.socket(2, 1);
    let refused = Action::Refuse { delivery: local, why: Refusal::Interrupted };
    assert_eq!(actions, [Action::Accept(local), refused]);
    fixture.core.handle(Event::Finished { delivery: local, outcome: 9, succeeded: false });
    let (read, actions) = fixture.deliver(Source::Socket, 3, Bits(1, 0), false);
    assert!(actions.contains(&Action::Run { delivery: read, again: false }), "a read does no harm");
    fixture.core.handle(Event::Finished { delivery: read, outcome: 7, succeeded: true });
    let (again, actions) = fixture.broker(1, 1);
    assert!(actions.contains(&Action::NoteBeginning(again)));
    let (local, actions) = fixture.socket(4, 1);
    assert_eq!(actions, [Action::Accept(local)], "it waits for its turn");
    assert_eq!(fixture.core.handle(Event::CaughtUp), [], "it has come again");
}

#[test]
fn what_an_earlier_agent_has_begun_is_forgotten_when_the_broker_has_nothing_left() {
    let interrupted = vec![(tag(1), Bits(0, 1))];
    let mut fixture = Fixture::resumed(4, Resumed { interrupted, ..Resumed::default() });
    assert_eq!(fixture.core.handle(Event::CaughtUp), [Action::Forget(tag(1))]);
    let (local, actions) = fixture.socket(2, 1);
    assert!(actions.contains(&Action::Run { delivery: local, again: false }));
}

#[test]
fn a_call_of_unknown_age_that_can_not_begin_is_left_and_fetched_when_it_could() {
    let mut fixture = Fixture::new(1);
    let (first, _) = fixture.broker(1, 1);
    let (left, actions) = fixture.deliver(Source::Broker, 2, Bits(0, 1), true);
    assert_eq!(actions, [Action::Leave(left)]);
    assert!(!fixture.core.is_again(&tag(2), true), "nobody has begun it");
    fixture.ends(first);
    let actions = fixture.core.handle(Event::Written { delivery: first, stored: true });
    assert!(actions.contains(&Action::Fetch(left)), "{actions:?}");
    let (second, _) = fixture.broker(3, 1);
    let (left, _) = fixture.deliver(Source::Broker, 4, Bits(0, 1), true);
    assert_eq!(fixture.core.handle(Event::Abandoned(left)), []);
    fixture.ends(second);
    let actions = fixture.core.handle(Event::Written { delivery: second, stored: true });
    assert!(!actions.contains(&Action::Fetch(left)), "its connection is lost");
}

#[test]
fn a_caller_that_gave_up_is_refused_while_it_waits_and_not_once_it_runs() {
    let mut fixture = Fixture::new(1);
    let (runs, _) = fixture.broker(1, 1);
    let (for_lock, _) = fixture.broker(2, 1);
    let (for_slot, _) = fixture.broker(3, 2);
    for (delivery, waits_for) in [(for_lock, WaitsFor::Lock), (for_slot, WaitsFor::Slot)] {
        let refused = Action::Refuse { delivery, why: Refusal::Expired(waits_for) };
        assert_eq!(fixture.core.handle(Event::Expired(delivery)), [refused]);
    }
    assert_eq!(fixture.core.handle(Event::Expired(runs)), [], "it is noted first");
    let actions = fixture.core.handle(Event::Noted { delivery: runs, ready: true });
    let refused = Action::Refuse { delivery: runs, why: Refusal::Expired(WaitsFor::Slot) };
    assert_eq!(actions, [refused]);
}

#[test]
fn at_the_end_what_waits_goes_back_and_what_runs_is_answered() {
    let mut fixture = Fixture::new(1);
    let (runs, _) = fixture.broker(1, 1);
    fixture.core.handle(Event::Noted { delivery: runs, ready: true });
    let (for_lock, _) = fixture.broker(2, 1);
    let (for_slot, _) = fixture.socket(3, 2);
    let actions = fixture.core.handle(Event::Terminate);
    assert_eq!(actions, [Action::Requeue(for_lock), Action::Requeue(for_slot)]);
    let (late, actions) = fixture.broker(4, 4);
    assert_eq!(actions, [Action::Requeue(late)]);
    let actions = fixture.core.handle(Event::Finished { delivery: runs, outcome: 7, succeeded: true });
    assert_eq!(actions, [Action::Write { delivery: runs, id: tag(1), durable: Durable::Outcome }]);
}

#[test]
fn what_was_only_noted_at_the_end_is_not_taken_for_begun() {
    let mut fixture = Fixture::new(1);
    let (noted, _) = fixture.broker(1, 1);
    fixture.core.handle(Event::Terminate);
    let actions = fixture.core.handle(Event::Noted { delivery: noted, ready: true });
    assert_eq!(actions, [Action::Forget(tag(1)), Action::Requeue(noted)]);
    let interrupted = vec![(tag(1), Bits(0, 1))];
    let mut fixture = Fixture::resumed(1, Resumed { interrupted, ..Resumed::default() });
    let (noted, _) = fixture.broker(1, 1);
    fixture.core.handle(Event::Terminate);
    let actions = fixture.core.handle(Event::Noted { delivery: noted, ready: true });
    assert_eq!(actions, [Action::Requeue(noted)], "an earlier agent has begun it");
}

#[test]
fn a_panic_gives_everything_back() {
    let mut fixture = Fixture::new(1);
    let (runs, _) = fixture.broker(1, 1);
    let (repeat, actions) = fixture.broker(1, 1);
    assert_eq!(actions, [Action::Known(repeat)]);
    let (next, _) = fixture.broker(2, 1);
    let actions = fixture.core.handle(Event::Panicked(runs));
    assert!(actions.contains(&Action::Requeue(repeat)) && actions.contains(&Action::NoteBeginning(next)));
    fixture.core.handle(Event::Panicked(next));
    assert!(fixture.core.is_idle() && fixture.core.holds_nothing(1));
}

#[test]
fn an_event_about_a_delivery_that_is_over_changes_nothing() {
    let mut fixture = Fixture::new(1);
    let nobody = DeliveryId(99);
    let before = fixture.core.clone();
    for event in [
        Event::Noted { delivery: nobody, ready: true },
        Event::Finished { delivery: nobody, outcome: 1, succeeded: true },
        Event::Failed { delivery: nobody, effect: true },
        Event::Rested(nobody),
        Event::CutShort(nobody),
        Event::Written { delivery: nobody, stored: false },
        Event::Replied { delivery: nobody, sent: true },
        Event::Acknowledged { delivery: nobody, sent: true },
        Event::Expired(nobody),
        Event::Abandoned(nobody),
        Event::Panicked(nobody),
    ] {
        assert_eq!(fixture.core.handle(event), []);
    }
    assert_eq!(fixture.core, before);
}
