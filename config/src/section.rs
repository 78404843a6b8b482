//! Sections of the configuration: how they are declared, and how they are read.
//!
//! `section!` has one row for each key, of which the table's entry, the field and its parser are made. Reading notes every
//! mistake on the way, so that all of them are named at once.

use std::path::PathBuf;

use crate::error::{ConfigError, Mistake};
use crate::inputs::Inputs;
use crate::key::Key;
use crate::layers::Layers;

/// Declares a section of the configuration: a struct, its part of the key table (`KEYS`), and `read`, which makes the one
/// from the other.
///
/// A row is `/// what it does`, `name: Type`, and then, in this order and each only where it applies:
///
/// - `= "text"`: the default, in the text form of the environment;
/// - `in RANGE`: what limits the value;
/// - `by Kind function`: read by `function(entry)`, where the type alone doesn't say how ([`Setting`]);
/// - `oslo [(group, option), …]`: where Trove's files say it, the current name first;
/// - `blank "text"`: the text by which oslo says "no opinion".
///
/// `keys` are rows that are no field by themselves; `made` are fields of such keys, each with its function of the inputs.
///
/// [`Setting`]: crate::inputs::Setting
macro_rules! section {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $struct:ident = $section:literal {
            $($(#[doc = $about:literal])+ $name:ident: $type:ty
                $(= $default:literal)? $(, in $range:expr)? $(, by $kind:ident $parser:path)?
                $(, oslo $oslo:expr)? $(, blank $blank:literal)?;)*
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
        // The descriptions are those of the documentation, whose readers see no Rust.
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

/// What a section of the configuration is read as; `None` after a mistake that nothing could stand in for.
pub(crate) trait Section: Sized {
    /// Its keys, in the order of the documentation.
    const KEYS: &'static [Key];
    fn read(validation: &mut Validation) -> Option<Self>;
}

/// The inputs, and what is wrong with them.
pub(crate) struct Validation {
    pub(crate) inputs: Inputs,
    /// As if no layer had set anything but what must be set.
    stand_ins: Inputs,
    mistakes: Vec<Mistake>,
}

impl Validation {
    pub(crate) fn new(mut layers: Layers, mut stand_ins: Layers, home: Option<PathBuf>) -> Self {
        let inputs = Inputs::new(&mut layers, home.clone());
        Self { inputs, stand_ins: Inputs::new(&mut stand_ins, home), mistakes: layers.mistakes }
    }

    /// What `read` makes of the inputs. After a mistake it is what it makes of the defaults, so that the rest is
    /// validated as well.
    pub(crate) fn read<T>(&mut self, read: impl Fn(&Inputs) -> Result<T, Mistake>) -> Option<T> {
        match read(&self.inputs) {
            Ok(value) => Some(value),
            Err(mistake) => {
                self.note(mistake);
                read(&self.stand_ins).ok()
            }
        }
    }

    /// Two settings that are made of one key fail for one reason.
    fn note(&mut self, mistake: Mistake) {
        let text = mistake.to_string();
        if self.mistakes.iter().all(|known| known.to_string() != text) {
            self.mistakes.push(mistake);
        }
    }

    /// Notes what is wrong with several values together.
    pub(crate) fn check<const N: usize>(&mut self, check: impl FnOnce(&Inputs) -> [Result<(), Mistake>; N]) {
        for mistake in check(&self.inputs).into_iter().filter_map(Result::err) {
            self.note(mistake);
        }
    }

    /// What `read` makes of the inputs, or everything that is wrong with them.
    pub(crate) fn result<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Result<T, ConfigError> {
        // What an unreadable file sets would be missing only for that reason.
        let is_complete = !self.mistakes.iter().any(Mistake::hides_keys);
        let read = if is_complete { read(self) } else { None };
        let mistakes = std::mem::take(&mut self.mistakes);
        read.filter(|_| mistakes.is_empty()).ok_or_else(|| mistakes.into())
    }
}
