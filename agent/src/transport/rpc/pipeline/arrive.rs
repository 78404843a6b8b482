//! Handles the arrival of a message: decodes it and passes it to the core.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration as Time,
};

use tokio::{sync::oneshot, time};
use tracing::{debug, error, warn};
use trove_couchdb_delivery::{Action, DeliveryId, Event, Request};
use trove_couchdb_protocol::{
    Context, DecodeError, Disclosure, Failure, Undecodable, new_id,
    trove::{Method, UserAction},
};

use super::{InFlight, RequestPipeline, delivered, in_flight::Arguments, is_credible, tag_of, work_of};
use crate::{
    commands::Duration,
    log,
    transport::rpc::{
        accept::{Accepted, accept},
        answer::Responder,
        command_log::CommandRecord,
        compression,
        replay::ReplayTags,
        source::{IncomingMessage, RequestSourceRef, RequestTransport},
    },
};

/// What happened to a message that arrived.
#[derive(Debug)]
pub(in crate::transport) enum Taken {
    /// The pipeline handles it.
    Yes,
    /// It cannot begin at once, and must be left where it came from.
    NotNow(Box<NotNow>),
}

/// A message that cannot begin at once. The core keeps its position in the order until this value is dropped.
#[derive(Debug)]
pub(in crate::transport) struct NotNow {
    pipeline: RequestPipeline,
    flight: Arc<InFlight>,
    can_begin: oneshot::Receiver<()>,
    /// After this time the message has expired.
    caller_timeout: Time,
}

impl NotNow {
    /// Leaves the message in the broker; returns when it could begin or has expired.
    pub(in crate::transport) async fn leave(mut self) {
        let responder = self.flight.state().responder.take();
        if let (Some(source_ref), Some(responder)) = (&self.flight.source_ref, responder) {
            source_ref.requeue(responder).await;
        }
        if time::timeout(self.caller_timeout, &mut self.can_begin).await.is_err() {
            let method = self.flight.method.as_str();
            debug!(method, "A call has expired in the broker before it could begin.");
        }
    }
}

impl Drop for NotNow {
    fn drop(&mut self) {
        let delivery = self.flight.delivery;
        self.pipeline.shared().left.remove(&delivery);
        self.pipeline.tell(Event::Abandoned(delivery));
    }
}

/// A request, decoded as far as possible.
struct Understood {
    id: String,
    method: String,
    tags: ReplayTags,
    entry: CommandRecord,
    responder: Responder,
    /// The arguments of a long command, to be stored.
    arguments: Option<Arguments>,
    accepted: Result<Accepted, Failure>,
}

impl RequestPipeline {
    /// Takes one message. Call it in the order of arrival; it never waits.
    pub(in crate::transport) fn take(&self, incoming: IncomingMessage) -> Taken {
        let source_ref = incoming.source_ref.clone();
        catch_unwind(AssertUnwindSafe(|| self.sort(incoming))).unwrap_or_else(|_| {
            error!("A message brought about a panic when it was read; it is dropped.");
            self.0.tasks.spawn(async move { source_ref.reject().await });
            Taken::Yes
        })
    }

    /// Returns a message that has not begun to the broker, where its time to live runs on: how long it has
    /// waited is not known here.
    pub(in crate::transport) async fn leave(&self, incoming: IncomingMessage) {
        let IncomingMessage { body, compression, redelivered, source_ref, .. } = incoming;
        let cipher = source_ref.encoder().cipher.as_ref();
        let request = compression::decode(body, compression.as_ref(), cipher, self.max_message_bytes());
        if let Some(id) = request.ok().and_then(|request| request.unique_id) {
            let id = tag_of(ReplayTags::of_id(&id));
            self.tell(Event::PutBack { id, redelivered });
        }
        source_ref.requeue(Responder::new(None, Context::default())).await;
    }

    fn sort(&self, incoming: IncomingMessage) -> Taken {
        let IncomingMessage { body, compression, redelivered, caller_timeout, at_once_or_not, source_ref } =
            incoming;
        let cipher = source_ref.encoder().cipher.as_ref();
        let mut request =
            match compression::decode(body, compression.as_ref(), cipher, self.max_message_bytes()) {
                Ok(request) => request,
                Err(undecodable) => {
                    self.refuse_unread(*undecodable, source_ref, redelivered);
                    return Taken::Yes;
                }
            };
        let _about = log::command_span(request.context.request_id()).entered();
        // Without an id, duplicates cannot be recognised; oslo.messaging always sends one. A call also has
        // its `msg_id`.
        let id = request.unique_id.clone().or_else(|| request.reply.as_ref().map(|call| call.msg_id.clone()));
        let id = id.unwrap_or_else(new_id);
        let tags = ReplayTags::of(&request, &id);
        let action = UserAction::of(&request.context);
        let accepted =
            accept(&request, id.clone(), action, source_ref.transport(), caller_timeout, &self.0.limits);
        let is_call = request.reply.is_some() || source_ref.transport() == RequestTransport::Local;
        let caller_timeout = caller_timeout.filter(|_| at_once_or_not && is_call);
        let known_method = Method::from_name(&request.method);
        let entry =
            CommandRecord::unread(&source_ref, &request.context, Some(id.clone()), known_method, false);
        // The context can be as long as the rest of the request. It is moved, because nothing else needs it.
        let responder = Responder::to_request(&id, &mut request);
        let is_long = |accepted: &Accepted| accepted.job.command.duration() == Duration::Long;
        let is_sealed = request.disclosure == Disclosure::Sealed;
        let arguments =
            accepted.as_ref().is_ok_and(is_long).then_some(Arguments { all: request.args, is_sealed });
        let understood =
            Understood { id, method: request.method, tags, entry, responder, arguments, accepted };
        self.admit(understood, source_ref, redelivered, caller_timeout)
    }

    /// Passes a message to the core.
    fn admit(
        &self,
        understood: Understood,
        source_ref: RequestSourceRef,
        redelivered: bool,
        caller_timeout: Option<Time>,
    ) -> Taken {
        let Understood { id, method, tags, mut entry, responder, arguments, accepted } = understood;
        let mut shared = self.shared();
        let delivery = shared.next();
        let again = tags.id().is_some_and(|id| shared.core.is_again(&tag_of(id), redelivered));
        if again {
            self.metrics().redelivered();
        }
        entry.set_redelivered(again);
        let flight = InFlight::new(delivery, Some(source_ref), id, method, tags.clone());
        let request = {
            let mut state = flight.state();
            (state.entry, state.responder, state.arguments) = (Some(entry), Some(responder), arguments);
            match accepted {
                Ok(Accepted { mut job, beat }) => {
                    job.redelivered = again;
                    state.beat = beat;
                    let request = Request::Run(work_of(&job, caller_timeout.is_some()));
                    state.job = Some(Arc::new(job));
                    request
                }
                Err(failure) => {
                    state.refusal = Some(failure);
                    Request::Refuse
                }
            }
        };
        let delivered = delivered(&flight, &tags, redelivered, request);
        let flight = Arc::new(flight);
        shared.in_flight.insert(delivery, Arc::clone(&flight));
        let actions = self.handle(&mut shared, Event::Delivered(delivered));
        let is_left = actions.contains(&Action::Leave(delivery));
        let can_begin = is_left.then(|| {
            let (could, can_begin) = oneshot::channel();
            shared.left.insert(delivery, could);
            can_begin
        });
        drop(shared);
        self.carry_all(actions);
        match (can_begin, caller_timeout) {
            (Some(can_begin), Some(caller_timeout)) => {
                let pipeline = self.clone();
                Taken::NotNow(Box::new(NotNow { pipeline, flight, can_begin, caller_timeout }))
            }
            _ => Taken::Yes,
        }
    }

    fn refuse_unread(&self, undecodable: Undecodable, source_ref: RequestSourceRef, redelivered: bool) {
        let Undecodable { reply, unique_id, method, context, error } = undecodable;
        // With a key, a valid context may be a recorded one next to forged data. So nothing is reported in
        // its name.
        let context = context.filter(|_| is_credible(&source_ref)).unwrap_or_default();
        let _about = log::command_span(context.request_id()).entered();
        match &error {
            DecodeError::Compression(_) => {
                error!(reason = %error, "A message is compressed as the agent reads none; correct kombu_compression.");
            }
            _ => {
                warn!(kind = error.kind(), reason = %error, "A message is not a request that can be read.");
            }
        }
        if redelivered {
            self.metrics().redelivered();
        }
        let responder = match &unique_id {
            Some(id) => Responder::to(id, reply, context.clone()),
            None => Responder::new(reply, context.clone()),
        };
        let entry = CommandRecord::unread(&source_ref, &context, unique_id.clone(), method, redelivered);
        let delivery: DeliveryId = self.shared().next();
        let id = unique_id.unwrap_or_default();
        let name = method.map(Method::name).unwrap_or_default().to_owned();
        let flight = InFlight::new(delivery, Some(source_ref), id, name, ReplayTags::from_seals(Vec::new()));
        {
            let mut state = flight.state();
            state.entry = Some(entry);
            state.responder = Some(responder.about(method));
            state.refusal = Some(Failure::from(&error));
        }
        self.shared().in_flight.insert(delivery, Arc::new(flight));
        self.tell(Event::Unreadable(delivery));
    }
}
