//! Whether a request can run, and for how long; and the signs of life that its caller may want meanwhile.

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::time;
use tracing::warn;
use trove_couchdb_protocol::{Failure, FailureClass, Request, trove::Command, version};

use super::{
    answer::Responder,
    origin::{Origin, Waits, Way},
};
use crate::{
    config::RpcSettings,
    dispatch::{Done, Job},
};

/// A caller that wants signs of life less often than this is as good as one that wants none.
const LONGEST_BEAT: u64 = 3600;

/// A request that can run.
pub(super) struct Accepted {
    pub(super) job: Job,
    /// How often the caller wants a sign of life.
    pub(super) beat: Option<Duration>,
}

/// Understands what is wanted, or says why that can't be had.
pub(super) fn accept(
    request: Request,
    id: String,
    way: Way,
    redelivered: bool,
    caller_waits: Option<Waits>,
    limits: &RpcSettings,
) -> Result<Accepted, Failure> {
    let is_call = request.reply.is_some();
    let method = request.method;
    if !version::SERVED.accepts(&request.version) || request.namespace.is_some() {
        return Err(Failure::unsupported_version(&request.version.to_string(), &method));
    }
    let command = match Command::decode(&method, &request.args) {
        Ok(command) => command,
        Err(error) => {
            warn!(method, id, kind = error.kind(), reason = %error, "A request is refused.");
            return Err(Failure::from(&error));
        }
    };
    if way == Way::Bus && command.method().is_local_only() {
        warn!(method, id, "A method for operators of this machine came over the bus; it is refused.");
        let text = format!("{method} is not for the bus: send it over the agent's socket, on its machine");
        return Err(Failure::new(FailureClass::Forbidden, text));
    }
    let caller_waits = caller_waits.filter(|_| is_call);
    let begin_within = caller_waits.map(Waits::begin_within);
    let patience = match (is_call, caller_waits) {
        (true, Some(waits)) => limits.call_patience.min(waits.time / 2),
        (true, None) => limits.call_patience,
        (false, _) if matches!(command, Command::Prepare(_)) => limits.prepare_patience,
        (false, _) => limits.cast_patience,
    };
    let job = Job { command, id, redelivered, arrived: Instant::now(), patience, begin_within };
    // oslo.messaging beats twice in the time after which the caller gives up (`rpc/server.py`,
    // `_process_incoming`).
    let timeout = request.timeout.filter(|seconds| is_call && *seconds >= 2);
    let beat = timeout.map(|seconds| Duration::from_secs(seconds.min(LONGEST_BEAT)) / 2);
    Ok(Accepted { job, beat })
}

/// Lets a command run, and tells its caller now and then that it does.
pub(super) async fn with_beats(
    run: BoxFuture<'_, Done>,
    every: Duration,
    responder: &Responder,
    origin: &Origin,
) -> Done {
    let beats = async {
        let mut ticks = time::interval_at(time::Instant::now() + every, every);
        loop {
            ticks.tick().await;
            if let Some(beat) = responder.beat() {
                origin.mention(&beat).await;
            }
        }
    };
    // Both go on side by side: a broker that holds a beat up must not hold the command up.
    tokio::select! {
        biased;
        done = run => done,
        never = beats => never,
    }
}
