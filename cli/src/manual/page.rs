//! One manual page: what clap knows about a command, and lists, examples and references of its own.

use std::io;

use clap::Command;
use clap_mangen::{
    Man,
    roff::{Inline, Roff, bold, roman},
};
use trove_couchdb_guest::help::Example;

/// `roff` writes this before each part that it writes.
const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// A term and its explanation.
pub(super) type Described = (String, String);

/// A manual page.
pub(super) struct Page {
    /// The command, built.
    pub(super) command: Command,
    /// The section of the manual.
    pub(super) section: u8,
    /// Sections that explain terms, by their headings.
    pub(super) lists: Vec<(&'static str, Vec<Described>)>,
    pub(super) examples: &'static [Example],
    /// Other pages, as `name(section)`.
    pub(super) see_also: Vec<String>,
}

impl Page {
    fn name(&self) -> &str {
        self.command.get_display_name().unwrap_or_else(|| self.command.get_name())
    }

    pub(super) fn file_name(&self) -> String {
        format!("{}.{}", self.name(), self.section)
    }

    /// The page for `man`.
    pub(super) fn render(&self) -> io::Result<String> {
        // Otherwise clap_mangen lists every option there, without its value.
        let usage = self.command.clone().render_usage().to_string().replacen("Usage: ", "", 1);
        let man = Man::new(self.command.clone().override_usage(usage)).section(self.section.to_string());
        let mut page = Vec::new();
        man.render_name_section(&mut page)?;
        man.render_synopsis_section(&mut page)?;
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
        if self.command.has_subcommands() {
            man.render_subcommands_section(&mut page)?;
        }
        self.own_sections().to_writer(&mut page)?;
        let text = String::from_utf8_lossy(&page).replace(PREAMBLE, "");
        Ok(format!("{PREAMBLE}{}{}", self.title(), in_ascii(&with_bold_code(&text))))
    }

    /// `clap_mangen` leaves out the empty date, and with it the place of what follows.
    fn title(&self) -> String {
        let (name, section) = (self.name().to_uppercase(), self.section);
        let manual = if section == 8 { "System Administration" } else { "User Commands" };
        format!(
            ".TH {name} {section} \"\" \"trove-couchdb-agent {}\" \"{manual}\"\n",
            env!("CARGO_PKG_VERSION")
        )
    }

    fn own_sections(&self) -> Roff {
        let mut roff = Roff::new();
        for (heading, entries) in &self.lists {
            roff.control("SH", [*heading]);
            for (term, text) in entries {
                roff.control("TP", []).text([bold(term)]).text([roman(text)]);
            }
        }
        roff.control("SH", ["EXAMPLES"]);
        for example in self.examples {
            roff.control("PP", []).text([roman(format!("{}:", example.what))]);
            roff.control("PP", []).control("RS", ["4"]).control("EX", []);
            for line in example.line.lines() {
                roff.text([roman(line)]);
            }
            roff.control("EE", []).control("RE", []);
        }
        // Names are not broken.
        roff.control("SH", ["SEE ALSO"]).control("ad", ["l"]).control("nh", []);
        let mut references: Vec<Inline> = Vec::new();
        for reference in &self.see_also {
            let (name, section) = reference.split_once('(').unwrap_or((reference, ")"));
            let before = if references.is_empty() { "" } else { ", " };
            references.extend([roman(before), bold(name), roman(format!("({section}"))]);
        }
        roff.text(references);
        roff
    }
}

/// The texts of `--help` mark code with backticks, which `man` would show as quotation marks.
fn with_bold_code(page: &str) -> String {
    let mut parts = page.split('`');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for (number, part) in parts.enumerate() {
        text += if number % 2 == 0 { "\\fB" } else { "\\fR" };
        text += part;
    }
    text
}

/// groff reads ASCII by default.
fn in_ascii(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    for letter in page.chars() {
        if letter.is_ascii() {
            text.push(letter);
        } else {
            text += &format!("\\[u{:04X}]", u32::from(letter));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_bold_and_other_letters_are_escaped() {
        assert_eq!(in_ascii("a, …"), "a, \\[u2026]");
        assert_eq!(with_bold_code("run `a b`, then `c`."), "run \\fBa b\\fR, then \\fBc\\fR.");
    }
}
