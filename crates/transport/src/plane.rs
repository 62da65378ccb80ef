//! Planes: what a stream is for, and who goes first.

use std::fmt;

/// What a stream carries. Its number is the first byte of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plane {
    /// Hello, monitors, links, acknowledgements, leases. Goes before everything.
    Control = 1,
    /// Messages to actors.
    Actor = 2,
    /// Replies and credit. Go before messages: they free what others wait for.
    Reply = 3,
    /// Content. Takes what the others leave.
    Bulk = 4,
    /// Membership facts too large for a datagram, and anti-entropy.
    Feed = 5,
    /// Votes, heartbeats and entries of consensus, and what is asked of its voters. A late heartbeat costs an election, so
    /// it goes before all that many send.
    Consensus = 6,
    /// Pieces of consensus snapshots: as large as content, and waited for by a group that has one voter less until it is over.
    Snapshot = 7,
}

/// How many there are.
pub(crate) const PLANES: usize = Plane::ALL.len();

impl Plane {
    /// Every plane, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Control, Self::Actor, Self::Reply, Self::Bulk, Self::Feed, Self::Consensus, Self::Snapshot];

    /// The plane with this number.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|plane| plane.byte() == byte)
    }

    /// The number that opens a stream of this plane.
    pub fn byte(self) -> u8 {
        self as u8
    }

    /// The word used in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Actor => "actor",
            Self::Reply => "reply",
            Self::Bulk => "bulk",
            Self::Feed => "feed",
            Self::Consensus => "consensus",
            Self::Snapshot => "snapshot",
        }
    }

    /// Streams of a higher priority are written first.
    pub(crate) fn priority(self) -> i32 {
        match self {
            Self::Control => 40,
            Self::Consensus => 35,
            Self::Feed => 30,
            Self::Reply => 20,
            Self::Actor => 10,
            Self::Snapshot => 5,
            Self::Bulk => 0,
        }
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.byte()) - 1
    }
}

impl fmt::Display for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_is_read_back_from_its_byte_and_no_other_byte_is_a_plane() {
        for byte in 0..=u8::MAX {
            match Plane::from_byte(byte) {
                Some(plane) => assert_eq!((plane.byte(), plane.index()), (byte, usize::from(byte) - 1)),
                None => assert!(!(1..=7).contains(&byte)),
            }
        }
    }

    #[test]
    fn bulk_never_goes_before_anything() {
        assert!(Plane::ALL.iter().all(|plane| plane.priority() >= Plane::Bulk.priority()));
        assert!(Plane::ALL.iter().all(|plane| plane.priority() <= Plane::Control.priority()));
    }

    #[test]
    fn a_snapshot_delays_no_heartbeat_and_no_message() {
        assert!([Plane::Consensus, Plane::Actor].iter().all(|plane| plane.priority() > Plane::Snapshot.priority()));
        assert!(Plane::Consensus.priority() > Plane::Feed.priority());
    }
}
