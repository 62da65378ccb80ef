//! Entries, votes and memberships as bytes: one form on disk and on the wire, canonical, with golden bytes.
//!
//! Every reader is bounded by the bytes it was given: a false count or length costs nothing.

use std::collections::{BTreeMap, BTreeSet};

use covenant_types::WallTime;
use covenant_types::canonical::{CanonicalError, Reader, Writer};
use openraft::{EntryPayload, LeaderId};

use crate::types::{Batch, Command, Entry, Instance, LogId, Member, Membership, StoredMembership, Vote, VoterId};

/// The most voters and learners that a membership may name. Past this the quorum is a crowd, not a group.
pub const MEMBERS_MAX: usize = 64;
/// A membership is one set of voters, or two while one gives way to the other.
const CONFIGS_MAX: usize = 2;

pub(crate) fn write_voter(writer: &mut Writer, voter: VoterId) {
    writer.u128(u128::from_be_bytes(voter.0));
}

pub(crate) fn read_voter(reader: &mut Reader<'_>) -> Result<VoterId, CanonicalError> {
    Ok(VoterId(reader.u128()?.to_be_bytes()))
}

pub(crate) fn write_vote(writer: &mut Writer, vote: &Vote) {
    writer.u64(vote.leader_id.term);
    write_voter(writer, vote.leader_id.node_id);
    writer.u8(u8::from(vote.committed));
}

pub(crate) fn read_vote(reader: &mut Reader<'_>) -> Result<Vote, CanonicalError> {
    let leader_id = LeaderId::new(reader.u64()?, read_voter(reader)?);
    Ok(Vote { leader_id, committed: read_flag(reader, "committed")? })
}

pub(crate) fn write_log_id(writer: &mut Writer, id: &LogId) {
    writer.u64(id.leader_id.term);
    write_voter(writer, id.leader_id.node_id);
    writer.u64(id.index);
}

pub(crate) fn read_log_id(reader: &mut Reader<'_>) -> Result<LogId, CanonicalError> {
    let leader_id = LeaderId::new(reader.u64()?, read_voter(reader)?);
    Ok(LogId::new(leader_id, reader.u64()?))
}

pub(crate) fn write_option<T>(writer: &mut Writer, value: Option<&T>, write: impl FnOnce(&mut Writer, &T)) {
    writer.u8(u8::from(value.is_some()));
    if let Some(value) = value {
        write(writer, value);
    }
}

pub(crate) fn read_option<'a, T>(
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, CanonicalError>,
) -> Result<Option<T>, CanonicalError> {
    if read_flag(reader, "option")? { read(reader).map(Some) } else { Ok(None) }
}

pub(crate) fn read_flag(reader: &mut Reader<'_>, name: &'static str) -> Result<bool, CanonicalError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(CanonicalError::BadValue(name)),
    }
}

fn write_voters<'a>(writer: &mut Writer, voters: impl ExactSizeIterator<Item = &'a VoterId>) {
    writer.count(voters.len());
    voters.for_each(|voter| write_voter(writer, *voter));
}

fn read_voters(reader: &mut Reader<'_>) -> Result<BTreeSet<VoterId>, CanonicalError> {
    let count = reader.count(16)?;
    if count > MEMBERS_MAX {
        return Err(CanonicalError::BadValue("members"));
    }
    let mut voters = BTreeSet::new();
    for _ in 0..count {
        let voter = read_voter(reader)?;
        // One form for one set.
        if voters.last().is_some_and(|last| *last >= voter) {
            return Err(CanonicalError::BadValue("members"));
        }
        voters.insert(voter);
    }
    Ok(voters)
}

fn read_members(reader: &mut Reader<'_>) -> Result<BTreeMap<VoterId, Member>, CanonicalError> {
    let count = reader.count(32)?;
    if count > MEMBERS_MAX {
        return Err(CanonicalError::BadValue("members"));
    }
    let mut members = BTreeMap::new();
    for _ in 0..count {
        let id = read_voter(reader)?;
        if members.last_key_value().is_some_and(|(last, _)| *last >= id) {
            return Err(CanonicalError::BadValue("members"));
        }
        members.insert(id, Member { instance: Instance(reader.u128()?) });
    }
    Ok(members)
}

fn write_membership(writer: &mut Writer, membership: &Membership) {
    let configs = membership.get_joint_config();
    writer.count(configs.len());
    configs.iter().for_each(|voters| write_voters(writer, voters.iter()));
    let members: Vec<_> = membership.nodes().collect();
    writer.count(members.len());
    for (id, member) in members {
        write_voter(writer, *id);
        writer.u128(member.instance.0);
    }
}

fn read_membership(reader: &mut Reader<'_>) -> Result<Membership, CanonicalError> {
    let count = reader.count(4)?;
    if count > CONFIGS_MAX {
        return Err(CanonicalError::BadValue("configs"));
    }
    let configs: Result<Vec<_>, _> = (0..count).map(|_| read_voters(reader)).collect();
    let (configs, members) = (configs?, read_members(reader)?);
    if configs.iter().flatten().any(|voter| !members.contains_key(voter)) {
        return Err(CanonicalError::BadValue("members"));
    }
    Ok(Membership::new(configs, members))
}

pub(crate) fn write_stored_membership(writer: &mut Writer, stored: &StoredMembership) {
    write_option(writer, stored.log_id().as_ref(), write_log_id);
    write_membership(writer, stored.membership());
}

pub(crate) fn read_stored_membership(reader: &mut Reader<'_>) -> Result<StoredMembership, CanonicalError> {
    Ok(StoredMembership::new(read_option(reader, read_log_id)?, read_membership(reader)?))
}

/// An entry as bytes.
pub(crate) fn encode_entry(entry: &Entry) -> Vec<u8> {
    let mut writer = Writer::new(ENTRY);
    write_log_id(&mut writer, &entry.log_id);
    match &entry.payload {
        EntryPayload::Blank => {
            writer.u8(0);
        }
        EntryPayload::Normal(batch) => {
            writer.u8(1).u64(batch.at.0).count(batch.commands.len());
            for command in &batch.commands {
                writer.u128(command.id).bytes(&command.bytes);
            }
        }
        EntryPayload::Membership(membership) => {
            writer.u8(2);
            write_membership(&mut writer, membership);
        }
    }
    writer.finish()
}

/// The entry that `bytes` are.
pub(crate) fn decode_entry(bytes: &[u8]) -> Result<Entry, CanonicalError> {
    let mut reader = Reader::new(bytes, ENTRY)?;
    let log_id = read_log_id(&mut reader)?;
    let payload = match reader.u8()? {
        0 => EntryPayload::Blank,
        1 => {
            let (at, mut commands) = (WallTime(reader.u64()?), Vec::new());
            for _ in 0..reader.count(20)? {
                commands.push(Command { id: reader.u128()?, bytes: reader.bytes()?.to_vec(), at });
            }
            EntryPayload::Normal(Batch { at, commands })
        }
        2 => EntryPayload::Membership(read_membership(&mut reader)?),
        _ => return Err(CanonicalError::BadValue("payload")),
    };
    reader.finish()?;
    Ok(Entry { log_id, payload })
}

const ENTRY: &str = "covenant/log-entry/1";

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        let log_id = LogId::new(LeaderId::new(2, VoterId::from(3)), 4);
        let voters = |numbers: &[u64]| numbers.iter().map(|number| VoterId::from(*number)).collect::<BTreeSet<_>>();
        let member = |number: u64| (VoterId::from(number), Member { instance: Instance(number.into()) });
        let members: BTreeMap<_, _> = [1, 2, 3, 9].map(member).into();
        let at = WallTime(1_700_000_000);
        let commands = vec![Command { id: 7, bytes: b"pay".to_vec(), at }, Command { id: 8, bytes: Vec::new(), at }];
        let payloads = [
            EntryPayload::Blank,
            EntryPayload::Normal(Batch { at, commands }),
            EntryPayload::Membership(Membership::new(vec![voters(&[1, 2]), voters(&[2, 3])], members)),
        ];
        payloads.into_iter().map(|payload| Entry { log_id, payload }).collect()
    }

    #[test]
    fn entries_are_read_as_they_were_written_and_cut_or_padded_ones_are_refused() {
        for entry in entries() {
            let bytes = encode_entry(&entry);
            assert_eq!(decode_entry(&bytes).unwrap(), entry);
            assert!((0..bytes.len()).all(|length| decode_entry(&bytes[..length]).is_err()));
            assert!(decode_entry(&[&bytes[..], &[0]].concat()).is_err());
        }
    }

    #[test]
    fn golden_bytes_of_entries_never_change() {
        let hash = |entry| blake3::hash(&encode_entry(entry)).to_hex()[..16].to_owned();
        let found: Vec<String> = entries().iter().map(hash).collect();
        assert_eq!(found, ["5f59439e61f0e728", "960784d7181f52a0", "6e0cfc8cc7115783"]);
    }

    #[test]
    fn a_membership_that_names_too_many_or_a_voter_who_is_no_member_is_refused() {
        let mut crowd = Writer::new("d");
        crowd.count(0).count(MEMBERS_MAX + 1);
        for number in 0..=MEMBERS_MAX as u64 {
            write_voter(&mut crowd, VoterId::from(number));
            crowd.u128(1);
        }
        let mut stranger = Writer::new("d");
        stranger.count(1).count(1);
        write_voter(&mut stranger, VoterId::from(5));
        stranger.count(0);
        for bytes in [crowd.finish(), stranger.finish()] {
            let mut reader = Reader::new(&bytes, "d").unwrap();
            assert_eq!(read_membership(&mut reader), Err(CanonicalError::BadValue("members")));
        }
    }
}
