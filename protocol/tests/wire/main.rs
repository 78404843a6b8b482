//! Decodes every message in `fixtures/`. All were captured from an unmodified Trove 26.0.0.
//!
//! `fixtures/README.md` explains how they were captured. Each message is decoded from its raw bytes and
//! compared with the parsed message and the decrypted content in the capture.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod captures;
mod conductor;
mod replies;
mod requests;
