//! The wire between Trove's control plane and a guest agent, as types: bytes in, values out, no I/O.
//!
//! A tour, from the outside in. A message's body is an [`envelope`]; in it stands the text of one of three things:
//!
//! ```text
//!                  Request::decode            Request::arguments
//! trove-api   ---> {method, args, version, ---> Fields, Field             read by the agent's commands
//! taskmanager       context, reply address}
//!                  encode_reply
//! the caller  <--- {result | failure, ending}  <--- Outcome               what became of it, if it was a call
//!
//!                  ConductorCast::encode
//! conductor   <--- {method, args, context}     <--- Heartbeat {status} …  what the guest tells by itself
//! ```
//!
//! - [`request`], [`reply`], [`address`], [`context`], [`version`]: what oslo.messaging defines, for any service.
//! - [`frame`]: how messages stand on the agent's local socket.
//! - [`host`]: what the agent asks of its privileged helper, and the answers.
//! - [`cipher`]: Trove's encryption of arguments, context and results, for guests that were given a key.
//! - [`fields`]: typed values out of a message's JSON, with errors that name the path.
//! - [`trove`]: the guest API's methods, the objects in answers, the conductor's API.
//! - [`names`], [`secret`], [`text`], [`transport_url`]: text from outside, checked or hidden from its first byte on.
//! - [`error`]: why a message was refused, in words fit for the user who caused it.
//!
//! Nothing here reads a file, a socket or a clock, and nothing panics on any input. Comments that say "PROTOCOL" mean
//! the project's notes on Trove 26.0.0's wire; the captures they rest on are in `protocol/fixtures`, all of which are
//! decoded by `tests/wire`.

pub mod cipher;
pub mod error;
pub mod fields;
pub mod frame;
pub mod host;
mod json;
mod limits;
pub mod names;
mod operation;
mod oslo;
mod quote;
pub mod secret;
pub mod text;
pub mod transport_url;
pub mod trove;

pub use oslo::{address, context, envelope, reply, request, version};

pub use address::{ReplyAddress, ReplyQueue};
pub use cipher::{Cipher, CipherError, Seal};
pub use context::Context;
pub use error::DecodeError;
pub use fields::{Field, Fields};
pub use frame::{FrameDecoder, FrameError};
pub use names::{DatabaseName, HostPattern, NameError, NameRule, UserName};
pub use operation::{NoOperationId, OperationId};
pub use quote::{Disclosure, Quoted};
pub use reply::{
    Failure, FailureClass, Outcome, Reply, decode_reply, encode_call_monitor_beat, encode_reply, new_id,
};
pub use request::{NewRequest, Request, Undecodable};
pub use secret::{Secret, SecretMap};
pub use transport_url::{TransportUrl, TransportUrlError};
pub use version::RpcVersion;
