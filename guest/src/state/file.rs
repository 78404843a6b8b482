//! `prepared.json` in the state directory: the guest's state and the guest's id.
//!
//! ```json
//! {"prepared": true, "settling": true, "guest_id": "6f3d…", "stopped": {"boot_id": "0b5c…"}}
//! ```
//!
//! An image made from a guest contains that guest's file. If a new instance accepted it, the instance would
//! skip its `prepare`, and Trove would report a database without the requested content as ready. So a file
//! with a different guest's id is ignored. A file without an id comes from an operator, who writes
//! `{"prepared": true}` for a guest that was set up manually.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{GuestState, RestartRequired, Server, Stage, Stop};
use trove_couchdb_system as system;

const FILE_NAME: &str = "prepared.json";

/// The state file of one guest.
#[derive(Debug)]
pub struct StateFile {
    /// The path of the file.
    pub path: PathBuf,
    guest_id: String,
}

/// The result of reading the state file.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// No file.
    Nothing,
    /// The file of this guest.
    Own(GuestState),
    /// An operator's file, without an id.
    Unsigned(GuestState),
    /// The file of a different guest, with its id.
    Another(String),
}

impl Found {
    /// The guest's state. Without a file, or with a different guest's file, it is the initial state.
    pub fn state(self) -> GuestState {
        match self {
            Self::Own(state) | Self::Unsigned(state) => state,
            Self::Nothing | Self::Another(_) => GuestState::default(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    prepared: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    settling: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    guest_id: Option<String>,
    /// The control plane is a Trove 12 or 13.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    old_control_plane: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stopped: Option<Stopped>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restart_required: Option<Required>,
}

/// [`RestartRequired`]
#[derive(Debug, Serialize, Deserialize)]
struct Required {
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot_id: Option<String>,
}

/// [`Stop`]
#[derive(Debug, Serialize, Deserialize)]
struct Stopped {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot_id: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    across_reboots: bool,
}

impl StateFile {
    /// The file of this guest in this state directory. Does not read it.
    pub fn new(state_dir: &Path, guest_id: &str) -> Self {
        Self { path: state_dir.join(FILE_NAME), guest_id: guest_id.to_owned() }
    }

    /// # Errors
    /// The file cannot be read, or has invalid content.
    pub fn read(&self) -> io::Result<Found> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        let mut content: Content = serde_json::from_str(&text)?;
        Ok(match content.guest_id.take() {
            Some(id) if id == self.guest_id => Found::Own(content.into_state()),
            Some(other) => Found::Another(other),
            None => Found::Unsigned(content.into_state()),
        })
    }

    /// Whether the control plane was a Trove 12 or 13 when the file was written.
    pub fn has_old_control_plane(&self) -> bool {
        let content = std::fs::read(&self.path).ok();
        let content = content.and_then(|text| serde_json::from_slice::<Content>(&text).ok());
        content.is_some_and(|content| {
            content.old_control_plane && content.guest_id.as_ref() == Some(&self.guest_id)
        })
    }

    /// Adds the guest's id to an accepted operator's file, before an image is made of the guest.
    pub fn sign(&self, found: &Found) {
        if let Found::Unsigned(state) = found
            && state.stage.is_prepared()
            && let Err(error) = self.write(state, false)
        {
            let path = self.path.display();
            warn!(%error, %path, "Can't be written: an image made of this guest would count as prepared.");
        }
    }

    /// Writes the file atomically.
    ///
    /// # Errors
    /// The state directory cannot be written.
    pub fn write(&self, state: &GuestState, old_control_plane: bool) -> io::Result<()> {
        let guest_id = Some(self.guest_id.clone());
        let content = Content { guest_id, old_control_plane, ..Content::of(state) };
        system::replace(&self.path, &serde_json::to_vec(&content)?, 0o644)
    }
}

impl Content {
    fn of(state: &GuestState) -> Self {
        let (id, failed) = match &state.stage {
            Stage::Building { id } => (Some(id.clone()), None),
            Stage::Failed { id, reason } => (Some(id.clone()), Some(reason.clone())),
            Stage::New | Stage::Settling | Stage::Ready => (None, None),
        };
        Self {
            prepared: state.stage.is_prepared(),
            settling: state.stage == Stage::Settling,
            id,
            failed,
            guest_id: None,
            old_control_plane: false,
            stopped: state
                .server
                .stop()
                .cloned()
                .map(|Stop { boot_id, across_reboots }| Stopped { boot_id, across_reboots }),
            restart_required: state
                .restart_required
                .clone()
                .map(|RestartRequired { reason, boot_id }| Required { reason, boot_id }),
        }
    }

    fn into_state(mut self) -> GuestState {
        let required = self.restart_required.take();
        let restart_required =
            required.map(|Required { reason, boot_id }| RestartRequired { reason, boot_id });
        let stop =
            self.stopped.take().map(|Stopped { boot_id, across_reboots }| Stop { boot_id, across_reboots });
        let server = stop.map_or(Server::Running, Server::Stopped);
        GuestState { stage: self.into_stage(), server, restart_required }
    }

    fn into_stage(self) -> Stage {
        match self {
            Self { prepared: true, settling: true, .. } => Stage::Settling,
            Self { prepared: true, .. } => Stage::Ready,
            Self { id: Some(id), failed: Some(reason), .. } => Stage::Failed { id, reason },
            Self { id: Some(id), failed: None, .. } => Stage::Building { id },
            Self { id: None, .. } => Stage::New,
        }
    }
}

/// The guest's state in the state directory, for programs other than the agent.
///
/// # Errors
/// The file cannot be read, or has invalid content.
pub fn state_in(state_dir: &Path, guest_id: &str) -> io::Result<GuestState> {
    StateFile::new(state_dir, guest_id).read().map(Found::state)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn stopped(across_reboots: bool) -> Server {
        Server::Stopped(Stop { boot_id: Some("b1".to_owned()), across_reboots })
    }

    fn required() -> RestartRequired {
        RestartRequired { reason: "chttpd.port".to_owned(), boot_id: Some("b1".to_owned()) }
    }

    #[test]
    fn every_state_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = StateFile::new(directory.path(), "g1");
        assert_eq!(file.read().unwrap(), Found::Nothing);
        let id = || "one".to_owned();
        for stage in [
            Stage::New,
            Stage::Building { id: id() },
            Stage::Failed { id: id(), reason: "no disk".to_owned() },
            Stage::Settling,
            Stage::Ready,
        ] {
            for server in [Server::Running, stopped(false), stopped(true)] {
                for restart_required in [None, Some(required())] {
                    let (stage, server) = (stage.clone(), server.clone());
                    let written = GuestState { stage, server, restart_required };
                    file.write(&written, false).unwrap();
                    assert_eq!(file.read().unwrap(), Found::Own(written));
                }
            }
        }
    }

    #[test]
    fn what_others_know_better_is_not_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let file = StateFile::new(directory.path(), "g1");
        let Server::Stopped(stop) = stopped(false) else { unreachable!() };
        for (server, read) in [
            (Server::Maintenance, Server::Running),
            (Server::Stopping { stop: stop.clone(), before: None }, stopped(false)),
            (Server::Restarting { before: None, ends: Some(required()) }, Server::Running),
            (Server::Restarting { before: Some(stop), ends: None }, stopped(false)),
        ] {
            file.write(&GuestState { server, ..GuestState::default() }, false).unwrap();
            assert_eq!(file.read().unwrap().state().server, read);
        }
    }

    #[test]
    fn an_operators_file_becomes_the_guests_own() {
        let directory = tempfile::tempdir().unwrap();
        let file = StateFile::new(directory.path(), "g1");
        for (content, signed) in [
            (r#"{"prepared": false}"#, Found::Unsigned(Stage::New.into())),
            (r#"{"prepared": true}"#, Found::Own(Stage::Ready.into())),
        ] {
            std::fs::write(&file.path, content).unwrap();
            file.sign(&file.read().unwrap());
            assert_eq!(file.read().unwrap(), signed);
        }
    }

    #[test]
    fn another_guests_file_says_nothing_of_this_one() {
        let directory = tempfile::tempdir().unwrap();
        StateFile::new(directory.path(), "g1").write(&Stage::Ready.into(), true).unwrap();
        let file = StateFile::new(directory.path(), "g2");
        let found = file.read().unwrap();
        assert_eq!(found, Found::Another("g1".to_owned()));
        assert_eq!(found.state(), GuestState::default());
        assert!(!file.has_old_control_plane());
        file.write(&Stage::Settling.into(), false).unwrap();
        assert_eq!(file.read().unwrap(), Found::Own(Stage::Settling.into()));
    }

    #[test]
    fn a_stop_ends_with_a_reboot_unless_it_was_meant_to_last() {
        let stop = |across_reboots| Stop { boot_id: Some("b1".to_owned()), across_reboots };
        assert!(stop(false).holds_in(Some("b1")));
        assert!(!stop(false).holds_in(Some("b2")) && !stop(false).holds_in(None));
        let nowhere = Stop { boot_id: None, across_reboots: false };
        assert!(!nowhere.holds_in(None), "boots can't be told apart");
        assert!(required().holds_in(Some("b1")) && required().holds_in(None));
        assert!(!required().holds_in(Some("b2")), "a reboot was a restart");
        assert!(stop(true).holds_in(Some("b2")));
    }
}
