//! `delete_user`, `delete_database`: restores CouchDB to its state before the tour.

use anyhow::Result;
use serde_json::json;

use super::super::Tour;
use super::{FILMS, MUSIC, People, database, names};

pub(super) async fn run(tour: &mut Tour, people: &People) -> Result<()> {
    tour.transcript.section("Deleting");
    for person in [&people.alice, &people.bob] {
        let user = json!({"_name": person.name, "_host": "%", "_password": null, "_databases": [], "_is_root": false});
        tour.cast("delete_user", json!({"user": user})).await?;
        let gone = tour.client.refuses(person).await?;
        tour.transcript.check(&format!("{} no longer logs in", person.name), gone);
    }
    let (_, security) = tour.client.get(&format!("/{FILMS}/_security"), Some(&tour.os_admin)).await?;
    let forgotten = !security.to_string().contains(&people.alice.name);
    tour.transcript.check("alicia is in no _security object", security["members"].is_object() && forgotten);

    for name in [FILMS, MUSIC] {
        tour.cast("delete_database", json!({"database": database(name)})).await?;
        let gone = !tour.client.reads(name, Some(&tour.os_admin)).await?;
        tour.transcript.check(&format!("{name} is gone"), gone);
    }
    let left =
        tour.call("list_databases", json!({"limit": null, "marker": null, "include_marker": false})).await;
    let ours = names(&left[0]).iter().any(|name| name.starts_with("tour_"));
    tour.transcript.check("no database of the tour is left", left[0].is_array() && !ours);
    Ok(())
}
