//! The harness: everything that the integration tests and `make run` need around the agent, all of it real but
//! CouchDB (which can be real, too).
//!
//! ```text
//!  bus ─────────┐                    ┌──► couch        in-memory CouchDB, or a real one (COUCHDB_URL, COUCHDB_HOME)
//!  python ──────┤  rabbitmq (node)   │
//!  conductor ◄──┴──────► agent ──────┘
//!  local ──────(socket)────┘
//! ```
//!
//! - [`rabbitmq`], [`couch`], [`agent`] start the parts, each in a process of its own that never outlives ours
//!   ([`process`]) and on ports of its own ([`ports`]);
//! - [`bus`] sends commands from Rust, [`python`] from the real oslo.messaging, [`conductor`] takes the reports; [`local`]
//!   sends commands over the agent's own socket;
//! - [`hostd`] starts the privileged helper;
//! - [`fixture`] and [`local_fixture`] put these together for one test; [`shared_server`] lets all tests use one real server,
//!   [`real_couch`] starts real nodes and clusters for tests that need their own; [`ledger`] counts what was skipped;
//! - [`amqp_proxy`] stands in for brokers that refuse what Debian's takes;
//! - [`certificates`] makes certificates, [`tls_front`] puts TLS before a CouchDB;
//! - [`odd_proxy`] stands before CouchDB and strips, decodes, packs or answers by itself;
//! - [`until`](mod@until) waits for what can only be looked for;
//! - [`collector`] takes spans as a collector of OpenTelemetry does ([`protobuf`]);
//! - [`faults`] runs campaigns of random commands and faults over these;
//! - [`doc_commands`] finds the commands of the documentation;
//! - [`tour`] strings all of it together for people to watch.
//!
//! Nothing here knows the agent's insides: it is driven and judged through the wire, the files and CouchDB.

pub mod agent;
pub mod amqp_proxy;
pub mod bus;
pub mod certificates;
pub mod collector;
pub mod conductor;
pub mod couch;
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
