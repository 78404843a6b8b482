//! Reads files in a directory that belongs to a different account.
//!
//! CouchDB's account owns `local.d`, and the agent writes the content of its own file there back for CouchDB
//! to read. A link in place of the file could expose the agent's secrets, and a pipe or an endless device
//! could block the agent. So the checks apply to the opened file, because the path may change after a check.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

/// In bytes. CouchDB's own default.ini has 40 KiB.
const LARGEST: u64 = 1 << 20;

/// Root may edit any file.
const ROOT: u32 = 0;

const REMOVE: &str = "find out who put it there, and remove it: the agent writes its own";

/// Another program's ini file. Follows symbolic links, because administrators link files from elsewhere.
pub(super) fn foreign(path: &Path) -> io::Result<String> {
    Ok(regular(path, OFlags::empty())?.0)
}

/// The agent's own ini file. It must be a regular file without other hard links, owned by the agent, by
/// `couchdb` (the owner of the directory) or by root.
pub(super) fn own(path: &Path, couchdb: u32) -> io::Result<(String, Metadata)> {
    let (text, metadata) = regular(path, OFlags::NOFOLLOW)?;
    let agent = rustix::process::geteuid().as_raw();
    may_be_own(metadata.uid(), metadata.nlink(), [agent, couchdb, ROOT])?;
    Ok((text, metadata))
}

fn may_be_own(owner: u32, names: u64, makers: [u32; 3]) -> io::Result<()> {
    if !makers.contains(&owner) {
        let [agent, couchdb, root] = makers;
        return Err(refused(format!(
            "it belongs to uid {owner}, not to the agent ({agent}), the directory's owner ({couchdb}) or root ({root}); \
             {REMOVE}"
        )));
    }
    if names != 1 {
        return Err(refused(format!("it is a hard link to a file with {names} names; {REMOVE}")));
    }
    Ok(())
}

fn regular(path: &Path, flags: OFlags) -> io::Result<(String, Metadata)> {
    let flags = flags | OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::LOOP) => {
            return Err(refused(format!("it is a symbolic link, which the agent does not follow; {REMOVE}")));
        }
        // The error for a socket.
        Err(Errno::NXIO) => return Err(not_regular()),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(not_regular());
    }
    let mut content = Vec::new();
    // Limit the bytes read, not the size from the metadata: the file may grow.
    file.take(LARGEST + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST {
        return Err(refused(format!("it is larger than {LARGEST} bytes, which no ini file is; {REMOVE}")));
    }
    let text = String::from_utf8(content).map_err(|_| refused("it is not UTF-8".to_owned()))?;
    Ok((text, metadata))
}

fn not_regular() -> io::Error {
    refused(format!("it is no regular file; {REMOVE}"))
}

fn refused(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        fs,
        os::unix::{fs::symlink, net::UnixListener},
        path::PathBuf,
    };

    use rustix::fs::{CWD, FileType};

    use super::*;

    fn ini_file() -> (tempfile::TempDir, PathBuf, u32) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("zz.ini");
        let owner = fs::metadata(directory.path()).unwrap().uid();
        (directory, path, owner)
    }

    fn make_pipe(path: &Path) {
        rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }

    #[test]
    fn a_link_is_followed_for_others_and_refused_as_our_own() {
        let (directory, path, owner) = ini_file();
        let secret = directory.path().join("guest_info.conf");
        fs::write(&secret, "guest_id = hunter2").unwrap();
        symlink(&secret, &path).unwrap();
        let told = own(&path, owner).unwrap_err().to_string();
        assert!(told.contains("symbolic link") && told.contains("remove it"), "{told}");
        assert_eq!(foreign(&path).unwrap(), "guest_id = hunter2");
        fs::remove_file(&path).unwrap();
        fs::hard_link(&secret, &path).unwrap();
        let told = own(&path, owner).unwrap_err().to_string();
        assert!(told.contains("hard link") && told.contains("remove it"), "{told}");
        fs::remove_file(&secret).unwrap();
        assert_eq!(own(&path, owner).unwrap().0, "guest_id = hunter2", "the only name of it");
    }

    #[test]
    fn a_file_of_a_third_account_is_none_of_ours() {
        let (agent, couchdb, other) = (994, 993, 1_000);
        for maker in [agent, couchdb, ROOT] {
            may_be_own(maker, 1, [agent, couchdb, ROOT]).unwrap();
        }
        let told = may_be_own(other, 1, [agent, couchdb, ROOT]).unwrap_err().to_string();
        assert!(told.contains("uid 1000") && told.contains("remove it"), "{told}");
    }

    #[test]
    fn a_path_that_is_no_file_blocks_no_reader() {
        let (directory, path, owner) = ini_file();
        make_pipe(&path);
        let socket = directory.path().join("socket.ini");
        let _listener = UnixListener::bind(&socket).unwrap();
        let zero = directory.path().join("zero.ini");
        symlink("/dev/zero", &zero).unwrap();
        for path in [path.as_path(), &socket, directory.path()] {
            let told = own(path, owner).unwrap_err().to_string();
            assert!(told.contains("no regular file"), "{told}");
        }
        for path in [path.as_path(), &socket, &zero, directory.path()] {
            let told = foreign(path).unwrap_err().to_string();
            assert!(told.contains("no regular file"), "{told}");
        }
    }

    #[test]
    fn a_file_has_a_size_at_most() {
        let (_directory, path, owner) = ini_file();
        let file = File::create(&path).unwrap();
        file.set_len(LARGEST).unwrap();
        assert_eq!(own(&path, owner).unwrap().0.len() as u64, LARGEST);
        // A sparse file, a thousand times the limit.
        file.set_len(LARGEST << 10).unwrap();
        for told in [own(&path, owner).map(|_| ()), foreign(&path).map(|_| ())] {
            assert!(told.unwrap_err().to_string().contains("larger than 1048576 bytes"));
        }
    }

    #[test]
    fn a_missing_file_is_missing() {
        let (_directory, path, owner) = ini_file();
        assert_eq!(own(&path, owner).unwrap_err().kind(), io::ErrorKind::NotFound);
        symlink("nowhere", &path).unwrap();
        assert_ne!(
            own(&path, owner).unwrap_err().kind(),
            io::ErrorKind::NotFound,
            "it would be written over"
        );
    }
}
