//! Values in `host.toml` that reach a service manager, a file system or a program. Each is a newtype that
//! only validation creates, so that a value can't become an option, a path outside its directory, or two
//! words.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

/// Declares a value type with its rule in words and the function that checks it.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident, $is_valid:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                let is_valid: fn(&str) -> bool = $is_valid;
                if is_valid(&text) { Ok(Self(text)) } else { Err(format!("{text:?} can't be used: {}", $rule)) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

/// The maximum length, which is that of a file name.
const MAX_WORD: usize = 255;

fn is_word(text: &str, also: &[u8]) -> bool {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    first
        && text.len() <= MAX_WORD
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || also.contains(&byte))
}

fn is_absolute(text: &str) -> bool {
    text.starts_with('/')
        && text.len() <= 4095
        && !text.bytes().any(|byte| byte.is_ascii_control())
        && text.split('/').all(|part| part != "." && part != "..")
}

word! {
    /// A systemd service unit.
    UnitName,
    |text| text.ends_with(".service") && text.len() > ".service".len() && is_word(text, b"._-@:\\"),
    "write the full name of a service unit, such as couchdb.service"
}

word! {
    /// A container's name.
    ContainerName,
    |text| is_word(text, b"_.-"),
    "a container's name has letters, digits, `_`, `.` and `-`, and begins with a letter or digit"
}

word! {
    /// An image's name without its tag, with its registry if it has one.
    ImageName,
    |text| is_word(text, b"_.-/:") && !text.rsplit('/').next().is_some_and(|last| last.contains(':')),
    "write the image's name without a tag, such as apache/couchdb or registry.example:5000/couchdb"
}

word! {
    /// An image's tag.
    ImageTag,
    |text| is_word(text, b"_.-") && text.len() <= 128,
    "a tag has at most 128 letters, digits, `_`, `.` and `-`"
}

word! {
    /// A package's name.
    PackageName,
    |text| is_word(text, b"+.-_"),
    "a package's name has letters, digits and `+`, `.`, `-`, `_`, and no version"
}

word! {
    /// A pattern of block devices below /dev; `*` matches any characters except `/`.
    DevicePattern,
    |text| {
        let below = text.strip_prefix("/dev/");
        is_absolute(text) && below.is_some_and(|name| !name.is_empty() && !name.starts_with('*') && !name.ends_with('/'))
    },
    "write a path below /dev/ that does not begin with `*`, such as /dev/vdb or /dev/disk/by-id/virtio-*"
}

word! {
    /// The label of the volume's file system.
    VolumeLabel,
    |text| is_word(text, b"_.-") && text.len() <= 12,
    "a label has at most 12 letters, digits, `_`, `.` and `-` (xfs allows no more)"
}

word! {
    /// Mount options, separated by commas.
    MountOptions,
    |text| text.split(',').all(|option| is_word(option, b"_.-=:/")),
    "write options as in mount(8), separated by commas without blanks, such as noatime,nodev"
}

/// A file system that a volume may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileSystem {
    /// ext4
    Ext4,
    /// XFS
    Xfs,
}

impl FileSystem {
    /// The name in mount(8) and blkid(8).
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }
}

/// An absolute path without `.` and `..`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct AbsolutePath(PathBuf);

impl AbsolutePath {
    /// The path.
    pub fn as_path(&self) -> &std::path::Path {
        &self.0
    }
}

impl TryFrom<String> for AbsolutePath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if is_absolute(&text) && text != "/" {
            Ok(Self(text.into()))
        } else {
            Err(format!("{text:?} can't be used: write an absolute path below / without `.` and `..`"))
        }
    }
}

/// A program's absolute path and its arguments. No shell interprets them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Arguments {
    program: PathBuf,
    rest: Vec<String>,
}

impl Arguments {
    /// The program.
    pub fn program(&self) -> &std::path::Path {
        &self.program
    }

    /// The program's arguments.
    pub fn rest(&self) -> &[String] {
        &self.rest
    }
}

impl TryFrom<Vec<String>> for Arguments {
    type Error = String;

    fn try_from(words: Vec<String>) -> Result<Self, String> {
        let mut words = words.into_iter();
        let program =
            words.next().ok_or("an empty list is no command: write [\"/path/of/program\", \"argument\"]")?;
        let rest: Vec<String> = words.collect();
        if rest.iter().any(|word| word.contains('\0')) {
            return Err("an argument can't hold a zero byte".to_owned());
        }
        let AbsolutePath(program) = AbsolutePath::try_from(program)?;
        Ok(Self { program, rest })
    }
}
