//! `enable_root`, `enable_root_with_password`, `is_root_enabled`, `disable_root`.

use anyhow::Result;
use serde_json::{Value, json};

use super::super::Tour;
use super::new_password;
use crate::couch::Credentials;

pub(super) async fn run(tour: &mut Tour) -> Result<()> {
    tour.transcript.section("Root");
    is_enabled(tour, false).await;
    let given = tour.call("enable_root", json!({})).await;
    let first = credentials(&given);
    is_server_admin(tour, &first, "root is a server admin with the password of the answer").await?;

    let chosen = new_password();
    let given = tour.call("enable_root_with_password", json!({"root_password": chosen})).await;
    let second = credentials(&given);
    tour.transcript.check("answers with the chosen password", second.password == chosen);
    is_server_admin(tour, &second, "root logs in with it").await?;
    is_enabled(tour, true).await;

    let answer = tour.call("disable_root", json!({})).await;
    tour.transcript.check("answers null", answer.is_null());
    let out = tour.client.refuses(&second).await?;
    tour.transcript.check("root no longer logs in", out);
    is_enabled(tour, false).await;
    Ok(())
}

async fn is_enabled(tour: &mut Tour, expected: bool) {
    let answer = tour.call("is_root_enabled", json!({})).await;
    tour.transcript.check(&format!("answers {expected}"), answer == expected);
}

/// Only server admins may read the configuration.
async fn is_server_admin(tour: &mut Tour, root: &Credentials, what: &str) -> Result<()> {
    let (status, _) = tour.client.get("/_node/_local/_config/admins", Some(root)).await?;
    tour.transcript.check(what, root.name == "root" && status.is_success());
    Ok(())
}

fn credentials(user: &Value) -> Credentials {
    let field = |name: &str| user[name].as_str().unwrap_or_default();
    Credentials::new(field("_name"), field("_password"))
}
