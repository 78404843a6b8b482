//! To come.
use anyhow::Result;
use crate::{results::Section, sizes::Sizes};
/// Measures the section.
pub async fn measure(_sizes: &Sizes) -> Result<Section> {
    Ok(Section::default())
}
