//! The test harness: everything that the integration tests and `make run` need around the agent. All parts
//! are real, except that CouchDB can be an in-memory server.
//!
//! ```text
//!  bus ─────────┐                    ┌──► couch   in-memory, or a real one (COUCHDB_URL, COUCHDB_HOME)
//!  python ──────┤  rabbitmq (node)   │
//!  conductor ◄──┴──────► agent ──────┘
//!  local ──────(socket)────┘
//! ```
//!
//! - [`rabbitmq`], [`couch`] and [`agent`] start the parts, each in its own process that never outlives the
//!   test process ([`process`]) and on its own ports ([`ports`]);
//! - [`bus`] sends commands from Rust, [`python`] sends them with the real oslo.messaging, [`conductor`]
//!   receives the reports, and [`local`] sends commands over the agent's local socket;
//! - [`hostd`] starts the privileged helper;
//! - [`fixture`] and [`local_fixture`] combine these for one test; [`shared_server`] lets all tests use one
//!   real server, [`real_couch`] starts real nodes and clusters for tests that need their own; [`ledger`]
//!   counts skipped tests;
//! - [`amqp_proxy`] imitates brokers that refuse what Debian's RabbitMQ accepts;
//! - [`certificates`] creates certificates, [`tls_front`] puts TLS in front of a CouchDB;
//! - [`odd_proxy`] is a proxy in front of CouchDB that strips, decodes, compresses or answers by itself;
//! - [`until`](mod@until) polls for conditions that give no notification;
//! - [`collector`] receives spans like an OpenTelemetry collector ([`protobuf`]);
//! - [`faults`] runs campaigns of random commands and faults on these parts;
//! - [`doc_commands`] finds the commands of the documentation;
//! - [`tour`] demonstrates everything to people.
//!
//! Nothing here uses the agent's internals: tests control and check the agent through the wire, its files and
//! CouchDB.

pub mod agent;
pub mod amqp_proxy;
pub mod bus;
pub mod certificates;
pub mod collector;
pub mod conductor;
pub mod couch;
pub mod disk;
pub mod doc_commands;
pub mod faults;
pub mod fixture;
pub mod hostd;
pub mod ledger;
pub mod local;
pub mod local_fixture;
pub mod odd_proxy;
pub mod ports;
pub mod process;
pub mod promtool;
pub mod protobuf;
pub mod python;
pub mod rabbitmq;
pub mod real_couch;
pub mod shared_server;
pub mod strace;
pub mod tls_front;
pub mod tour;
pub mod until;
pub mod web;
