//! One line of a script as keys and values that know where they stand.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use covenant_types::{ExitReason, parse_duration};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::ScriptError;
use crate::Shutdown;
use crate::tree::unknown;

pub(super) struct Fields<'l> {
    line: usize,
    text: &'l str,
    entries: Entries<'l>,
}

/// The members of a JSON object, as they stand in its text.
struct Entries<'l>(Vec<(Cow<'l, str>, &'l RawValue)>);

impl<'l> Fields<'l> {
    /// Reads the line, which must be one JSON object.
    pub(super) fn read(line: usize, text: &'l str) -> Result<Self, ScriptError> {
        let entries = serde_json::from_str(text).map_err(|error| {
            let column = chars_before(text, error.column().saturating_sub(1)) + 1;
            ScriptError { line, column, what: said(&error) }
        })?;
        let fields = Self { line, text, entries };
        let mut names = BTreeSet::new();
        match fields.entries.0.iter().find(|(name, _)| !names.insert(name.as_ref())) {
            Some((twice, _)) => Err(fields.error_at_key(twice, "this key is there twice")),
            None => Ok(fields),
        }
    }

    /// Refuses keys that are not among `known`.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), ScriptError> {
        match self.entries.0.iter().find(|(name, _)| !known.contains(&name.as_ref())) {
            Some((name, _)) => Err(self.error_at_key(name, &unknown("key", name, known))),
            None => Ok(()),
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    fn get(&self, key: &str) -> Option<&'l RawValue> {
        self.entries.0.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<String>, ScriptError> {
        self.value(key, "a text")
    }

    pub(super) fn integer(&self, key: &str) -> Result<Option<u64>, ScriptError> {
        self.value(key, "a whole number of 0 or more")
    }

    pub(super) fn boolean(&self, key: &str) -> Result<Option<bool>, ScriptError> {
        self.value(key, "true or false")
    }

    pub(super) fn word<T: Clone>(&self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, ScriptError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(Some(value.clone()));
        }
        let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        Err(self.error_at(key, unknown(key, &text, &all)))
    }

    pub(super) fn shutdown(&self, key: &str) -> Result<Option<Shutdown>, ScriptError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        match text.as_str() {
            "brutal_kill" => Ok(Some(Shutdown::BrutalKill)),
            "infinity" => Ok(Some(Shutdown::Infinity)),
            span => {
                let bad = |error| self.error_at(key, format!("{error}, or \"brutal_kill\" or \"infinity\""));
                parse_duration(span).map(|span| Some(Shutdown::Timeout(span))).map_err(bad)
            }
        }
    }

    /// A reason: a word, or an object of one word and its text.
    pub(super) fn reason(&self, key: &str) -> Result<Option<ExitReason>, ScriptError> {
        let Some(raw) = self.get(key) else { return Ok(None) };
        let known = "a reason is \"normal\", \"shutdown\", \"panic\", \"killed\", {\"shutdown\": \"text\"} or \
                     {\"error\": \"text\"}";
        let reason = match serde_json::from_str::<serde_json::Value>(raw.get()) {
            Ok(serde_json::Value::String(word)) => match word.as_str() {
                "normal" => Some(ExitReason::Normal),
                "shutdown" => Some(ExitReason::Shutdown),
                "panic" => Some(ExitReason::Panicked(String::new())),
                "killed" => Some(ExitReason::Killed),
                _ => None,
            },
            Ok(serde_json::Value::Object(members)) if members.len() == 1 => {
                let text = |word: &str| members.get(word).and_then(serde_json::Value::as_str).map(str::to_owned);
                text("shutdown").map(ExitReason::ShutdownWith).or_else(|| text("error").map(ExitReason::Error))
            }
            Ok(_) | Err(_) => None,
        };
        reason.map(Some).ok_or_else(|| self.error_at(key, known.to_owned()))
    }

    fn value<T: DeserializeOwned>(&self, key: &str, wanted: &str) -> Result<Option<T>, ScriptError> {
        let Some(raw) = self.get(key) else { return Ok(None) };
        serde_json::from_str(raw.get()).map(Some).map_err(|_| self.error_at(key, format!("{key} must be {wanted}")))
    }

    pub(super) fn missing(&self, key: &str) -> ScriptError {
        self.error_here(format!("this event has no {key:?}"))
    }

    /// An error at the object's begin.
    pub(super) fn error_here(&self, what: String) -> ScriptError {
        self.error(self.text.len() - self.text.trim_start().len(), what)
    }

    /// An error at the value of `key`.
    pub(super) fn error_at(&self, key: &str, what: String) -> ScriptError {
        self.error(self.get(key).map_or(0, |raw| offset_in(self.text, raw.get())), what)
    }

    /// An error at the last key of this name.
    pub(super) fn error_at_key(&self, key: &str, what: &str) -> ScriptError {
        let Some((name, raw)) = self.entries.0.iter().rfind(|(name, _)| name == key) else {
            return self.error_here(what.to_owned());
        };
        let offset = match name {
            Cow::Borrowed(name) => offset_in(self.text, name).saturating_sub(1), // its quotation mark
            Cow::Owned(_) => offset_in(self.text, raw.get()), // written with escapes: its value is near
        };
        self.error(offset, what.to_owned())
    }

    fn error(&self, offset: usize, what: String) -> ScriptError {
        ScriptError { line: self.line, column: chars_before(self.text, offset) + 1, what }
    }
}

/// Where `part`, which is a part of `text`, begins in it.
fn offset_in(text: &str, part: &str) -> usize {
    part.as_ptr().addr().saturating_sub(text.as_ptr().addr())
}

fn chars_before(text: &str, offset: usize) -> usize {
    text.char_indices().take_while(|(at, _)| *at < offset).count()
}

/// What the reader of JSON says, without its own idea of the place.
fn said(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event as one JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
        let mut entries = Vec::new();
        while let Some((Key(name), value)) = map.next_entry()? {
            entries.push((name, value));
        }
        Ok(Entries(entries))
    }
}

/// A key, borrowed from the line where it is written without escapes.
struct Key<'l>(Cow<'l, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}
