//! What one segment of a URL's path can hold, and how.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but RFC 3986's unreserved characters.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Whether a text can be one segment of a URL's path. To every URL parser `.` and `..` are steps to another path, also
/// when their dots are percent-encoded (WHATWG URL, "double-dot URL path segment").
pub(crate) fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
}

/// One segment of a path, or one value of a query.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, COMPONENT).to_string()
}
