//! Finds the modules of a crate and their dependencies in its source.
//!
//! Paths are resolved through imports (`pub use`, and `use` in a parent) to the module that defines the item,
//! so using an item that a parent re-exports does not count as using the parent. A parent's re-export of its
//! own children does not count either. Tests are ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::rust_files;

/// A module's path below the crate; the root's is empty.
pub type Name = Vec<String>;

/// The modules of one crate.
#[derive(Default)]
pub struct Modules {
    all: BTreeMap<Name, Module>,
}

#[derive(Default)]
struct Module {
    /// The code without comments, tests and imports.
    code: String,
    imports: Vec<Import>,
}

struct Import {
    path: Vec<String>,
    /// The local name of the path.
    alias: String,
    is_public: bool,
}

impl Modules {
    /// The modules of the library at `source`, or of its program if there is no library.
    pub fn of(source: &Path) -> Self {
        let root = if source.join("lib.rs").exists() { "lib.rs" } else { "main.rs" };
        let files = rust_files(source).into_iter().filter_map(|file| {
            let below = file.strip_prefix(source).unwrap().to_str().unwrap().to_owned();
            let other_program = below.starts_with("bin/") || (below == "main.rs" && root == "lib.rs");
            let text = std::fs::read_to_string(&file).unwrap();
            (!other_program).then_some((below, text))
        });
        Self::read(files)
    }

    /// The modules of files, given with their names below the source.
    pub fn read(files: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut all = BTreeMap::new();
        let mut tests = BTreeSet::new();
        for (file, text) in files {
            let mut name: Name = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
            if ["mod", "lib", "main"].contains(&name.last().unwrap().as_str()) {
                name.pop();
            }
            let (code, of_tests) = without_tests(&without_comments(&text));
            tests.extend(of_tests.into_iter().map(|module| [name.as_slice(), &[module]].concat()));
            let (code, imports) = without_imports(&code);
            all.insert(name, Module { code, imports });
        }
        all.retain(|name, _| !tests.iter().any(|test| name.starts_with(test)));
        Self { all }
    }

    /// Every module with the modules that it uses.
    pub fn uses(&self) -> BTreeMap<&Name, BTreeSet<&Name>> {
        self.all.iter().map(|(name, module)| (name, self.used_by(name, module))).collect()
    }

    fn used_by(&self, name: &Name, module: &Module) -> BTreeSet<&Name> {
        let imported = module.imports.iter().filter_map(|import| {
            let used = self.find(name, &import.path, 0)?;
            (!(import.is_public && used.starts_with(name))).then_some(used)
        });
        let named = paths(&module.code);
        let written = named.iter().filter_map(|path| self.find(name, path, 0));
        imported.chain(written).filter(|used| *used != name).collect()
    }

    /// The module that defines the target of a path in `base`; `None` for a different crate.
    fn find(&self, base: &Name, path: &[String], depth: usize) -> Option<&Name> {
        let (mut current, mut rest) = (base.clone(), path);
        match path.first()?.as_str() {
            "crate" => current.clear(),
            "self" => {}
            "super" => {
                let up = path.iter().take_while(|part| *part == "super").count();
                current.truncate(base.len().checked_sub(up)?);
                rest = &path[up - 1..];
            }
            child if self.all.contains_key(&[base.as_slice(), &[child.to_owned()]].concat()) => {
                return self.descend(base.clone(), path, depth);
            }
            _ => return None,
        }
        self.descend(current, &rest[1..], depth)
    }

    fn descend(&self, mut current: Name, path: &[String], depth: usize) -> Option<&Name> {
        // Imports can be circular, too.
        const DEPTH: usize = 16;
        for (at, part) in path.iter().enumerate() {
            let below = [current.as_slice(), std::slice::from_ref(part)].concat();
            if self.all.contains_key(&below) {
                current = below;
                continue;
            }
            let imported = self.all.get(&current)?.imports.iter().find(|import| import.alias == *part);
            if let Some(import) = imported.filter(|_| depth < DEPTH) {
                let path = [import.path.as_slice(), &path[at + 1..]].concat();
                // Items of a different crate belong to that crate.
                return self.find(&current, &path, depth + 1);
            }
            break;
        }
        self.all.get_key_value(&current).map(|(name, _)| name)
    }
}

fn without_comments(text: &str) -> String {
    let code = |line: &str| line.split_once("//").map_or(line, |(code, _)| code).to_owned();
    text.lines().map(code).collect::<Vec<_>>().join("\n")
}

/// The code without `#[cfg(test)]` items, and the names of the files that are tests.
fn without_tests(code: &str) -> (String, Vec<String>) {
    let mut parts = code.split("#[cfg(test)]");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    let mut tests = Vec::new();
    for part in parts {
        let is_attribute = |line: &&str| line.trim().is_empty() || line.trim_start().starts_with("#[");
        let item = part.lines().skip_while(is_attribute).collect::<Vec<_>>().join("\n");
        let (head, rest) = item.split_once([';', '{']).unwrap_or((&item, ""));
        let module = head.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        if item.get(head.len()..).is_some_and(|rest| rest.starts_with(';')) {
            tests.push(module);
            kept.push_str(rest);
        } else if head.contains("mod ") {
            // Test modules are at the end of a file.
            break;
        } else {
            kept.push_str(&item);
        }
    }
    (kept, tests)
}

fn without_imports(code: &str) -> (String, Vec<Import>) {
    let (mut kept, mut imports) = (Vec::new(), Vec::new());
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let (visibility, tree) = match line.trim_start().split_once("use ") {
            Some((visibility, tree)) if visibility.is_empty() || visibility.starts_with("pub") => {
                (visibility, tree)
            }
            _ => {
                kept.push(line);
                continue;
            }
        };
        let mut tree = tree.to_owned();
        while !tree.contains(';') {
            tree += lines.next().expect("an import ends with a semicolon").trim();
        }
        let paths = expanded(tree.trim_end_matches(';'));
        imports.extend(paths.iter().map(|path| import(path, !visibility.is_empty())));
    }
    (kept.join("\n"), imports)
}

fn import(path: &str, is_public: bool) -> Import {
    let (path, alias) = path.split_once(" as ").unwrap_or((path, ""));
    let mut path: Vec<String> = path.split("::").map(|part| part.trim().to_owned()).collect();
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    let last = path.last().cloned().unwrap_or_default();
    let alias = if alias.is_empty() { last } else { alias.trim().to_owned() };
    Import { path, alias, is_public }
}

/// Expands `a::{b, c::{d, e}}` into paths.
fn expanded(tree: &str) -> Vec<String> {
    let Some((prefix, list)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    super::top_level(list)
        .iter()
        .flat_map(|item| expanded(item))
        .map(|path| format!("{}{path}", prefix.trim()))
        .collect()
}

/// Every `a::b` of the code.
fn paths(code: &str) -> Vec<Vec<String>> {
    // A visibility does not use the module that it names.
    let mut parts = code.split("pub(in ");
    let mut code = parts.next().unwrap_or_default().to_owned();
    code.extend(parts.filter_map(|part| part.split_once(')')).map(|(_, rest)| rest));
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = code.split(|c: char| !is_part(c)).filter(|word| word.contains("::"));
    words.map(|word| word.split("::").map(str::to_owned).collect()).collect()
}
