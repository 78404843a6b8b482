//! The operator's tool: the real program, over both transports, with the agent of a fixture.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::format_push_string)]

mod apply;
mod broker_away;
mod broker_user;
mod bundle;
mod client_faults;
mod configuration;
mod consent;
mod credentials;
mod doctor_broker;
mod doctor_couchdb;
mod doctor_files;
mod doctor_host;
mod doctor_os_admin;
mod doctor_server;
mod doctor_tls;
mod documented;
mod manual;
mod operations;
mod other_access;
mod output;
mod retry_timeout;
mod tool;
mod transcript;
mod verbs;
