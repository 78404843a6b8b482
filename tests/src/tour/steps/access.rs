//! `grant_access`, `list_access`, `revoke_access`.

use anyhow::Result;
use serde_json::json;

use super::super::Tour;
use super::{BOB, FILMS, MUSIC, People, names};

pub(super) async fn run(tour: &mut Tour, people: &People) -> Result<()> {
    tour.transcript.section("Access");
    let grant = |user: &str| json!({"username": user, "hostname": "%", "databases": [FILMS, MUSIC]});
    let answer = tour.call("grant_access", grant(BOB)).await;
    tour.transcript.check("answers null", answer.is_null());
    let both = tour.client.reads(FILMS, Some(&people.bob)).await?
        && tour.client.reads(MUSIC, Some(&people.bob)).await?;
    tour.transcript.check("bob reads both databases", both);
    let kept = tour.client.reads(FILMS, Some(&people.alice)).await?;
    tour.transcript.check("alice still reads hers", kept);
    tour.refused("grant_access", grant("tour_nobody"), "(11 characters) does not exist").await;

    let listed = tour.call("list_access", json!({"username": BOB, "hostname": "%"})).await;
    tour.transcript.check("lists both", names(&listed) == [FILMS, MUSIC]);

    for name in [FILMS, MUSIC] {
        let args = json!({"username": BOB, "hostname": "%", "database": name});
        let answer = tour.call("revoke_access", args).await;
        tour.transcript.check("answers null", answer.is_null());
        let gone = !tour.client.reads(name, Some(&people.bob)).await?;
        tour.transcript.check(&format!("bob no longer reads {name}"), gone);
        let closed = !tour.client.reads(name, None).await?;
        tour.transcript.check("nor does the anonymous user", closed);
    }
    let kept = tour.client.reads(FILMS, Some(&people.alice)).await?;
    tour.transcript.check("alice still reads hers", kept);
    Ok(())
}
