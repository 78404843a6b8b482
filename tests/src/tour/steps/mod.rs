//! The commands, grouped by family, in an order that satisfies each one's preconditions.
//!
//! Caller: [`super::Tour::run`]. Each file sends the commands of one family and checks CouchDB after each of
//! them. All names begin with `tour_`, so that other data on a real server is not touched.

mod access;
mod clean_up;
mod databases;
mod others;
mod root;
mod users;

use anyhow::Result;
use serde_json::{Value, json};

use super::Tour;
use crate::couch::Credentials;

pub(super) const FILMS: &str = "tour_films";
const MUSIC: &str = "tour_music";
pub(super) const ALICE: &str = "tour_alice";
const ALICIA: &str = "tour_alicia";
const BOB: &str = "tour_bob";

/// Everything that a tour creates and, unless interrupted, deletes.
pub(super) const NAMES: [&str; 5] = [FILMS, MUSIC, ALICE, ALICIA, BOB];

/// The two users with their current passwords.
#[derive(Debug)]
struct People {
    alice: Credentials,
    bob: Credentials,
}

/// Sends every command of the guest API that the agent supports, and some that it refuses.
pub(super) async fn all(tour: &mut Tour) -> Result<()> {
    others::alive(tour).await;
    databases::run(tour).await?;
    let mut people = users::create(tour).await?;
    access::run(tour, &people).await?;
    users::change(tour, &mut people).await?;
    root::run(tour).await?;
    others::run(tour).await;
    clean_up::run(tour, &people).await
}

/// A password that a tenant might choose, new for every run.
pub(super) fn new_password() -> String {
    format!("T0ur-{}", hex::encode(rand::random::<[u8; 6]>()))
}

/// A database object as Trove passes it in arguments.
pub(super) fn database(name: &str) -> Value {
    json!({"_name": name, "_collate": null, "_character_set": null})
}

/// The names of the users or databases in a reply.
pub(super) fn names(models: &Value) -> Vec<&str> {
    models.as_array().into_iter().flatten().filter_map(|model| model["_name"].as_str()).collect()
}
