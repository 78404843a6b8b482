//! Groups by name, from the name service of this machine (NSS: files, LDAP, …).

use std::io;

use nix::unistd::Group;

/// The id of a group that is given by name or number.
///
/// # Errors
/// The group does not exist, or the name service failed.
pub fn group_id(group: &str) -> io::Result<u32> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    match Group::from_name(group)? {
        Some(found) => Ok(found.gid.as_raw()),
        None => Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no group {group:?}"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(group_id("root").unwrap(), 0);
        assert_eq!(group_id("4711").unwrap(), 4711);
        assert_eq!(group_id("no-such-group").unwrap_err().to_string(), "there is no group \"no-such-group\"");
        assert!(group_id("a\0b").is_err());
    }
}
