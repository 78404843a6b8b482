//! Shows people what a slow call waits for, and for how long at most.
//!
//! The agent itself is asked, over a separate connection: it answers `get_agent_status` while CouchDB is
//! unreachable, and knows which command it retries, why, and for how long.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Map, Value};
use tokio::time;

use super::LocalClient;
use crate::progress;

/// The delay before the first notice.
const FIRST: Duration = Duration::from_secs(1);
/// The interval at which the agent is asked again, because it may learn the reason later.
const AGAIN: Duration = Duration::from_secs(1);
/// The timeout for the status. The agent answers it without asking CouchDB or the broker.
const STATUS: Duration = Duration::from_secs(2);

/// Shows people what a call waits for.
#[derive(Debug)]
pub(super) struct Notice {
    socket: Option<PathBuf>,
    limit: Duration,
    /// The last notice, to show each notice once.
    reported: Mutex<String>,
}

impl Notice {
    pub(super) fn new(socket: Option<&Path>, limit: Duration) -> Self {
        Self { socket: socket.map(Path::to_owned), limit, reported: Mutex::default() }
    }

    /// Shows what the call waits for, whenever that changes. The caller drops
    /// this future when the answer arrives.
    pub(super) async fn tell(&self, method: &str) -> Infallible {
        time::sleep(FIRST).await;
        loop {
            let status = match &self.socket {
                Some(socket) => {
                    let asked = LocalClient::new(socket, STATUS);
                    Some(asked.call("get_agent_status", Map::new()).await.unwrap_or_default())
                }
                None => None,
            };
            let text = waited_for(method, status.as_ref(), self.limit);
            let is_new = {
                let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
                let is_new = *reported != text;
                reported.clone_from(&text);
                is_new
            };
            if is_new {
                progress::say(&text);
            }
            time::sleep(AGAIN).await;
        }
    }
}

/// The notice. `status` is the agent's answer: `null` if it does not answer, `None`
/// over RabbitMQ, where it is not asked.
fn waited_for(method: &str, status: Option<&Value>, limit: Duration) -> String {
    let at_most = |seconds: f64| {
        let (shown, option) =
            if seconds < limit.as_secs_f64() { (seconds, "") } else { (limit.as_secs_f64(), " (--timeout)") };
        format!("up to {shown} s{option}")
    };
    let all = at_most(f64::INFINITY);
    let Some(status) = status else {
        return format!("Waiting for the agent's answer to {method}, {all}.");
    };
    let retrying = &status["commands"]["retrying"];
    let couchdb = &status["couchdb"];
    let unhealthy = matches!(couchdb["state"].as_str(), Some("down" | "failing" | "no_login"));
    if let (Some(reason), Some(seconds)) = (retrying["reason"].as_str(), retrying["retry_timeout_s"].as_f64())
    {
        format!("Waiting for CouchDB: {reason}. The agent tries again for {}.", at_most(seconds))
    } else if let (true, Some(reason)) = (unhealthy, couchdb["reason"].as_str()) {
        format!("Waiting for CouchDB, {all}: {reason}.")
    } else if status.is_null() {
        format!("The agent does not answer; waiting {all}.")
    } else {
        format!("Waiting for the agent, which works on {method}, {all}.")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_waited_for_is_said_with_how_long() {
        let said = |status: Option<&Value>, limit: u64| {
            waited_for("create_user", status, Duration::from_secs(limit))
        };
        let down = json!({"commands": {"retrying": {"reason": "refused", "retry_timeout_s": 10.0}}});
        assert_eq!(
            said(Some(&down), 60),
            "Waiting for CouchDB: refused. The agent tries again for up to 10 s."
        );
        assert!(said(Some(&down), 5).ends_with("for up to 5 s (--timeout)."));
        let unhealthy =
            json!({"couchdb": {"state": "down", "reason": "refused"}, "commands": {"retrying": null}});
        assert_eq!(said(Some(&unhealthy), 60), "Waiting for CouchDB, up to 60 s (--timeout): refused.");
        let busy = json!({"couchdb": {"state": "healthy", "reason": null}});
        assert_eq!(
            said(Some(&busy), 60),
            "Waiting for the agent, which works on create_user, up to 60 s (--timeout)."
        );
        assert!(said(Some(&Value::Null), 60).starts_with("The agent does not answer"));
        assert!(said(None, 60).contains("answer to create_user"));
    }
}
