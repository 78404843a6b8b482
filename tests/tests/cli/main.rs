//! The operator's tool: the real program, over both ways in, on the agent of a stage.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod apply;
mod doctor;
mod output;
mod tool;
mod verbs;
