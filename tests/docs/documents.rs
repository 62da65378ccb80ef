//! The pages keep their promises: links lead somewhere, and the tests that the guarantees name exist.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn files_with(extension: &str, below: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(below) else { return };
    for path in entries.map(|entry| entry.expect("a folder can be read").path()) {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.is_dir() && !hidden && !path.ends_with("target") && !path.ends_with("covenant-data") {
            files_with(extension, &path, found);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The targets of `[text](target)` on a page, without what follows `#`.
fn links(page: &str) -> Vec<&str> {
    let after = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    after.map(|target| target.split('#').next().unwrap_or("")).filter(|target| !target.is_empty()).collect()
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut pages = Vec::new();
    files_with("md", &root(), &mut pages);
    assert!(pages.len() > 5, "the pages were found");
    let mut broken = Vec::new();
    for page in &pages {
        let folder = page.parent().expect("a page lies in a folder");
        for link in links(&read(page)).into_iter().filter(|link| !link.contains("://") && !link.contains(' ')) {
            if !folder.join(link).exists() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

/// The blocks of Rust that a page says are from a file, with that file.
fn quotations(page: &str) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(from) = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) else { continue };
        assert_eq!(lines.next(), Some("```rust"), "a block follows {from}");
        found.push((from, lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect()));
    }
    found
}

#[test]
fn what_guides_quote_stands_in_the_example() {
    let (mut pages, mut quoted) = (Vec::new(), 0);
    files_with("md", &root().join("docs/guides"), &mut pages);
    for page in pages {
        for (from, block) in quotations(&read(&page)) {
            let file = read(&root().join(from));
            assert!(file.contains(&block), "{}: this is not in {from}:\n{block}", page.display());
            quoted += 1;
        }
    }
    assert!(quoted >= 4, "only {quoted} quotations were found");
}

#[test]
fn every_test_that_a_guarantee_names_exists() {
    let page = read(&root().join("docs/guarantees.md"));
    let named: Vec<&str> = page.split('`').skip(1).step_by(2).filter_map(|word| word.strip_prefix("test:")).collect();
    assert!(named.len() > 5, "the guarantees name their tests");
    let mut sources = Vec::new();
    files_with("rs", &root(), &mut sources);
    let text: String = sources.iter().map(|source| read(source)).collect();
    let missing: Vec<&&str> = named.iter().filter(|name| !text.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "docs/guarantees.md names tests that are not there: {missing:?}");
}
