//! The arguments of the methods about the instance itself, as far as the agent carries them out.
//!
//! Called by [`super::Command::decode`] only.

use super::Command;
use crate::{
    error::DecodeError,
    fields::{Field, Fields},
};

pub(super) fn get_filesystem_stats(args: &Fields<'_>) -> Result<Command, DecodeError> {
    let fs_path = args.optional_as("fs_path", Field::string)?;
    Ok(Command::GetFilesystemStats { fs_path })
}
