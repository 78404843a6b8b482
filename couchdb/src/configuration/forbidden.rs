//! Options that CouchDB has and the agent does not set, with the reason.

/// A section, or `section.key`, and why it is not set.
const FORBIDDEN: &[(&str, &str)] = &[
    ("admins", "administrators are accounts: use root-enable, or a user with access"),
    ("chttpd.backlog", "CouchDB does not apply it to its port"),
    ("chttpd.port", "the agent, Trove's security groups and clients use the port that couchdb.url names"),
    ("chttpd.server_options", "a wrong Erlang term stops CouchDB"),
    ("chttpd.socket_options", "a wrong Erlang term stops CouchDB"),
    ("chttpd_auth.authentication_db", "the agent keeps users in _users"),
    ("chttpd_auth.password_scheme", "users could not log in with hashes that the agent makes"),
    ("chttpd_auth.pbkdf2_prf", "users could not log in with hashes that the agent makes"),
    ("chttpd_auth.secret", "it would let its reader log in as anyone; session-reset replaces it"),
    ("couch_httpd_auth.authentication_db", "the agent keeps users in _users"),
    ("couch_httpd_auth.secret", "it would let its reader log in as anyone; session-reset replaces it"),
    ("couchdb.database_dir", "the databases would be gone"),
    ("couchdb.default_security", "new databases could be open to everyone"),
    ("couchdb.maintenance_mode", "the instance would be out of service"),
    ("couchdb.single_node", "CouchDB might not start again"),
    ("couchdb.users_db_suffix", "the agent keeps users in _users"),
    ("couchdb.uuid", "it is the server's identity, which replications rely on"),
    ("couchdb.view_index_dir", "every view would be built again"),
    ("daemons", "it names programs that CouchDB runs"),
    ("external", "it names programs that CouchDB runs"),
    ("feature_flags", "databases could be unreadable"),
    ("httpd", "it is the port of a node itself, which is closed"),
    ("indexers", "it names modules that CouchDB runs"),
    ("jwt_keys", "a key lets its holder log in as any user"),
    ("log.file", "Trove publishes the log from its own place"),
    ("log.writer", "Trove publishes the log from its own place"),
    ("native_query_servers", "it names modules that CouchDB runs"),
    ("os_daemons", "it names programs that CouchDB runs"),
    ("query_servers", "it names programs that CouchDB runs"),
    ("replicator.password", "it is a secret"),
    ("ssl", "certificates are not part of a configuration group"),
    ("vendor", "it is the welcome of the distribution"),
];

/// The reason why an option is not set, and the name that the reason is about.
pub(super) fn reason(name: &str) -> Option<(&'static str, &'static str)> {
    let section = name.split('.').next().unwrap_or_default();
    FORBIDDEN.iter().find(|(forbidden, _)| *forbidden == name || *forbidden == section).copied()
}

/// Every such section or option, with the reason.
pub fn forbidden() -> impl Iterator<Item = (&'static str, &'static str)> {
    FORBIDDEN.iter().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::table;

    #[test]
    fn nothing_is_both_offered_and_forbidden() {
        assert!(FORBIDDEN.is_sorted_by(|one, other| one.0 < other.0));
        for option in table::options() {
            assert_eq!(reason(option.name), None, "{}", option.name);
        }
    }
}
