//! The module type `ping`: answers with the message in the module's file, `message=Hello`.

use base64::{Engine, prelude::BASE64_STANDARD};

/// The message, or why there is none. `contents` is the file in Base64.
pub(super) fn apply(contents: &str) -> Result<String, String> {
    let file = BASE64_STANDARD.decode(contents).map_err(|_| "The contents are not Base64".to_owned())?;
    let text = String::from_utf8_lossy(&file);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    // As Trove's guests read it (`KeyValueCodec`): the last one counts, and `#` begins a comment.
    let is_message = |key: &str| key.trim().eq_ignore_ascii_case("message");
    let mut values = lines.filter_map(|line| line.split_once('=')).filter(|(key, _)| is_message(key));
    let message = values.next_back().map(|(_, value)| value.split('#').next().unwrap_or_default());
    message.map(str::to_owned).ok_or_else(|| "Message not found in contents file".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_found_as_troves_guests_find_it() {
        let told = |text: &str| apply(&BASE64_STANDARD.encode(text));
        assert_eq!(told("message=Hello\n"), Ok("Hello".to_owned()));
        assert_eq!(told("# x\n\n a=b\r\n Message = Hello, #x\nno line\n"), Ok(" Hello, ".to_owned()));
        for none in ["hi\n", "", "#message=x", "messages=x"] {
            assert_eq!(told(none), Err("Message not found in contents file".to_owned()), "{none}");
        }
        assert_eq!(apply("*"), Err("The contents are not Base64".to_owned()));
    }
}
