//! Requests as Trove's API and taskmanager send them: the caller's half of the wire.
//!
//! Who calls: [`super::Bus`]. Tests that want a request to be odd (twice the same id, an extra key, a broken body)
//! build it here and change it before it is sent.

use std::time::Duration;

use serde_json::{Map, Value, json};
use trove_couchdb_protocol::{Cipher, Context, NewRequest, ReplyAddress, ReplyQueue, new_id};

use crate::until::HUNG;

/// `agent_call_low_timeout` of Trove.
pub const LOW_TIMEOUT: Duration = Duration::from_secs(15);

/// A request before it is encoded; the defaults are those of a call of Trove 26, but for the time-out, which ends only a hung
/// test: on a busy machine that of Trove would make the agent refuse what it would else do.
#[derive(Debug, Clone)]
pub struct Request {
    /// RPC method.
    pub method: String,
    /// Arguments by name.
    pub args: Map<String, Value>,
    /// RPC version, `1.0` by default.
    pub version: String,
    /// Context entries; those of a user's request by default.
    pub context: Map<String, Value>,
    /// How long the caller waits, which is also the message's time to live in the queue.
    pub timeout: Duration,
    /// Asks for a beat at half of these seconds while the method runs (`call_monitor_timeout`).
    pub call_monitor: Option<u64>,
}

impl Request {
    /// A request with arguments given as a JSON object.
    pub fn new(method: &str, args: Value) -> Self {
        let args = match args {
            Value::Object(args) => args,
            _ => Map::new(),
        };
        Self {
            method: method.to_owned(),
            args,
            version: "1.0".to_owned(),
            context: user_context(),
            timeout: HUNG,
            call_monitor: None,
        }
    }

    /// With another RPC version.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// With another time-out.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// With the notification that makes the agent report the end of a cast to the conductor.
    #[must_use]
    pub fn notified(mut self, notification: Value) -> Self {
        self.context.insert("trove_notification".to_owned(), notification);
        self
    }

    /// Encodes the request; with a reply queue it is a call, without one a cast (PROTOCOL.md section 2).
    pub(crate) fn encode(&self, reply_queue: Option<&str>, cipher: Option<&Cipher>) -> Message {
        let msg_id = reply_queue.map(|_| new_id());
        let mut request =
            NewRequest::new(&self.method, self.args.clone(), Context::new(self.context.clone()));
        request.version.clone_from(&self.version);
        request.timeout = self.call_monitor;
        request.call = reply_queue
            .and_then(ReplyQueue::new)
            .zip(msg_id.clone())
            .map(|(reply_queue, msg_id)| ReplyAddress { msg_id, reply_queue });
        let expiration = msg_id.as_ref().map(|_| self.timeout.as_millis().to_string());
        Message { body: request.encode(cipher), unique_id: request.unique_id, msg_id, expiration }
    }
}

/// An encoded request, ready to be sent once or several times.
#[derive(Debug, Clone)]
pub struct Message {
    /// By which the receiver knows duplicates.
    pub unique_id: String,
    /// By which the reply is recognised; `None` for a cast.
    pub msg_id: Option<String>,
    /// Time to live in the queue in milliseconds, as AMQP wants it; only calls have one.
    pub expiration: Option<String>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// A notification as trove-api attaches it; the conductor insists on these keys (PROTOCOL.md section 6).
pub fn notification(guest_id: &str, event: &str) -> Value {
    json!({
        "request_id": format!("req-{}", new_id()), "server_type": "guest", "client_ip": "127.0.0.1",
        "server_ip": "127.0.0.1", "tenant_id": "test-tenant", "instance_id": guest_id, "event_type": event,
        "notification_classname": "trove.common.notification.DBaaSUserCreate",
    })
}

/// What trove-api puts into the request of a user (`shared/wire`, 26.0.0).
fn user_context() -> Map<String, Value> {
    let context = json!({
        "user": "alice", "project_id": "test-tenant", "system_scope": null, "project": "test-tenant", "domain": null,
        "user_domain": null, "project_domain": null, "is_admin": false, "read_only": false, "show_deleted": false,
        "auth_token": "TOKEN", "request_id": format!("req-{}", new_id()), "global_request_id": null,
        "resource_uuid": null, "roles": ["member"], "user_identity": "alice test-tenant - - -",
        "is_admin_project": true, "limit": null, "marker": null, "service_catalog": [],
    });
    match context {
        Value::Object(context) => context,
        _ => Map::new(),
    }
}
