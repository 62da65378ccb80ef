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
        Self { file: format!("{}.toml", short(name, WHAT_CHARS_MAX)), place: None, what }
    }

    pub(super) fn at(file: &str, place: (usize, usize), what: &str) -> Self {
        Self { file: file.to_owned(), place: Some(place), what: short(what, WHAT_CHARS_MAX) }
    }

    /// An error at a known line, for what is found out only when the tree starts.
    pub fn at_line(file: &str, line: usize, what: String) -> Self {
        Self { file: file.to_owned(), place: Some((line, 1)), what }
    }
}

/// The longest description of an error.
const WHAT_CHARS_MAX: usize = 2000;

/// `text`, or its beginning where it is longer than an error can show.
pub(super) fn short(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text.to_owned(),
    }
}
