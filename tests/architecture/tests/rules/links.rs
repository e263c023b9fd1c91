//! Links between the pages of the docs lead to what exists.

use std::collections::BTreeSet;

use hythe_architecture::{Source, root, sources};

use crate::hold;

#[test]
fn every_link_of_the_docs_leads_somewhere() {
    let sources = sources();
    let pages: Vec<_> = sources.iter().filter(|source| source.name().ends_with(".md")).collect();
    let mut breaches = Vec::new();
    for page in pages.iter().filter(|page| !page.path.starts_with("patches/")) {
        for (line, link) in links(&page.text) {
            if let Some(problem) = problem(page, link, &pages) {
                breaches.push(format!("{}:{line}: `{link}` {problem}", page.path));
            }
        }
    }
    hold("every link of the docs leads somewhere", &breaches);
}

#[test]
fn every_page_is_in_the_table_of_contents() {
    let sources = sources();
    let text = sources.iter().find(|source| source.path == "docs/README.md").map(|source| source.text.as_str());
    let listed: BTreeSet<_> =
        links(text.unwrap_or_default()).map(|(_, link)| resolved("docs/README.md", link)).collect();
    let pages = sources.iter().filter(|source| source.path.starts_with("docs/") && source.name().ends_with(".md"));
    let missing = pages.filter(|page| page.path != "docs/README.md" && !listed.contains(&page.path));
    let breaches: Vec<_> = missing.map(|page| format!("`{}`", page.path)).collect();
    hold("docs/README.md lists every page of the docs", &breaches);
}

#[test]
fn an_anchor_is_made_as_github_makes_it() {
    assert_eq!(anchor("`hythe sync FILE|DIR…`"), "hythe-sync-filedir");
    assert_eq!(anchor("The image's own check"), "the-images-own-check");
}

/// What is wrong with a link.
fn problem(page: &Source, link: &str, pages: &[&Source]) -> Option<String> {
    if link.contains("://") {
        return None;
    }
    let (_, heading) = link.split_once('#').unwrap_or((link, ""));
    let path = resolved(&page.path, link);
    if !root().join(&path).exists() {
        return Some("names no file".to_owned());
    }
    let target = pages.iter().find(|other| other.path == path).filter(|_| !heading.is_empty())?;
    let found = outside_code(&target.text).any(|(_, line)| is_heading(line, heading));
    (!found).then(|| format!("names no heading of `{path}`"))
}

fn is_heading(line: &str, wanted: &str) -> bool {
    line.starts_with('#') && anchor(line.trim_start_matches('#').trim()) == wanted
}

/// Inline links, with their lines.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    outside_code(text).flat_map(|(number, line)| {
        let ends = line.split("](").skip(1);
        ends.filter_map(move |rest| Some((number, &rest[..rest.find(')')?])))
    })
}

fn outside_code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The path below the root that a link of a page names.
fn resolved(page: &str, link: &str) -> String {
    let path = link.split('#').next().unwrap_or_default();
    if path.is_empty() {
        return page.to_owned();
    }
    let mut parts: Vec<_> = page.split('/').collect();
    parts.pop();
    for part in path.split('/').filter(|part| *part != ".") {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}
