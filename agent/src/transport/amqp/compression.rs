//! The header that names the compression of a body (`kombu/message.py` 5.7.0); `rpc/compression.rs`
//! decompresses it.

use lapin::{BasicProperties, types::AMQPValue};

use crate::transport::rpc::Compression;

const HEADER: &str = "compression";

/// The compression that the header names; `None` if the body is not compressed.
pub(super) fn of(properties: &BasicProperties) -> Option<Compression> {
    let name = match properties.headers().as_ref()?.inner().get(HEADER)? {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        AMQPValue::ShortString(text) => text.as_str().to_owned(),
        AMQPValue::Void => return None,
        _ => "something that has no name".to_owned(),
    };
    Compression::named(&name)
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldTable;

    use super::*;

    fn said(value: AMQPValue) -> Option<Compression> {
        let mut headers = FieldTable::default();
        headers.insert(HEADER.into(), value);
        of(&BasicProperties::default().with_headers(headers))
    }

    #[test]
    fn the_header_is_read_as_kombu_does() {
        assert_eq!(said(AMQPValue::LongString("gzip".into())), Some(Compression::Zlib));
        assert_eq!(said(AMQPValue::ShortString("gzip".into())), Some(Compression::Zlib));
        assert!(matches!(said(AMQPValue::Boolean(true)), Some(Compression::Other(_))));
        assert_eq!((said(AMQPValue::LongString("".into())), said(AMQPValue::Void)), (None, None));
        assert_eq!(of(&BasicProperties::default()), None);
    }
}
