//! Requests as Trove's API and taskmanager send them: the caller's side of the wire.
//!
//! Caller: [`super::Bus`]. Tests of unusual requests (a repeated id, an extra key, a broken body) build the
//! request here and modify it before they send it.

use std::time::Duration;

use serde_json::{Map, Value, json};
use trove_couchdb_protocol::{Cipher, Context, NewRequest, ReplyAddress, ReplyQueue, new_id};

use crate::until::HUNG;

/// `agent_call_low_timeout` of Trove.
pub const LOW_TIMEOUT: Duration = Duration::from_secs(15);

/// A request before encoding. The defaults are those of a call of Trove 26, except for the time-out, which
/// only stops a hung test: with Trove's time-out the agent would refuse commands on a busy machine.
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
    /// How long the caller waits; also the message's TTL in the queue.
    pub timeout: Duration,
    /// Requests a heartbeat every half of this many seconds while the method runs (`call_monitor_timeout`).
    pub call_monitor: Option<u64>,
    /// The `_unique_id`; a new one by default.
    pub id: Option<String>,
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
            id: None,
        }
    }

    /// Sets the RPC version.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// Sets the id, for a message that is sent twice.
    #[must_use]
    pub fn id(mut self, id: &str) -> Self {
        self.id = Some(id.to_owned());
        self
    }

    /// Sets the time-out.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Adds the notification that makes the agent report the result of a cast to the conductor.
    #[must_use]
    pub fn notified(mut self, notification: Value) -> Self {
        self.context.insert("trove_notification".to_owned(), notification);
        self
    }

    /// Encodes the request: as a call if there is a reply queue, else as a cast (PROTOCOL.md section 2).
    pub(crate) fn encode(&self, reply_queue: Option<&str>, cipher: Option<&Cipher>) -> Message {
        let msg_id = reply_queue.map(|_| new_id());
        let mut request =
            NewRequest::new(&self.method, self.args.clone(), Context::new(self.context.clone()));
        request.version.clone_from(&self.version);
        request.timeout = self.call_monitor;
        if let Some(id) = &self.id {
            request.unique_id.clone_from(id);
        }
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
    /// Identifies duplicates for the receiver.
    pub unique_id: String,
    /// Identifies the reply; `None` for a cast.
    pub msg_id: Option<String>,
    /// TTL in the queue in milliseconds, as the text that AMQP requires; only calls have it.
    pub expiration: Option<String>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// A notification as trove-api attaches it; the conductor requires these keys (PROTOCOL.md section 6).
pub fn notification(guest_id: &str, event: &str) -> Value {
    json!({
        "request_id": format!("req-{}", new_id()), "server_type": "guest", "client_ip": "127.0.0.1",
        "server_ip": "127.0.0.1", "tenant_id": "test-tenant", "instance_id": guest_id, "event_type": event,
        "notification_classname": "trove.common.notification.DBaaSUserCreate",
    })
}

/// The context of a user's request as trove-api sends it (`shared/wire`, 26.0.0).
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
