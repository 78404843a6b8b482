//! The senders: they follow their script, wait for the result of each command, and pass it to the model.
//!
//! As in Trove, a call blocks its caller until it is answered, and casts do not block. (This also matters for
//! the check: a read whose answer died with the broker runs again and then shows the effects of later
//! commands.)
//!
//! These guarantees decide how long the client waits:
//!
//! - a cast ends exactly once, within [`LOST_AFTER`]; else it is lost;
//! - a call is answered, or its time-out passes: then its caller knows nothing, and the model allows every
//!   result;
//! - with non-durable queues, a command that was in flight when the broker died may be gone. The client then
//!   sends a read that must wait for it (`list_users` waits for everything). Once the read is answered, a
//!   cast that has not ended never will, and it counts as dropped by the broker.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::future::try_join_all;
use tokio::time::{sleep, timeout};

use super::caller::{Caller, Ended, Sent, observed};
use super::environment::{Environment, Guest, LOST_AFTER, Moment};
use super::model::{Model, Observed, Op};
use super::possible::{ModelStep, Possible};
use super::schedule::{MessageKind, SHARED, ScheduledCommand, Script};
use crate::rpc::Message;

/// Casts of one caller in flight at once.
const WINDOW: usize = 3;
/// A carried-out message is sent again after this many commands.
const LATER: usize = 6;
/// A report that was published before an answered read arrives within this.
const ON_THE_WAY: Duration = Duration::from_secs(5);

/// The state of a namespace after its script.
#[derive(Debug)]
pub struct Namespace {
    /// The prefix of its names.
    pub prefix: String,
    /// The models that are possible.
    pub possible: Possible,
    /// Every password that was sent, in order.
    pub passwords: Vec<String>,
    /// Its callers, for checking their answers.
    pub callers: Vec<Caller>,
}

struct Pending {
    scheduled: ScheduledCommand,
    sent: Sent,
    at: Instant,
    moment: Moment,
    deaths: u64,
}

/// A sender.
struct Client<'a> {
    environment: &'a Environment,
    guest: &'a Guest,
    caller: Caller,
}

/// Runs a script to the end. `replays`: carried-out messages are sent again later.
pub async fn follow(
    environment: Arc<Environment>,
    guest: usize,
    script: Script,
    replays: bool,
) -> Result<Namespace> {
    let (environment, guest) = (&*environment, &environment.guests[guest]);
    let client = || Client { environment, guest, caller: environment.caller(guest) };
    let mut model = Model::default();
    model.databases.insert(SHARED.to_owned());
    let possible = Possible::sure(model);
    match script {
        Script::Alone { prefix, steps } => {
            let passwords = passwords(steps.iter());
            let client = client();
            let mut possible = client.alone(&prefix, possible, steps, replays).await?;
            possible.end();
            Ok(Namespace { prefix, possible, passwords, callers: vec![client.caller] })
        }
        Script::Contested { prefix, rounds } => {
            let passwords = passwords(rounds.iter().flatten().flatten());
            let actors: Vec<Client<'_>> = (0..rounds.first().map_or(0, Vec::len)).map(|_| client()).collect();
            let mut possible = contested(&actors, &prefix, possible, rounds).await?;
            possible.end();
            let callers = actors.into_iter().map(|client| client.caller).collect();
            Ok(Namespace { prefix, possible, passwords, callers })
        }
    }
}

fn passwords<'a>(steps: impl Iterator<Item = &'a ScheduledCommand>) -> Vec<String> {
    steps
        .filter_map(|scheduled| match &scheduled.op {
            Op::CreateUser { password, .. } | Op::ChangePassword { password, .. } => Some(password.clone()),
            Op::Rename { password, .. } | Op::EnableRoot { password } => password.clone(),
            _ => None,
        })
        .collect()
}

async fn contested(
    actors: &[Client<'_>],
    prefix: &str,
    mut possible: Possible,
    rounds: Vec<Vec<Vec<ScheduledCommand>>>,
) -> Result<Possible> {
    for (number, round) in rounds.into_iter().enumerate() {
        if actors.iter().any(|client| *client.environment.over.borrow()) {
            break;
        }
        let lanes = try_join_all(actors.iter().zip(round).map(|(client, steps)| async move {
            let mut pending = VecDeque::new();
            let mut lane = Vec::new();
            for scheduled in steps {
                let waits = scheduled.kind == MessageKind::Call;
                pending.push_back(client.send(scheduled).await?);
                if waits {
                    for pending in pending.drain(..) {
                        lane.push(client.settle(pending).await?);
                    }
                }
            }
            for pending in pending {
                lane.push(client.settle(pending).await?);
            }
            anyhow::Ok(lane)
        }))
        .await?;
        let (steps, ids): (Vec<Vec<ModelStep>>, Vec<Vec<String>>) = lanes
            .into_iter()
            .map(|lane| lane.into_iter().map(|(step, message)| (step, message.unique_id)).unzip())
            .unzip();
        if let (Err(error), Some(client)) = (possible.observe_round(&steps), actors.first()) {
            let what = format!("round {number} of {prefix}: {error}; seen: {steps:#?}");
            client.environment.disagree(client.guest, what, &ids.concat());
        }
    }
    Ok(possible)
}

impl Client<'_> {
    async fn alone(
        &self,
        prefix: &str,
        mut possible: Possible,
        steps: Vec<ScheduledCommand>,
        replays: bool,
    ) -> Result<Possible> {
        let mut pending = VecDeque::new();
        let mut later: VecDeque<(usize, Message)> = VecDeque::new();
        for (number, scheduled) in steps.into_iter().enumerate() {
            if *self.environment.over.borrow() {
                break;
            }
            let most = if scheduled.kind == MessageKind::Call { 0 } else { WINDOW - 1 };
            pending.push_back(self.send(scheduled).await?);
            while pending.len() > most {
                let took_effect = self.check_next(prefix, &mut pending, &mut possible).await?;
                // A message that is sent twice at once is also sent again later.
                later.extend(took_effect.filter(|_| replays).map(|message| (number + LATER, message)));
            }
            while later.front().is_some_and(|(due, _)| *due <= number) {
                if let Some((_, message)) = later.pop_front() {
                    self.caller.again(&message).await?;
                    self.environment.count(|counts| counts.replayed += 1);
                }
            }
        }
        while !pending.is_empty() {
            self.check_next(prefix, &mut pending, &mut possible).await?;
        }
        Ok(possible)
    }

    /// Waits for the result of the oldest command; returns its message if it is to be sent again later.
    async fn check_next(
        &self,
        prefix: &str,
        pending: &mut VecDeque<Pending>,
        possible: &mut Possible,
    ) -> Result<Option<Message>> {
        let Some(next) = pending.pop_front() else { return Ok(None) };
        let (twice, kind) = (next.scheduled.twice, next.scheduled.kind);
        let (step, message) = self.settle(next).await?;
        // The answer to a repeated read has no receiver.
        let took_effect = step.observed != Observed::Unsure && !reads(&step.op);
        let shown = format!("{kind:?} {step:?}");
        if let Err(error) = possible.observe(step) {
            let what = format!("{prefix}: {shown}: {error}");
            self.environment.disagree(self.guest, what, std::slice::from_ref(&message.unique_id));
        }
        Ok((twice && took_effect).then_some(message))
    }

    async fn send(&self, scheduled: ScheduledCommand) -> Result<Pending> {
        // The load of a soak is even; a campaign's callers never rest.
        sleep(self.environment.rest).await;
        let moment = self.guest.moment();
        let deaths = *self.environment.broker_deaths.borrow();
        let sent = self.caller.send(&scheduled.op, scheduled.kind).await?;
        let at = Instant::now();
        if scheduled.twice {
            self.caller.again(&sent.message).await?;
        }
        self.environment.count(|counts| {
            counts.sent(scheduled.kind, scheduled.twice, sent.tries);
        });
        self.environment.sent.send_modify(|count| *count += 1);
        Ok(Pending { scheduled, sent, at, moment, deaths })
    }

    async fn settle(&self, pending: Pending) -> Result<(ModelStep, Message)> {
        let Pending { scheduled, sent, at, moment, deaths } = pending;
        let ScheduledCommand { op, kind, .. } = scheduled;
        let Sent { message, mut end, queued, .. } = sent;
        let limit = if kind == MessageKind::Call { self.caller.reply_timeout() } else { LOST_AFTER };
        let ended = if !queued {
            self.environment.count(|counts| counts.no_queue += 1);
            None
        } else if kind == MessageKind::Cast && !self.environment.durable {
            self.end_unless_dropped(&mut end, limit, deaths).await?
        } else {
            timeout(limit.saturating_sub(at.elapsed()), &mut end).await.ok().and_then(Result::ok)
        };
        let id = std::slice::from_ref(&message.unique_id);
        let given_up = ended.is_none() && queued && kind == MessageKind::Call;
        let observed = match ended.map(observed) {
            Some(Ok(observed)) => {
                self.environment.count(|counts| counts.ended(&observed));
                if matches!(observed, Observed::Done(_)) {
                    self.guest.succeeded();
                }
                observed
            }
            Some(Err(odd)) => {
                self.environment.disagree(self.guest, format!("{op:?} failed oddly: {odd}"), id);
                Observed::Unsure
            }
            None if kind == MessageKind::Call || !queued => {
                self.environment.count(|counts| counts.timed_out += usize::from(queued));
                Observed::Unsure
            }
            None if !self.environment.durable && *self.environment.broker_deaths.borrow() != deaths => {
                self.environment.count(|counts| counts.dropped_by_broker += 1);
                Observed::Unsure
            }
            None => {
                self.environment.count(|counts| counts.lost += 1);
                let what = format!("lost: {op:?} did not end within {limit:?}");
                self.environment.disagree(self.guest, what, id);
                Observed::Unsure
            }
        };
        let disturbed = self.guest.disturbed_since(moment);
        Ok((ModelStep { op, observed, given_up, disturbed }, message))
    }

    /// The result of a cast, or `None` once it is certain that the broker has dropped the cast.
    async fn end_unless_dropped(
        &self,
        end: &mut tokio::sync::oneshot::Receiver<Ended>,
        limit: Duration,
        deaths: u64,
    ) -> Result<Option<Ended>> {
        let mut died = self.environment.broker_deaths.subscribe();
        tokio::select! {
            ended = timeout(limit, &mut *end) => return Ok(ended.ok().and_then(Result::ok)),
            _ = died.wait_for(|now| *now != deaths) => {}
        }
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            let look = self.caller.send(&Op::ListUsers { prefix: String::new() }, MessageKind::Call).await?;
            tokio::select! {
                ended = &mut *end => return Ok(ended.ok()),
                looked = timeout(self.caller.reply_timeout(), look.end) => {
                    if matches!(looked, Ok(Ok(Ended::Done(_)))) {
                        return Ok(timeout(ON_THE_WAY, end).await.ok().and_then(Result::ok));
                    }
                }
            }
            if !look.queued {
                // The agent has not declared its queue again yet.
                sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(None)
    }
}

fn reads(op: &Op) -> bool {
    matches!(
        op,
        Op::GetUser { .. }
            | Op::ListAccess { .. }
            | Op::ListUsers { .. }
            | Op::ListDatabases { .. }
            | Op::IsRootEnabled
            | Op::Ping
    )
}
