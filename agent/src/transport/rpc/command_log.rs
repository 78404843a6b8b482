//! Counts each finished command and, if it changes something, writes it to the audit log.

use std::time::Instant;

use tracing::Span;
use trove_couchdb_protocol::{Context, trove::Method};

use super::source::RequestSourceRef;
use crate::{
    audit::{Audit, AuditOutcome, Record, Source, Target},
    commands::{Changes, Command},
    metrics::{Ending, Metrics, method_word},
    operations::{Giver, OperationRecord},
    status::CommandCounters,
    trace,
};

/// Counts commands and writes the audit log.
#[derive(Debug, Clone)]
pub(in crate::transport) struct CommandLog {
    pub(in crate::transport) audit: Audit,
    pub(in crate::transport) counters: CommandCounters,
    pub(in crate::transport) metrics: Metrics,
}

/// A command that has arrived and not ended.
#[derive(Debug)]
pub(super) struct CommandRecord {
    source: Source,
    request_id: Option<String>,
    id: Option<String>,
    user: Option<String>,
    project: Option<String>,
    /// `None` for a message that names no method of the guest API.
    method: Option<Method>,
    /// `None` for a command that changes nothing.
    changes: Option<Changes>,
    /// The same, with names as far as a failure may show them.
    shown: Option<Changes>,
    redelivered: bool,
    /// Whether its success counts in the agent's status.
    is_counted: bool,
    arrived: Instant,
}

impl CommandRecord {
    /// For a message whose arguments are not decoded yet, and perhaps never will be.
    pub(super) fn unread(
        source_ref: &RequestSourceRef,
        context: &Context,
        id: Option<String>,
        method: Option<Method>,
        redelivered: bool,
    ) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self {
            source: source_ref.source(),
            request_id: owned(context.request_id()),
            id,
            user: owned(context.user()),
            project: owned(context.project_id()),
            method,
            changes: method.filter(|method| !method.only_reads()).map(|_| Changes::default()),
            shown: None,
            redelivered,
            is_counted: true,
            arrived: Instant::now(),
        }
    }

    /// The command's span for a collector. [`CommandLog::close`] must run inside it.
    pub(super) fn span(&self) -> Span {
        trace::command(method_word(self.method), self.request_id.as_deref(), self.redelivered)
    }

    /// For the command of an operation that an earlier agent started.
    pub(super) fn of_operation(record: &OperationRecord, method: Option<Method>) -> Self {
        let Giver { source, request_id, user, project } = record.request.giver.clone();
        Self {
            source,
            request_id,
            id: Some(record.request.command_id.clone()),
            user,
            project,
            method,
            changes: Some(Changes::default()),
            shown: None,
            redelivered: true,
            is_counted: true,
            arrived: Instant::now(),
        }
    }

    /// The sender of the command, to be stored.
    pub(super) fn giver(&self) -> Giver {
        let Self { source, request_id, user, project, .. } = self;
        Giver {
            source: *source,
            request_id: request_id.clone(),
            user: user.clone(),
            project: project.clone(),
        }
    }

    /// Sets whether an earlier run may have done a part of the command.
    pub(super) fn set_redelivered(&mut self, redelivered: bool) {
        self.redelivered = redelivered;
    }

    /// Sets the command, and what it would change, once it is decoded.
    pub(super) fn is_for(&mut self, command: &dyn Command, changes: Option<Changes>) {
        (self.changes, self.shown) = (changes, Changes::as_shown(command));
        self.is_counted = command.is_counted();
    }
}

impl CommandLog {
    /// Counts a duplicate message.
    pub(super) fn came_again(&self) {
        self.counters.came_again();
    }

    /// Counts a command and, if it changes something, writes it to the audit log; returns when the line is
    /// written.
    pub(super) async fn close(&self, entry: CommandRecord, verdict: AuditOutcome) {
        let CommandRecord {
            source,
            request_id,
            id,
            user,
            project,
            method,
            changes,
            shown,
            is_counted,
            arrived,
            ..
        } = entry;
        let name = method.map(Method::name).unwrap_or_default();
        match &verdict {
            AuditOutcome::Ok if !is_counted => {}
            AuditOutcome::Ok => self.counters.succeeded(),
            AuditOutcome::Failed(failure) | AuditOutcome::Refused(failure) => {
                self.counters.failed(name, failure);
            }
        }
        let ending = match &verdict {
            AuditOutcome::Ok => Ending::Ok,
            AuditOutcome::Failed(_) => Ending::Failed,
            AuditOutcome::Refused(_) => Ending::Refused,
        };
        trace::end(&Span::current(), ending, ending == Ending::Ok);
        self.metrics.command_ended(method, ending, arrived.elapsed());
        if let (Some(method), Some(changes)) = (method, changes) {
            // Only a success proves that the names are names. A failed command shows as much as its failure.
            let named = if verdict == AuditOutcome::Ok { changes } else { shown.unwrap_or_default() };
            let target = Target { users: named.users, databases: named.databases };
            let (method, duration) = (method.name(), arrived.elapsed());
            let record = Record { request_id, id, source, user, project, method, target, verdict, duration };
            self.audit.write(&record).await;
        }
    }
}
