//! `completions` and `man`: made from the definition of the command line, so that they can't lag behind it.

use std::{fs, path::Path};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{
    args::{Cli, ManArgs},
    exit::{CliError, Code},
    output::Report,
};

const NAME: &str = "trove-couchdb";

/// The completions for a shell.
pub fn completions(shell: Shell) -> Report {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    Report::Text(String::from_utf8_lossy(&script).into_owned())
}

/// The main page, or all pages into a directory.
pub fn man(args: &ManArgs) -> Result<Report, CliError> {
    let failed = |error: std::io::Error| CliError::new(Code::Failed, format!("no manual page: {error}"));
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(failed)?;
        return Ok(Report::Text(String::from_utf8_lossy(&page).into_owned()));
    };
    write_pages(dir).map_err(|error| {
        CliError::new(
            Code::Failed,
            format!("the manual pages can't be written to {}: {error}", dir.display()),
        )
    })?;
    let message = format!("The manual pages are in {}.", dir.display());
    Ok(Report::done(message, vec![("dir", dir.display().to_string().into())]))
}

fn write_pages(dir: &Path) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    clap_mangen::generate_to(Cli::command(), dir)
}
