//! Handles one message, from any transport: decode, refuse or run, answer, acknowledge.
//!
//! The guarantee rests on this order (oslo.messaging acknowledges first and loses commands):
//!
//! ```text
//! decode -> duplicate? -> lock -> noted -> run -> audited -> outcome on disk -> release the lock
//!                                                                  |
//!                                                                  +-> answer confirmed -> acknowledge
//! ```
//!
//! The agent may die between any two arrows; the broker then redelivers the message. A message that cannot be
//! decoded is answered if it was a call, and acknowledged: it would not get better.
//!
//! The delivery core (`delivery/`) decides all of this: it receives events and returns actions. `arrive`
//! reports messages to it, `carry` carries its actions out, one task for each, `run` runs commands,
//! `hand_over` turns long ones into operations, and `in_flight` keeps what the tasks need of a delivery. None
//! of them decides about order, duplicates or acknowledgements.

mod arrive;
mod carry;
mod hand_over;
mod in_flight;
mod job;
mod refuse;
mod run;

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, error};
use trove_couchdb_config::RpcSettings;
use trove_couchdb_delivery::{Core, Delivered, DeliveryId, Event, Limits, Mark, Request, Source, Work};
use trove_couchdb_protocol::new_id;

use super::{
    command_log::CommandLog,
    outcomes::RecordedOutcome,
    replay::{Known, Records, ReplayTags},
    source::{Replies, RequestSourceRef},
};
use crate::{
    commands::{Command, Duration, Guest, Scopes},
    metrics::Metrics,
    system::BootInstant,
};
pub(in crate::transport) use arrive::Taken;
use in_flight::{InFlight, mark_of};
pub(super) use job::Job;

/// Handles the messages of all transports.
#[derive(Debug, Clone)]
pub(in crate::transport) struct RequestPipeline(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Mutex<Shared>,
    guest: Guest,
    records: Records,
    command_log: CommandLog,
    limits: RpcSettings,
    /// All tasks; the agent waits for them before it exits.
    tasks: TaskTracker,
    stopping: CancellationToken,
    /// Why the disk did not store an outcome the last time.
    disk_error: Mutex<String>,
    /// Reports the ends of operations. Empty without a broker.
    bus: OnceLock<Arc<dyn Replies>>,
}

/// The core, and what the tasks keep of its deliveries.
#[derive(Debug)]
struct Shared {
    core: Core<Scopes, RecordedOutcome>,
    in_flight: HashMap<DeliveryId, Arc<InFlight>>,
    /// Messages that were left in the broker, and how to signal that they could begin.
    left: HashMap<DeliveryId, oneshot::Sender<()>>,
    next: u64,
    /// The core knows that the agent stops.
    is_stopping: bool,
}

impl Shared {
    fn next(&mut self) -> DeliveryId {
        self.next += 1;
        DeliveryId(self.next)
    }
}

impl trove_couchdb_delivery::Scopes for Scopes {
    fn conflicts_with(&self, other: &Self) -> bool {
        Self::conflicts_with(self, other)
    }

    fn only_reads(&self) -> bool {
        Self::only_reads(self)
    }
}

impl RequestPipeline {
    /// Creates a pipeline that knows what an earlier agent stored.
    pub(in crate::transport) fn new(
        guest: Guest,
        records: Records,
        known: Known,
        command_log: CommandLog,
        limits: RpcSettings,
        stopping: CancellationToken,
    ) -> Self {
        let allowed = Limits {
            places: limits.max_concurrent,
            endings: limits.duplicate_window,
            marks: limits.replay_window,
        };
        let core = Core::new(allowed, known);
        let shared =
            Shared { core, in_flight: HashMap::new(), left: HashMap::new(), next: 0, is_stopping: false };
        Self(Arc::new(Inner {
            shared: Mutex::new(shared),
            guest,
            records,
            command_log,
            limits,
            tasks: TaskTracker::new(),
            stopping,
            disk_error: Mutex::default(),
            bus: OnceLock::new(),
        }))
    }

    /// Sets where the ends of operations are reported.
    pub(in crate::transport) fn tells_over(&self, bus: Arc<dyn Replies>) {
        self.0.bus.get_or_init(|| bus);
    }

    pub(in crate::transport) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    pub(in crate::transport) fn metrics(&self) -> &Metrics {
        &self.0.command_log.metrics
    }

    pub(in crate::transport) fn max_message_bytes(&self) -> usize {
        self.0.limits.max_message_bytes
    }

    /// Returns when nothing is under way any more. To be called when nothing new is taken.
    pub(in crate::transport) async fn finish_tasks(&self) {
        self.tell(Event::Terminate);
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Returns when the disk has all records whose writing was postponed.
    pub(in crate::transport) async fn finish_records(&self) {
        self.0.records.finish().await;
    }

    /// When the agent stops, requeues waiting commands and lets no more begin.
    pub(in crate::transport) async fn terminate_when_told(&self) {
        self.0.stopping.cancelled().await;
        self.tell(Event::Terminate);
    }

    /// The broker has delivered all it had. Interrupted commands of an earlier agent that were not
    /// redelivered are forgotten.
    pub(in crate::transport) fn caught_up(&self) {
        self.tell(Event::CaughtUp);
    }

    /// Runs one of the agent's own commands, in the order of all commands. The outcome is in the log.
    pub(in crate::transport) async fn run_own(&self, command: Box<dyn Command>) {
        let (over, is_over) = oneshot::channel();
        let id = new_id();
        let marks = ReplayTags::from_seals(vec![ReplayTags::of_id(&id)]);
        let actions = {
            let mut shared = self.shared();
            let delivery = shared.next();
            let method = command.name().to_owned();
            let flight = InFlight::new(delivery, None, id.clone(), method, marks.clone());
            let job = Job {
                command,
                id,
                redelivered: false,
                arrived: BootInstant::now(),
                retry_timeout: std::time::Duration::ZERO,
                begin_within: None,
            };
            let request = Request::Run(work_of(&job, false));
            {
                let mut state = flight.state();
                (state.job, state.over) = (Some(Arc::new(job)), Some(over));
            }
            let delivered = delivered(&flight, &marks, false, request);
            shared.in_flight.insert(delivery, Arc::new(flight));
            self.handle(&mut shared, Event::Delivered(delivered))
        };
        self.carry_all(actions);
        // If the task panics, the sender is dropped and the command is over as well.
        let _over = is_over.await;
    }

    /// Reports an event to the core, and starts the actions that it returns. Never waits.
    fn tell(&self, event: Event<Scopes, RecordedOutcome>) {
        let actions = self.handle(&mut self.shared(), event);
        self.carry_all(actions);
    }

    fn handle(
        &self,
        shared: &mut Shared,
        event: Event<Scopes, RecordedOutcome>,
    ) -> Vec<trove_couchdb_delivery::Action<RecordedOutcome>> {
        let mut actions = Vec::new();
        // Once the agent stops, nothing may begin, whichever task notices it first.
        if !shared.is_stopping && self.0.stopping.is_cancelled() {
            shared.is_stopping = true;
            actions = shared.core.handle(Event::Terminate);
        }
        actions.extend(shared.core.handle(event));
        actions
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn in_flight(&self, delivery: DeliveryId) -> Option<Arc<InFlight>> {
        self.shared().in_flight.get(&delivery).cloned()
    }

    /// Removes a delivery that the tasks no longer need.
    fn take_out(&self, delivery: DeliveryId) -> Option<Arc<InFlight>> {
        let flight = self.shared().in_flight.remove(&delivery)?;
        flight.drop_job();
        Some(flight)
    }

    /// Runs a task for a message. Whatever the message causes, even a panic, it must not stay unacknowledged:
    /// each such message would occupy a prefetch slot.
    fn spawn(&self, flight: &Arc<InFlight>, task: impl Future<Output = ()> + Send + 'static) {
        let (this, of) = (self.clone(), Arc::clone(flight));
        let guarded = async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                error!("A message brought about a panic; it is dropped.");
                this.abandon(&of).await;
            }
        };
        self.0.tasks.spawn(guarded.instrument(flight.span()).instrument(flight.about.clone()));
    }

    /// Gives up a delivery whose outcome is unknown.
    async fn abandon(&self, flight: &InFlight) {
        self.take_out(flight.delivery);
        self.tell(Event::Panicked(flight.delivery));
        if let Some(source_ref) = &flight.source_ref {
            source_ref.reject().await;
        }
    }
}

/// Runs the agent's own, scheduled commands.
#[derive(Debug, Clone)]
pub struct OwnCommands(pub(in crate::transport) RequestPipeline);

impl OwnCommands {
    /// Runs a command in the order of all commands; returns when it is done. The outcome is in the log.
    pub async fn run(&self, command: Box<dyn Command>) {
        self.0.run_own(command).await;
    }
}

/// Describes a command to the core.
fn work_of(job: &Job, at_once: bool) -> Work<Scopes> {
    let changes = crate::commands::Changes::of(&*job.command).is_some();
    let long = job.command.duration() == Duration::Long;
    Work { scopes: job.command.scopes(), changes, needs_place: job.needs_place(), at_once, long }
}

/// Describes a message to the core.
fn delivered(
    flight: &InFlight,
    marks: &ReplayTags,
    redelivered: bool,
    request: Request<Scopes>,
) -> Delivered<Scopes> {
    let source = flight.source();
    let mut all = marks.seals().map(mark_of);
    let id = all.next().unwrap_or(Mark([0; 16]));
    // On the socket the kernel identifies the sender; on the broker any account may replay parts it has seen.
    let parts = if source == Source::Broker { all.collect() } else { Vec::new() };
    Delivered { delivery: flight.delivery, source, id, parts, redelivered, request }
}

/// Whether a message that cannot be read may be believed. With a key it may not: its sender does not have the
/// key.
fn is_credible(source_ref: &RequestSourceRef) -> bool {
    source_ref.encoder().cipher.is_none()
}
