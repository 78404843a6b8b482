//! A command to the guest, before its arguments are interpreted.
//!
//! ```text
//! {"method": …, "args": {…}, "version": "1.0", "_unique_id": …,
//!  "_msg_id": …, "_reply_q": …, "_timeout": null|int,        only calls
//!  "_context_<name>": …}                                     or "_context_context": "<base64>"
//! ```
//!
//! [`Request::decode`] validates and decrypts the parts that all methods share; the methods
//! read their arguments through [`Request::arguments`]. `Debug` shows neither arguments nor
//! context: both may contain passwords.

mod encode;

use std::fmt;

use serde_json::{Map, Value};

pub use crate::limits::MAX_VALUES;
pub use encode::NewRequest;

use crate::{
    address::{self, ReplyAddress, ReplyQueue, Sender},
    cipher::{Cipher, Seal},
    context::Context,
    envelope,
    error::DecodeError,
    fields::{Field, Fields},
    json::Budget,
    quote::Disclosure,
    secret::SecretMap,
    trove::Method,
    version::RpcVersion,
};

/// A request with its arguments and context decrypted.
#[derive(Clone, PartialEq)]
pub struct Request {
    /// The RPC method; any text.
    pub method: String,
    /// The requested version; it may be unsupported.
    pub version: RpcVersion,
    /// Trove never sets a namespace; a namespace means a different API.
    pub namespace: Option<String>,
    /// The arguments by name.
    pub args: SecretMap,
    /// Identifies duplicate deliveries; oslo.messaging always sends it.
    pub unique_id: Option<String>,
    /// The caller that waits for a reply; `None` for a cast, which must never be answered.
    pub reply: Option<ReplyAddress>,
    /// The caller's timeout in seconds; each beat restarts it (`call_monitor_timeout`).
    pub timeout: Option<u64>,
    /// The sender.
    pub context: Context,
    /// The replay tags of all encrypted values. No two messages share one, so a known tag means a replay.
    pub seals: Vec<Seal>,
    /// Whether the arguments were encrypted, and so how much of them a failure may repeat.
    pub disclosure: Disclosure,
}

/// A message that is not a valid request, with the fields needed to answer its sender.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Undecodable {
    /// The caller, if the message was a call and its address could be read.
    pub reply: Option<ReplyAddress>,
    /// The message's id, if it could be read.
    pub unique_id: Option<String>,
    /// The method, if it could be read and exists.
    pub method: Option<Method>,
    /// The context, if it could be read: the user of a failed cast is notified.
    pub context: Option<Context>,
    /// Why the message cannot be read.
    #[source]
    pub error: DecodeError,
}

/// The maximum length of an id, in bytes. oslo's ids and its longest method name have 32 bytes.
const MAX_ID: usize = 128;
const SHORT: &str = "text of at most 128 bytes";

impl Undecodable {
    /// A message of which nothing could be read.
    pub fn hidden(error: DecodeError) -> Self {
        Self { reply: None, unique_id: None, method: None, context: None, error }
    }
}

impl Request {
    /// Reads the body of a message.
    ///
    /// With a cipher every argument and the context must be encrypted with its key. Python
    /// passes on values that it cannot decrypt. Here they are errors, so that a wrong key
    /// is not mistaken for an odd user name.
    pub fn decode(body: &[u8], cipher: Option<&Cipher>, max_bytes: usize) -> Result<Self, Box<Undecodable>> {
        Self::read(body, cipher, max_bytes).map_err(|error| {
            let Sender { reply, unique_id, method } = Sender::probe(body, max_bytes);
            let mut budget = Budget::of(MAX_VALUES);
            let message = envelope::decode_within(body, max_bytes, &mut budget).ok();
            let context = message.and_then(|message| Context::decode(&message, cipher, &mut budget).ok());
            Box::new(Undecodable { reply, unique_id, method, context, error })
        })
    }

    fn read(body: &[u8], cipher: Option<&Cipher>, max_bytes: usize) -> Result<Self, DecodeError> {
        let mut budget = Budget::of(MAX_VALUES);
        let message = SecretMap::from(envelope::decode_within(body, max_bytes, &mut budget)?);
        let fields = Fields::root(&message);
        let context = Context::decode(&message, cipher, &mut budget)?;
        let args = match (fields.optional_as("args", Field::map)?, cipher) {
            (None, _) => SecretMap::default(),
            (Some(args), None) => args.clone().into(),
            (Some(args), Some(cipher)) => decrypt(args, cipher, &mut budget)?,
        };
        let sealed_args = fields.optional_as("args", Field::map)?.into_iter().flat_map(Map::values);
        let seals = match cipher {
            Some(_) => {
                Context::seal(&message).into_iter().chain(sealed_args.filter_map(Cipher::seal_of)).collect()
            }
            None => Vec::new(),
        };
        Ok(Self {
            method: fields.required("method")?.short::<MAX_ID>(SHORT)?,
            version: match fields.optional_as("version", Field::text)? {
                Some(version) => version.parse()?,
                None => RpcVersion::UNSTATED,
            },
            namespace: fields.optional_as("namespace", Field::string)?,
            args,
            unique_id: fields.optional_as("_unique_id", |field| field.short::<MAX_ID>(SHORT))?,
            reply: reply_address(&fields)?,
            // oslo.messaging runs a call with an invalid `_timeout` without
            // beats (`dispatcher.py`, `_watchdog`).
            timeout: fields.optional("_timeout").and_then(|field| field.whole_seconds()),
            context,
            seals,
            disclosure: if cipher.is_some() { Disclosure::Sealed } else { Disclosure::Open },
        })
    }

    /// The arguments, to be read by name. Errors show at most the beginning
    /// and the length of an encrypted value.
    pub fn arguments(&self) -> Fields<'_> {
        Fields::of(&self.args, self.disclosure)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Request")
            .field("method", &self.method)
            .field("version", &self.version)
            .field("namespace", &self.namespace)
            .field("args", &self.args.keys().collect::<Vec<_>>())
            .field("unique_id", &self.unique_id)
            .field("reply", &self.reply)
            .field("timeout", &self.timeout)
            .field("context", &self.context)
            .field("seals", &self.seals.len())
            .finish_non_exhaustive()
    }
}

fn decrypt(
    args: &Map<String, Value>,
    cipher: &Cipher,
    budget: &mut Budget,
) -> Result<SecretMap, DecodeError> {
    let decrypted = |(name, value): (&String, &Value)| match cipher.decrypt_within(value, budget) {
        Ok(value) => Ok((name.clone(), value)),
        Err(error) => Err(DecodeError::cipher(name, error)),
    };
    args.iter().map(decrypted).collect()
}

/// Only a call has a `_msg_id`; an empty one counts as absent (`amqpdriver.py`).
fn reply_address(fields: &Fields<'_>) -> Result<Option<ReplyAddress>, DecodeError> {
    let msg_id = fields.optional_as("_msg_id", |field| field.short::<MAX_ID>(SHORT))?;
    let Some(msg_id) = msg_id.filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    let reply_queue = fields.required("_reply_q")?;
    let reply_queue =
        ReplyQueue::new(reply_queue.text()?).ok_or_else(|| reply_queue.wrong(address::REPLY_QUEUE))?;
    Ok(Some(ReplyAddress { msg_id, reply_queue }))
}

#[cfg(test)]
mod tests;
