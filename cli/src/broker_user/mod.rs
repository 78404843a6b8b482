//! `broker-user`: the commands that create a RabbitMQ account for one instance. They are only printed, so
//! that an administrator of the broker can check them before running them.
//!
//! Everything comes from the control plane's configuration (exchange, conductor's queue, hosts, virtual
//! host), so that the account has the permissions that the instance's agent needs. SECURITY.md explains what
//! the account protects against.

mod permissions;

use serde_json::{Value, json};
use trove_couchdb_protocol::{Secret, TransportUrl};

pub use permissions::Permissions;

use crate::{
    args::{BrokerUserArgs, Global},
    exit::CliError,
    output::Output,
    prompt, transport,
};

/// The agent uses one connection, and briefly a second one when it reconnects; `doctor` may use another.
const LIMITS: &str = r#"{"max-connections": 4, "max-channels": 16}"#;

/// Read after the files that Trove injects, so that this URL overrides the URL that all guests get.
const INSTANCE_FILE: &str = "/etc/trove/conf.d/zz-broker-user.conf";

/// Prints the commands.
pub fn show(global: &Global, args: &BrokerUserArgs, output: Output) -> Result<(), CliError> {
    let (settings, _) = transport::broker_settings(&global.transport, &global.sources)?;
    let broker = settings.broker.as_ref().ok_or_else(|| {
        CliError::usage("the configuration has no broker (transport_url is local:)")
            .advise("name the control plane's with --config-file /etc/trove/trove.conf")
    })?;
    let guest_id = &settings.guest.id;
    let user = args.user.clone().unwrap_or_else(|| format!("guestagent-{guest_id}"));
    let password = prompt::generated_password();
    let account = Account {
        guest_id,
        permissions: Permissions::of_guest(guest_id, broker),
        url: url_for(&broker.transport_url, &user, &password, args.vhost.as_deref()),
        user,
        password,
    };
    output.show_as(&account.document(), &account.script(), &(account.commands().join("\n") + "\n"))
}

/// The control plane's URL with this account for each host and, if given, a different virtual host.
fn url_for(
    of_control_plane: &TransportUrl,
    user: &str,
    password: &Secret,
    vhost: Option<&str>,
) -> TransportUrl {
    let mut url = of_control_plane.clone();
    for host in &mut url.hosts {
        host.user = Some(user.to_owned());
        host.password = Some(password.clone());
    }
    if let Some(vhost) = vhost {
        vhost.clone_into(&mut url.vhost);
    }
    url
}

struct Account<'a> {
    guest_id: &'a str,
    user: String,
    password: Secret,
    url: TransportUrl,
    permissions: Permissions,
}

impl Account<'_> {
    /// The commands for a shell. The password goes through a pipe: `ps` shows the arguments of `rabbitmqctl`,
    /// but not those of `printf`, which is a shell builtin.
    fn commands(&self) -> Vec<String> {
        let Self { permissions, .. } = self;
        let (user, vhost) = (quoted(&self.user), quoted(&self.url.vhost));
        let in_vhost = |command: &str, words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
            format!("rabbitmqctl {command} -p {vhost} {user} {}", words.join(" "))
        };
        vec![
            format!("printf '%s\\n' {} | rabbitmqctl add_user {user}", quoted(self.password.expose())),
            format!("rabbitmqctl set_user_limits {user} {}", quoted(LIMITS)),
            // The restriction first: an account without permissions cannot do anything yet.
            in_vhost(
                "set_topic_permissions",
                &[&permissions.exchange, &permissions.topic_write, &permissions.topic_read],
            ),
            in_vhost("set_permissions", &[&permissions.configure, &permissions.write, &permissions.read]),
        ]
    }

    fn script(&self) -> String {
        format!(
            "# The RabbitMQ account of instance {}. Run this where rabbitmqctl is; the password is stored nowhere else.\n\
             set -e\n{}\n\
             # And on the instance, as {INSTANCE_FILE} (root:trove-couchdb, mode 0640), then restart the agent:\n\
             # [DEFAULT]\n# transport_url = {}\n\
             # To undo it: rabbitmqctl delete_user {}\n",
            one_line(self.guest_id),
            self.commands().join("\n"),
            self.url.exposed().expose(),
            one_line(&quoted(&self.user)),
        )
    }

    fn document(&self) -> Value {
        let permissions = &self.permissions;
        json!({
            "instance": self.guest_id,
            "user": self.user,
            "password": self.password.expose(),
            "vhost": self.url.vhost,
            "transport_url": self.url.exposed().expose(),
            "permissions": {
                "configure": permissions.configure, "write": permissions.write, "read": permissions.read,
            },
            "topic_permissions": {
                "exchange": permissions.exchange, "write": permissions.topic_write, "read": permissions.topic_read,
            },
            "commands": self.commands(),
        })
    }
}

/// Quotes any text as one word of a POSIX shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The text for a comment, which must not contain line breaks.
fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn account(guest_id: &str, user: &str) -> String {
        let control_plane = "rabbit://trove:old-pw@h1:5671,trove:old-pw@h2/tro%2Fve?ssl=1".parse().unwrap();
        let password = Secret::new("new-pw");
        let permissions = Permissions {
            configure: "^c$".to_owned(),
            write: "^w$".to_owned(),
            read: "^r$".to_owned(),
            exchange: "openstack".to_owned(),
            topic_write: "^tw$".to_owned(),
            topic_read: "^tr$".to_owned(),
        };
        let url = url_for(&control_plane, user, &password, None);
        Account { guest_id, user: user.to_owned(), password, url, permissions }.script()
    }

    #[test]
    fn the_script() {
        let expected = r#"# The RabbitMQ account of instance i-1. Run this where rabbitmqctl is; the password is stored nowhere else.
set -e
printf '%s\n' 'new-pw' | rabbitmqctl add_user 'guestagent-i-1'
rabbitmqctl set_user_limits 'guestagent-i-1' '{"max-connections": 4, "max-channels": 16}'
rabbitmqctl set_topic_permissions -p 'tro/ve' 'guestagent-i-1' 'openstack' '^tw$' '^tr$'
rabbitmqctl set_permissions -p 'tro/ve' 'guestagent-i-1' '^c$' '^w$' '^r$'
# And on the instance, as /etc/trove/conf.d/zz-broker-user.conf (root:trove-couchdb, mode 0640), then restart the agent:
# [DEFAULT]
# transport_url = rabbit://guestagent%2Di%2D1:new%2Dpw@h1:5671,guestagent%2Di%2D1:new%2Dpw@h2:5672/tro%2Fve?ssl=1
# To undo it: rabbitmqctl delete_user 'guestagent-i-1'
"#;
        assert_eq!(account("i-1", "guestagent-i-1"), expected);
    }

    #[test]
    fn nothing_leaves_its_quotes_or_its_comment() {
        let script = account("i\nrm -rf /", "a'; reboot #\nreboot");
        assert!(script.lines().all(|line| !line.starts_with("rm ")), "{script}");
        assert!(script.contains(r"rabbitmqctl add_user 'a'\''; reboot #"), "{script}");
        let undo = script.lines().last().unwrap();
        assert!(undo.starts_with("# To undo it") && undo.contains("reboot"), "{undo}");
        assert!(!script.contains("old-pw"));
    }
}
