//! What every verb works with.

use serde_json::json;
use trove_couchdb_protocol::UserName;

use crate::{
    args::PageArgs,
    client::{Connection, ListedUser},
    exit::CliError,
    output::{Output, Report, printable, write_out},
    prompt::Consent,
};

/// What a verb works with.
#[derive(Debug)]
pub struct Session<'a> {
    /// The agent.
    pub agent: &'a Connection,
    /// How results are shown.
    pub output: Output,
    /// Whether the operator has said yes.
    pub consent: Consent,
}

impl Session<'_> {
    /// A user that must be there.
    pub(crate) async fn existing_user(&self, name: &UserName) -> Result<ListedUser, CliError> {
        let found = self.agent.user(name).await?;
        found.ok_or_else(|| {
            CliError::not_found(&format!("user {:?}", name.as_str())).advise("`user-list` shows all users")
        })
    }

    /// Shows what a result has no place for: below a table, else as a note.
    pub(super) fn show_beside(&self, report: &Report, head: &str, texts: &[String]) -> Result<(), CliError> {
        self.output.show(report)?;
        if texts.is_empty() {
            return Ok(());
        }
        let text =
            format!("{head}\n{}", texts.iter().map(|text| format!("    {text}\n")).collect::<String>());
        if self.output.is_table() {
            return write_out(&printable(&text));
        }
        self.output.note(printable(&text).trim_end());
        Ok(())
    }

    /// Tells where a list goes on.
    pub(super) fn note_marker(&self, page: &PageArgs, next: Option<&str>) {
        if let (Some(_), Some(next)) = (page.limit, next) {
            self.output.note(&format!("There are more: --marker {}", json!(next)));
        }
    }
}
