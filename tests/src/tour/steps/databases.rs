//! `create_database`, `list_databases`.

use anyhow::Result;
use serde_json::json;

use super::super::Tour;
use super::{FILMS, MUSIC, database, names};

pub(super) async fn run(tour: &mut Tour) -> Result<()> {
    tour.transcript.section("Databases");
    tour.cast("create_database", json!({"databases": [database(FILMS), database(MUSIC)]})).await?;
    for name in [FILMS, MUSIC] {
        let there = tour.client.reads(name, Some(&tour.os_admin)).await?;
        tour.transcript.check(&format!("{name} exists"), there);
        let public = tour.client.reads(name, None).await?;
        tour.transcript.check(&format!("{name} is closed to the anonymous user"), !public);
    }

    let args = |marker, include_marker, limit| json!({"limit": limit, "marker": marker, "include_marker": include_marker});
    let page = tour.call("list_databases", args(Some(FILMS), true, Some(1))).await;
    tour.transcript.check("a page of one holds the marker itself", names(&page[0]) == [FILMS]);
    let next = page[1].as_str();
    tour.transcript.check("and names the marker of the next page", next.is_some());
    let rest = tour.call("list_databases", args(next, false, None)).await;
    let rest = names(&rest[0]);
    tour.transcript.check("the next page goes on behind it", rest.contains(&MUSIC) && !rest.contains(&FILMS));
    tour.transcript.check("system databases are not listed", !rest.iter().any(|name| name.starts_with('_')));
    tour.refused("delete_database", json!({"database": database("_users")}), "(6 characters)").await;
    Ok(())
}
