//! How sections of the configuration are declared and read.
//!
//! A row in `section!` declares a key; it generates the key's table entry, its field and its parser. Reading
//! collects all mistakes, so that they are reported together.

use std::path::PathBuf;

use crate::error::{ConfigError, Mistake};
use crate::inputs::Inputs;
use crate::key::Key;
use crate::layers::Layers;

/// Declares a section of the configuration: a struct, its part of the key table (`KEYS`), and `read`, which
/// builds the struct from the inputs.
///
/// A row is `/// description`, `name: Type`, and then these optional parts in this order:
///
/// - `= "text"`: the default, in the text form of the environment;
/// - `in RANGE`: the allowed range;
/// - `by Kind function`: read with `function(entry)`, where the type alone is not enough ([`Setting`]);
/// - `oslo [(group, option), …]`: the options in Trove's files, the current name first;
/// - `blank "text"`: a text that counts as not set in oslo's files;
/// - `was "name"`: the name of earlier versions, which is accepted with a warning.
///
/// `keys` are rows without a field; `made` are fields computed from such keys,
/// each with its function of the inputs.
///
/// [`Setting`]: crate::inputs::Setting
macro_rules! section {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $struct:ident = $section:literal {
            $($(#[doc = $about:literal])+ $name:ident: $type:ty
                $(= $default:literal)? $(, in $range:expr)? $(, by $kind:ident $parser:path)?
                $(, oslo $oslo:expr)? $(, blank $blank:literal)? $(, was $was:literal)?;)*
        }
        $(keys {
            $($(#[doc = $key_about:literal])+ $key_name:ident: $key_type:ty
                $(= $key_default:literal)? $(, oslo $key_oslo:expr)?;)*
        })?
        $(made {
            $($(#[doc = $made_about:literal])+ $made_name:ident: $made_type:ty = $maker:path;)*
        })?
    ) => {
        $(#[$attribute])*
        // The descriptions appear in the documentation, so they are not written as Rust documentation.
        #[allow(clippy::doc_markdown, rustdoc::bare_urls, rustdoc::broken_intra_doc_links)]
        $visibility struct $struct {
            $($(#[doc = $about])+ pub $name: $type,)*
            $($($(#[doc = $made_about])+ pub $made_name: $made_type,)*)?
        }

        impl $crate::section::Section for $struct {
            const KEYS: &'static [$crate::key::Key] = &[
                $($crate::key::Key {
                    name: concat!($section, ".", stringify!($name)),
                    doc: concat!($($about),+),
                    $(default: Some($default),)?
                    $(oslo: &$oslo,)?
                    $(oslo_blank: Some($blank),)?
                    $(was: Some(concat!($section, ".", $was)),)?
                    ..$crate::key::Key::of($crate::section::section!(@kind $type $(, $kind)?))
                },)*
                $($($crate::key::Key {
                    name: concat!($section, ".", stringify!($key_name)),
                    doc: concat!($($key_about),+),
                    $(default: Some($key_default),)?
                    $(oslo: &$key_oslo,)?
                    ..$crate::key::Key::of($crate::section::section!(@kind $key_type))
                },)*)?
            ];

            fn read(validation: &mut $crate::section::Validation) -> Option<Self> {
                $(let $name = validation.read(|inputs| $crate::section::section!(
                    @read inputs.entry(concat!($section, ".", stringify!($name))) $(, in $range)? $(, by $parser)?
                ))?;)*
                $($(validation.read(|inputs| {
                    inputs.entry(concat!($section, ".", stringify!($key_name))).get::<$key_type>()
                })?;)*)?
                $($(let $made_name = validation.read($maker)?;)*)?
                Some(Self { $($name,)* $($($made_name,)*)? })
            }
        }
    };
    (@kind $type:ty) => { <$type as $crate::inputs::Setting>::KIND };
    (@kind $type:ty, $kind:ident) => { $crate::key::Kind::$kind };
    (@read $entry:expr) => { $entry.get() };
    (@read $entry:expr, in $range:expr) => { $entry.get_in($range) };
    (@read $entry:expr, by $parser:path) => { $parser($entry) };
}

pub(crate) use section;

/// A section of the configuration. `read` returns `None` after a mistake that no default can replace.
pub(crate) trait Section: Sized {
    /// The section's keys, in the order of the documentation.
    const KEYS: &'static [Key];
    fn read(validation: &mut Validation) -> Option<Self>;
}

/// The inputs and their mistakes.
pub(crate) struct Validation {
    pub(crate) inputs: Inputs,
    /// The defaults, with placeholders for required keys.
    stand_ins: Inputs,
    mistakes: Vec<Mistake>,
}

impl Validation {
    pub(crate) fn new(mut layers: Layers, mut stand_ins: Layers, home: Option<PathBuf>) -> Self {
        let inputs = Inputs::new(&mut layers, home.clone());
        Self { inputs, stand_ins: Inputs::new(&mut stand_ins, home), mistakes: layers.mistakes }
    }

    /// The result of `read` on the inputs. After a mistake it is the result on the defaults, so that the
    /// remaining settings are validated, too.
    pub(crate) fn read<T>(&mut self, read: impl Fn(&Inputs) -> Result<T, Mistake>) -> Option<T> {
        match read(&self.inputs) {
            Ok(value) => Some(value),
            Err(mistake) => {
                self.note(mistake);
                read(&self.stand_ins).ok()
            }
        }
    }

    /// Records a mistake once: two settings computed from one key fail with the same mistake.
    fn note(&mut self, mistake: Mistake) {
        let text = mistake.to_string();
        if self.mistakes.iter().all(|known| known.to_string() != text) {
            self.mistakes.push(mistake);
        }
    }

    /// Records conflicts between values.
    pub(crate) fn check<const N: usize>(&mut self, check: impl FnOnce(&Inputs) -> [Result<(), Mistake>; N]) {
        for mistake in check(&self.inputs).into_iter().filter_map(Result::err) {
            self.note(mistake);
        }
    }

    /// The result of `read`, or all mistakes.
    pub(crate) fn result<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Result<T, ConfigError> {
        // After an unreadable file, keys would be reported as missing only because of that file.
        let is_complete = !self.mistakes.iter().any(Mistake::hides_keys);
        let read = if is_complete { read(self) } else { None };
        let mistakes = std::mem::take(&mut self.mistakes);
        read.filter(|_| mistakes.is_empty()).ok_or_else(|| mistakes.into())
    }
}
