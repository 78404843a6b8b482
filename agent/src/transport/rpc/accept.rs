//! Decides whether a request can run, and for how long.

use std::time::Duration;

use trove_couchdb_config::RpcSettings;
use trove_couchdb_protocol::{Failure, FailureClass, Request, trove::UserAction, version};

use super::{pipeline::Job, source::RequestTransport};
use crate::{commands, system::BootInstant};

/// The upper limit for a caller's `call_monitor_timeout`, in seconds: rarer heartbeats are as good as none.
const LONGEST_BEAT: u64 = 3600;

/// A request that can run.
pub(super) struct Accepted {
    pub(super) job: Job,
    /// The interval of the call heartbeats that the caller asked for.
    pub(super) beat: Option<Duration>,
}

/// Decodes the command, or returns the reason why it cannot run.
pub(super) fn accept(
    request: &Request,
    id: String,
    action: UserAction,
    transport: RequestTransport,
    caller_timeout: Option<Duration>,
    limits: &RpcSettings,
) -> Result<Accepted, Failure> {
    let is_call = request.reply.is_some();
    let method = &request.method;
    if !version::SERVED.accepts(&request.version) || request.namespace.is_some() {
        return Err(Failure::unsupported_version(&request.version.to_string(), method));
    }
    let command = match commands::of_request(request, action) {
        Ok(command) => command,
        Err(error) => return Err(Failure::from(&error)),
    };
    if transport == RequestTransport::Broker && command.is_local_only() {
        let text = format!(
            "{method} is not accepted from the broker: send it over the agent's socket, on its machine"
        );
        return Err(Failure::new(FailureClass::Forbidden, text));
    }
    let caller_timeout = caller_timeout.filter(|_| is_call);
    // A little before the caller gives up, so that it still receives the reason.
    let begin_within = caller_timeout.map(|time| time.mul_f64(0.9));
    let retry_timeout = match (is_call, caller_timeout) {
        // The caller does not wait for the end of a long command.
        _ if command.duration() == commands::Duration::Long => limits.prepare_retry_timeout,
        (true, Some(time)) => limits.call_retry_timeout.min(time / 2),
        (true, None) => limits.call_retry_timeout,
        (false, _) => limits.cast_retry_timeout,
    };
    let arrived = BootInstant::now();
    let job = Job { command, id, redelivered: false, arrived, retry_timeout, begin_within };
    // oslo.messaging sends two heartbeats per timeout (`rpc/server.py`, `_process_incoming`).
    let timeout = request.timeout.filter(|seconds| is_call && *seconds >= 2);
    let beat = timeout.map(|seconds| Duration::from_secs(seconds.min(LONGEST_BEAT)) / 2);
    Ok(Accepted { job, beat })
}
