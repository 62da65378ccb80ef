//! A tree's files as they were read: the one thing that is checked, compared, sent to a node and kept by it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use covenant_types::canonical::Writer;
use sha2::{Digest, Sha256};

use crate::{TreeError, TreeSource, TreeSourceError, TreeSpec, load_tree};

/// The text of a tree's root file and of every file it names, by name.
///
/// Reading them once and using only this is what makes a hash worth something: nobody changes a file between two looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeFiles {
    root: String,
    texts: BTreeMap<String, String>,
}

impl TreeFiles {
    /// Reads the tree whose root is `root` from `source`, and keeps exactly the files it needs.
    ///
    /// # Errors
    /// The first thing that is wrong with the tree, with its place.
    pub fn read(root: &str, source: &dyn TreeSource) -> Result<(Self, TreeSpec), TreeError> {
        let remembering = Remembering { source, texts: RefCell::default() };
        let tree = load_tree(root, &remembering)?;
        Ok((Self { root: root.to_owned(), texts: remembering.texts.into_inner() }, tree))
    }

    /// The root file's name, without `.toml`.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Names and texts, in the order of the names.
    pub fn texts(&self) -> &BTreeMap<String, String> {
        &self.texts
    }

    /// SHA-256 over the root's name and every file, in hexadecimal digits: the name of this tree.
    pub fn hash(&self) -> String {
        let mut record = Writer::new("covenant/tree-files/1");
        record.text(&self.root);
        for (name, text) in &self.texts {
            record.text(name).text(text);
        }
        hex(&Sha256::digest(record.finish()))
    }
}

impl TreeSource for TreeFiles {
    fn read(&self, name: &str) -> Result<String, TreeSourceError> {
        self.texts.get(name).cloned().ok_or(TreeSourceError::NotFound)
    }
}

/// Keeps what it hands on. A file that is named twice is read once, so that both see the same text.
struct Remembering<'a> {
    source: &'a dyn TreeSource,
    texts: RefCell<BTreeMap<String, String>>,
}

impl TreeSource for Remembering<'_> {
    fn read(&self, name: &str) -> Result<String, TreeSourceError> {
        if let Some(text) = self.texts.borrow().get(name) {
            return Ok(text.clone());
        }
        let text = self.source.read(name)?;
        self.texts.borrow_mut().insert(name.to_owned(), text.clone());
        Ok(text)
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _never_fails = write!(digits, "{byte:02x}");
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(texts: &[(&str, &str)]) -> TreeFiles {
        let texts = texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        TreeFiles { root: "main".to_owned(), texts }
    }

    const MAIN: &str = "[[child]]\nid = \"sub\"\ntree = \"sub\"\n";
    const SUB: &str = "[[child]]\nid = \"a\"\nbehaviour = \"x\"\n";

    #[test]
    fn only_files_that_the_tree_needs_are_kept() {
        let source = files(&[("main", MAIN), ("sub", SUB), ("other", "nonsense")]);
        let (kept, tree) = TreeFiles::read("main", &source).unwrap();
        assert_eq!(kept, files(&[("main", MAIN), ("sub", SUB)]));
        assert_eq!(TreeFiles::read("main", &kept).unwrap(), (kept.clone(), tree));
    }

    #[test]
    fn one_changed_letter_anywhere_is_another_hash() {
        let hash = files(&[("main", MAIN), ("sub", SUB)]).hash();
        assert_eq!(hash.len(), 64);
        for other in [
            files(&[("main", MAIN), ("sub", &SUB.replace('x', "y"))]),
            files(&[("main", MAIN), ("sup", SUB)]),
            TreeFiles { root: "sub".to_owned(), ..files(&[("main", MAIN), ("sub", SUB)]) },
        ] {
            assert_ne!(other.hash(), hash);
        }
    }
}
