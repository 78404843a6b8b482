//! What happens to one message: decode, refuse or run, answer, acknowledge. One path, whichever way it came.
//!
//! The order is the guarantee (oslo.messaging acknowledges first and loses commands):
//!
//! ```text
//! decode -> known? -> turn -> noted -> run -> audited -> outcome on the disk -> next turn
//!                                                              |
//!                                                              +-> answer confirmed by the broker -> acknowledge
//! ```
//!
//! The agent may die between any two arrows; the broker then delivers again. What can't be decoded is answered if it was a
//! call, and acknowledged: it would not get better.
//!
//! All of this is decided by the delivery core (`delivery/`), which is told what happened and answers what to do. `arrive`
//! tells it of messages, `carry` carries its actions out, one task each, `run` runs commands, `hand_over` makes operations
//! of long ones, and `in_flight` holds what the tasks need of a delivery. None of them decides anything about order, duplicates or acknowledgements.

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
    replay::{FromDisk, Records, ReplayTags},
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

/// What comes in is decided about here, whichever way it comes.
#[derive(Debug, Clone)]
pub(in crate::transport) struct RequestPipeline(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Mutex<Shared>,
    guest: Guest,
    records: Records,
    command_log: CommandLog,
    limits: RpcSettings,
    /// All that is under way; awaited before the agent ends.
    tasks: TaskTracker,
    stopping: CancellationToken,
    /// Why the disk did not take an outcome the last time.
    disk_error: Mutex<String>,
    /// The way that the ends of operations go out. Empty without a broker.
    bus: OnceLock<Arc<dyn Replies>>,
}

/// The core, and what the tasks keep of its deliveries.
#[derive(Debug)]
struct Shared {
    core: Core<Scopes, RecordedOutcome>,
    in_flight: HashMap<DeliveryId, Arc<InFlight>>,
    /// Messages that were left with the broker, and who waits until they could begin.
    left: HashMap<DeliveryId, oneshot::Sender<()>>,
    next: u64,
    /// The core knows that the agent ends.
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
    /// A pipeline that knows what an earlier agent wrote down.
    pub(in crate::transport) fn new(
        guest: Guest,
        records: Records,
        from_disk: FromDisk,
        command_log: CommandLog,
        limits: RpcSettings,
        stopping: CancellationToken,
    ) -> Self {
        let allowed = Limits {
            places: limits.max_concurrent,
            endings: limits.duplicate_window,
            marks: limits.replay_window,
        };
        let core = Core::new(allowed, from_disk);
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

    /// The ends of operations are told over this bus.
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

    /// Returns when the disk has what can wait until the agent ends.
    pub(in crate::transport) async fn finish_records(&self) {
        self.0.records.finish().await;
    }

    /// The agent ends: what waits goes back, and nothing begins any more.
    pub(in crate::transport) async fn terminate_when_told(&self) {
        self.0.stopping.cancelled().await;
        self.tell(Event::Terminate);
    }

    /// The broker has delivered all that it had: what an earlier agent has begun and did not come again is forgotten there.
    pub(in crate::transport) fn caught_up(&self) {
        self.tell(Event::CaughtUp);
    }

    /// Runs a command that nobody has sent, in the order of all commands. What comes of it is in the log.
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
        // Not told at all if the task panicked: then it is over as well.
        let _over = is_over.await;
    }

    /// Tells the core what happened, and begins to carry out what it asks for. Never waits.
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
        // Nothing may begin once the agent was told to end, whichever task hears of it first.
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

    /// The tasks need nothing of it any more.
    fn take_out(&self, delivery: DeliveryId) -> Option<Arc<InFlight>> {
        let flight = self.shared().in_flight.remove(&delivery)?;
        flight.drop_job();
        Some(flight)
    }

    /// Nothing that a message brings about may leave it unacknowledged for ever, a panic included: it would take
    /// one place of the prefetch after the other.
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

    /// Nobody knows what became of it.
    async fn abandon(&self, flight: &InFlight) {
        self.take_out(flight.delivery);
        self.tell(Event::Panicked(flight.delivery));
        if let Some(source_ref) = &flight.source_ref {
            source_ref.reject().await;
        }
    }
}

/// Runs commands that nobody has sent: scheduled ones.
#[derive(Debug, Clone)]
pub struct OwnCommands(pub(in crate::transport) RequestPipeline);

impl OwnCommands {
    /// Runs one in the order of all commands; returns when it is over. What comes of it is in the log.
    pub async fn run(&self, command: Box<dyn Command>) {
        self.0.run_own(command).await;
    }
}

/// What the core has to know of a command.
fn work_of(job: &Job, at_once: bool) -> Work<Scopes> {
    let changes = crate::commands::Changes::of(&*job.command).is_some();
    let long = job.command.duration() == Duration::Long;
    Work { scopes: job.command.scopes(), changes, needs_place: job.needs_place(), at_once, long }
}

/// What the core has to know of a message.
fn delivered(
    flight: &InFlight,
    marks: &ReplayTags,
    redelivered: bool,
    request: Request<Scopes>,
) -> Delivered<Scopes> {
    let source = flight.source();
    let mut all = marks.seals().map(mark_of);
    let id = all.next().unwrap_or(Mark([0; 16]));
    // The kernel vouches for who is on the socket; on the bus anybody may send what he has seen there.
    let parts = if source == Source::Broker { all.collect() } else { Vec::new() };
    Delivered { delivery: flight.delivery, source, id, parts, redelivered, request }
}

/// Whether a message that can't be read may be believed: with a key, its sender doesn't have it.
fn is_credible(source_ref: &RequestSourceRef) -> bool {
    source_ref.encoder().cipher.is_none()
}
