//! `mount_volume`, `unmount_volume`, `resize_fs`: Trove's commands on the volume of CouchDB's data.
//! `trove-couchdb-hostd` carries them out.
//!
//! The device and the mount point in a request are the control plane's guesses: host.toml says what they are, and
//! the volume is found by its label. Whether it is mounted decides how it grows, not what `online` says.

use std::{fmt, marker::PhantomData};

use futures_util::FutureExt;
use serde_json::Value;
use trove_couchdb_protocol::{DecodeError, Field, host::Verb, trove::Method};

use crate::commands::{
    Arguments, Command, CommandEntry, Decode, Guest, Needs, Run, RunError, Running, Scope, Scopes, entry,
};

pub(in crate::commands) const COMMANDS: &[CommandEntry] = &[
    entry::<OnVolume<Mount>>(Method::MountVolume),
    entry::<OnVolume<Unmount>>(Method::UnmountVolume),
    entry::<OnVolume<Grow>>(Method::ResizeFs),
];

/// One of these methods.
trait Kind: fmt::Debug + Send + Sync + 'static {
    const METHOD: Method;
    const VERB: Verb;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $method:ident, $verb:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            struct $kind;

            impl Kind for $kind {
                const METHOD: Method = Method::$method;
                const VERB: Verb = Verb::$verb;
            }
        )*
    };
}

kinds! {
    /// `mount_volume`: after an offline resize.
    Mount = MountVolume, VolumeMount;
    /// `unmount_volume`: before an offline resize or a rebuild, after `stop_db`.
    Unmount = UnmountVolume, VolumeUnmount;
    /// `resize_fs`: the device has become larger.
    Grow = ResizeFs, VolumeGrow;
}

/// A request to the helper.
#[derive(Debug)]
struct OnVolume<K>(PhantomData<K>);

impl<K: Kind> Decode for OnVolume<K> {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        for name in ["device_path", "mount_point"] {
            args.optional_as(name, Field::string)?;
        }
        // Trove 12 and 13 do not send it.
        args.optional_as("online", Field::flag)?;
        Ok(Self(PhantomData))
    }
}

impl<K: Kind> Command for OnVolume<K> {
    fn method(&self) -> Method {
        K::METHOD
    }

    /// CouchDB must not be started meanwhile.
    fn scopes(&self) -> Scopes {
        Scopes::writing([Scope::Server, Scope::Volume])
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn run<'a>(&'a self, guest: &'a Guest, run: Run<'a>) -> Running<'a> {
        async move {
            if guest.host.absence().is_some() {
                return Err(RunError::Unsupported(K::METHOD));
            }
            guest.host.volume(run.id, K::VERB).await.map_err(RunError::Host)?;
            Ok(Value::Null)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;
    use crate::commands::tests::{decoded, typed};

    #[test]
    fn the_forms_of_all_versions_are_read() {
        for args in [
            json!({}),
            json!({"device_path": "/dev/vdb", "mount_point": "/var/lib/couchdb"}),
            json!({"device_path": null, "mount_point": null, "online": false}),
            json!({"device_path": "/dev/vdb", "mount_point": "/var/lib/postgresql", "online": true}),
        ] {
            typed::<OnVolume<Grow>>(&args).unwrap();
        }
        assert!(typed::<OnVolume<Grow>>(&json!({"online": "perhaps"})).is_err());
    }

    #[test]
    fn couchdb_is_not_started_while_its_volume_changes() {
        let restart = decoded("restart", &json!({}));
        for method in ["mount_volume", "unmount_volume", "resize_fs"] {
            assert!(decoded(method, &json!({})).scopes().conflicts_with(&restart.scopes()), "{method}");
        }
    }
}
