//! Users in `_users`, and the server administrators.

pub(crate) mod admins;
pub(crate) mod documents;
pub(crate) mod drafts;
pub(crate) mod half_done;
pub(crate) mod hash;
pub(crate) mod passwords;
pub(crate) mod progress;
pub(crate) mod proof;
pub(crate) mod rename;
pub(crate) mod unfinished;
pub(crate) mod user_details;
pub(crate) mod users;
