//! Where in a tree file something is said.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use crate::TreeError;
use crate::tree::text::Text;

/// What a warning points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    /// A key of the supervisor; the file's beginning where it is left out.
    Supervisor(&'static str),
    /// A key of the child at this place in order; the child's beginning where it is left out.
    Child(usize, &'static str),
}

impl Anchor {
    pub(super) fn supervisor(key: &'static str) -> Self {
        Self::Supervisor(key)
    }

    pub(super) fn child(at: usize, key: &'static str) -> Self {
        Self::Child(at, key)
    }
}

type Place = (usize, usize);

/// Where the keys of one file stand.
pub(super) struct Places {
    keys: BTreeMap<String, Place>,
    children: Vec<(Place, BTreeMap<String, Place>)>,
}

impl Places {
    pub(super) fn of(name: &str, text: &str) -> Result<Self, TreeError> {
        let lines = Text::new(name, text);
        let table = DeTable::parse(text).map_err(|error| {
            let place = lines.place(error.span().map_or(0, |span| span.start));
            TreeError::at_line(&format!("{name}.toml"), place.0, error.message().to_owned())
        })?;
        let keys_of = |table: &DeTable<'_>| -> BTreeMap<String, Place> {
            table.keys().map(|key| (key.get_ref().to_string(), lines.place(key.span().start))).collect()
        };
        let mut children = Vec::new();
        if let Some(DeValue::Array(list)) = table.get_ref().get("child").map(toml::Spanned::get_ref) {
            for child in list.iter() {
                let keys = child.get_ref().as_table().map(keys_of).unwrap_or_default();
                children.push((lines.place(child.span().start), keys));
            }
        }
        Ok(Self { keys: keys_of(table.get_ref()), children })
    }

    pub(super) fn find(&self, anchor: &Anchor) -> Place {
        match anchor {
            Anchor::Supervisor(key) => self.keys.get(*key).copied().unwrap_or((1, 1)),
            Anchor::Child(at, key) => match self.children.get(*at) {
                Some((begins, keys)) => keys.get(*key).copied().unwrap_or(*begins),
                None => (1, 1), // the parts of a partitioned supervisor stand in no file
            },
        }
    }
}
