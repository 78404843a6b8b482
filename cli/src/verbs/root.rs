//! `root-enable`, `root-show`, `root-disable`.

use super::Session;
use crate::{
    args::RootArgs,
    exit::{CliError, Code},
    output::Report,
    prompt,
};

pub(super) async fn enable(session: &Session<'_>, args: &RootArgs) -> Result<Report, CliError> {
    let given = match args {
        RootArgs { password_stdin: true, .. } => Some(prompt::password_from_stdin()?),
        RootArgs { root_password: true, .. } => Some(prompt::new_password("root")?),
        _ => None,
    };
    let password = session.agent.enable_root(given.as_ref()).await?;
    let message = "Enabled root. It is a server administrator and may do everything.".to_owned();
    let mut record = vec![("name", "root".into())];
    if given.is_some() {
        return Ok(Report::done(message, record));
    }
    record.push(("password", password.expose().into()));
    Ok(Report::Done { message, record, shown: &["name", "password"] })
}

pub(super) async fn show(session: &Session<'_>) -> Result<Report, CliError> {
    Ok(Report::Record(vec![("is_root_enabled", session.agent.is_root_enabled().await?.into())]))
}

pub(super) async fn disable(session: &Session<'_>) -> Result<Report, CliError> {
    session.consent.possible("disable root")?;
    if !session.agent.is_root_enabled().await? {
        // trove-api also answers 404 if root was never enabled.
        return Err(CliError::new(Code::NotFound, "root is not enabled"));
    }
    session.consent.ask("Disable root?")?;
    session.agent.disable_root().await?;
    Ok(Report::done("Disabled root.", vec![("name", "root".into())]))
}
