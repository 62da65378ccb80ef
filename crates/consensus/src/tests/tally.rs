//! An application: who has how much, and what was answered to whom.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use crate::replicated::{Replicated, View};
use crate::types::Command;

/// Adds up. A command is a signed number in text; its answer is the sum after it, said again for an id that comes again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) sum: i64,
    pub(crate) answers: BTreeMap<u128, i64>,
}

impl Replicated for Tally {
    fn apply(&mut self, commands: &[Command], _mark: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut given = Vec::new();
        for command in commands {
            let answer = match self.answers.get(&command.id) {
                Some(answer) => *answer,
                None => {
                    let added: i64 = String::from_utf8_lossy(&command.bytes).parse().unwrap_or(0);
                    self.sum += added;
                    self.answers.insert(command.id, self.sum);
                    self.sum
                }
            };
            given.push(answer.to_string().into_bytes());
        }
        Ok(given)
    }

    fn mark(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn view(&self) -> io::Result<View> {
        let text = self.text();
        Ok(Box::new(move |out: &mut dyn Write| out.write_all(text.as_bytes())))
    }

    fn restore(&mut self, from: &mut dyn Read, _mark: &[u8]) -> io::Result<()> {
        let mut text = String::new();
        from.read_to_string(&mut text)?;
        let bad = || io::Error::from(io::ErrorKind::InvalidData);
        let mut lines = text.lines();
        let sum = lines.next().and_then(|sum| sum.parse().ok()).ok_or_else(bad)?;
        let answer =
            |line: &str| line.split_once(' ').and_then(|(id, sum)| Some((id.parse().ok()?, sum.parse().ok()?)));
        let answers = lines.map(answer).collect::<Option<_>>().ok_or_else(bad)?;
        *self = Self { sum, answers };
        Ok(())
    }

    fn state_hash(&self) -> [u8; 32] {
        *blake3::hash(self.text().as_bytes()).as_bytes()
    }
}

impl Tally {
    fn text(&self) -> String {
        let lines = self.answers.iter().map(|(id, sum)| format!("{id} {sum}\n"));
        std::iter::once(format!("{}\n", self.sum)).chain(lines).collect()
    }
}
