//! The arguments of the verbs on CouchDB's configuration.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Which options.
#[derive(Debug, Args)]
pub struct ConfigShowArgs {
    /// Show every option that can be set, also those that are not set
    #[arg(long)]
    pub all: bool,
}

/// Options with their values.
#[derive(Debug, Args)]
pub struct ConfigSetArgs {
    /// An option and its value, such as chttpd_auth.timeout=1200
    #[arg(required = true, value_name = "OPTION=VALUE", value_parser = assignment)]
    pub options: Vec<(String, String)>,
}

/// Options.
#[derive(Debug, Args)]
pub struct ConfigUnsetArgs {
    /// An option, such as chttpd_auth.timeout
    #[arg(required = true, value_name = "OPTION")]
    pub options: Vec<String>,
}

/// A file with options.
#[derive(Debug, Args)]
pub struct ConfigApplyArgs {
    /// The file; `-` is standard input
    #[arg(value_name = "FILE.ini", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (option, value) = text.split_once('=').ok_or("write OPTION=VALUE, such as log.level=info")?;
    Ok((option.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_ends_at_the_first_equals_sign() {
        let pair = |option: &str, value: &str| Ok((option.to_owned(), value.to_owned()));
        assert_eq!(assignment("log.level = info"), pair("log.level", "info"));
        assert_eq!(assignment("a.b=c=d"), pair("a.b", "c=d"));
        assert!(assignment("log.level").is_err());
    }
}
