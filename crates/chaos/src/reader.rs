//! Reads TOML tables key by key, so that every error has a place and every unknown key a suggestion.
#![expect(clippy::wildcard_enum_match_arm, reason = "a TOML value of any other kind is the same mistake")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use covenant_types::parse_duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A scenario file that cannot be run, and where it is wrong. Nothing ran. Exit code 2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {what}")]
pub struct InvalidScenario {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted from 1 in characters.
    pub column: usize,
    /// What is wrong and what to write instead.
    pub what: String,
}

/// A file's name and text, for places in errors.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

impl Source<'_> {
    /// The error `what` at byte `at`.
    pub(crate) fn wrong(&self, at: usize, what: impl Into<String>) -> InvalidScenario {
        let before = self.text.get(..at).unwrap_or(self.text);
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        let line = before.matches('\n').count() + 1;
        InvalidScenario { file: self.file.to_owned(), line, column, what: what.into() }
    }
}

/// One table of the file, from which keys are taken until none is left.
pub(crate) struct Table<'a> {
    source: Source<'a>,
    /// What the table is called in errors: `fault`.
    name: String,
    /// Where the table begins.
    pub(crate) at: usize,
    entries: BTreeMap<String, (Range<usize>, Spanned<DeValue<'a>>)>,
    asked: Vec<&'static str>,
}

impl<'a> Table<'a> {
    /// The whole file.
    pub(crate) fn root(source: Source<'a>) -> Result<Self, InvalidScenario> {
        let table = DeTable::parse(source.text)
            .map_err(|error| source.wrong(error.span().map_or(0, |span| span.start), error.message()))?;
        Ok(Self::new(source, "a scenario".into(), table.span().start, table.into_inner()))
    }

    fn new(source: Source<'a>, name: String, at: usize, table: DeTable<'a>) -> Self {
        let entries = table.into_iter().map(|(key, value)| (key.get_ref().to_string(), (key.span(), value))).collect();
        Self { source, name, at, entries, asked: Vec::new() }
    }

    fn from_value(source: Source<'a>, name: &str, value: Spanned<DeValue<'a>>) -> Result<Self, InvalidScenario> {
        let at = value.span().start;
        match value.into_inner() {
            DeValue::Table(table) => Ok(Self::new(source, name.to_owned(), at, table)),
            other => Err(source.wrong(at, format!("`{name}` must be a table, not {}", kind(&other)))),
        }
    }

    /// The error `what` at byte `at` of the file.
    pub(crate) fn wrong(&self, at: usize, what: impl Into<String>) -> InvalidScenario {
        self.source.wrong(at, what)
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'a>>> {
        self.asked.push(key);
        self.entries.remove(key).map(|(_, value)| value)
    }

    fn missing(&self, key: &str) -> InvalidScenario {
        self.wrong(self.at, format!("{} needs `{key}`", self.name))
    }

    /// A text and where it stands.
    pub(crate) fn text(&mut self, key: &'static str) -> Result<Option<(String, usize)>, InvalidScenario> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let at = value.span().start;
        match value.into_inner() {
            DeValue::String(text) => Ok(Some((text.into_owned(), at))),
            other => Err(self.wrong(at, format!("`{key}` must be a text, not {}", kind(&other)))),
        }
    }

    /// A text that must be there.
    pub(crate) fn required_text(&mut self, key: &'static str) -> Result<(String, usize), InvalidScenario> {
        self.text(key)?.ok_or_else(|| self.missing(key))
    }

    /// A text that `read` understands.
    pub(crate) fn parsed<T, E: std::fmt::Display>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, InvalidScenario> {
        let Some((text, at)) = self.text(key)? else { return Ok(None) };
        read(&text).map(Some).map_err(|error| self.wrong(at, format!("`{key}`: {error}")))
    }

    /// A text that must be there and that `read` understands.
    pub(crate) fn required<T, E: std::fmt::Display>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, InvalidScenario> {
        self.parsed(key, read)?.ok_or_else(|| self.missing(key))
    }

    /// A duration such as `"20s"`.
    pub(crate) fn duration(&mut self, key: &'static str) -> Result<Option<Duration>, InvalidScenario> {
        self.parsed(key, parse_duration)
    }

    /// A whole number in `allowed`.
    pub(crate) fn number(
        &mut self,
        key: &'static str,
        allowed: std::ops::RangeInclusive<u32>,
    ) -> Result<Option<u32>, InvalidScenario> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let at = value.span().start;
        let found = match value.into_inner() {
            DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        found.filter(|number| allowed.contains(number)).map(Some).ok_or_else(|| {
            self.wrong(at, format!("`{key}` must be a whole number from {} to {}", allowed.start(), allowed.end()))
        })
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, key: &'static str) -> Result<Option<bool>, InvalidScenario> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let at = value.span().start;
        match value.into_inner() {
            DeValue::Boolean(value) => Ok(Some(value)),
            other => Err(self.wrong(at, format!("`{key}` must be true or false, not {}", kind(&other)))),
        }
    }

    /// Whatever stands there, for a key that may be of several kinds.
    pub(crate) fn any(&mut self, key: &'static str) -> Option<(DeValue<'a>, usize)> {
        let value = self.take(key)?;
        let at = value.span().start;
        Some((value.into_inner(), at))
    }

    /// A list of texts with their places; empty where the key is missing.
    pub(crate) fn texts(&mut self, key: &'static str) -> Result<Vec<(String, usize)>, InvalidScenario> {
        let mut texts = Vec::new();
        for value in self.list(key)? {
            let at = value.span().start;
            match value.into_inner() {
                DeValue::String(text) => texts.push((text.into_owned(), at)),
                other => return Err(self.wrong(at, format!("`{key}` must hold texts, not {}", kind(&other)))),
            }
        }
        Ok(texts)
    }

    /// A table inside this one.
    pub(crate) fn table(&mut self, key: &'static str) -> Result<Option<Table<'a>>, InvalidScenario> {
        self.take(key).map(|value| Self::from_value(self.source, key, value)).transpose()
    }

    /// A table that must be there.
    pub(crate) fn required_table(&mut self, key: &'static str) -> Result<Table<'a>, InvalidScenario> {
        self.table(key)?.ok_or_else(|| self.missing(key))
    }

    /// The tables written `[[key]]`, at most `most` of them.
    pub(crate) fn tables(&mut self, key: &'static str, most: usize) -> Result<Vec<Table<'a>>, InvalidScenario> {
        let list = self.list(key)?;
        if let Some(first_too_many) = list.get(most) {
            return Err(
                self.wrong(first_too_many.span().start, format!("more than {most} `{key}`: split the scenario"))
            );
        }
        list.into_iter().map(|value| Self::from_value(self.source, key, value)).collect()
    }

    fn list(&mut self, key: &'static str) -> Result<Vec<Spanned<DeValue<'a>>>, InvalidScenario> {
        let Some(value) = self.take(key) else { return Ok(Vec::new()) };
        let at = value.span().start;
        match value.into_inner() {
            DeValue::Array(list) => Ok(list.into_iter().collect()),
            other => Err(self.wrong(at, format!("`{key}` must be a list, not {}", kind(&other)))),
        }
    }

    /// Ends the table: what is left is not known, or among `planned`, which a later release will run.
    pub(crate) fn finish(self, planned: &[&str]) -> Result<(), InvalidScenario> {
        let Some((key, (span, _))) = self.entries.iter().min_by_key(|(_, (span, _))| span.start) else { return Ok(()) };
        if planned.contains(&key.as_str()) {
            return Err(self.wrong(span.start, format!("`{key}` is not supported yet: take it out")));
        }
        let shown: String = key.chars().take(64).collect();
        let hint = match closest(key, &self.asked) {
            Some(known) => format!("did you mean `{known}`?"),
            None => format!("{} has {}", self.name, self.asked.join(", ")),
        };
        Err(self.wrong(span.start, format!("unknown key `{shown}`: {hint}")))
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The known word that `word` was probably meant to be: at most a third of it is wrong.
pub(crate) fn closest<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    if word.len() > 64 {
        return None;
    }
    let (distance, best) = known.iter().map(|&known| (edits(word, known), known)).min()?;
    (distance <= word.chars().count().div_ceil(3)).then_some(best)
}

/// How many characters must be put in, taken out or changed to make `a` into `b`.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_word_and_nonsense_finds_none() {
        assert_eq!(closest("targte", &["target", "args"]), Some("target"));
        assert_eq!(closest("hypotesis", &["hypothesis", "fault"]), Some("hypothesis"));
        assert_eq!(closest("zebra", &["target", "args"]), None);
        assert_eq!(closest("x", &[]), None);
    }

    #[test]
    fn places_count_characters_and_lines_from_one() {
        let source = Source { file: "x.toml", text: "é = 1\nab" };
        let error = source.wrong("é = 1\na".len(), "no");
        assert_eq!(error.to_string(), "x.toml:2:2: no");
        assert_eq!(source.wrong(0, "no").to_string(), "x.toml:1:1: no");
    }
}
