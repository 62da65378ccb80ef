//! An application that adds up.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use covenant_consensus::{Command, Replicated, View};

/// A command is a number; its answer is the sum after it, said again for an id that comes again. It may carry ballast, to make a
/// snapshot large.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sum {
    pub(crate) sum: u64,
    answers: BTreeMap<u128, u64>,
    ballast: Vec<u8>,
}

pub(crate) fn amount(amount: u64) -> Vec<u8> {
    amount.to_be_bytes().to_vec()
}

impl Sum {
    pub(crate) fn applied(&self) -> usize {
        self.answers.len()
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.sum.to_be_bytes().to_vec();
        bytes.extend_from_slice(&(self.answers.len() as u64).to_be_bytes());
        for (id, answer) in &self.answers {
            bytes.extend_from_slice(&id.to_be_bytes());
            bytes.extend_from_slice(&answer.to_be_bytes());
        }
        bytes.extend_from_slice(&self.ballast);
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (sum, rest) = bytes.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let (answers, ballast) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*count)).ok()? * 24)?;
        let pair = |pair: &[u8; 24]| {
            let (id, answer) = pair.split_first_chunk::<16>()?;
            Some((u128::from_be_bytes(*id), u64::from_be_bytes(answer.try_into().ok()?)))
        };
        let answers = answers.as_chunks().0.iter().map(pair).collect::<Option<_>>()?;
        Some(Self { sum: u64::from_be_bytes(*sum), answers, ballast: ballast.to_vec() })
    }
}

impl Replicated for Sum {
    fn apply(&mut self, commands: &[Command], _mark: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut answers = Vec::new();
        for command in commands {
            let known = self.answers.get(&command.id).copied();
            let answer = known.unwrap_or_else(|| {
                let (amount, ballast) = command.bytes.split_first_chunk().unwrap();
                self.sum += u64::from_be_bytes(*amount);
                self.ballast.extend_from_slice(ballast);
                self.answers.insert(command.id, self.sum);
                self.sum
            });
            answers.push(answer.to_be_bytes().to_vec());
        }
        Ok(answers)
    }

    fn query(&self, question: &[u8]) -> Result<Vec<u8>, String> {
        if question == b"sum" { Ok(self.sum.to_be_bytes().to_vec()) } else { Err("ask for the sum".to_owned()) }
    }

    fn mark(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn view(&self) -> io::Result<View> {
        let bytes = self.bytes();
        Ok(Box::new(move |out: &mut dyn Write| out.write_all(&bytes)))
    }

    fn restore(&mut self, from: &mut dyn Read, _mark: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)?;
        *self = Self::read(&bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(())
    }

    fn state_hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&self.sum.to_be_bytes());
        hash
    }
}
