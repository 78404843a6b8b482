//! What this guest serves and how much it takes, for those who check it and for those who name it in an error.

/// The newest version of the guest API that is served: all of Trove 26.0.0 (PROTOCOL, section 8: `ssl_show` is the newest
/// with 1.3).
pub(crate) const SERVED: (u32, u32) = (1, 3);

/// The same as it is written.
pub(crate) fn served() -> String {
    format!("{}.{}", SERVED.0, SERVED.1)
}

/// How many JSON values a request may consist of, those inside encrypted arguments included. A `prepare` with a thousand
/// users of three databases each has 18,000; the 50,000 of a hostile one take 20 MB.
pub const MAX_VALUES: usize = 50_000;

/// How many users and databases one command may name, each as often as it is named. Trove's API takes no such request, and
/// every name costs CouchDB a request or a password hash.
pub const MAX_NAMES: usize = 10_000;
