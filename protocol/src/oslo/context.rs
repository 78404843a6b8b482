//! oslo.messaging's context: the user who sent a command, and the request id.
//!
//! In clear the context is one key `_context_<name>` per entry; encrypted it is a single `_context_context`.
//! The keys differ between Trove's versions, so the entries are kept unchanged and sent back to the conductor
//! as they are. The context can contain a token (`auth_token`), so `Debug` shows only the request id.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::{
    cipher::{Cipher, Seal},
    error::DecodeError,
    fields::Fields,
    json::{self, Budget},
};

/// The prefix of every context key in clear (`oslo_messaging/_drivers/amqp.py`, `pack_context`).
const PREFIX: &str = "_context_";

/// The only key of an encrypted context (`trove/common/rpc/secure_serializer.py`).
const SEALED: &str = "_context_context";

/// The maximum number of JSON values in a context. The context is kept until its command is finished,
/// so this limits the memory of a queue full of commands. The largest part, a service catalog of 50
/// regions with 6 services each, has 2,000.
const MAX_VALUES: usize = 5_000;

/// The entries of a request's context, unchanged.
#[derive(Clone, Default, PartialEq)]
pub struct Context(Map<String, Value>);

impl Context {
    /// A context with these entries.
    pub fn new(entries: Map<String, Value>) -> Self {
        Self(entries)
    }

    /// The context of messages that no user caused, such as heartbeats.
    ///
    /// The same entries as `trove/guestagent` sends (captured in `conductor.heartbeat_running.plain.json`).
    pub fn for_guest(request_id: &str) -> Self {
        let mut entries = Map::new();
        let nulls = [
            "user",
            "project_id",
            "system_scope",
            "project",
            "domain",
            "user_domain",
            "project_domain",
            "auth_token",
            "global_request_id",
            "resource_uuid",
            "limit",
            "marker",
            "service_catalog",
        ];
        entries.extend(nulls.map(|name| (name.to_owned(), Value::Null)));
        let others = [
            ("is_admin", json!(false)),
            ("read_only", json!(false)),
            ("show_deleted", json!(false)),
            ("request_id", json!(request_id)),
            ("roles", json!([])),
            ("user_identity", json!("- - - - -")),
            ("is_admin_project", json!(true)),
        ];
        entries.extend(others.map(|(name, value)| (name.to_owned(), value)));
        Self(entries)
    }

    /// The context of an operator's command, which has no project and no token; `user` is a login name.
    ///
    /// The keys are those of a user's request (captured in `create_user.plain.json`).
    pub fn for_operator(user: &str, request_id: &str) -> Self {
        let Self(mut entries) = Self::for_guest(request_id);
        entries.insert("user".to_owned(), user.into());
        entries.insert("is_admin".to_owned(), true.into());
        entries.insert("user_identity".to_owned(), format!("{user} - - - -").into());
        Self(entries)
    }

    /// Reads the context of a message. With a key the context must be encrypted. Without a key it must be in
    /// clear: a guest that lost its key would otherwise run commands and send passwords in clear.
    pub(crate) fn decode(
        message: &Map<String, Value>,
        cipher: Option<&Cipher>,
        budget: &mut Budget,
    ) -> Result<Self, DecodeError> {
        let entries = Self::find(message, cipher, budget)?;
        if entries.values().map(json::count).sum::<usize>() > MAX_VALUES {
            return Err(DecodeError::wrong_type("context", "an object of at most 5000 values"));
        }
        Ok(Self(entries))
    }

    fn find(
        message: &Map<String, Value>,
        cipher: Option<&Cipher>,
        budget: &mut Budget,
    ) -> Result<Map<String, Value>, DecodeError> {
        let Some(cipher) = cipher else {
            if message.get(SEALED).is_some_and(Value::is_string) {
                return Err(DecodeError::cipher("context", crate::cipher::CipherError::NoKey));
            }
            let entry =
                |(key, value): (&String, &Value)| Some((key.strip_prefix(PREFIX)?.to_owned(), value.clone()));
            return Ok(message.iter().filter_map(entry).collect());
        };
        // A sender without the key sends the context entries in clear.
        let sealed = message.get(SEALED).unwrap_or(&Value::Null);
        match cipher.decrypt_within(sealed, budget).map_err(|error| DecodeError::cipher("context", error))? {
            Value::Object(entries) => Ok(entries),
            _ => Err(DecodeError::wrong_type("context", "an object")),
        }
    }

    /// The replay tag of an encrypted context.
    pub(crate) fn seal(message: &Map<String, Value>) -> Option<Seal> {
        Cipher::seal_of(message.get(SEALED)?)
    }

    /// Adds the context to a message in clear.
    pub(crate) fn encode_clear(&self, message: &mut Map<String, Value>) {
        message.extend(self.0.iter().map(|(name, value)| (format!("{PREFIX}{name}"), value.clone())));
    }

    /// Adds the context to a request for a guest, encrypted if there is a key.
    pub(crate) fn encode_for_guest(&self, message: &mut Map<String, Value>, cipher: Option<&Cipher>) {
        match cipher {
            None => self.encode_clear(message),
            Some(cipher) => {
                let sealed = cipher.encrypt(&Value::Object(self.0.clone()));
                message.insert(SEALED.to_owned(), sealed.into());
            }
        }
    }

    /// Adds the context to a message for the conductor: encrypted, with the
    /// id of the guest that owns the key.
    pub(crate) fn encode_sealed(&self, message: &mut Map<String, Value>, cipher: &Cipher, instance_id: &str) {
        message.insert(SEALED.to_owned(), cipher.encrypt_own(&Value::Object(self.0.clone())).into());
        message.insert(format!("{PREFIX}{}", crate::cipher::INSTANCE), instance_id.into());
    }

    /// The id of the user's request in Trove's logs, `req-<uuid>`.
    pub fn request_id(&self) -> Option<&str> {
        self.text("request_id")
    }

    /// The user who sent the command.
    pub fn user(&self) -> Option<&str> {
        self.text("user")
    }

    /// The user's project: `project_id` since Trove 19, `tenant` up to 16, `project` in between.
    pub fn project_id(&self) -> Option<&str> {
        ["project_id", "tenant", "project"].into_iter().find_map(|key| self.text(key))
    }

    /// The notification that reports the outcome of a cast; only commands of users have one.
    pub fn notification(&self) -> Option<&Map<String, Value>> {
        self.0.get("trove_notification")?.as_object()
    }

    /// All entries, unchanged.
    pub fn entries(&self) -> &Map<String, Value> {
        &self.0
    }

    fn text(&self, key: &str) -> Option<&str> {
        Fields::root(&self.0).optional(key)?.text().ok()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Context").field("request_id", &self.request_id()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn map(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    fn decoded(message: &Map<String, Value>, cipher: Option<&Cipher>) -> Result<Context, DecodeError> {
        Context::decode(message, cipher, &mut Budget::unlimited())
    }

    #[test]
    fn one_that_would_fill_the_memory_is_refused() {
        let cipher = Cipher::new(&Secret::new("k"));
        for (values, is_ok) in [(4_000, true), (5_000, false)] {
            let context = json!({"user": "bob", "catalog": vec![0; values]});
            let sealed = map(json!({ SEALED: cipher.encrypt(&context) }));
            assert_eq!(decoded(&sealed, Some(&cipher)).is_ok(), is_ok);
            assert_eq!(decoded(&map(json!({"_context_catalog": context})), None).is_ok(), is_ok);
        }
    }

    #[test]
    fn in_clear_the_prefix_shows_what_belongs_to_it() {
        let message = map(json!({
            "method": "restart", "_unique_id": "x", "_context_user": "alice", "_context_tenant": "t",
            "_context_request_id": "req-1", "_context_auth_token": "hunter2", "_context_limit": null,
            "_context_trove_notification": {"server_type": "guest"},
        }));
        let context = decoded(&message, None).unwrap();
        assert_eq!(context.request_id(), Some("req-1"));
        assert_eq!(context.user(), Some("alice"));
        assert_eq!(context.project_id(), Some("t"));
        assert_eq!(context.notification().unwrap()["server_type"], "guest");
        assert_eq!(context.entries().len(), 6);
        assert_eq!(format!("{context:?}"), "Context { request_id: Some(\"req-1\"), .. }");
        let mut again = Map::new();
        context.encode_clear(&mut again);
        assert_eq!(decoded(&again, None).unwrap(), context);
    }

    #[test]
    fn a_key_takes_only_what_it_encrypted_and_no_key_nothing_encrypted() {
        let cipher = Cipher::new(&Secret::new("k"));
        let mut sealed = Map::new();
        Context::for_guest("req-1").encode_sealed(&mut sealed, &cipher, "id");
        assert_eq!(sealed["_context_csz-instance-id"], "id");
        assert!(decoded(&sealed, Some(&cipher)).is_err(), "a guest's own, recorded and sent back to it");
        Context::for_guest("req-1").encode_for_guest(&mut sealed, Some(&cipher));
        assert_eq!(decoded(&sealed, Some(&cipher)).unwrap(), Context::for_guest("req-1"));

        let refused = |message: &Map<String, Value>, cipher: Option<&Cipher>| {
            decoded(message, cipher).unwrap_err().to_string()
        };
        assert_eq!(
            refused(&sealed, None),
            "`context` is encrypted, and this guest has no instance_rpc_encr_key"
        );
        let stranger = Cipher::new(&Secret::new("another"));
        assert_eq!(
            refused(&sealed, Some(&stranger)),
            "`context` does not decrypt with this guest's instance_rpc_encr_key"
        );
        assert_eq!(
            refused(&map(json!({"_context_user": "a"})), Some(&cipher)),
            "`context` must be encrypted, as this guest has an instance_rpc_encr_key"
        );
        let list = map(json!({ SEALED: cipher.encrypt(&json!([])) }));
        assert_eq!(refused(&list, Some(&cipher)), "`context` must be an object");
    }

    #[test]
    fn entries_of_other_types_are_kept_but_not_taken_for_text() {
        let context = Context::new(map(
            json!({"user": 5, "project_id": null, "project": "p", "trove_notification": 1}),
        ));
        assert_eq!((context.user(), context.project_id()), (None, Some("p")));
        assert!(context.notification().is_none());
    }
}
