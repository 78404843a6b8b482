//! Messages from a guest to `trove-conductor`: heartbeats, outcomes of user actions, root's history, backups.
//!
//! All are casts of version 1.0 to the topic `trove-conductor` on the control exchange
//! (`trove/conductor/api.py`), so there are no replies. If encrypted, every argument is wrapped with the
//! guest's id ([`Cipher`]). The agent encodes; `decode` is for tests that act as the conductor.

use serde_json::{Map, Value, json};

use super::ServiceStatus;
use crate::{
    cipher::Cipher,
    context::Context,
    envelope,
    error::DecodeError,
    fields::{Field, Fields},
    reply::new_id,
};

/// The conductor API version of all these messages (`trove/conductor/manager.py`).
const VERSION: &str = "1.0";

/// A message to the conductor.
#[derive(Debug, Clone, PartialEq)]
pub enum ConductorCast {
    /// `heartbeat`: the guest is alive, with the status of its database.
    Heartbeat {
        /// Unix time in seconds. The conductor drops a heartbeat unless `sent` is
        /// greater than in this guest's last one.
        sent: f64,
        /// `None` reports only that the guest is alive.
        status: Option<ServiceStatus>,
    },
    /// `notify_end`: a user's command succeeded.
    NotifyEnd {
        /// The notification from the command's context, unchanged.
        notification: Map<String, Value>,
    },
    /// `notify_exc_info`: a user's command failed. This is the only way a user learns that a cast failed.
    NotifyExcInfo {
        /// The notification from the command's context, with the `instance_id` under
        /// which the conductor stores the error.
        notification: Map<String, Value>,
        /// The message for the user.
        message: String,
        /// The details, line by line; the conductor does not accept a single text.
        exception: Vec<String>,
    },
    /// `report_root`: the guest itself enabled root.
    ReportRoot,
    /// `update_backup`: the progress of a backup.
    UpdateBackup {
        /// The id of the backup.
        backup_id: String,
        /// Unix time in seconds, as in a heartbeat.
        sent: f64,
        /// Any of `state`, `size` (GB), `checksum`, `location`, `backup_type`.
        changes: Map<String, Value>,
    },
}

impl ConductorCast {
    /// The method's name on the wire.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Heartbeat { .. } => "heartbeat",
            Self::NotifyEnd { .. } => "notify_end",
            Self::NotifyExcInfo { .. } => "notify_exc_info",
            Self::ReportRoot => "report_root",
            Self::UpdateBackup { .. } => "update_backup",
        }
    }

    /// The body of the message, with a new id. The context is the user's
    /// command's, or [`Context::for_guest`].
    pub fn encode(&self, instance_id: &str, context: &Context, cipher: Option<&Cipher>) -> Vec<u8> {
        self.encode_as(&new_id(), instance_id, context, cipher)
    }

    /// Like [`Self::encode`] with the given id. The conductor drops a message whose id it has just seen.
    pub fn encode_as(
        &self,
        unique_id: &str,
        instance_id: &str,
        context: &Context,
        cipher: Option<&Cipher>,
    ) -> Vec<u8> {
        let mut args = self.args(instance_id);
        let mut message = Map::new();
        if let Some(cipher) = cipher {
            for value in args.values_mut() {
                *value = cipher.wrap(value, instance_id);
            }
            context.encode_sealed(&mut message, cipher, instance_id);
        } else {
            context.encode_clear(&mut message);
        }
        message.insert("method".to_owned(), self.method().into());
        message.insert("args".to_owned(), args.into());
        message.insert("version".to_owned(), VERSION.into());
        message.insert("_unique_id".to_owned(), unique_id.into());
        envelope::encode(&Value::Object(message))
    }

    fn args(&self, instance_id: &str) -> Map<String, Value> {
        let mut args = Map::new();
        let mut put = |name: &str, value: Value| args.insert(name.to_owned(), value);
        match self {
            Self::Heartbeat { sent, status } => {
                put("instance_id", instance_id.into());
                put("sent", json!(sent));
                put(
                    "payload",
                    status.map_or_else(|| json!({}), |status| json!({ "service_status": status.as_str() })),
                );
            }
            Self::NotifyEnd { notification } => {
                put("serialized_notification", notification.clone().into());
                put("notification_args", json!({}));
            }
            Self::NotifyExcInfo { notification, message, exception } => {
                put("serialized_notification", notification.clone().into());
                put("message", message.as_str().into());
                put("exception", exception.as_slice().into());
            }
            Self::ReportRoot => {
                put("instance_id", instance_id.into());
            }
            Self::UpdateBackup { backup_id, sent, changes } => {
                put("instance_id", instance_id.into());
                put("backup_id", backup_id.as_str().into());
                put("sent", json!(sent));
                args.extend(changes.clone());
            }
        }
        args
    }

    /// Reads a message like the conductor, but returns an error where the conductor drops the message.
    pub fn decode(body: &[u8], cipher: Option<&Cipher>) -> Result<Self, DecodeError> {
        let message = envelope::decode(body, usize::MAX)?;
        let fields = Fields::root(&message);
        let args = unwrapped(fields.required("args")?.map()?, cipher)?;
        match fields.required("method")?.text()? {
            "heartbeat" => heartbeat(&Fields::root(&args)),
            "notify_end" => {
                notification(&Fields::root(&args)).map(|notification| Self::NotifyEnd { notification })
            }
            "notify_exc_info" => notify_exc_info(&Fields::root(&args)),
            "report_root" => Ok(Self::ReportRoot),
            "update_backup" => update_backup(args),
            method => Err(DecodeError::UnknownMethod(method.to_owned())),
        }
    }
}

fn unwrapped(args: &Map<String, Value>, cipher: Option<&Cipher>) -> Result<Map<String, Value>, DecodeError> {
    let Some(cipher) = cipher else {
        return Ok(args.clone());
    };
    let unwrap = |(name, value): (&String, &Value)| match cipher.unwrap(value) {
        Ok(value) => Ok((name.clone(), value)),
        Err(error) => Err(DecodeError::cipher(name, error)),
    };
    args.iter().map(unwrap).collect()
}

fn heartbeat(args: &Fields<'_>) -> Result<ConductorCast, DecodeError> {
    let status = |field: &Field<'_>| {
        ServiceStatus::from_text(field.text()?)
            .ok_or_else(|| field.wrong("a service status that can be sent"))
    };
    let payload = args.required("payload")?.object()?;
    Ok(ConductorCast::Heartbeat {
        sent: args.required("sent")?.number()?,
        status: payload.optional_as("service_status", status)?,
    })
}

fn notification(args: &Fields<'_>) -> Result<Map<String, Value>, DecodeError> {
    args.required("serialized_notification")?.map().cloned()
}

fn notify_exc_info(args: &Fields<'_>) -> Result<ConductorCast, DecodeError> {
    Ok(ConductorCast::NotifyExcInfo {
        notification: notification(args)?,
        message: args.required("message")?.string()?,
        exception: args.required("exception")?.list_of(Field::string)?,
    })
}

fn update_backup(mut args: Map<String, Value>) -> Result<ConductorCast, DecodeError> {
    let fields = Fields::root(&args);
    let (backup_id, sent) = (fields.required("backup_id")?.string()?, fields.required("sent")?.number()?);
    args.retain(|name, _| !["instance_id", "backup_id", "sent"].contains(&name.as_str()));
    Ok(ConductorCast::UpdateBackup { backup_id, sent, changes: args })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn sent_stays_a_number_with_a_fraction() {
        let whole = ConductorCast::Heartbeat { sent: 1_795_419_761.0, status: Some(ServiceStatus::Healthy) };
        let body = whole.encode("id", &Context::for_guest("req-1"), None);
        let message = envelope::decode(&body, usize::MAX).unwrap();
        assert!(message["args"]["sent"].is_f64());
        assert!(String::from_utf8(body).unwrap().contains("1795419761.0"));
    }

    #[test]
    fn each_message_has_its_own_id() {
        let id = || {
            let body = ConductorCast::ReportRoot.encode("id", &Context::default(), None);
            envelope::decode(&body, usize::MAX).unwrap()["_unique_id"].clone()
        };
        assert_ne!(id(), id());
    }

    #[test]
    fn with_a_key_nothing_is_readable_but_the_instance() {
        let cipher = Cipher::new(&Secret::new("k"));
        let notification = Map::from_iter([("username".to_owned(), json!("alice"))]);
        let cast = ConductorCast::NotifyExcInfo {
            notification,
            message: "no such user".into(),
            exception: vec!["no such user".into()],
        };
        let body = cast.encode("guest-1", &Context::for_guest("req-1"), Some(&cipher));
        let text = String::from_utf8(body.clone()).unwrap();
        assert!(text.contains("guest-1") && !text.contains("alice") && !text.contains("req-1"), "{text}");
        assert_eq!(ConductorCast::decode(&body, Some(&cipher)).unwrap(), cast);
        assert_eq!(
            ConductorCast::decode(&cast.encode("g", &Context::default(), None), Some(&cipher))
                .unwrap_err()
                .kind(),
            "cipher"
        );
    }
}
