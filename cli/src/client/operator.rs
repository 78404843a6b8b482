//! The operator's name, for the context of a request and for the agent's log.
//!
//! It is not authenticated, like everything in a context. Over its socket the agent
//! gets the caller's uid from the kernel.

use std::{env, fs};

use rustix::process::getuid;
use trove_couchdb_protocol::{Context, new_id};

/// The login name of the user who runs this program; with sudo, of the user who called sudo.
pub fn login_name() -> String {
    let uid = getuid().as_raw();
    let sudo = env::var("SUDO_USER").ok().filter(|name| uid == 0 && !name.is_empty());
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    sudo.or_else(|| name_of(uid, &accounts)).unwrap_or_else(|| format!("uid {uid}"))
}

/// The context of one command.
pub(super) fn context() -> Context {
    Context::for_operator(&login_name(), &request_id())
}

/// `passwd(5)`: name, password, uid, and more.
fn name_of(uid: u32, accounts: &str) -> Option<String> {
    let wanted = uid.to_string();
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == wanted).then(|| name.to_owned())
    })
}

/// `req-<uuid>`, in oslo.context's form.
fn request_id() -> String {
    let id = new_id();
    let part = |from: usize, to: usize| id.get(from..to).unwrap_or_default();
    format!("req-{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_in_passwd() {
        let accounts = "root:x:0:0::/root:/bin/sh\nodd\nal:x:1000:1000::/home/al:/bin/sh\n";
        assert_eq!(name_of(1000, accounts).as_deref(), Some("al"));
        assert_eq!(name_of(7, accounts), None);
    }

    #[test]
    fn a_request_id_looks_like_openstacks() {
        let id = request_id();
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [3, 8, 4, 4, 4, 12]);
    }
}
