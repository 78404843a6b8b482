//! An accepted name is one segment of one path for the URL parser that sends requests. It decodes to the
//! name, and no part of it becomes a different path, a query, a host or a header line.

use percent_encoding::percent_decode_str;
use trove_couchdb_client::{ConfigRoot, ListedDatabase, Node, Policy, Resource};
use trove_couchdb_protocol::{DatabaseName, UserName};
use url::Url;

use crate::assert_readable;

const ORIGIN: &str = "http://127.0.0.1:5984";

/// Panics when the guarantee at the top of this file is broken.
pub fn holds(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    user(text);
    database(text);
    server_side(text);
}

fn user(text: &str) {
    let user = match UserName::try_from(text) {
        Ok(user) => user,
        Err(error) => return assert_readable(&error.to_string()),
    };
    assert!(!text.is_empty() && text.len() <= 255 && !text.starts_with('_'));
    assert!(!text.contains(|c: char| c == ':' || c.is_control()));
    assert_path(&Resource::User(&user), &["_users", &format!("org.couchdb.user:{text}")], "");
    // A revision comes from the server and becomes part of the query.
    assert_path(
        &Resource::UserRevision(&user, text),
        &["_users", &format!("org.couchdb.user:{text}")],
        &format!("rev={text}"),
    );
    let reserved = ["os_admin", "root"].contains(&text);
    assert_eq!(Policy::new(&[], &[]).user(user).is_err(), reserved);
}

fn database(text: &str) {
    let database = match DatabaseName::try_from(text) {
        Ok(database) => database,
        Err(error) => return assert_readable(&error.to_string()),
    };
    assert!(text.starts_with(|c: char| c.is_ascii_lowercase()) && text.len() <= 238);
    assert!(text.split('/').all(|part| !part.is_empty() && !part.starts_with(['_', '.'])));
    assert_path(&Resource::Database(&database), &[text], "");
    assert_path(&Resource::Security(&ListedDatabase::from(&database)), &[text, "_security"], "");
    assert!(Policy::new(&[], &[]).database(database).is_ok());
}

/// Names that a server sends. They may be anything: a tenant who is root on the VM can replace the server.
fn server_side(text: &str) {
    if let Some(listed) = ListedDatabase::new(text.to_owned()) {
        assert_path(&Resource::Security(&listed), &[text, "_security"], "");
    }
    if let Some(node) = Node::new(text) {
        let config = ConfigRoot::Node(node);
        assert_path(&Resource::Admins(&config), &["_node", text, "_config", "admins"], "");
    }
    let key = serde_json::Value::from(format!("org.couchdb.user:{text}")).to_string();
    assert_path(
        &Resource::UserIds { start: text, limit: 3 },
        &["_users", "_all_docs"],
        &format!("startkey={key}&endkey=\"org.couchdb.user;\"&inclusive_end=false&limit=3"),
    );
}

/// The decoded path and query according to `reqwest`'s own URL parser.
fn assert_path(resource: &Resource<'_>, segments: &[&str], query: &str) {
    let path = resource.path();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%/?&=".contains(&byte);
    assert!(path.bytes().all(plain), "{path}");
    let url = match Url::parse(&format!("{ORIGIN}{path}")) {
        Ok(url) => url,
        Err(error) => unreachable!("{path}: {error}"),
    };
    assert_eq!(url.origin().ascii_serialization(), ORIGIN);
    assert!(url.fragment().is_none() && url.username().is_empty() && url.password().is_none());
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let found: Vec<String> = url.path().split('/').skip(1).map(decode).collect();
    assert_eq!(found, segments, "{path}");
    assert_eq!(decode(url.query().unwrap_or_default()), query, "{path}");
    assert_eq!(url.as_str(), format!("{ORIGIN}{path}"), "the parser changed it");
}
