#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn an_installed_hash_fits_its_password_only() {
    let directory = tempfile::tempdir().unwrap();
    let ini = AdminIni::in_directory(directory.path());
    let (right, wrong) = (Secret::new("right"), Secret::new("wrong"));
    assert_eq!(ini.look(Some(&right)).unwrap(), Ini::Absent);
    ini.install(&right, 10).unwrap();
    assert_eq!(ini.look(Some(&right)).unwrap(), Ini::Installed);
    assert_eq!(ini.look(Some(&wrong)).unwrap(), Ini::Foreign);
    assert_eq!(ini.look(None).unwrap(), Ini::Foreign, "somebody's os_admin");
    ini.install(&wrong, 10).unwrap();
    assert_eq!(ini.look(Some(&wrong)).unwrap(), Ini::Installed);
    let text = fs::read_to_string(ini.path()).unwrap();
    assert!(!text.contains("wrong"), "the password itself is not in it");
    assert_eq!(text.matches("os_admin").count(), 1);
}

#[test]
fn the_last_file_counts_and_ours_is_seldom_before_another() {
    let etc = tempfile::tempdir().unwrap();
    let directory = etc.path().join("local.d");
    fs::create_dir(&directory).unwrap();
    let ini = AdminIni::in_directory(&directory);
    let password = Secret::new("right");
    fs::write(etc.path().join("local.ini"), "[admins]\nos_admin = -hash\n").unwrap();
    assert_eq!(ini.look(Some(&password)).unwrap(), Ini::Foreign, "CouchDB's own changes stand there");
    ini.install(&password, 10).unwrap();
    assert_eq!(ini.look(Some(&password)).unwrap(), Ini::Installed);
    fs::write(directory.join("10-admins.ini"), "[admins]\nos_admin = -hash\n").unwrap();
    assert_eq!(ini.look(Some(&password)).unwrap(), Ini::Installed);
    fs::write(directory.join("zzz.ini"), "[admins]\nos_admin = -hash\n").unwrap();
    assert_eq!(ini.look(Some(&password)).unwrap(), Ini::Overridden);
}

/// CouchDB 3.3 writes this when `os_admin` is deleted from its configuration.
#[test]
fn a_deleted_os_admin_is_absent_and_deletes_that_of_earlier_files() {
    let etc = tempfile::tempdir().unwrap();
    let directory = etc.path().join("local.d");
    fs::create_dir(&directory).unwrap();
    let ini = AdminIni::in_directory(&directory);
    let password = Secret::new("right");
    fs::write(etc.path().join("local.ini"), "[admins]\nos_admin = -hash\n").unwrap();
    fs::write(directory.join("10-admins.ini"), "[admins]\nos_admin = \n").unwrap();
    assert_eq!(ini.look(Some(&password)).unwrap(), Ini::Absent);
    ini.install(&password, 10).unwrap();
    assert_eq!(ini.look(Some(&password)).unwrap(), Ini::Installed);
    fs::write(directory.join("zzz.ini"), "[admins]\nos_admin = \n").unwrap();
    assert_eq!(ini.look(Some(&password)).unwrap(), Ini::Overridden);
    assert_eq!(os_admin_in("[admins]\nos_admin =\n"), None);
}

#[test]
fn a_file_that_couchdb_cannot_read_is_written_again() {
    if !rustix::process::geteuid().is_root() {
        return; // only root can change the owner
    }
    let directory = tempfile::tempdir().unwrap();
    let couchdb = 12_345;
    std::os::unix::fs::chown(directory.path(), Some(couchdb), Some(couchdb)).unwrap();
    let ini = AdminIni::in_directory(directory.path());
    let password = Secret::new("right");
    ini.install(&password, 10).unwrap();
    assert_eq!(fs::metadata(ini.path()).unwrap().uid(), couchdb);
    std::os::unix::fs::chown(ini.path(), Some(0), Some(0)).unwrap();
    assert_eq!(ini.look(Some(&password)).unwrap(), Ini::Absent);
    ini.install(&password, 10).unwrap();
    assert_eq!(ini.look(Some(&password)).unwrap(), Ini::Installed);
}

/// Mutation: own-ini-through-a-link (docs/guarantees.md).
#[test]
fn a_link_in_its_place_has_nothing_copied() {
    let etc = tempfile::tempdir().unwrap();
    let directory = etc.path().join("local.d");
    fs::create_dir(&directory).unwrap();
    let secret = etc.path().join("guest_info.conf");
    let planted = "[admins]\nos_admin = -hash\ninstance_rpc_encr_key = hunter2\n";
    fs::write(&secret, planted).unwrap();
    let ini = AdminIni::in_directory(&directory);
    std::os::unix::fs::symlink(&secret, ini.path()).unwrap();
    let password = Secret::new("right");
    let (looked, installed, followed) =
        (ini.look(Some(&password)).map(|_| ()), ini.install(&password, 10), ini.follow(&password, 10));
    for refused in [looked, installed, followed] {
        let told = refused.unwrap_err().to_string();
        assert!(told.contains("symbolic link") && told.contains("remove it"), "{told}");
    }
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "the link");
    assert_eq!(fs::read_to_string(&secret).unwrap(), planted, "what it leads to is as it was");
    fs::remove_file(ini.path()).unwrap();
    ini.install(&password, 10).unwrap();
    assert_eq!(ini.look(Some(&password)).unwrap(), Ini::Installed);
    assert!(!fs::read_to_string(ini.path()).unwrap().contains("hunter2"));
}

/// Replacing a file replaces the directory entry, so the agent never writes through a link.
#[test]
fn a_link_that_comes_between_reading_and_writing_is_replaced_itself() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = directory.path().join("elsewhere");
    fs::write(&elsewhere, "as it was").unwrap();
    let links: [fn(&PathBuf, &PathBuf) -> io::Result<()>; 2] =
        [|from, to| std::os::unix::fs::symlink(from, to), |from, to| fs::hard_link(from, to)];
    for link in links {
        let path = directory.path().join(FILE_NAME);
        link(&elsewhere, &path).unwrap();
        let we = fs::metadata(directory.path()).unwrap();
        system::replace_as(&path, b"new", MODE, system::Owner { user: we.uid(), group: we.gid() }).unwrap();
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "as it was");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_pipe_in_the_same_directory_is_ignored_and_blocks_no_reader() {
    let directory = tempfile::tempdir().unwrap();
    let ini = AdminIni::in_directory(directory.path());
    let pipe = directory.path().join("10-pipe.ini");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    std::os::unix::fs::symlink("/dev/zero", directory.path().join("20-zero.ini")).unwrap();
    let password = Secret::new("right");
    assert_eq!(ini.look(Some(&password)).unwrap(), Ini::Absent);
    ini.install(&password, 10).unwrap();
    assert_eq!(ini.look(Some(&password)).unwrap(), Ini::Installed);
}

#[test]
fn so_many_files_are_none_of_couchdbs() {
    let directory = tempfile::tempdir().unwrap();
    let ini = AdminIni::in_directory(directory.path());
    let put = |number: usize| fs::write(directory.path().join(format!("{number}.ini")), "").unwrap();
    (0..MOST_INI_FILES).for_each(put);
    fs::write(directory.path().join("README"), "").unwrap();
    assert_eq!(ini.look(None).unwrap(), Ini::Absent);
    put(MOST_INI_FILES);
    let told = ini.look(None).unwrap_err().to_string();
    assert!(told.contains("more than 1000 ini files"), "{told}");
}

#[test]
fn what_couchdb_wrote_into_it_stays() {
    let before =
        "; by CouchDB\n[admins]\nos_admin = -old\nroot = -hash\n[couchdb]\nuuid = 1\nos_admin = no\n";
    assert_eq!(
        with_admin(before, "-new"),
        "; by CouchDB\n[admins]\nos_admin = -new\nroot = -hash\n[couchdb]\nuuid = 1\nos_admin = no\n"
    );
    assert_eq!(with_admin("", "-new"), "[admins]\nos_admin = -new\n");
    assert_eq!(admin_value(before), Some("-old"));
    assert_eq!(admin_value("[other]\nos_admin = x\n"), None);
}
