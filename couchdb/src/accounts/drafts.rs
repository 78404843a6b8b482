//! User documents to be written, with or without a plain password, and the outcome of each write.

use futures_util::{FutureExt, StreamExt, stream};
use reqwest::Method;
use serde::Serialize;
use serde_json::Value;
use trove_couchdb_protocol::Secret;

use crate::{
    CommandError, Couch, CouchError, Resource, TenantUser,
    accounts::hash::{PASSWORD_FIELDS, PasswordHash},
    reply::{answer::read_answer, exact::Exact},
};

/// How many plain passwords the server hashes at once. Each takes one core for a tenth of a second.
const HASHED_AT_ONCE: usize = 4;

/// A password to be written into a document.
#[derive(Debug, Clone)]
pub(crate) enum NewPassword {
    /// Hashed by the agent.
    Hash(PasswordHash),
    /// Checked and hashed by the server.
    Plain(Secret),
}

/// A document to be written.
#[derive(Debug, Clone)]
pub(crate) struct Draft<'a> {
    pub(crate) user: &'a TenantUser,
    pub(crate) document: Exact,
    /// A password that the server hashes.
    pub(crate) plain: Option<Secret>,
}

impl<'a> Draft<'a> {
    /// A document that keeps its password.
    pub(crate) fn new(user: &'a TenantUser, document: Exact) -> Self {
        Self { user, document, plain: None }
    }

    /// The same draft with a new password.
    #[must_use]
    pub(crate) fn with(mut self, password: Option<&NewPassword>) -> Self {
        match password {
            None => {}
            Some(NewPassword::Hash(hash)) => hash.write_to(&mut self.document),
            Some(NewPassword::Plain(secret)) => {
                for field in PASSWORD_FIELDS {
                    self.document.remove(field);
                }
                self.plain = Some(secret.clone());
            }
        }
        self
    }

    /// The request body with the plain password.
    pub(crate) fn body_with(&self, password: &Secret) -> String {
        let text = self.document.to_text();
        let fields = text.strip_prefix('{').unwrap_or_default();
        let comma = if fields == "}" { "" } else { "," };
        format!("{{\"password\":{}{comma}{fields}", Value::from(password.expose()))
    }
}

/// The body of `_bulk_docs`.
#[derive(Serialize)]
struct Docs<'a> {
    docs: Vec<&'a Exact>,
}

/// The outcome of writing several documents.
#[derive(Debug, Default)]
pub(crate) struct Written<'a> {
    /// Not written: another writer changed the document meanwhile.
    pub(crate) conflicts: Vec<&'a TenantUser>,
    /// Not written: CouchDB rejected the document for this reason.
    pub(crate) rejected: Vec<(&'a TenantUser, String)>,
}

impl Couch {
    /// Writes existing documents with one request. Returns the users whose documents another writer changed
    /// meanwhile.
    pub(crate) async fn write_documents<'a>(
        &self,
        documents: &[(&'a TenantUser, Exact)],
    ) -> Result<Vec<&'a TenantUser>, CommandError> {
        let drafts: Vec<Draft<'a>> =
            documents.iter().map(|(user, document)| Draft::new(user, document.clone())).collect();
        self.write_drafts(&drafts).await
    }

    /// Writes documents and new passwords. Returns the users whose documents another writer changed
    /// meanwhile.
    pub(crate) async fn write_drafts<'a>(
        &self,
        drafts: &[Draft<'a>],
    ) -> Result<Vec<&'a TenantUser>, CommandError> {
        let written = self.try_drafts(drafts).await?;
        match written.rejected.into_iter().next() {
            Some((user, reason)) => Err(CommandError::UserRejected { user: (**user).clone(), reason }),
            None => Ok(written.conflicts),
        }
    }

    /// Writes documents independently of each other: with one request, or with one each where the server
    /// hashes.
    pub(crate) async fn try_drafts<'a>(&self, drafts: &[Draft<'a>]) -> Result<Written<'a>, CouchError> {
        let mut written = Written::default();
        let ready: Vec<&Draft<'a>> = drafts.iter().filter(|draft| draft.plain.is_none()).collect();
        if !ready.is_empty() {
            self.write_ready(&ready, &mut written).await?;
        }
        // If one password breaks the rules, CouchDB rejects the whole batch and does not name the user.
        let mut writes = Vec::new();
        for draft in drafts {
            if let Some(password) = &draft.plain {
                writes.push(self.write_plain(draft, password).boxed());
            }
        }
        let mut answers = stream::iter(writes).buffered(HASHED_AT_ONCE);
        while let Some((user, password, answer)) = answers.next().await {
            match answer {
                Ok(_) => {}
                Err(CouchError::Conflict) => written.conflicts.push(user),
                Err(CouchError::BadRequest(reason) | CouchError::Forbidden(reason)) => {
                    written.rejected.push((user, without(password, reason)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    async fn write_plain<'d, 'a>(
        &'d self,
        draft: &'d Draft<'a>,
        password: &'d Secret,
    ) -> (&'a TenantUser, &'d Secret, Result<Vec<u8>, CouchError>) {
        let body = Some(draft.body_with(password));
        (draft.user, password, self.send_text(Method::PUT, &Resource::User(draft.user), body).await)
    }

    async fn write_ready<'a>(
        &self,
        documents: &[&Draft<'a>],
        written: &mut Written<'a>,
    ) -> Result<(), CouchError> {
        let odd = |_| CouchError::Unexpected { what: "POST _bulk_docs", problem: "no body for it".into() };
        let docs = Docs { docs: documents.iter().map(|draft| &draft.document).collect() };
        let body = serde_json::to_string(&docs).map_err(odd)?;
        let answer = read_answer(&self.send_text(Method::POST, &Resource::UsersBulk, Some(body)).await?)?;
        let results =
            answer.as_array().filter(|results| results.len() == documents.len()).ok_or_else(|| {
                CouchError::Unexpected {
                    what: "POST _bulk_docs",
                    problem: "not one result for each document".into(),
                }
            })?;
        for (draft, result) in documents.iter().zip(results) {
            match result["error"].as_str() {
                None => {}
                Some("conflict") => written.conflicts.push(draft.user),
                Some(error) => {
                    let reason = result["reason"].as_str().unwrap_or(error).to_owned();
                    written.rejected.push((draft.user, reason));
                }
            }
        }
        Ok(())
    }
}

/// The server's reason, unless it repeats the password. CouchDB's own reasons never do.
pub(crate) fn without(password: &Secret, reason: String) -> String {
    let password = password.expose();
    if password.len() > 3 && reason.contains(password) {
        "its reason repeats the password".to_owned()
    } else {
        reason
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::Policy;

    #[test]
    fn a_plain_password_takes_the_place_of_all_that_was_there() {
        let user = Policy::new(&[], &[]).user("al".parse().unwrap()).unwrap();
        let before =
            br#"{"_rev":"1-a","derived_key":"x","iterations":10,"n":123456789012345678901234567890}"#;
        let draft = Draft::new(&user, Exact::read(before).unwrap());
        let secret = Secret::new("a \"quoted\" pw");
        let draft = draft.with(Some(&NewPassword::Plain(secret.clone())));
        let body = draft.body_with(draft.plain.as_ref().unwrap());
        assert_eq!(body, r#"{"password":"a \"quoted\" pw","_rev":"1-a","n":123456789012345678901234567890}"#);
        assert!(!format!("{draft:?}").contains("quoted"));
        let empty = Draft::new(&user, Exact::default());
        assert_eq!(empty.body_with(&Secret::new("p")), r#"{"password":"p"}"#);
    }

    #[test]
    fn a_reason_that_repeats_the_password_is_not_shown() {
        let secret = Secret::new("hunter2");
        assert_eq!(without(&secret, "too short".to_owned()), "too short");
        assert!(!without(&secret, "not hunter2".to_owned()).contains("hunter2"));
    }
}
