//! Integration tests from the wire to CouchDB and back: the real binary on a real RabbitMQ node.
//!
//! A single test binary, so that all tests share one broker; each test has its own guest, exchange, users and
//! databases. With `COUCHDB_URL=http://ADMIN:PASSWORD@HOST:PORT`, tests that need no special server run
//! against that real one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod answers;
mod audit;
mod bootstrap;
mod bootstrap_recovery;
mod broker_alarm;
mod broker_configuration;
mod broker_faults;
mod broker_loss;
mod broker_refusals;
mod configuration;
mod couch_loss;
mod creation;
mod databases;
mod duplicates;
mod durability;
mod full_disk;
mod half_done;
mod heartbeat;
mod hostile_input;
mod hostile_json;
mod hostile_names;
mod hostile_replies;
mod interleavings;
mod least_privilege;
mod leftovers;
mod lifecycle;
mod local_and_broker;
mod local_guard;
mod local_socket;
mod logs;
mod metrics;
mod no_majority;
mod odd_proxy;
mod operations;
mod oslo_peer;
mod outcomes;
mod overload;
mod prepare;
mod read_only_config;
mod refused_login;
mod replay;
mod root;
mod rotation;
mod sealed_values;
mod secrets_hidden;
mod secrets_memory;
mod server_rules;
mod shutdown;
mod slow_couchdb;
mod stopped;
mod synced;
mod tls_broker;
mod tls_couchdb;
mod unopened;
mod upgrade;
mod upstream_bugs;
mod users;
mod versions;
