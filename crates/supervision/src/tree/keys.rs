//! A TOML table that knows where everything in it stands.

use std::time::Duration;

use covenant_types::parse_duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::short;
use super::text::Text;
use super::{TreeError, kind_of};

/// Which keys a table may have.
pub(super) struct Known {
    pub(super) here: &'static [&'static str],
    /// Keys of the design that this release does not run yet.
    pub(super) later: &'static [&'static str],
}

pub(super) struct Keys<'a> {
    pub(super) text: &'a Text<'a>,
    pub(super) table: &'a DeTable<'a>,
    /// Where the table begins.
    pub(super) offset: usize,
}

impl<'a> Keys<'a> {
    /// Refuses keys that are not known, the first of the file first.
    pub(super) fn only(&self, known: &Known) -> Result<(), TreeError> {
        let mut keys: Vec<_> = self.table.iter().collect();
        keys.sort_by_key(|(key, _)| key.span().start);
        for (key, _) in keys {
            let name = key.get_ref().as_ref();
            if known.here.contains(&name) {
                continue;
            }
            let what = if known.later.contains(&name) {
                format!("{name:?} is not supported yet; remove it")
            } else {
                unknown("key", name, known.here)
            };
            return Err(self.error(key.span().start, &what));
        }
        Ok(())
    }

    fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.get(key)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, TreeError> {
        match self.get(key).map(Spanned::get_ref) {
            None => Ok(None),
            Some(DeValue::String(text)) => Ok(Some(text.as_ref())),
            Some(other) => Err(self.wrong_kind(key, "a text", other)),
        }
    }

    pub(super) fn integer(&self, key: &str, min: i64, max: i64) -> Result<Option<i64>, TreeError> {
        match self.get(key).map(Spanned::get_ref) {
            None => Ok(None),
            Some(DeValue::Integer(digits)) => {
                let value = i64::from_str_radix(digits.as_str(), digits.radix()).ok();
                let fits = value.filter(|value| (min..=max).contains(value));
                let what = || format!("{key} must be {min} to {max}");
                fits.map(Some).ok_or_else(|| self.error_at_value(key, what()))
            }
            Some(other) => Err(self.wrong_kind(key, "an integer", other)),
        }
    }

    pub(super) fn float(&self, key: &str) -> Result<Option<f64>, TreeError> {
        let digits = match self.get(key).map(Spanned::get_ref) {
            None => return Ok(None),
            Some(DeValue::Float(digits)) => digits.as_str(),
            Some(DeValue::Integer(digits)) => digits.as_str(),
            Some(other) => return Err(self.wrong_kind(key, "a number", other)),
        };
        let value: Option<f64> = digits.parse().ok().filter(|value: &f64| value.is_finite());
        value.map(Some).ok_or_else(|| self.error_at_value(key, format!("{key} must be a plain number")))
    }

    pub(super) fn boolean(&self, key: &str) -> Result<Option<bool>, TreeError> {
        match self.get(key).map(Spanned::get_ref) {
            None => Ok(None),
            Some(DeValue::Boolean(value)) => Ok(Some(*value)),
            Some(other) => Err(self.wrong_kind(key, "true or false", other)),
        }
    }

    pub(super) fn duration(&self, key: &str) -> Result<Option<Duration>, TreeError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        parse_duration(text).map(Some).map_err(|error| self.error_at_value(key, error.to_string()))
    }

    pub(super) fn word<T: Copy>(&self, key: &str, words: &[(&'static str, T)]) -> Result<Option<T>, TreeError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(Some(*value));
        }
        let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        Err(self.error_at_value(key, unknown(key, text, &all)))
    }

    pub(super) fn table(&self, key: &str) -> Result<Option<Keys<'a>>, TreeError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => match value.get_ref().as_table() {
                Some(table) => Ok(Some(self.below(table, value.span().start))),
                None => Err(self.wrong_kind(key, "a table", value.get_ref())),
            },
        }
    }

    pub(super) fn tables(&self, key: &str) -> Result<Vec<Keys<'a>>, TreeError> {
        let list = match self.get(key).map(Spanned::get_ref) {
            None => return Ok(Vec::new()),
            Some(DeValue::Array(list)) => list,
            Some(other) => return Err(self.wrong_kind(key, "a list of tables, [[child]]", other)),
        };
        let table = |item: &'a Spanned<DeValue<'a>>| match item.get_ref().as_table() {
            Some(table) => Ok(self.below(table, item.span().start)),
            None => {
                let what = format!("{key} must be a table, not {}", kind_of(item.get_ref()));
                Err(self.error(item.span().start, &what))
            }
        };
        list.iter().map(table).collect()
    }

    fn below(&self, table: &'a DeTable<'a>, offset: usize) -> Keys<'a> {
        Keys { text: self.text, table, offset }
    }

    /// The line this table begins at.
    pub(super) fn line(&self) -> usize {
        self.text.line(self.offset)
    }

    pub(super) fn error_here(&self, what: String) -> TreeError {
        self.error(self.offset, &what)
    }

    pub(super) fn error_at_key(&self, key: &str, what: String) -> TreeError {
        let found = self.table.keys().find(|found| found.get_ref().as_ref() == key);
        self.error(found.map_or(self.offset, |found| found.span().start), &what)
    }

    pub(super) fn error_at_value(&self, key: &str, what: String) -> TreeError {
        self.error(self.get(key).map_or(self.offset, |value| value.span().start), &what)
    }

    /// An error at the second child that has this id.
    pub(super) fn error_at_duplicate(&self, id: &str, what: String) -> TreeError {
        let children = self.tables("child").unwrap_or_default();
        let second = children.iter().filter(|child| child.text("id").ok().flatten() == Some(id)).nth(1);
        match second {
            Some(child) => child.error_at_value("id", what),
            None => self.error_here(what),
        }
    }

    /// An error at the value of `key` in the child that has this id.
    pub(super) fn error_at_child(&self, id: &str, key: &str, what: String) -> TreeError {
        let children = self.tables("child").unwrap_or_default();
        match children.iter().find(|child| child.text("id").ok().flatten() == Some(id)) {
            Some(child) => child.error_at_value(key, what),
            None => self.error_here(what),
        }
    }

    fn wrong_kind(&self, key: &str, wanted: &str, found: &DeValue<'_>) -> TreeError {
        self.error_at_value(key, format!("{key} must be {wanted}, not {}", kind_of(found)))
    }

    fn error(&self, offset: usize, what: &str) -> TreeError {
        TreeError::at(self.text.file, self.text.place(offset), what)
    }
}

/// Says that `word` is none of `words`, and which was probably meant.
pub(crate) fn unknown(what: &str, word: &str, words: &[&str]) -> String {
    let shown = short(word, WORD_CHARS_MAX);
    match nearest(word, words) {
        Some(near) => format!("unknown {what} {shown:?}: did you mean {near:?}?"),
        None => format!("unknown {what} {shown:?}: use one of {}", words.join(", ")),
    }
}

/// The longest word an error repeats.
pub(super) const WORD_CHARS_MAX: usize = 64;

/// The word that was probably meant: at most two letters away, and closer than half of its length.
fn nearest<'w>(word: &str, words: &[&'w str]) -> Option<&'w str> {
    let near = words.iter().map(|candidate| (distance(word, candidate), *candidate)).min()?;
    (near.0 <= 2 && near.0 * 2 < near.1.len()).then_some(near.1)
}

/// Letters to insert, delete or change (Levenshtein 1966).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(WORD_CHARS_MAX).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
