//! A caller on the control plane's side: sends commands and waits for replies or for the report to the
//! conductor.
//!
//! Like oslo.messaging it publishes the same message with the same `_unique_id` until the broker confirms it,
//! and waits for a reply until the call's time-out. Caller of this module: [`super::client`].

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;
use trove_couchdb_protocol::trove::ConductorCast;
use trove_couchdb_protocol::{Cipher, Outcome, Secret, decode_reply, envelope, new_id};

use super::answers::Answers;
use super::line::{Handed, Line, Setup};
use super::model::{Observed, Op, Refusal};
use super::schedule::MessageKind;
use crate::rpc::{LOW_TIMEOUT, Message, Request, notification, oslo_properties};

/// The result of a command as its sender sees it.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// Success with this value; `null` for a cast.
    Done(Value),
    /// Failure with this class (`None` for a cast) and message.
    Failed(Option<String>, String),
}

/// Receives the results of casts that a guest reports to its conductor; dropping it stops it.
#[derive(Debug)]
pub struct Ears {
    answers: Arc<Answers<Ended>>,
    line: Line,
}

impl Ears {
    /// Listens on the guest's conductor queue.
    pub fn listen(setup: Setup, key: Option<&str>) -> Self {
        let answers = Arc::new(Answers::new());
        let cipher = key.map(|key| Cipher::new(&Secret::new(key)));
        let taken = Arc::clone(&answers);
        let line = Line::open(setup, move |body| hear(&taken, body, cipher.as_ref()));
        Self { answers, line }
    }

    /// Waits until the queue exists.
    pub async fn ready(&self) -> Result<()> {
        self.line.ready().await.map(drop)
    }

    /// Results of casts.
    pub fn answers(&self) -> Arc<Answers<Ended>> {
        Arc::clone(&self.answers)
    }
}

fn hear(answers: &Answers<Ended>, body: &[u8], cipher: Option<&Cipher>) {
    let cast = match ConductorCast::decode(body, cipher) {
        Ok(cast) => cast,
        Err(error) => {
            eprintln!("a report to the conductor cannot be decoded: {error}");
            return;
        }
    };
    let unique_id = envelope::decode(body, usize::MAX).ok().and_then(|message| text(&message, "_unique_id"));
    let (notification, ended) = match cast {
        ConductorCast::NotifyEnd { notification } => (notification, Ended::Done(Value::Null)),
        ConductorCast::NotifyExcInfo { notification, message, .. } => {
            (notification, Ended::Failed(None, message))
        }
        _ => return,
    };
    if let Some(request_id) = text(&notification, "request_id") {
        answers.take(&request_id, &unique_id.unwrap_or_else(new_id), ended);
    }
}

fn text(map: &Map<String, Value>, key: &str) -> Option<String> {
    map.get(key).and_then(Value::as_str).map(str::to_owned)
}

/// One caller of one guest.
#[derive(Debug)]
pub struct Caller {
    line: Line,
    exchange: String,
    guest: String,
    reply_queue: String,
    cipher: Option<Cipher>,
    replies: Arc<Answers<Ended>>,
    ends: Arc<Answers<Ended>>,
}

/// A command that was sent.
#[derive(Debug)]
pub struct Sent {
    /// The message, for resending it.
    pub message: Message,
    /// Its result.
    pub end: oneshot::Receiver<Ended>,
    /// False if there was no queue for the message, so that the broker has dropped it.
    pub queued: bool,
    /// How often it was published.
    pub tries: u32,
}

impl Caller {
    /// A caller with its own reply queue.
    pub fn connect(
        amqp_uri: &str,
        exchange: &str,
        durable: bool,
        guest: &str,
        key: Option<&str>,
        ears: &Ears,
    ) -> Self {
        let reply_queue = format!("reply_{}", new_id());
        let replies = Arc::new(Answers::new());
        let cipher = key.map(|key| Cipher::new(&Secret::new(key)));
        let setup = Setup {
            amqp_uri: amqp_uri.to_owned(),
            exchange: exchange.to_owned(),
            durable,
            queue: reply_queue.clone(),
            bound: false,
        };
        let (taken, key) = (Arc::clone(&replies), cipher.clone());
        let line = Line::open(setup, move |body| match decode_reply(body, key.as_ref()) {
            Ok(reply) if reply.ending => {
                let ended = match reply.outcome {
                    Outcome::Success(value) => Ended::Done(value),
                    Outcome::Failure(failure) => Ended::Failed(Some(failure.class), failure.message),
                };
                taken.take(&reply.msg_id, &reply.unique_id.unwrap_or_else(new_id), ended);
            }
            Ok(_beat) => {}
            Err(error) => eprintln!("a reply cannot be decoded: {error}"),
        });
        let (exchange, guest) = (exchange.to_owned(), guest.to_owned());
        Self { line, exchange, guest, reply_queue, cipher, replies, ends: ears.answers() }
    }

    /// Sends a command; returns when the broker has confirmed it.
    pub async fn send(&self, op: &Op, kind: MessageKind) -> Result<Sent> {
        let (method, args) = wire(op);
        let request = Request::new(method, args);
        let (message, end) = match kind {
            MessageKind::Call => {
                let message = request.encode(Some(&self.reply_queue), self.cipher.as_ref());
                let end = self.replies.expect(message.msg_id.as_deref().unwrap_or_default());
                (message, end)
            }
            MessageKind::Cast => {
                let notification = notification(&self.guest, method);
                let end = self.ends.expect(notification["request_id"].as_str().unwrap_or_default());
                (request.notified(notification).encode(None, self.cipher.as_ref()), end)
            }
        };
        let (handed, tries) = self.publish(&message).await?;
        Ok(Sent { message, end, queued: handed == Handed::Queued, tries })
    }

    /// Sends the same message once more.
    pub async fn again(&self, message: &Message) -> Result<()> {
        self.publish(message).await.map(drop)
    }

    /// The time-out of a call.
    pub fn reply_timeout(&self) -> Duration {
        LOW_TIMEOUT
    }

    /// The replies to this caller's calls.
    pub fn replies(&self) -> &Answers<Ended> {
        &self.replies
    }

    async fn publish(&self, message: &Message) -> Result<(Handed, u32)> {
        let properties = oslo_properties(message.expiration.as_deref());
        let topic = format!("guestagent.{}", self.guest);
        self.line.publish(&self.exchange, &topic, &message.body, &properties).await
    }
}

/// Converts a result for the model. An error is a failure that the model does not foresee and that an outage
/// of CouchDB does not explain.
pub fn observed(ended: Ended) -> Result<Observed, String> {
    match ended {
        Ended::Done(value) => Ok(Observed::Done(value)),
        Ended::Failed(class, message) => {
            // The report of a cast has no class.
            let is = |name: &str, words: &str| match &class {
                Some(class) => class == name,
                None => message.contains(words),
            };
            let refusals = [
                ("UserAlreadyExists", "already exists;", Refusal::UserExists),
                ("UserNotFound", "does not exist; create it first", Refusal::NoSuchUser),
                ("DatabaseNotFound", "does not exist; create it first", Refusal::NoSuchDatabase),
            ];
            let subject =
                if message.starts_with("database") { Refusal::NoSuchDatabase } else { Refusal::NoSuchUser };
            for (name, words, refusal) in refusals {
                if is(name, words) {
                    let both = words.starts_with("does not") && class.is_none();
                    return Ok(Observed::Refused(if both { subject } else { refusal }));
                }
            }
            let infrastructure = is("CouchDBError", "CouchDB") || is("Busy", "waited too long for earlier");
            if infrastructure { Ok(Observed::Unsure) } else { Err(format!("{class:?}: {message}")) }
        }
    }
}

/// Method and arguments as Trove sends them.
fn wire(op: &Op) -> (&'static str, Value) {
    let user = |name: &str| json!({"username": name, "hostname": "%"});
    let objects = |names: &[String]| -> Vec<Value> {
        names.iter().map(|name| json!({"_name": name, "_collate": null, "_character_set": null})).collect()
    };
    let page = || json!({"limit": null, "marker": null, "include_marker": false});
    match op {
        Op::CreateUser { user, password, databases } => {
            let user = json!({
                "_name": user, "_host": "%", "_password": password, "_is_root": false, "_databases": objects(databases),
            });
            ("create_user", json!({ "users": [user] }))
        }
        Op::DeleteUser { user } => ("delete_user", json!({"user": {"_name": user, "_host": "%"}})),
        Op::ChangePassword { user, password } => {
            ("change_passwords", json!({"users": [{"name": user, "host": "%", "password": password}]}))
        }
        Op::Rename { old, new, password } => {
            let mut attributes = json!({ "name": new });
            if let Some(password) = password {
                attributes["password"] = password.as_str().into();
            }
            ("update_attributes", json!({"username": old, "hostname": "%", "user_attrs": attributes}))
        }
        Op::Grant { user, databases } => {
            ("grant_access", json!({"username": user, "hostname": "%", "databases": databases}))
        }
        Op::Revoke { user, database } => {
            ("revoke_access", json!({"username": user, "hostname": "%", "database": database}))
        }
        Op::CreateDatabases { databases } => ("create_database", json!({"databases": objects(databases)})),
        Op::DeleteDatabase { database } => ("delete_database", json!({"database": {"_name": database}})),
        Op::GetUser { user: name } => ("get_user", user(name)),
        Op::ListAccess { user: name } => ("list_access", user(name)),
        Op::ListUsers { .. } => ("list_users", page()),
        Op::ListDatabases { .. } => ("list_databases", page()),
        Op::EnableRoot { password: None } => ("enable_root", json!({})),
        Op::EnableRoot { password } => ("enable_root_with_password", json!({ "root_password": password })),
        Op::DisableRoot => ("disable_root", json!({})),
        Op::IsRootEnabled => ("is_root_enabled", json!({})),
        Op::Ping => ("rpc_ping", json!({})),
    }
}
