//! `section!`: one row for each key, of which the table's entry, the field and its parser are made.

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

        impl $crate::validation::Section for $struct {
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

            fn read(validation: &mut $crate::validation::Validation) -> Option<Self> {
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
