//! Replies to a caller: `{"result": R, "failure": F, "ending": true, "_msg_id": …, "_unique_id": …}`.
//!
//! Exactly one reply with `ending` answers a call. While a method runs, beats without `ending` may
//! precede it if the caller asked for them. A failure is JSON text inside the message inside the
//! envelope and is never encrypted (`oslo_messaging/_drivers/common.py`,
//! `serialize_remote_exception`), so the agent's failure messages must not contain secrets. The agent
//! encodes replies; the bundled client and the tests decode them.

mod class;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use super::id::new_id;
use crate::{
    address::ReplyAddress,
    cipher::Cipher,
    envelope,
    error::DecodeError,
    fields::{Field, Fields},
    quote::printable,
};
pub use class::FailureClass;

/// The Python module of the agent's failures. Trove must not allow it
/// (`trove.common.exception`, `builtins`): Trove would rebuild those classes and show the user
/// a traceback instead of the message (PROTOCOL, section 3).
const MODULE: &str = "trove_couchdb.error";

/// The Python module of oslo's own two failures.
const OSLO_MODULE: &str = "oslo_messaging.rpc.dispatcher";

/// The outcome of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The method's result; `null` where Python returns nothing.
    Success(Value),
    /// Why the command failed.
    Failure(Failure),
}

/// An error in oslo.messaging's form.
#[derive(Debug, Clone, PartialEq, thiserror::Error, Serialize, Deserialize)]
#[error("{class}: {message}")]
pub struct Failure {
    /// The name of the exception's class; users see only oslo's own class names.
    pub class: String,
    /// The Python module of the class; it decides how Trove handles the failure.
    pub module: String,
    /// The message for the user. In clear on the wire, so it must not contain a secret.
    pub message: String,
    /// The arguments of the Python exception.
    pub args: Vec<Value>,
}

impl Failure {
    /// A failure of the agent: the user sees only the message.
    pub fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Self {
            class: class.as_str().to_owned(),
            module: MODULE.to_owned(),
            message: message.into(),
            args: Vec::new(),
        }
    }

    /// Whether the failure has this class.
    pub fn is(&self, class: FailureClass) -> bool {
        self.class == class.as_str()
    }

    /// oslo's failure for an unsupported version (`rpc/dispatcher.py`).
    pub fn unsupported_version(version: &str, method: &str) -> Self {
        let text = format!("Endpoint does not support RPC version {version}. Attempted method: {method}");
        Self::of_oslo(FailureClass::UnsupportedVersion, text)
    }

    /// oslo's failure for an unknown method (`rpc/dispatcher.py`).
    pub fn no_such_method(method: &str) -> Self {
        Self::of_oslo(FailureClass::NoSuchMethod, format!("Endpoint does not support RPC method {method}"))
    }

    fn of_oslo(class: FailureClass, message: String) -> Self {
        let args = vec![message.as_str().into()];
        Self { class: class.as_str().to_owned(), module: OSLO_MODULE.to_owned(), message, args }
    }

    fn encode(&self) -> String {
        let Self { class, module, message, args } = self;
        json!({ "class": class, "module": module, "message": message, "tb": [], "args": args, "kwargs": {} })
            .to_string()
    }

    fn decode(text: &str) -> Result<Self, DecodeError> {
        let map: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| DecodeError::not_json("failure", &error))?;
        let fields = Fields::root(&map);
        Ok(Self {
            class: fields.required("class")?.string()?,
            module: fields.required("module")?.string()?,
            message: fields.required("message")?.string()?,
            args: map.get("args").and_then(Value::as_array).cloned().unwrap_or_default(),
        })
    }
}

impl From<&DecodeError> for Failure {
    /// Unknown methods and unsupported versions become oslo's failures; every
    /// other error becomes one of the agent's.
    fn from(error: &DecodeError) -> Self {
        match error {
            DecodeError::UnknownMethod(method) => Self::no_such_method(method),
            DecodeError::UnsupportedVersion(version) => {
                Self::unsupported_version(&printable(version), "unknown")
            }
            _ => Self::new(FailureClass::InvalidRequest, error.to_string()),
        }
    }
}

/// The reply to a call. Publish it to the default exchange, routed to [`ReplyAddress::reply_queue`].
pub fn encode_reply(
    to: &ReplyAddress,
    unique_id: &str,
    outcome: &Outcome,
    cipher: Option<&Cipher>,
) -> Vec<u8> {
    let (result, failure) = match (outcome, cipher) {
        (Outcome::Success(result), None) => (result.clone(), Value::Null),
        (Outcome::Success(result), Some(cipher)) => (cipher.encrypt_own(result).into(), Value::Null),
        (Outcome::Failure(failure), _) => (Value::Null, failure.encode().into()),
    };
    encode(to, unique_id, &result, &failure, true)
}

/// A beat for a caller that sent a `_timeout`. Other callers must not get
/// beats: they would take one for the reply.
///
/// A beat has no content to encrypt (captured in `call_monitor_timeout.secure.json`).
pub fn encode_call_monitor_beat(to: &ReplyAddress, unique_id: &str) -> Vec<u8> {
    encode(to, unique_id, &Value::Null, &Value::Null, false)
}

fn encode(to: &ReplyAddress, unique_id: &str, result: &Value, failure: &Value, ending: bool) -> Vec<u8> {
    envelope::encode(&json!({
        "result": result, "failure": failure, "ending": ending, "_msg_id": to.msg_id, "_unique_id": unique_id,
    }))
}

/// A reply as its caller reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The id of the call.
    pub msg_id: String,
    /// The reply's own id.
    pub unique_id: Option<String>,
    /// The outcome of the call; `Success(null)` in a beat.
    pub outcome: Outcome,
    /// Whether the call is finished; false in a beat.
    pub ending: bool,
}

/// Reads a reply. With a cipher the result must be encrypted, except in a beat.
pub fn decode_reply(body: &[u8], cipher: Option<&Cipher>) -> Result<Reply, DecodeError> {
    let message = envelope::decode(body, usize::MAX)?;
    let fields = Fields::root(&message);
    let ending = fields.optional_as("ending", Field::flag)?.unwrap_or(false);
    let result = message.get("result").unwrap_or(&Value::Null);
    let outcome = match (fields.optional_as("failure", Field::text)?, cipher) {
        (Some(failure), _) => Outcome::Failure(Failure::decode(failure)?),
        (None, Some(cipher)) if ending || !result.is_null() => {
            let result =
                cipher.decrypt_value(result).map_err(|error| DecodeError::cipher("result", error))?;
            Outcome::Success(result)
        }
        (None, _) => Outcome::Success(result.clone()),
    };
    Ok(Reply {
        msg_id: fields.required("_msg_id")?.string()?,
        unique_id: fields.optional_as("_unique_id", Field::string)?,
        outcome,
        ending,
    })
}

#[cfg(test)]
mod tests;
