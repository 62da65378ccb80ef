//! What is wrong with a tree file, and where.

/// Why a source has no text for a tree file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeSourceError {
    /// There is no such file.
    #[error("does not exist")]
    NotFound,
    /// It is there and cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
}

/// What is wrong with a tree file, and where. Prints as `sync.toml:12:1: what`. Nothing was started or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {what}", .place.map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default())]
pub struct TreeError {
    file: String,
    place: Option<(usize, usize)>,
    what: String,
}

impl TreeError {
    pub(super) fn of_file(name: &str, what: String) -> Self {
        Self { file: format!("{name}.toml"), place: None, what }
    }

    pub(super) fn at(file: &str, text: &str, offset: usize, what: &str) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        Self { file: file.to_owned(), place: Some((line, column)), what: what.to_owned() }
    }

    /// An error at a known line, for what is found out only when the tree starts.
    pub fn at_line(file: &str, line: usize, what: String) -> Self {
        Self { file: file.to_owned(), place: Some((line, 1)), what }
    }
}
