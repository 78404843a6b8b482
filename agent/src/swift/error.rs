//! Why a request to the object store failed. No text contains a token, or anything of an answer's body.

use std::error::Error;

/// Why a request to the object store failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwiftError {
    /// The command has no user's token.
    #[error(
        "the request has no token of a user, without which the object store can't be reached; send it through Trove's API"
    )]
    NoToken,
    /// The user's project is unknown, or its id cannot be part of a URL.
    #[error("the request does not name the user's project as part of a URL, and swift.url needs it")]
    NoProject,
    /// The catalog has no such endpoint.
    #[error(
        "the service catalog of the request has no {endpoint_type} of type {service_type}{}; set swift.url on the instance, or swift_url \
         in trove-guestagent.conf",
        .region.as_ref().map(|region| format!(" in region {region}")).unwrap_or_default()
    )]
    NoEndpoint {
        /// The configured type.
        service_type: String,
        /// The configured kind of URL.
        endpoint_type: String,
        /// The configured region.
        region: Option<String>,
    },
    /// The catalog's entry is not an http URL.
    #[error("the object store's URL in the service catalog of the request is not one of http or https")]
    NoUrl,
    /// TLS cannot be set up, or the server is not trusted.
    #[error("there is no secure connection to the object store at {origin}: {problem}")]
    Insecure {
        /// Scheme, host and port.
        origin: String,
        /// The reason.
        problem: String,
    },
    /// No connection, or it broke off.
    #[error("the object store at {origin} can't be reached: {problem}")]
    Unreachable {
        /// Scheme, host and port.
        origin: String,
        /// The reason.
        problem: String,
    },
    /// No answer in time.
    #[error("the object store at {origin} did not answer within {seconds} s")]
    Timeout {
        /// Scheme, host and port.
        origin: String,
        /// The time limit.
        seconds: u64,
    },
    /// The token is not valid (any more).
    #[error(
        "the object store refuses the token of the request, which may have expired: log in again, and repeat the command"
    )]
    Token,
    /// The project may not use the container.
    #[error(
        "the object store does not let the user write to the container {container}: it takes the role of an object store's user"
    )]
    Denied {
        /// The container.
        container: String,
    },
    /// A quota is exhausted.
    #[error("the object store has no room for the container {container} (413): a quota is exhausted")]
    Full {
        /// The container.
        container: String,
    },
    /// The container or object does not exist.
    #[error("the container {container} is gone; repeat the command")]
    Gone {
        /// The container.
        container: String,
    },
    /// Any other refusal.
    #[error("the object store answered {status} to a request for the container {container}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The container.
        container: String,
    },
    /// An answer longer than expected.
    #[error("the object store's answer for the container {container} is too long")]
    TooLong {
        /// The container.
        container: String,
    },
}

/// The last cause in the chain. reqwest's own text would repeat the URL.
pub(super) fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
