//! What a behaviour may be called.

use std::str::FromStr;

/// The longest name.
const NAME_MAX: usize = 40;

/// Words of Rust's that a module cannot have as its name, and names that a package has already.
const TAKEN: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "lib", "loop", "macro", "main",
    "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super",
    "trait", "true", "try", "type", "typeof", "union", "unsafe", "unsized", "use", "virtual", "where", "while",
    "yield",
];

/// The name of a behaviour, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(String);

impl Name {
    /// Its module, its file and its name in trees: `door_bell`.
    pub(super) fn module(&self) -> &str {
        &self.0
    }

    /// Its type: `DoorBell`.
    pub(super) fn of_type(&self) -> String {
        let words = self.0.split('_').map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_uppercase() + rest
        });
        words.collect()
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let spelled = |why: &str| {
            format!("{text:?} is no name for a behaviour: {why}; write small words, as in greeter or door_bell")
        };
        if text.len() > NAME_MAX {
            return Err(spelled(&format!("it is longer than {NAME_MAX} letters")));
        }
        let plain = |word: &str| {
            word.starts_with(|first: char| first.is_ascii_lowercase())
                && word.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
        };
        if !text.split('_').all(plain) {
            return Err(spelled(
                "each of its words begins with a letter from a to z and goes on with such letters and digits",
            ));
        }
        if TAKEN.contains(&text) {
            return Err(spelled("it means something to Rust"));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_spelled_as_a_module_and_gives_a_type() {
        let name: Name = "door_bell2".parse().unwrap();
        assert_eq!((name.module(), name.of_type().as_str()), ("door_bell2", "DoorBell2"));
        for text in
            ["", "_", "a_", "_a", "a__b", "2a", "a_2", "Door", "door-bell", "../x", "a b", "é", "a\n", "fn", "main"]
        {
            let refused = text.parse::<Name>().unwrap_err();
            assert!(refused.contains("is no name for a behaviour"), "{text:?}: {refused}");
        }
        assert!("a".repeat(NAME_MAX + 1).parse::<Name>().is_err());
    }
}
