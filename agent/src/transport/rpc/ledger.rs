//! Each command is counted when it has ended and, if it changes something, written down.

use std::time::Instant;

use tracing::Span;
use trove_couchdb_protocol::{Context, trove::Method};

use super::source::Origin;
use crate::{
    audit::{Audit, Record, Source, Target, Verdict},
    commands::{Changes, Command},
    metrics::{Ending, Metrics, method_word},
    operations::{Giver, OperationRecord},
    status::Tally,
    trace,
};

/// Where commands are counted and written down.
#[derive(Debug, Clone)]
pub(in crate::transport) struct Ledger {
    pub(in crate::transport) audit: Audit,
    pub(in crate::transport) tally: Tally,
    pub(in crate::transport) metrics: Metrics,
}

/// A message that has arrived and not ended.
#[derive(Debug)]
pub(super) struct Entry {
    source: Source,
    request_id: Option<String>,
    id: Option<String>,
    user: Option<String>,
    project: Option<String>,
    /// `None` for a message that names no method of the guest API.
    method: Option<Method>,
    /// `None` for one that changes nothing.
    changes: Option<Changes>,
    /// The same with names as far as a failure may show them.
    shown: Option<Changes>,
    redelivered: bool,
    /// Whether its success is among the figures of the agent's status.
    is_counted: bool,
    arrived: Instant,
}

impl Entry {
    /// A message whose arguments are not understood yet, and perhaps never will be.
    pub(super) fn unread(
        origin: &Origin,
        context: &Context,
        id: Option<String>,
        method: Option<Method>,
        redelivered: bool,
    ) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self {
            source: origin.source(),
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

    /// What a collector is told of it: to be entered by what closes it.
    pub(super) fn span(&self) -> Span {
        trace::command(method_word(self.method), self.request_id.as_deref(), self.redelivered)
    }

    /// The command of an operation that an earlier agent has begun.
    pub(super) fn of_operation(record: &OperationRecord, method: Option<Method>) -> Self {
        let Giver { source, request_id, user, project } = record.giver.clone();
        Self {
            source,
            request_id,
            id: Some(record.command_id.clone()),
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

    /// Who gave the command, to be written down.
    pub(super) fn giver(&self) -> Giver {
        let Self { source, request_id, user, project, .. } = self;
        Giver {
            source: *source,
            request_id: request_id.clone(),
            user: user.clone(),
            project: project.clone(),
        }
    }

    /// An earlier run may have done a part of it.
    pub(super) fn set_redelivered(&mut self, redelivered: bool) {
        self.redelivered = redelivered;
    }

    /// Its command is known now, and so what it would change.
    pub(super) fn is_for(&mut self, command: &dyn Command, changes: Option<Changes>) {
        (self.changes, self.shown) = (changes, Changes::as_shown(command));
        self.is_counted = command.is_counted();
    }
}

impl Ledger {
    /// A message came again; it is the same command.
    pub(super) fn came_again(&self) {
        self.tally.came_again();
    }

    /// Counts a command, and writes it down if it changes something; returns when it is written.
    pub(super) async fn close(&self, entry: Entry, verdict: Verdict) {
        let Entry {
            source, request_id, id, user, project, method, changes, shown, is_counted, arrived, ..
        } = entry;
        let name = method.map(Method::name).unwrap_or_default();
        match &verdict {
            Verdict::Ok if !is_counted => {}
            Verdict::Ok => self.tally.succeeded(),
            Verdict::Failed(failure) | Verdict::Refused(failure) => self.tally.failed(name, failure),
        }
        let ending = match &verdict {
            Verdict::Ok => Ending::Ok,
            Verdict::Failed(_) => Ending::Failed,
            Verdict::Refused(_) => Ending::Refused,
        };
        trace::end(&Span::current(), ending, ending == Ending::Ok);
        self.metrics.command_ended(method, ending, arrived.elapsed());
        if let (Some(method), Some(changes)) = (method, changes) {
            // Names that may be no names are kept back, as in the failure itself.
            let named = if verdict == Verdict::Ok { changes } else { shown.unwrap_or_default() };
            let target = Target { users: named.users, databases: named.databases };
            let (method, duration) = (method.name(), arrived.elapsed());
            let record = Record { request_id, id, source, user, project, method, target, verdict, duration };
            self.audit.write(&record).await;
        }
    }
}
