//! Whose folder it is: written when it is begun, checked whenever it is opened.
//!
//! # Intuition
//! A voter that loses what it promised is worse than one that is gone. So a folder names the node that it belongs to, and has
//! a number of its own, its instance, that the group writes into its membership. A folder that was copied to another node
//! is refused there, and one that was replaced or begun anew is refused by the others.

use std::io;

use covenant_env::Env;
use covenant_types::NodeId;
use covenant_types::canonical::{CanonicalError, Reader, Writer};
use rand::Rng;

use crate::codec::{read_voter, write_voter};
use crate::disk::Disk;
use crate::types::Instance;

/// Opens the folder's mark of `me`, or makes one in a folder that is empty, and gives back the folder's instance.
pub(crate) fn open(disk: &dyn Disk, env: &Env, group: &str, me: NodeId) -> Result<Instance, FolderError> {
    let names = disk.list()?;
    if !names.iter().any(|name| name == MARK) {
        if names.iter().any(|name| name != MAKING) {
            return Err(FolderError::Unmarked);
        }
        let instance = draw(env, group, me);
        let file = disk.open(MAKING)?;
        file.set_bytes(0)?;
        file.write_at(0, &encode(me, instance))?;
        file.sync()?;
        disk.rename(MAKING, MARK)?;
        return Ok(instance);
    }
    let file = disk.open(MARK)?;
    let length = usize::try_from(file.bytes()?).ok().filter(|length| *length <= MARK_BYTES_MAX);
    let mut bytes = vec![0; length.ok_or(FolderError::Damaged)?];
    file.read_at(0, &mut bytes)?;
    match decode(&bytes) {
        Ok((owner, instance)) if owner == me => Ok(instance),
        Ok((owner, _)) => Err(FolderError::OfAnother { owner, me }),
        Err(_) => Err(FolderError::Damaged),
    }
}

/// No two folders have the same, even of one node and one seed.
fn draw(env: &Env, group: &str, me: NodeId) -> Instance {
    let random: u128 = env.random.derive(&format!("consensus instance {group}")).random();
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"covenant/consensus-instance/1").update(&random.to_be_bytes()).update(&me.0);
    hasher.update(&env.wall().0.to_be_bytes()).update(&env.now().0.as_nanos().to_be_bytes());
    let mut instance = [0; 16];
    hasher.finalize_xof().fill(&mut instance);
    // Zero is none.
    Instance(u128::from_be_bytes(instance).max(1))
}

fn encode(owner: NodeId, instance: Instance) -> Vec<u8> {
    let mut writer = Writer::new(DOMAIN);
    write_voter(&mut writer, owner.into());
    writer.u128(instance.0);
    let mut bytes = writer.finish();
    let check = blake3::hash(&bytes);
    bytes.extend_from_slice(&check.as_bytes()[..16]);
    bytes
}

fn decode(bytes: &[u8]) -> Result<(NodeId, Instance), CanonicalError> {
    let (content, check) = bytes.split_last_chunk::<16>().ok_or(CanonicalError::BadValue("length"))?;
    if blake3::hash(content).as_bytes()[..16] != check[..] {
        return Err(CanonicalError::BadValue("check"));
    }
    let mut reader = Reader::new(content, DOMAIN)?;
    let (owner, instance) = (read_voter(&mut reader)?, Instance(reader.u128()?));
    reader.finish()?;
    Ok((owner.into(), instance))
}

const MARK: &str = "member";
const MAKING: &str = "member.making";
const MARK_BYTES_MAX: usize = 256;
const DOMAIN: &str = "covenant/consensus-member/1";

/// Why a folder is not opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// It belongs to another node: a copy or a backup of that one's.
    #[error("the folder belongs to node {owner}, and this is {me}: never copy a member's folder, begin an empty one")]
    OfAnother {
        /// Whose it is.
        owner: NodeId,
        /// Who opened it.
        me: NodeId,
    },
    /// It holds files and does not say whose they are.
    #[error(
        "the folder does not say whose it is; nothing was changed: let this node leave the group, empty its folder, and \
         add it again"
    )]
    Unmarked,
    /// What says whose it is, is damaged.
    #[error(
        "the file {MARK} is damaged; nothing was changed: let this node leave the group, empty its folder, and add it again"
    )]
    Damaged,
    /// The disk refused.
    #[error("the folder cannot be opened: {0}")]
    Io(#[from] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::SimDisk;

    const ME: NodeId = NodeId([1; 16]);

    fn opened(disk: &SimDisk, me: NodeId) -> Result<Instance, FolderError> {
        open(disk, &Env::for_test(1), "test", me)
    }

    #[tokio::test]
    async fn a_folder_keeps_its_instance_and_another_node_or_another_folder_has_another_one() {
        let disk = SimDisk::default();
        let instance = opened(&disk, ME).unwrap();
        let disk = disk.after_cut(1);
        assert_eq!(opened(&disk, ME).unwrap(), instance);
        assert!(matches!(opened(&disk, NodeId([2; 16])), Err(FolderError::OfAnother { owner, .. }) if owner == ME));
        assert_ne!(opened(&SimDisk::default(), NodeId([2; 16])).unwrap(), instance);
    }

    #[tokio::test]
    async fn power_that_goes_while_it_is_begun_leaves_an_empty_folder_or_a_marked_one() {
        for operations in 0..6 {
            let disk = SimDisk::default();
            disk.cut_after(operations);
            let begun = opened(&disk, ME);
            let after = opened(&disk.after_cut(u64::from(operations)), ME).unwrap();
            assert!(begun.is_err() || begun.unwrap() == after, "what was said holds");
        }
    }

    #[tokio::test]
    async fn a_folder_without_a_mark_or_with_a_damaged_one_is_refused() {
        let disk = SimDisk::default();
        disk.open("0000000000000001.log").unwrap();
        assert!(matches!(opened(&disk, ME), Err(FolderError::Unmarked)));
        let disk = SimDisk::default();
        opened(&disk, ME).unwrap();
        for bit in 0..disk.bits(MARK) {
            disk.flip(MARK, bit);
            assert!(matches!(opened(&disk, ME), Err(FolderError::Damaged)), "bit {bit}");
            disk.flip(MARK, bit);
        }
    }
}
