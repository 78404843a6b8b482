//! The argument of `enable_root_with_password`; the other three methods about root have none.
//!
//! Called by [`super::Command::decode`] only.

use super::Command;
use crate::{
    error::DecodeError,
    fields::{Field, Fields},
};

/// Trove's own default for the password is null (`trove/guestagent/api.py`), which means: choose one.
pub(super) fn enable_with_password(args: &Fields<'_>) -> Result<Command, DecodeError> {
    let password = args.optional_as("root_password", Field::secret)?;
    Ok(Command::EnableRootWithPassword { password })
}
