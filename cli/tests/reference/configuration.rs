//! Every key of the configuration, each with a heading and so with an anchor.

use std::fmt::Write as _;

use trove_couchdb_config::reference;

use super::Reference;

pub fn keys(reference: &mut Reference) -> String {
    let mut text = String::new();
    let mut section = "";
    for key in reference::entries() {
        if key.section != section {
            section = key.section;
            writeln!(text, "## `[{section}]`\n\n{}\n", reference.text("section", section)).unwrap();
        }
        let default = key.default.map_or("none".to_owned(), |default| format!("`{default}`"));
        writeln!(text, "### `{}`\n\n{}\n", key.name, key.about).unwrap();
        writeln!(text, "- Value: {}; default: {default}", key.kind).unwrap();
        if !key.options.is_empty() {
            let options: Vec<_> = key.options.iter().map(|option| format!("`{option}`")).collect();
            writeln!(text, "- Trove's option: {}", options.join(", ")).unwrap();
        }
        if let Some(was) = key.was {
            writeln!(text, "- Old name, which still works: `{was}`").unwrap();
        }
        writeln!(text, "- Environment: `{}`\n", key.variable).unwrap();
    }
    text
}
