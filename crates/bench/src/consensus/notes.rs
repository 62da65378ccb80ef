//! The least that a group can agree on: how many records there were, and a hash of them.

use std::io::{self, Read, Write};
use std::path::Path;

use covenant_consensus::{Command, Replicated, View};

use super::{RECORD, Subject};

/// Notes in memory. It remembers no ids: nothing is sent twice while it is measured, and if it were, it would be counted twice.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Notes {
    count: u64,
    sum: u64,
}

impl Subject for Notes {
    type State = Self;

    fn open(_folder: &Path) -> io::Result<Self> {
        Ok(Self::default())
    }

    fn command(number: u128, records: usize) -> Vec<u8> {
        let mut bytes = RECORD.repeat(records);
        bytes[..16].copy_from_slice(&number.to_be_bytes());
        bytes
    }
}

impl Replicated for Notes {
    fn apply(&mut self, commands: &[Command], _mark: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        for command in commands {
            self.count += 1;
            self.sum = self.sum.wrapping_add(command.bytes.iter().map(|byte| u64::from(*byte)).sum());
        }
        Ok(commands.iter().map(|_| b"noted".to_vec()).collect())
    }

    fn mark(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn view(&self) -> io::Result<View> {
        let bytes = [self.count.to_be_bytes(), self.sum.to_be_bytes()].concat();
        Ok(Box::new(move |out: &mut dyn Write| out.write_all(&bytes)))
    }

    fn restore(&mut self, from: &mut dyn Read, _mark: &[u8]) -> io::Result<()> {
        let (mut count, mut sum) = ([0; 8], [0; 8]);
        from.read_exact(&mut count)?;
        from.read_exact(&mut sum)?;
        *self = Self { count: u64::from_be_bytes(count), sum: u64::from_be_bytes(sum) };
        Ok(())
    }

    fn state_hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&self.count.to_be_bytes());
        hash[8..16].copy_from_slice(&self.sum.to_be_bytes());
        hash
    }
}
