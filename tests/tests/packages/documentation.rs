//! The documentation in the packages: every link between its pages has a target, and both packages have the
//! same pages.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Parser, Tag};

use super::{manifest, read, root};

const DOCUMENTATION: &str = "usr/share/doc/trove-couchdb-agent/";

/// The source files that match a pattern, whose last part may have a `*`.
pub fn expanded(pattern: &str) -> Vec<String> {
    let (directory, name) =
        pattern.rsplit_once('/').map_or((".", pattern), |(directory, name)| (directory, name));
    let Some((before, behind)) = name.split_once('*') else {
        return vec![pattern.to_owned()];
    };
    let files =
        std::fs::read_dir(root().join(directory)).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let matching = names.filter(|name| name.starts_with(before) && name.ends_with(behind));
    matching.map(|name| format!("{directory}/{name}")).collect()
}

/// The paths of the repository's documentation in the Debian package, below its documentation directory.
fn in_the_debian_package() -> BTreeSet<String> {
    let manifest = manifest();
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
    let mut shipped = BTreeSet::new();
    for asset in assets {
        let (source, target) = (asset[0].as_str().unwrap(), asset[1].as_str().unwrap());
        let Some(directory) = target.strip_prefix(DOCUMENTATION) else {
            continue;
        };
        let Some(source) = source.strip_prefix("../").filter(|source| !source.starts_with("target/")) else {
            continue;
        };
        if !directory.is_empty() && !directory.ends_with('/') {
            // A file with a name fixed by Debian: copyright.
            continue;
        }
        for file in expanded(source) {
            let name = file.rsplit('/').next().unwrap();
            shipped.insert(format!("{directory}{name}"));
        }
    }
    shipped
}

/// The same for the RPM, whose spec names files from the root of the source and keeps their directories.
fn in_the_rpm() -> BTreeSet<String> {
    let spec = read("packaging/rpm/trove-couchdb-agent.spec").replace("%{name}", "trove-couchdb-agent");
    let (before, after) =
        spec.split_once("; do\n    install -D -m 0644 $file %{buildroot}%{_docdir}").unwrap();
    assert!(after.starts_with("/trove-couchdb-agent/$file\n"), "{after}");
    let list = before.rsplit_once("for file in ").unwrap().1;
    list.split_whitespace().filter(|word| *word != "\\").flat_map(expanded).collect()
}

/// The links of a page to other files, without anchors.
fn links(text: &str) -> Vec<String> {
    let targets = Parser::new(text).filter_map(|event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
            Some(dest_url.into_string())
        }
        _ => None,
    });
    let files = targets.filter(|link| !link.contains("://") && !link.starts_with('#'));
    files.map(|link| link.split('#').next().unwrap().to_owned()).collect()
}

/// The target of a link of `page`.
fn target(page: &str, link: &str) -> String {
    let mut path = PathBuf::new();
    for component in Path::new(page).parent().unwrap().join(link).components() {
        match component {
            Component::ParentDir => assert!(path.pop(), "{page}: {link} leads out of the documentation"),
            other => path.push(other),
        }
    }
    path.to_str().unwrap().to_owned()
}

/// The broken links of these files.
fn dead(shipped: &BTreeSet<String>) -> Vec<String> {
    let mut dead = Vec::new();
    for page in shipped.iter().filter(|file| Path::new(file).extension().is_some_and(|its| its == "md")) {
        for link in links(&read(page)) {
            if !shipped.contains(&target(page, &link)) {
                dead.push(format!("{page}: {link}"));
            }
        }
    }
    dead
}

#[test]
fn every_link_of_the_packaged_documentation_leads_to_a_file_of_the_package() {
    let shipped = in_the_debian_package();
    for page in ["docs/configuration.md", "docs/adr/README.md", "docs/pictures/command.svg", "CHANGELOG.md"] {
        assert!(shipped.contains(page), "no {page} in {shipped:?}");
    }
    assert_eq!(dead(&shipped), Vec::<String>::new(), "these files are not in the package");

    let mut without = shipped.clone();
    assert!(without.remove("SECURITY.md"));
    assert!(dead(&without).contains(&"README.md: SECURITY.md".to_owned()), "a dead link is not seen");
}

#[test]
fn both_packages_have_the_same_documentation() {
    assert_eq!(in_the_debian_package(), in_the_rpm());
}

/// Fails for a page below docs/ that is not in the packages.
#[test]
fn every_page_of_the_documentation_is_packaged() {
    let shipped = in_the_debian_package();
    let output =
        std::process::Command::new("git").args(["ls-files", "docs"]).current_dir(root()).output().unwrap();
    let files = String::from_utf8(output.stdout).unwrap();
    let not_for_readers = |file: &str| {
        file.starts_with("docs/site/") || ["docs/requirements.txt", "docs/advice.toml"].contains(&file)
    };
    let missing: Vec<&str> =
        files.lines().filter(|file| !not_for_readers(file) && !shipped.contains(*file)).collect();
    assert!(files.lines().count() > 20 && missing.is_empty(), "not packaged: {missing:?}");
}

/// The manual pages refer to it.
#[test]
fn the_documents_that_the_manual_names_are_packaged() {
    let code = read("cli/src/manual/mod.rs");
    assert!(code.contains(&format!("\"/{DOCUMENTATION}docs/\"")), "the manual names a different directory");
    let named = code
        .split(|c: char| !(c.is_alphanumeric() || c == '.'))
        .filter(|word| word.strip_suffix(".md").is_some());
    let shipped = in_the_debian_package();
    let missing: Vec<&str> =
        named.clone().filter(|name| !shipped.contains(&format!("docs/{name}"))).collect();
    assert!(named.count() >= 3 && missing.is_empty(), "not packaged: {missing:?}");
}
