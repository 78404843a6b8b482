#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::*;

/// A model of the disk and the server. Passwords are numbers.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::struct_excessive_bools)] // independent facts
struct Model {
    file: Option<u32>,
    /// The `os_admin` of the ini file with the highest precedence, which also gets CouchDB's own changes.
    ini: Option<u32>,
    ini_directory: bool,
    bootstrap_admin: bool,
    /// Whether the server accepts the bootstrap administrator's password.
    bootstrap_works: bool,
    /// `[admins]`: the password of `os_admin`, and whether there are other administrators.
    os_admin: Option<u32>,
    others: bool,
    running: bool,
    /// CouchDB 3.x does not start without an administrator.
    needs_admin: bool,
    passwords_made: u32,
}

/// What the agent has learned since it started.
#[derive(Debug, Clone, Copy)]
struct Observations {
    login: LoginTried,
    asked: bool,
    file_is_new: bool,
    wrong_logins: u32,
}

const FRESH: Observations =
    Observations { login: LoginTried::No, asked: false, file_is_new: false, wrong_logins: 0 };

impl Model {
    fn server(&self) -> Server {
        match (self.running, self.os_admin.is_some() || self.others) {
            (false, _) => Server::Down,
            (true, true) => Server::Closed,
            (true, false) => Server::Party,
        }
    }

    fn snapshot(&self, observations: Observations) -> Snapshot {
        Snapshot {
            file: match (self.file, observations.file_is_new) {
                (None, _) => File::Missing,
                (Some(_), true) => File::New,
                (Some(_), false) => File::Existing,
            },
            server: self.server(),
            login: observations.login,
            bootstrap_admin: match (self.bootstrap_admin, observations.asked, self.os_admin) {
                (false, _, _) => BootstrapAdmin::None,
                (true, false, _) => BootstrapAdmin::Unasked,
                (true, true, _) if !self.bootstrap_works => BootstrapAdmin::Refused,
                (true, true, None) => BootstrapAdmin::SeesNoOsAdmin,
                (true, true, Some(_)) => BootstrapAdmin::SeesOsAdmin,
            },
            ini: match (self.ini_directory, self.ini) {
                (false, _) => Ini::NoDirectory,
                (true, None) => Ini::Absent,
                (true, ini) if ini == self.file => Ini::Installed,
                (true, Some(_)) => Ini::Foreign,
            },
        }
    }

    /// Does a step. Returns false if nothing changes any more without an operator.
    fn act(&mut self, step: BootstrapStep, observations: &mut Observations) -> bool {
        match step {
            BootstrapStep::WriteCredentials => {
                assert!(self.file.is_none(), "a password is never replaced");
                self.passwords_made += 1;
                self.file = Some(self.passwords_made);
                observations.file_is_new = true;
            }
            BootstrapStep::InstallIni => {
                assert!(self.ini.is_none(), "another os_admin is never overwritten");
                self.ini = self.file;
            }
            // The operator or systemd starts CouchDB.
            BootstrapStep::AwaitServer | BootstrapStep::AwaitRestart => {
                if self.ini.is_some() {
                    self.os_admin = self.ini;
                }
                self.running = !self.needs_admin || self.os_admin.is_some() || self.others;
                observations.login = LoginTried::No;
                observations.asked = false;
                return self.running;
            }
            BootstrapStep::AskBootstrapAdmin => observations.asked = true,
            BootstrapStep::EndParty => {
                assert_eq!(self.server(), Server::Party);
                self.put_os_admin();
            }
            BootstrapStep::CreateOsAdmin => {
                assert!(self.bootstrap_works);
                self.put_os_admin();
                observations.login = LoginTried::No;
            }
            BootstrapStep::Login => {
                assert_eq!(observations.login, LoginTried::No, "one try only");
                observations.login = if self.os_admin == self.file && self.file.is_some() {
                    LoginTried::Accepted
                } else {
                    observations.wrong_logins += 1;
                    LoginTried::Refused
                };
                assert!(observations.wrong_logins <= 1, "far from the lockout");
            }
            BootstrapStep::EnsureDatabases
            | BootstrapStep::Blocked
            | BootstrapStep::CredentialsMismatch
            | BootstrapStep::Refused
            | BootstrapStep::Overridden => {
                return false;
            }
        }
        true
    }

    fn put_os_admin(&mut self) {
        assert!(self.os_admin.is_none(), "another os_admin is never overwritten");
        assert!(self.ini.is_none() || self.ini == self.file, "nor one that comes with the next start");
        self.os_admin = self.file;
        if self.ini_directory {
            self.ini = self.file;
        }
    }
}

/// Runs bootstrap to its verdict, the last step. The agent is restarted after the steps that `deaths` marks.
fn run(model: &mut Model, deaths: &[bool]) -> BootstrapStep {
    let mut observations = FRESH;
    let mut deaths = deaths.iter();
    for _ in 0..100 {
        let step = next(model.snapshot(observations));
        if !model.act(step, &mut observations) {
            return step;
        }
        if deaths.next().copied().unwrap_or(false) {
            observations = FRESH;
        }
    }
    panic!("bootstrap goes round in circles: {model:?}");
}

fn party() -> Model {
    Model {
        file: None,
        ini: None,
        ini_directory: false,
        bootstrap_admin: false,
        bootstrap_works: true,
        os_admin: None,
        others: false,
        running: true,
        needs_admin: false,
        passwords_made: 0,
    }
}

#[test]
fn an_admin_party_ends_with_the_files_password() {
    let mut model = party();
    assert_eq!(run(&mut model, &[]), BootstrapStep::EnsureDatabases);
    assert_eq!((model.file, model.os_admin, model.passwords_made), (Some(1), Some(1), 1));
}

#[test]
fn a_3x_server_is_helped_to_its_start() {
    let mut model = Model { running: false, needs_admin: true, ini_directory: true, ..party() };
    assert_eq!(run(&mut model, &[]), BootstrapStep::EnsureDatabases);
    assert_eq!((model.ini, model.os_admin), (Some(1), Some(1)));
}

#[test]
fn a_bootstrap_admin_makes_os_admin_without_a_wrong_login() {
    let mut model = Model { others: true, bootstrap_admin: true, ..party() };
    assert_eq!(run(&mut model, &[]), BootstrapStep::EnsureDatabases);
    assert_eq!(model.os_admin, Some(1));
}

#[test]
fn a_closed_server_without_a_way_in_leaves_no_file() {
    let mut model = Model { others: true, ..party() };
    assert_eq!(run(&mut model, &[]), BootstrapStep::Blocked);
    assert_eq!(model.file, None);
    let mut model = Model { os_admin: Some(9), bootstrap_admin: true, ..party() };
    assert_eq!(run(&mut model, &[]), BootstrapStep::CredentialsMismatch);
    assert_eq!((model.file, model.os_admin), (None, Some(9)));
}

#[test]
fn a_file_that_fits_no_more_is_reported_and_kept() {
    for bootstrap_admin in [false, true] {
        let mut model = Model { file: Some(7), os_admin: Some(8), bootstrap_admin, ..party() };
        // Only an administrator can see that CouchDB has a different os_admin.
        let verdict =
            if bootstrap_admin { BootstrapStep::CredentialsMismatch } else { BootstrapStep::Refused };
        assert_eq!(run(&mut model, &[]), verdict);
        assert_eq!((model.file, model.os_admin, model.passwords_made), (Some(7), Some(8), 0));
    }
}

#[test]
fn a_bootstrap_admin_that_is_gone_is_not_missed() {
    let gone = Model { others: true, bootstrap_admin: true, bootstrap_works: false, ..party() };
    let mut restarted = Model { file: Some(7), os_admin: Some(7), ..gone.clone() };
    assert_eq!(run(&mut restarted, &[]), BootstrapStep::EnsureDatabases);
    let mut lost = Model { file: Some(7), os_admin: Some(8), ..gone.clone() };
    assert_eq!(run(&mut lost, &[]), BootstrapStep::Refused);
    assert_eq!(run(&mut gone.clone(), &[]), BootstrapStep::Blocked);
}

#[test]
fn a_lost_file_does_not_cost_the_ini_files_os_admin_its_password() {
    for running in [false, true] {
        let mut model = Model {
            ini_directory: true,
            ini: Some(9),
            os_admin: Some(9),
            needs_admin: true,
            running,
            ..party()
        };
        assert_eq!(run(&mut model, &[]), BootstrapStep::CredentialsMismatch);
        assert_eq!((model.file, model.ini, model.os_admin), (None, Some(9), Some(9)));
    }
}

#[test]
fn an_ini_file_that_is_overridden_is_explained() {
    let snapshot = Snapshot {
        file: File::Existing,
        server: Server::Closed,
        login: LoginTried::Refused,
        bootstrap_admin: BootstrapAdmin::None,
        ini: Ini::Overridden,
    };
    assert_eq!(next(snapshot), BootstrapStep::Overridden);
    assert_eq!(
        next(Snapshot { login: LoginTried::No, ..snapshot }),
        BootstrapStep::Login,
        "it may fit all the same"
    );
    assert_eq!(next(Snapshot { server: Server::Down, ..snapshot }), BootstrapStep::AwaitServer);
}

proptest! {
    /// In every environment, and wherever the agent is killed, bootstrap reaches the same verdict. It
    /// generates at most one password and never replaces one.
    #[test]
    fn killing_changes_nothing(
        ini_directory in any::<bool>(), bootstrap_admin in any::<bool>(), bootstrap_works in any::<bool>(),
        others in any::<bool>(), running in any::<bool>(), needs_admin in any::<bool>(),
        file in prop::option::of(90_u32..92), ini in prop::option::of(90_u32..92),
        os_admin in prop::option::of(90_u32..92), deaths in prop::collection::vec(any::<bool>(), 40),
    ) {
        let ini = ini.filter(|_| ini_directory);
        let before = Model {
            file, ini_directory, others, running, ini, needs_admin, bootstrap_works, passwords_made: 0,
            // An administrator that exists after the start is in an ini file, if the agent can read them.
            os_admin: if ini_directory && !running { ini } else { os_admin },
            // A bootstrap administrator is an administrator.
            bootstrap_admin: bootstrap_admin && others,
        };
        let mut calm = before.clone();
        let mut killed = before.clone();
        let verdict = run(&mut calm, &[]);
        prop_assert_eq!(verdict, run(&mut killed, &deaths));
        prop_assert_eq!(&calm, &killed);
        prop_assert!(calm.passwords_made <= 1);
        if verdict == BootstrapStep::EnsureDatabases {
            prop_assert_eq!(calm.os_admin, calm.file);
        }
        if file.is_some() {
            prop_assert_eq!(calm.file, file);
        } else if before.os_admin.is_some() {
            prop_assert_eq!((calm.file, calm.os_admin), (None, before.os_admin), "nobody's password is replaced");
        }
    }
}
