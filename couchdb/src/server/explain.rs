//! Finds the cause of a failure that CouchDB's answer does not explain: the disk, the nodes of the cluster,
//! the node name, the file descriptors, the account.
//!
//! Runs only after a failure, once per attempt of a command. It reports only what it has checked.

use crate::{CommandError, Couch, CouchError, Node, Resource, Session};

impl Couch {
    /// Adds the cause to an error, if it can be found.
    pub async fn explain(&self, error: CommandError) -> CommandError {
        match error {
            CommandError::Unfinished(error) => {
                CommandError::Unfinished(Box::new(Box::pin(self.explain(*error)).await))
            }
            CommandError::HalfDone { cause, progress } => {
                CommandError::HalfDone { cause: Box::new(Box::pin(self.explain(*cause)).await), progress }
            }
            CommandError::Couch(error)
                if error.may_be_maintenance()
                    && self.refuse_maintenance().await == Err(CouchError::Maintenance) =>
            {
                CouchError::Maintenance.into()
            }
            CommandError::NoMajority { database, cause: None } => {
                let cause = Some(self.why_no_majority().await);
                CommandError::NoMajority { database, cause }
            }
            CommandError::Couch(error @ CouchError::Server { .. }) => match self.full_disk().await {
                Some(disk) => CommandError::DiskFull { error, disk },
                None => self.caused(error).await,
            },
            CommandError::Couch(error @ CouchError::Unopenable { .. }) => self.caused(error).await,
            other => other,
        }
    }

    async fn caused(&self, error: CouchError) -> CommandError {
        match self.cause_of(&error).await {
            Some(cause) => CommandError::Caused { error, cause: Box::new(cause) },
            None => error.into(),
        }
    }

    /// CouchDB gives the same answer in all of these cases.
    async fn why_no_majority(&self) -> String {
        if let Some(disk) = self.full_disk().await {
            return disk.to_string();
        }
        let membership = self.membership().await.unwrap_or_default();
        let down: Vec<&str> = membership.missing().map(Node::as_str).collect();
        if !down.is_empty() {
            return format!(
                "the cluster's nodes {} are not connected to this one. Where it was written it is lost when they return: \
                 start them, then send the command again",
                down.join(", ")
            );
        }
        match self.get(&Resource::Session).await.and_then(Session::from_answer) {
            Ok(session) if !session.is_admin() => "os_admin is not a server administrator".to_owned(),
            _ => "look at CouchDB's log, its disk, and the nodes in /_membership".to_owned(),
        }
    }
}
