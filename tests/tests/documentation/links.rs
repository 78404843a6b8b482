//! Checks every link and anchor of every Markdown file. `make docs` checks those of the site; this test
//! checks the files as a git host and an editor show them, including those outside docs/.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::{files, read, root};

/// The hosts that external links may use. `make links` checks the links, which requires a network that CI may
/// not have.
pub(super) const HOSTS: &[&str] =
    &["couchdb.apache.org", "docs.openstack.org", "keepachangelog.com", "semver.org"];

struct Document {
    links: Vec<String>,
    anchors: BTreeSet<String>,
}

fn parse(text: &str) -> Document {
    let mut links = Vec::new();
    let mut anchors = BTreeSet::new();
    let mut times = BTreeMap::<String, usize>::new();
    let mut heading: Option<String> = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                links.push(dest_url.into_string());
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let anchor = slug(&heading.take().unwrap());
                let before = times.entry(anchor.clone()).or_default();
                anchors.insert(if *before == 0 { anchor } else { format!("{anchor}-{before}") });
                *before += 1;
            }
            _ => {}
        }
    }
    Document { links, anchors }
}

/// The anchor that GitHub, GitLab and the site generate for a heading.
fn slug(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading.to_lowercase().chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Removes `.` and `..`; `None` if the path leaves the repository.
fn within(path: &Path) -> Option<PathBuf> {
    let mut within = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir if !within.pop() => return None,
            Component::ParentDir | Component::CurDir => {}
            other => within.push(other),
        }
    }
    Some(within)
}

/// The problem with a link in `file`, if any.
fn problem(file: &str, link: &str, documents: &BTreeMap<String, Document>) -> Option<String> {
    if let Some((scheme, rest)) = link.split_once("://") {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        return (scheme != "https" || !HOSTS.contains(&host))
            .then(|| "not https, or a host that HOSTS does not name".to_owned());
    }
    let (target, anchor) =
        link.split_once('#').map_or((link, None), |(target, anchor)| (target, Some(anchor)));
    let path = if target.is_empty() {
        PathBuf::from(file)
    } else {
        let Some(path) = within(&Path::new(file).parent().unwrap().join(target)) else {
            return Some("leads out of the repository".to_owned());
        };
        path
    };
    if !root().join(&path).exists() {
        return Some(format!("there is no {}", path.display()));
    }
    let anchor = anchor?;
    let Some(document) = documents.get(path.to_str().unwrap()) else {
        return Some("an anchor in something that is no Markdown".to_owned());
    };
    (!document.anchors.contains(anchor)).then(|| format!("no such heading; there are {:?}", document.anchors))
}

#[test]
fn every_link_and_anchor_leads_somewhere() {
    let documents: BTreeMap<_, _> =
        files("", "md").into_iter().map(|file| (file.clone(), parse(&read(&file)))).collect();
    let mut problems = Vec::new();
    let mut looked_at = 0;
    for (file, document) in &documents {
        for link in &document.links {
            looked_at += 1;
            if let Some(problem) = problem(file, link, &documents) {
                problems.push(format!("{file}: {link}: {problem}"));
            }
        }
    }
    assert!(looked_at > 100, "only {looked_at} links");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_bad_link_is_found() {
    let document = parse("# One\n\n## A `b`, and _c_\n\n## One\n\n[x](y.md)\n\n```\n[no](link)\n```\n");
    assert_eq!(document.links, ["y.md"]);
    let anchors: Vec<_> = document.anchors.iter().map(String::as_str).collect();
    assert_eq!(anchors, ["a-b-and-c", "one", "one-1"]);
    let documents = BTreeMap::from([("docs/cli.md".to_owned(), document)]);
    let problem = |link| problem("docs/cli.md", link, &documents);
    assert_eq!(problem("#one"), None);
    assert_eq!(problem("../README.md"), None);
    assert_eq!(problem("https://semver.org/x"), None);
    for link in [
        "#two",
        "nowhere.md",
        "../../README.md",
        "../README.md#try-it",
        "http://semver.org",
        "https://example.com",
    ] {
        assert!(problem(link).is_some(), "{link}");
    }
}

/// The site includes Markdown pages from outside docs/ as well: a new one must be added to the navigation
/// (`make docs` only checks files below docs/).
#[test]
fn documents_that_are_linked_from_docs_are_pages_of_the_site() {
    let hooks = read("docs/site/hooks.py");
    for file in files("docs", "md") {
        for link in parse(&read(&file)).links {
            let target = link.split('#').next().unwrap_or_default();
            if target.contains("://") || Path::new(target).extension().is_none_or(|its| its != "md") {
                continue;
            }
            let path = within(&Path::new(&file).parent().unwrap().join(target)).unwrap();
            let path = path.to_str().unwrap();
            assert!(
                path.starts_with("docs/") || hooks.contains(&format!("\"{path}\"")),
                "{file} links to {path}, which is no page of the site: add it to OUTSIDE in docs/site/hooks.py"
            );
        }
    }
}
