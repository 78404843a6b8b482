//! Trove's formats: the methods of the guest API, the objects in a guest's answers, the conductor's API.
//!
//! ```text
//! Request {method, args} --Request::arguments--> commands --> UserModel, … --to_value--> result
//! ServiceStatus, notifications --ConductorCast::encode--> trove-conductor
//! ```
//!
//! The agent's `commands` interpret the arguments of each method.

mod action;
mod caller;
mod conductor;
mod log_filter;
mod method;
mod models;
mod status;

pub use self::{
    action::UserAction,
    caller::{Caller, Endpoint},
    conductor::ConductorCast,
    log_filter::{LogFilter, LogFilterError},
    method::Method,
    models::{DatabaseModel, UserModel, root_user},
    status::ServiceStatus,
};
