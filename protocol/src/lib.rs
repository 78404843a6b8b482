//! The wire between Trove's control plane and a guest agent, as types: bytes in, values out, no I/O.
//!
//! A message's body is an [`envelope`]. It contains the text of a request, a reply or a conductor cast:
//!
//! ```text
//!                  Request::decode            Request::arguments
//! trove-api   ---> {method, args, version, ---> Fields, Field             read by the agent's commands
//! taskmanager       context, reply address}
//!                  encode_reply
//! the caller  <--- {result | failure, ending}  <--- Outcome               the outcome of a call
//!
//!                  ConductorCast::encode
//! conductor   <--- {method, args, context}     <--- Heartbeat {status} …  sent by the guest on its own
//! ```
//!
//! - [`request`], [`reply`], [`address`], [`context`], [`version`]:
//!   oslo.messaging's formats, for any service.
//! - [`frame`]: message framing on the agent's local socket.
//! - [`host`]: requests to the agent's privileged helper, and its answers.
//! - [`cipher`]: Trove's encryption of arguments, context and results, for guests with a key.
//! - [`fields`]: reads typed values from a message's JSON, with errors that name the path.
//! - [`trove`]: the guest API's methods, the objects in answers, the conductor's API.
//! - [`names`], [`secret`], [`text`], [`transport_url`]: untrusted or secret text,
//!   validated or masked when it is read.
//! - [`error`]: why a message was refused, as a message for the user who caused it.
//!
//! Nothing here reads a file, a socket or a clock, and nothing panics on any input. "PROTOCOL" in a comment
//! refers to the project's notes on the wire of Trove 26.0.0. The captures for these notes are in
//! `protocol/fixtures`; `tests/wire` decodes all of them.

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
