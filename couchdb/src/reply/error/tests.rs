use serde_json::json;

use super::*;

#[test]
fn statuses_become_kinds() {
    let cases = [
        (400, json!({"error": "bad_request", "reason": "why"}), "bad_request"),
        (401, json!({"error": "unauthorized", "reason": "Name or password is incorrect."}), "unauthorized"),
        (403, json!({"error": "forbidden", "reason": "Account is temporarily locked."}), "locked_out"),
        (403, json!({"error": "forbidden", "reason": "_security"}), "forbidden"),
        (404, json!({"error": "not_found", "reason": "missing"}), "not_found"),
        (409, json!({}), "conflict"),
        (412, json!({"error": "file_exists"}), "exists"),
        (412, json!({"error": "error", "reason": "no such node"}), "unexpected"),
        (412, json!({"error": "nodedown", "reason": "couchdb@127.0.0.1"}), "node_down"),
        (404, json!({"status": "maintenance_mode"}), "maintenance"),
        (404, json!({"status": "nolb"}), "not_found"),
        (500, json!({"error": "error", "reason": "{maintenance_mode,'couchdb@127.0.0.1'}"}), "maintenance"),
        (500, json!({"error": "error", "reason": "no_majority"}), "server_error"),
        (503, Value::Null, "server_error"),
        (302, Value::Null, "unexpected"),
    ];
    for (status, body, kind) in cases {
        let status = StatusCode::from_u16(status).unwrap_or_default();
        assert_eq!(CouchError::from_status(status, &body, str::to_owned).kind(), kind, "{status}");
    }
}

/// The reasons of CouchDB 3.5.2.
#[test]
fn a_401_says_whether_it_is_about_the_password() {
    let of =
        |reason: &str| CouchError::of_a_login(&json!({"error": "unauthorized", "reason": reason})).kind();
    assert_eq!(of("Name or password is incorrect."), "login_refused");
    for other in [
        "Authentication required.",
        "You are not a server admin.",
        "You are not authorized to access this db.",
    ] {
        assert_eq!(of(other), "login_unusable", "{other}");
    }
    assert_eq!(
        CouchError::of_a_login(&json!({})).kind(),
        "login_refused",
        "what can't be told counts as one"
    );
}

#[test]
fn too_many_rounds_and_too_few_have_their_own_help() {
    let told = |reason: &str| {
        let body = json!({"error": "forbidden", "reason": reason});
        CouchError::from_status(StatusCode::FORBIDDEN, &body, str::to_owned).to_string()
    };
    let high = told("Iteration count is too high for this server");
    assert!(high.contains("max_iterations") && !high.contains("min_iterations"), "{high}");
    let low = told("Iteration count is too low for this server");
    assert!(low.contains("min_iterations") && !low.contains("max_iterations"), "{low}");
}

#[test]
fn a_gateways_answer_is_an_outage_and_a_login_page_is_not() {
    let stranger = |status| CouchError::NotCouchDb { origin: String::new(), status, found: String::new() };
    assert!(
        stranger(502).is_outage() && stranger(502).is_transient() && stranger(502).may_have_taken_effect()
    );
    assert!(!stranger(200).is_outage() && !stranger(200).is_transient());
    assert!(!stranger(301).may_have_taken_effect() && !stranger(413).may_have_taken_effect());
}

#[test]
fn a_refused_login_is_never_tried_again() {
    assert!(!CouchError::LoginRefused.is_transient());
    assert!(!CouchError::LockedOut.is_transient());
    assert!(CouchError::Server { status: 503, reason: String::new() }.is_transient());
}

#[test]
fn what_couchdb_says_is_one_short_line_also_for_each_document() {
    let error =
        |body| CouchError::from_status(StatusCode::INTERNAL_SERVER_ERROR, &body, str::to_owned).to_string();
    let bulk = json!([{"id": "x", "error": "error", "reason": "internal_server_error"}]);
    assert_eq!(error(bulk), "CouchDB failed (500: internal_server_error)");
    let term = format!("{{badmatch,\n   {}}}", "[{<<\"a\">>}],\n".repeat(100));
    let shown = error(json!({"error": "unknown_error", "reason": term}));
    assert!(shown.contains("{badmatch, [{<<") && shown.chars().count() < 230, "{shown}");
    let closed = error(json!({"error": "internal_server_error", "reason": "No DB shards could be opened."}));
    assert!(closed.contains("limit of open files") && closed.contains("node name"), "{closed}");
}
