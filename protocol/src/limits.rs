//! The served API version and the size limits, for the checks and for their error messages.

/// The newest supported version of the guest API. It covers all of Trove 26.0.0 (PROTOCOL, section 8: the
/// newest method, `ssl_show`, has version 1.3).
pub(crate) const SERVED: (u32, u32) = (1, 3);

/// [`SERVED`] as text.
pub(crate) fn served() -> String {
    format!("{}.{}", SERVED.0, SERVED.1)
}

/// The maximum number of JSON values in a request, including those inside encrypted arguments. A `prepare`
/// with a thousand users of three databases each has 18,000. A hostile request of 50,000 values takes 20 MB.
pub const MAX_VALUES: usize = 50_000;

/// The maximum number of users and databases that one command may name, repetitions included. Trove's API
/// never sends that many, and every name costs CouchDB a request or a password hash.
pub const MAX_NAMES: usize = 10_000;
