//! The commands of the documentation: those in the ```` ```sh ```` blocks of the repository's Markdown files,
//! and those after a prompt in the `console` blocks of its reStructuredText files.
//!
//! Callers: `tests/doc_commands.rs`, which checks that some test runs each command, and
//! `tests/cli/documented.rs`, which runs those of the two programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A command of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Documented {
    /// The file, relative to the repository's root.
    pub page: String,
    /// The heading above the command.
    pub section: String,
    /// The line number.
    pub line: usize,
    /// The text that a reader types, comments included.
    pub text: String,
}

impl Documented {
    /// The program that the command starts with.
    pub fn program(&self) -> &str {
        self.text.split_whitespace().next().unwrap_or_default()
    }

    /// The command without a trailing comment and line breaks.
    pub fn bare(&self) -> String {
        let lines = self.text.lines().map(|line| line.split(" #").next().unwrap_or_default().trim());
        lines.map(|line| line.trim_end_matches('\\').trim_end()).collect::<Vec<_>>().join(" ")
    }
}

/// The test that runs a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// `make walk`, with the whole page or section (`packaging/tests/walk.sh`).
    Walk,
    /// `tests/cli/documented.rs`, on a fixture.
    Tool,
    /// `tests/control_plane/test_documentation.py`, as far as the programs' argument parsers.
    ControlPlane,
    /// `tests/control_plane/follow.py`, with a directory in place of the machine's root.
    Followed,
    /// `tests/doc_commands.rs`, into a directory other than `/`.
    Install,
    /// `tests/doc_commands.rs`, as far as `make -n`.
    Make,
    /// `tests/doc_commands.rs`, as far as the names of packages and tests.
    Cargo,
    /// `packaging/tests/element.py`, as far as the names of elements and variables; `element.sh` next to it
    /// builds an image.
    Element,
}

/// The test that runs this command, if there is one.
pub fn runner(command: &Documented) -> Result<Option<Runner>> {
    if walked(command)? {
        return Ok(Some(Runner::Walk));
    }
    let programs = [
        ("trove-couchdb", Runner::Tool),
        ("trove-couchdb-agent", Runner::Tool),
        ("trove", Runner::ControlPlane),
        ("openstack", Runner::ControlPlane),
        ("trove-manage", Runner::ControlPlane),
        ("install", Runner::Install),
        ("make", Runner::Make),
        ("cargo", Runner::Cargo),
        ("disk-image-create", Runner::Element),
    ];
    let named = programs.iter().find(|(program, _)| *program == command.program()).map(|(_, runner)| *runner);
    // Variables that diskimage-builder reads.
    let for_an_image = command.program() == "export"
        && ["ELEMENTS_PATH=", "DIB_"].iter().any(|name| command.text.starts_with(&format!("export {name}")));
    let named = named.or(for_an_image.then_some(Runner::Element));
    let uses_the_tool = command.text.contains("$(trove-couchdb ") || command.text.contains("metrics.sock");
    let followed = command.page == "control-plane/README.md" && FOLLOWED.contains(&command.section.as_str());
    Ok(named.or(uses_the_tool.then_some(Runner::Tool)).or(followed.then_some(Runner::Followed)))
}

/// The sections of `control-plane/README.md` that a test follows to the letter.
const FOLLOWED: [&str; 3] = ["Install it", "Make CouchDB known to Trove", "See that it works"];

/// Whether `make walk` runs the command's page or section.
fn walked(command: &Documented) -> Result<bool> {
    let script = read("packaging/tests/walk.sh")?;
    let walks = script.lines().filter_map(|line| line.strip_prefix("walk "));
    // A directory without blanks may follow the quoted place.
    let places: Vec<&str> = walks.map(|rest| rest.split('"').nth(1).unwrap_or(rest)).collect();
    ensure!(!places.is_empty(), "packaging/tests/walk.sh walks nowhere");
    Ok(places.iter().any(|place| match place.split_once('#') {
        None => *place == command.page,
        Some((page, section)) => page == command.page && section == command.section,
    }))
}

/// The repository's root.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).components().collect::<PathBuf>().join("..")
}

/// Every Markdown and reStructuredText page, relative to the repository's root.
pub fn pages() -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "*.md", "*.rst"])
        .current_dir(top())
        .output()
        .context("no git")?;
    ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

/// The text of a page.
pub fn read(page: &str) -> Result<String> {
    std::fs::read_to_string(top().join(page)).with_context(|| page.to_owned())
}

/// The commands of a page, in order.
pub fn commands(page: &str) -> Result<Vec<Documented>> {
    let text = read(page)?;
    if Path::new(page).extension().is_some_and(|its| its == "rst") {
        return Ok(at_prompts(page, &text));
    }
    let mut found = Vec::new();
    let mut block: Option<(usize, bool)> = None;
    let mut section = "";
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        if let Some(kind) = line.trim_start().strip_prefix("```") {
            block = match block {
                None => Some((line.len() - line.trim_start().len(), kind.trim() == "sh")),
                Some(_) => None,
            };
            continue;
        }
        if block.is_none() && line.starts_with('#') {
            section = line.trim_start_matches('#').trim();
        }
        let Some((indent, true)) = block else {
            continue;
        };
        let unindented = |line: &str| line.get(indent..).unwrap_or_default().to_owned();
        let mut command = unindented(line);
        if command.trim().is_empty() || command.starts_with('#') {
            continue;
        }
        let until = heredoc(&command);
        let mut last = command.clone();
        while let Some((_, next)) = lines.next_if(|(_, next)| {
            let inside = match &until {
                Some(end) => last != *end,
                None => last.ends_with('\\'),
            };
            inside && !next.trim_start().starts_with("```")
        }) {
            last = unindented(next);
            command.push('\n');
            command.push_str(&last);
        }
        found.push(Documented {
            page: page.to_owned(),
            section: section.to_owned(),
            line: number + 1,
            text: command,
        });
    }
    ensure!(block.is_none(), "{page}: a block without an end");
    Ok(found)
}

/// The commands of a reStructuredText page, in order: the text after `$ ` in a `console` block, plus the
/// following lines as long as each ends in a backslash.
fn at_prompts(page: &str, text: &str) -> Vec<Documented> {
    let mut found: Vec<Documented> = Vec::new();
    let (mut section, mut before, mut in_block) = ("", "", false);
    for (number, line) in text.lines().enumerate() {
        let indented = line.starts_with(' ') || line.is_empty();
        if line.starts_with(".. code-block:: console") {
            in_block = true;
        } else if !indented {
            in_block = false;
            let underline = line.len() >= before.len() && line.chars().all(|letter| "=-~^".contains(letter));
            if underline && !before.is_empty() {
                section = before;
            }
        }
        before = line;
        if !in_block {
            continue;
        }
        let line = line.trim();
        if let Some(command) = line.strip_prefix("$ ") {
            found.push(Documented {
                page: page.to_owned(),
                section: section.to_owned(),
                line: number + 1,
                text: command.to_owned(),
            });
        } else if let Some(last) = found.last_mut().filter(|last| last.text.ends_with('\\')) {
            last.text.push('\n');
            last.text.push_str(line);
        }
    }
    found
}

/// The word after `<<`, which terminates the text.
fn heredoc(line: &str) -> Option<String> {
    let word = line.split_once("<<")?.1.split_whitespace().next()?;
    Some(word.trim_matches(['\'', '"', '-']).to_owned())
}

/// The text between single backticks in a page's prose and tables, with its line number.
pub fn inline(page: &str) -> Result<Vec<(usize, String)>> {
    let mut found = Vec::new();
    let mut in_block = false;
    for (number, line) in read(page)?.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            found.extend(line.split('`').skip(1).step_by(2).map(|code| (number + 1, code.to_owned())));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_command_at_a_prompt_has_its_section_and_its_continuation() {
        let text = "Image\n=====\n\nBuild\n-----\n\n.. code-block:: console\n\n   $ make deb   # now\n   built\n\n   $ a \\\n       b\n\n\
                    Other\n-----\n\n   $ not a block\n";
        let found = at_prompts("x.rst", text);
        let found: Vec<_> = found.iter().map(|it| (it.section.as_str(), it.line, it.bare())).collect();
        assert_eq!(found, [("Build", 9, "make deb".to_owned()), ("Build", 12, "a b".to_owned())]);
    }

    #[test]
    fn a_heredoc_and_a_continued_line_are_one_command_each() {
        let found = commands("docs/quick-start.md").unwrap();
        let toml = found.iter().find(|command| command.text.contains("agent.toml <<")).unwrap();
        assert!(toml.text.ends_with("\nTOML"), "{toml:?}");
        let found = commands("control-plane/README.md").unwrap();
        let update = found.iter().find(|command| command.text.contains("datastore_version_update")).unwrap();
        assert!(update.bare().ends_with("none couchdb 3.5.0 couchdb IMAGE_ID \"\" 1"), "{}", update.bare());
    }
}
