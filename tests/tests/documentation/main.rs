//! The documents: their links lead somewhere, they speak plain English, and they are short.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod english;
mod links;
mod names;
mod outside;
mod path;
mod words;

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Files of the repository with this extension, below a directory (`""` for all), relative to the root.
fn files(below: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![root().join(below)];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_symlink() || name == "target" || name == "node_modules" || name.starts_with('.') {
                continue;
            }
            if path.is_dir() {
                // Skips Python environments that a developer created in the tree.
                if !path.join("pyvenv.cfg").exists() {
                    directories.push(path);
                }
            } else if path.extension().is_some_and(|its| its == extension) {
                found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no .{extension} below {below:?}");
    found
}
