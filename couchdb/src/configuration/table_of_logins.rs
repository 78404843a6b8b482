//! The options of CouchDB's chapter on authentication. Before CouchDB 3.2 those of `[chttpd_auth]` are in
//! `[couch_httpd_auth]`.

use crate::{
    ServerVersion,
    configuration::option::{
        ConfigOption,
        Kind::{Bool, Fields, Handlers, Header, PasswordRules, Place, Text, Word, Words},
        live, restart, whole,
    },
};

const SAME_SITE: &[&str] = &["strict", "lax", "none"];
const LOCKOUT: &[&str] = &["off", "warn", "enforce"];
const HASHES: &[&str] =
    &["sha", "sha224", "sha256", "sha384", "sha512", "sha3_224", "sha3_256", "sha3_384", "sha3_512"];

const GIB: u64 = 1 << 30;

/// Since 3.0 only administrators may read `_users`, so that no field of another user can be public.
const fn until_3(option: ConfigOption) -> ConfigOption {
    ConfigOption { until: Some(ServerVersion { major: 3, minor: 0 }), ..option }
}

pub(super) const LOGINS: &[ConfigOption] = &[
    restart(
        "chttpd.authentication_handlers",
        Handlers,
        (2, 0),
        "The ways to log in, in this order. Basic must be one of them, and the proxy's handler needs \
         chttpd_auth.proxy_use_secret.",
    ),
    live("chttpd_auth.allow_persistent_cookies", Bool, (1, 6), "A session's cookie outlives the browser."),
    ConfigOption {
        // Clustered ports have a cache of their own.
        until: Some(ServerVersion { major: 2, minor: 0 }),
        ..live(
            "chttpd_auth.auth_cache_size",
            whole(1, 1_000_000),
            (1, 6),
            "How many users are kept in memory.",
        )
    },
    live("chttpd_auth.authentication_redirect", Place, (1, 6), "Where a browser without a login is sent."),
    live("chttpd_auth.cookie_domain", Text, (2, 0), "The domain of a session's cookie."),
    live(
        "chttpd_auth.hash_algorithms",
        Words(HASHES),
        (3, 3),
        "The functions that sign a session's cookie; new cookies use the first.",
    ),
    live(
        "chttpd_auth.iterations",
        whole(1_000, 10_000_000),
        (1, 6),
        "PBKDF2 rounds of new passwords, of CouchDB's own and of the agent's hashing.",
    ),
    live(
        "chttpd_auth.max_iterations",
        whole(1_000, 1_000_000_000),
        (1, 6),
        "Users whose hash has more rounds can't log in. No account may have more.",
    ),
    live(
        "chttpd_auth.min_iterations",
        whole(1, 10_000_000),
        (1, 6),
        "Users whose hash has fewer rounds can't log in. No account may have fewer.",
    ),
    live(
        "chttpd_auth.password_regexp",
        PasswordRules,
        (3, 2),
        "Rules that every new password of a user, and of root, must meet.",
    ),
    live(
        "chttpd_auth.proxy_use_secret",
        Bool,
        (1, 6),
        "A proxy proves with the server's secret that it may name users.",
    ),
    until_3(live(
        "chttpd_auth.public_fields",
        Fields,
        (1, 6),
        "Fields of user documents that every user may read, with users_db_public.",
    )),
    live(
        "chttpd_auth.same_site",
        Word(SAME_SITE),
        (3, 0),
        "Whether browsers send a session's cookie from other sites.",
    ),
    live(
        "chttpd_auth.timeout",
        whole(1, 31_536_000),
        (1, 6),
        "How many seconds a session lasts after its last request.",
    ),
    live(
        "chttpd_auth.upgrade_hash_on_auth",
        Bool,
        (3, 4),
        "A user's login replaces a hash that is not of the current kind.",
    ),
    until_3(live(
        "chttpd_auth.users_db_public",
        Bool,
        (1, 6),
        "Users may read the public_fields of other users.",
    )),
    live("chttpd_auth.x_auth_roles", Header, (1, 6), "The header in which a proxy names a user's roles."),
    live(
        "chttpd_auth.x_auth_token",
        Header,
        (1, 6),
        "The header in which a proxy proves that it may name users.",
    ),
    live("chttpd_auth.x_auth_username", Header, (1, 6), "The header in which a proxy names a user."),
    restart(
        "chttpd_auth_cache.max_lifetime",
        whole(1, 86_400_000),
        (2, 0),
        "For how many milliseconds a user is kept in memory.",
    ),
    restart(
        "chttpd_auth_cache.max_objects",
        whole(1, 10_000_000),
        (2, 0),
        "How many users are kept in memory.",
    ),
    restart(
        "chttpd_auth_cache.max_size",
        whole(1, 16 * GIB),
        (2, 0),
        "How many bytes of users are kept in memory.",
    ),
    restart(
        "chttpd_auth_lockout.max_lifetime",
        whole(1_000, 86_400_000),
        (3, 4),
        "For how many milliseconds wrong passwords are counted.",
    ),
    restart(
        "chttpd_auth_lockout.max_objects",
        whole(100, 10_000_000),
        (3, 4),
        "For how many pairs of user and address wrong passwords are counted.",
    ),
    live(
        "chttpd_auth_lockout.mode",
        Word(LOCKOUT),
        (3, 4),
        "Whether wrong passwords lock an account, or are only logged.",
    ),
    live(
        "chttpd_auth_lockout.threshold",
        whole(3, 1_000_000),
        (3, 4),
        "How many wrong passwords lock an account.",
    ),
];
