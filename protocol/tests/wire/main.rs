//! Every message in `fixtures/` was captured from an unmodified Trove 26.0.0; all of them must be understood.
//!
//! `fixtures/README.md` says how they were made. Each message is decoded from its raw bytes and compared with what the
//! capture itself says is in it: its parsed message, and what its own key decrypts it to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod captures;
mod conductor;
mod replies;
mod requests;
