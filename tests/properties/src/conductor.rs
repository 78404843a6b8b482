//! A message to the conductor reads back unchanged, in clear and encrypted. Any other input is rejected with
//! a readable error.

use serde_json::Value;
use trove_couchdb_protocol::{Context, trove::ConductorCast};

use crate::{assert_readable, cipher_of_captures, has_fraction};

/// Panics when the guarantee at the top of this file is broken.
pub fn holds(data: &[u8]) {
    let cipher = cipher_of_captures();
    for key in [None, Some(&cipher)] {
        match ConductorCast::decode(data, key) {
            Err(error) => assert_readable(&error.to_string()),
            Ok(cast) => round_trip(&cast),
        }
    }
}

fn round_trip(cast: &ConductorCast) {
    let changed_by_reading = match cast {
        ConductorCast::Heartbeat { .. } | ConductorCast::UpdateBackup { .. } => true,
        ConductorCast::NotifyEnd { notification } | ConductorCast::NotifyExcInfo { notification, .. } => {
            has_fraction(&Value::Object(notification.clone()))
        }
        ConductorCast::ReportRoot => false,
    };
    let cipher = cipher_of_captures();
    for key in [None, Some(&cipher)] {
        let body = cast.encode("guest-1", &Context::for_guest("req-1"), key);
        let again = ConductorCast::decode(&body, key);
        assert_eq!(again.as_ref().map(ConductorCast::method), Ok(cast.method()));
        assert!(changed_by_reading || again.as_ref() == Ok(cast));
        let (other, reads_no_args) = match key {
            None => (Some(&cipher), false),
            Some(_) => (None, *cast == ConductorCast::ReportRoot),
        };
        assert!(
            reads_no_args || ConductorCast::decode(&body, other).is_err(),
            "read with and without the key"
        );
    }
}
