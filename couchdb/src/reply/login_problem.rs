//! The reasons, other than a wrong password, why a login does not make the agent a server administrator.

/// The reason why CouchDB does not treat a login as a server administrator, although it did not refuse the
/// password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginProblem {
    /// No authentication handler reads the header.
    #[error(
        "CouchDB does not accept Basic authentication (its authentication handlers are: {0}): put \
         {{chttpd_auth, default_authentication_handler}} into authentication_handlers of [chttpd] and restart CouchDB"
    )]
    BasicOff(String),
    /// A handler would read the header, but it did not arrive.
    #[error(
        "the agent's login does not reach CouchDB, which answers as if none had been sent: a proxy between them removes \
         the Authorization header; let it pass, or let couchdb.url name CouchDB itself"
    )]
    Stripped,
    /// The password is correct, but the account is not an administrator.
    #[error(
        "{0} logs in and is no server administrator: it is a user of that name in _users; put {0} back into [admins] of \
         CouchDB with the password of the credentials file"
    )]
    NotAdministrator(String),
    /// The session belongs to a different account.
    #[error(
        "CouchDB takes the agent for {0:?}: a proxy between them puts a login of its own in the place of the agent's; \
         let the Authorization header pass, or let couchdb.url name CouchDB itself"
    )]
    SomebodyElse(String),
    /// A 401 that is not about the password and has no further details.
    #[error(
        "CouchDB did not see an administrator's login (401: {0}), and did not complain about the password. Possible: Basic \
         authentication is off (authentication_handlers of [chttpd]), a proxy removes the Authorization header, or \
         os_admin is not in [admins] any more"
    )]
    Unseen(String),
}
