//! `create_user`, `get_user`, `list_users`, `change_passwords`, `update_attributes`.

use anyhow::Result;
use serde_json::{Value, json};

use super::super::Tour;
use super::{ALICE, ALICIA, BOB, FILMS, MUSIC, People, database, names, new_password};
use crate::couch::Credentials;

/// Creates alice with access to the films database, and bob without access.
pub(super) async fn create(tour: &mut Tour) -> Result<People> {
    tour.transcript.section("Users");
    let alice = Credentials::new(ALICE, &new_password());
    let bob = Credentials::new(BOB, &new_password());
    let users = [user(&alice, &[FILMS]), user(&bob, &[])];
    tour.cast("create_user", json!({"users": users})).await?;
    for person in [&alice, &bob] {
        let ok = tour.client.logs_in(person).await?;
        tour.transcript.check(&format!("{} logs in", person.name), ok);
    }
    let (own, other) =
        (tour.client.reads(FILMS, Some(&alice)).await?, tour.client.reads(MUSIC, Some(&alice)).await?);
    tour.transcript.check("alice reads her database and not the other", own && !other);
    let stranger = tour.client.reads(FILMS, Some(&bob)).await?;
    tour.transcript.check("bob does not read it", !stranger);

    let found = tour.call("get_user", json!({"username": ALICE, "hostname": "%"})).await;
    tour.transcript.check(
        "has alice's name and database",
        found["_name"] == ALICE && names(&found["_databases"]) == [FILMS],
    );
    tour.transcript.check("has no password", found["_password"].is_null());
    let missing = tour.call("get_user", json!({"username": "tour_nobody", "hostname": "%"})).await;
    tour.transcript.check("nobody is null", missing.is_null());
    let page = tour.call("list_users", json!({"limit": 1, "marker": ALICE, "include_marker": true})).await;
    tour.transcript.check("a page of one, from alice on", names(&page[0]) == [ALICE]);
    let rest =
        tour.call("list_users", json!({"limit": null, "marker": page[1], "include_marker": false})).await;
    let rest = names(&rest[0]);
    tour.transcript
        .check("the next page has bob and not os_admin", rest.contains(&BOB) && !rest.contains(&"os_admin"));
    Ok(People { alice, bob })
}

/// Changes alice's password in both ways, then her name, and updates `people`.
pub(super) async fn change(tour: &mut Tour, people: &mut People) -> Result<()> {
    tour.transcript.section("Changed users");
    let old = people.alice.clone();
    people.alice.password = new_password();
    // Unlike all other commands with users, this one names the fields without an underscore.
    let change = json!({"name": ALICE, "host": "%", "password": people.alice.password});
    tour.cast("change_passwords", json!({"users": [change]})).await?;
    logs_in_instead(tour, &people.alice, &old, "the new password counts, the old one no longer does").await?;

    let old = people.bob.clone();
    people.bob.password = new_password();
    let attributes =
        json!({"username": BOB, "hostname": "%", "user_attrs": {"password": people.bob.password}});
    tour.cast("update_attributes", attributes).await?;
    logs_in_instead(tour, &people.bob, &old, "the same for bob's").await?;

    let old = people.alice.clone();
    ALICIA.clone_into(&mut people.alice.name);
    let attributes = json!({"username": ALICE, "hostname": "%", "user_attrs": {"name": ALICIA}});
    tour.cast("update_attributes", attributes).await?;
    logs_in_instead(tour, &people.alice, &old, "alicia logs in with alice's password, alice no longer does")
        .await?;
    let moved = tour.client.reads(FILMS, Some(&people.alice)).await?;
    tour.transcript.check("alicia reads alice's database", moved);
    Ok(())
}

/// One failed login each: CouchDB 3.4+ locks an account after five.
async fn logs_in_instead(tour: &mut Tour, new: &Credentials, old: &Credentials, what: &str) -> Result<()> {
    let ok = tour.client.logs_in(new).await? && tour.client.refuses(old).await?;
    tour.transcript.check(what, ok);
    Ok(())
}

/// A user object as Trove passes it in arguments.
fn user(person: &Credentials, databases: &[&str]) -> Value {
    let databases: Vec<_> = databases.iter().map(|name| database(name)).collect();
    json!({"_name": person.name, "_password": person.password, "_host": "%", "_databases": databases, "_is_root": false})
}
