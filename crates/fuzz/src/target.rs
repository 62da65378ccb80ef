//! One decoder.

/// One decoder, and what it understands.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called on the command line and in the corpus.
    pub name: &'static str,
    /// Reads bytes. It may refuse them; it may not panic.
    pub run: fn(&[u8]),
    /// Inputs that are read without complaint, made by the code that writes them.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// The seeds differ from run to run, as keys do: a hunt takes those of the corpus alone.
    pub seeds_vary: bool,
}

impl Target {
    /// A target whose seeds are the same in every run.
    pub const fn new(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Self {
        Self { name, run, seeds, seeds_vary: false }
    }

    /// A target whose seeds have new keys in every run.
    pub const fn varying(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Self {
        Self { name, run, seeds, seeds_vary: true }
    }
}
