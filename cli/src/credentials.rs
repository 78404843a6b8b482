//! `credentials`: connection URLs for clients of CouchDB.
//!
//! The agent reports who has access to what, but not passwords: CouchDB stores only hashes. With `--reveal`
//! the password of `os_admin` comes from the agent's file, and any other password from the operator. It is
//! tried once before it is shown, because a service with a wrong password in its URL would lock the account.

use std::fs;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use trove_couchdb_config::Settings;
use trove_couchdb_protocol::{Secret, UserName};
use trove_couchdb_system::environment_of_account;
use url::Url;

use crate::{
    args::{CredentialsArgs, Global},
    client::ListedUser,
    couch,
    exit::{CliError, Code},
    output::{Report, printable, write_out},
    prompt, transport,
    verbs::Session,
};

/// All but RFC 3986's unreserved characters.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The agent's own administrator.
const OS_ADMIN: &str = "os_admin";
/// The administrator that Trove's root commands enable and disable.
const ROOT: &str = "root";

/// An account and the databases in its URLs. An administrator can access all, so its URL contains none.
struct Account {
    name: String,
    databases: Vec<String>,
    is_admin: bool,
}

/// Shows the URLs of one account, or of all users. In the format for people each URL is on its own line and
/// never wrapped, so that it can be copied.
pub async fn show(session: &Session<'_>, global: &Global, args: &CredentialsArgs) -> Result<(), CliError> {
    let accounts = accounts(session, args.name.as_ref()).await?;
    let server = server(&own_url(session, global, args).await?, args)?;
    let password = match &args.name {
        Some(name) if args.reveal => Some(password(global, args, name.as_str(), &server).await?),
        _ => None,
    };
    let mut rows = Vec::new();
    let mut lines = String::new();
    for account in accounts {
        let databases = match account.databases.as_slice() {
            [] => vec![None],
            some => some.iter().map(|name| Some(name.as_str())).collect(),
        };
        for database in databases {
            let url = |scheme: &str| url(scheme, &account.name, password.as_ref(), &server, database);
            let (couchdb, http) = (url("couchdb"), url(server.scheme()));
            if !session.output.is_quiet() {
                let none = if account.is_admin { "the whole server" } else { "no database" };
                let what = database.map_or(none.to_owned(), |name| format!("database {name:?}"));
                lines += &format!("user {:?}, {what}:\n", account.name);
            }
            lines += &format!("{couchdb}\n{http}\n");
            rows.push(vec![
                account.name.as_str().into(),
                database.map_or(Value::Null, Value::from),
                couchdb.into(),
                http.into(),
            ]);
        }
    }
    if session.output.is_table() {
        return write_out(&printable(&lines));
    }
    session.output.show(&Report::List { columns: &["user", "database", "couchdb_url", "http_url"], rows })
}

async fn accounts(session: &Session<'_>, name: Option<&UserName>) -> Result<Vec<Account>, CliError> {
    let Some(name) = name else {
        let (users, _) = session.agent.users(None, None).await?;
        let account =
            |user: ListedUser| Account { name: user.name, databases: user.databases, is_admin: false };
        return Ok(users.into_iter().map(account).collect());
    };
    let databases = match name.as_str() {
        OS_ADMIN => Vec::new(),
        ROOT if session.agent.is_root_enabled().await? => Vec::new(),
        ROOT => {
            return Err(CliError::new(Code::NotFound, "root is not enabled")
                .advise("`root-enable` enables it and shows its password"));
        }
        _ => session.existing_user(name).await?.databases,
    };
    let is_admin = [OS_ADMIN, ROOT].contains(&name.as_str());
    Ok(vec![Account { name: name.as_str().to_owned(), databases, is_admin }])
}

/// The agent's URL of CouchDB. For `os_admin` it comes from the configuration, so
/// that this works while the agent is down.
async fn own_url(session: &Session<'_>, global: &Global, args: &CredentialsArgs) -> Result<Url, CliError> {
    let is_os_admin = args.name.as_ref().is_some_and(|name| name.as_str() == OS_ADMIN);
    if is_os_admin
        && !global.transport.is_broker()
        && let Ok(settings) = Settings::load(transport::sources(&global.sources), environment_of_account())
    {
        return Ok(settings.couchdb.url);
    }
    let status = session.agent.call("get_agent_status", json!({})).await?;
    let own = status["couchdb"]["url"].as_str().and_then(|text| Url::parse(text).ok());
    own.ok_or_else(|| CliError::new(Code::Failed, "the agent does not tell where its CouchDB is"))
}

/// The clients' URL of CouchDB.
fn server(own: &Url, args: &CredentialsArgs) -> Result<Url, CliError> {
    let scheme = args.scheme.clone().unwrap_or_else(|| own.scheme().to_owned());
    let address = match &args.host {
        // The default is CouchDB's own port, also for a different host: clients reach the same server.
        Some(host) if has_port(host) => host.clone(),
        Some(host) => format!("{}:{}", bracketed(host), own.port_or_known_default().unwrap_or(5984)),
        None => {
            format!("{}:{}", own.host_str().unwrap_or_default(), own.port_or_known_default().unwrap_or(5984))
        }
    };
    let url = Url::parse(&format!("{scheme}://{address}/")).ok();
    url.filter(|url| url.path() == "/" && url.username().is_empty() && url.query().is_none())
        // Only the part after an `@` is shown, because a password may precede it.
        .ok_or_else(|| {
            let host = args.host.as_deref().unwrap_or(&address);
            let shown = host.rsplit('@').next().unwrap_or_default();
            CliError::usage(format!("invalid --host {shown:?}: expected HOST or HOST:PORT"))
        })
}

/// Whether a host has a port. A bare IPv6 address contains colons but has no port.
fn has_port(host: &str) -> bool {
    match host.rsplit_once(':') {
        Some((name, port)) => {
            !port.is_empty()
                && port.bytes().all(|b| b.is_ascii_digit())
                && (!name.contains(':') || name.ends_with(']'))
        }
        None => false,
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

fn url(scheme: &str, user: &str, password: Option<&Secret>, server: &Url, database: Option<&str>) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, COMPONENT).to_string();
    let password = password.map(|password| format!(":{}", encoded(password.expose()))).unwrap_or_default();
    let host = server.host_str().unwrap_or_default();
    let port = server.port_or_known_default().unwrap_or(5984);
    let database = database.map(encoded).unwrap_or_default();
    format!("{scheme}://{}{password}@{host}:{port}/{database}", encoded(user))
}

async fn password(
    global: &Global,
    args: &CredentialsArgs,
    name: &str,
    server: &Url,
) -> Result<Secret, CliError> {
    if name == OS_ADMIN {
        return os_admin_password(global);
    }
    let password =
        if args.password_stdin { prompt::password_from_stdin()? } else { prompt::known_password(name)? };
    // Without a configuration, as over RabbitMQ, the authorities of this system are trusted.
    let settings = Settings::load(transport::sources(&global.sources), environment_of_account());
    let files = settings.map(|settings| settings.couchdb.tls).unwrap_or_default();
    couch::must_log_in(server, name, &password, global.timeout, files).await?;
    Ok(password)
}

fn os_admin_password(global: &Global) -> Result<Secret, CliError> {
    if global.transport.is_broker() {
        return Err(CliError::usage("os_admin's password never leaves the instance")
            .advise("run `trove-couchdb credentials os_admin --reveal` there, as root"));
    }
    let settings = Settings::load(transport::sources(&global.sources), environment_of_account())
        .map_err(|error| CliError::usage(error.to_string()).advise("name the agent's files with --config"))?;
    let path = &settings.couchdb.credentials_file;
    let unreadable = |reason: String| {
        CliError::new(
            Code::Failed,
            format!("the credentials file {} can't be read: {reason}", path.display()),
        )
        .advise("run it as root or as the agent's user; `trove-couchdb doctor` checks the file")
    };
    let text = fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let credentials = couch::parse_credentials(&text).map_err(|problem| unreadable(problem.to_owned()))?;
    if credentials.next.is_some() {
        let message = "os_admin's password is being changed, so that one of two may hold";
        return Err(CliError::new(Code::Failed, message).advise(
            "ask again in a moment; if that does not help, see that the agent runs: it ends the change",
        ));
    }
    Ok(credentials.password)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_and_passwords_are_encoded() {
        let server = Url::parse("http://127.0.0.1:5984/").unwrap();
        let password = Secret::new("p@ss:/ü?#");
        assert_eq!(
            url("couchdb", "a@b/c", Some(&password), &server, Some("x/y+z")),
            "couchdb://a%40b%2Fc:p%40ss%3A%2F%C3%BC%3F%23@127.0.0.1:5984/x%2Fy%2Bz"
        );
        let v6 = Url::parse("https://[2001:db8::1]/").unwrap();
        assert_eq!(url("https", "al", None, &v6, None), "https://al@[2001:db8::1]:443/");
    }

    #[test]
    fn a_host_may_have_a_port() {
        for (host, has) in [
            ("db", false),
            ("db:1", true),
            ("::1", false),
            ("[::1]", false),
            ("[::1]:1", true),
            ("db:", false),
        ] {
            assert_eq!(has_port(host), has, "{host}");
        }
        assert_eq!(bracketed("::1"), "[::1]");
    }
}
