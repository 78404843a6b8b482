//! The common parts of all verbs.

use serde_json::json;
use trove_couchdb_protocol::UserName;

use crate::{
    args::PageArgs,
    client::{Connection, ListedUser},
    exit::{CliError, Code},
    output::{Output, Report, printable, write_out},
    prompt::Consent,
};

/// The environment of a verb.
#[derive(Debug)]
pub struct Session<'a> {
    /// The agent.
    pub agent: &'a Connection,
    /// How results are shown.
    pub output: Output,
    /// The operator's confirmation.
    pub consent: Consent,
}

impl Session<'_> {
    /// A user that must exist. The agent's own accounts are no users: it hides them.
    pub(crate) async fn existing_user(&self, name: &UserName) -> Result<ListedUser, CliError> {
        if let Some(refusal) = own_account(name.as_str()) {
            return Err(refusal);
        }
        let found = self.agent.user(name).await?;
        found.ok_or_else(|| {
            CliError::not_found(&format!("user {:?}", name.as_str())).advise("`user-list` shows all users")
        })
    }

    /// Shows a result with additional texts: below a table, otherwise as a note.
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

    /// Shows the marker of the next page.
    pub(super) fn note_marker(&self, page: &PageArgs, next: Option<&str>) {
        if let (Some(_), Some(next)) = (page.limit, next) {
            self.output.note(&format!("There are more: --marker {}", json!(next)));
        }
    }
}

/// The refusal to manage an administrator as a user.
fn own_account(name: &str) -> Option<CliError> {
    match name {
        "os_admin" => Some(
            CliError::new(Code::Failed, "\"os_admin\" is the agent's own account and cannot be managed here")
                .advise("`rotate-os-admin` gives it a new password, `credentials os_admin` shows its URL"),
        ),
        "root" => Some(
            CliError::new(Code::Failed, "\"root\" is a server administrator and cannot be managed as a user")
                .advise("use `root-enable`, `root-show` and `root-disable`"),
        ),
        _ => None,
    }
}
