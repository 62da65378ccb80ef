//! The table as the state of the group `placement`.

use std::io::{self, Read, Write};

use covenant_consensus::{Command as Entry, Replicated, Sender, View};

use crate::command::{Command, Outcome};
use crate::question;
use crate::table::{SNAPSHOT_BYTES_MAX, Table};

/// The table on this node. It is in memory: a snapshot and the log bring it back.
#[derive(Debug, Default)]
pub struct Member(Table);

impl Member {
    /// The table.
    pub fn table(&self) -> &Table {
        &self.0
    }
}

impl Replicated for Member {
    fn apply(&mut self, entries: &[Entry], _mark: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let apply = |entry: &Entry| match Command::decode(&entry.bytes) {
            Ok(command) => self.0.apply(entry.id, entry.at, command),
            Err(_) => Outcome::Malformed,
        };
        Ok(entries.iter().map(apply).map(|outcome| outcome.encode()).collect())
    }

    /// A node acts in its own name; what the group itself says comes from a node that may vote.
    fn admits(from: Sender, command: &[u8]) -> Result<(), String> {
        let command = Command::decode(command).map_err(|error| error.to_string())?;
        match command.sender() {
            Some(node) if node == from.node => Ok(()),
            Some(node) => Err(format!("{} may not act for {node}", from.node)),
            None if from.may_vote() => Ok(()),
            None => Err("its role does not permit it to say who votes, nor that a lease is over".to_owned()),
        }
    }

    fn query(&self, asked: &[u8]) -> Result<Vec<u8>, String> {
        question::answer(&self.0, asked)
    }

    fn mark(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn view(&self) -> io::Result<View> {
        let bytes = self.0.encode();
        Ok(Box::new(move |out: &mut dyn Write| out.write_all(&bytes)))
    }

    fn restore(&mut self, from: &mut dyn Read, _mark: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::new();
        from.take(SNAPSHOT_BYTES_MAX).read_to_end(&mut bytes)?;
        self.0 = Table::decode(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(())
    }

    fn state_hash(&self) -> [u8; 32] {
        self.0.hash()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use covenant_types::{BootEpoch, NodeId, Role, WallTime};

    use super::*;
    use crate::command::Holder;

    fn acquire(node: u8) -> Vec<u8> {
        let holder = Holder { node: NodeId([node; 16]), boot: BootEpoch(1) };
        let key = "/x".parse().unwrap();
        Command::Acquire { key, holder, span: Duration::from_secs(5) }.encode()
    }

    #[test]
    fn a_node_acts_in_its_own_name_and_a_tower_says_nothing_for_the_group() {
        let tower = Sender { node: NodeId([1; 16]), role: Role::Tower };
        assert_eq!(Member::admits(tower, &acquire(1)), Ok(()));
        assert!(Member::admits(tower, &acquire(2)).unwrap_err().contains("may not act"));
        let over =
            Command::Expire { fence: covenant_types::Fence { key: "/x".parse().unwrap(), token: 1 }, renewals: 0 };
        assert!(Member::admits(tower, &over.encode()).is_err());
        assert_eq!(Member::admits(Sender { role: Role::Voter, ..tower }, &over.encode()), Ok(()));
        assert!(Member::admits(tower, b"?").is_err());
    }

    #[test]
    fn what_a_view_wrote_is_restored_and_anything_else_leaves_the_table_as_it_was() {
        let mut member = Member::default();
        let entry = Entry { id: 7, bytes: acquire(1), at: WallTime(9) };
        let malformed = Entry { bytes: b"?".to_vec(), ..entry.clone() };
        let answers = member.apply(&[entry, malformed], &[]).unwrap();
        let outcomes: Vec<_> = answers.iter().map(|answer| Outcome::decode(answer).unwrap()).collect();
        assert_eq!(outcomes, [Outcome::Granted(1), Outcome::Malformed]);
        let mut bytes = Vec::new();
        member.view().unwrap()(&mut bytes).unwrap();
        let mut other = Member::default();
        other.restore(&mut &bytes[..], &[]).unwrap();
        assert_eq!(other.state_hash(), member.state_hash());
        for cut in 0..bytes.len() {
            assert!(other.restore(&mut &bytes[..cut], &[]).is_err());
        }
        assert_eq!(other.state_hash(), member.state_hash());
    }
}
