//! Who may say what to a member of a group. Pure: decided from the beginning of a request, before any work is done for it.
//!
//! # Intuition
//! The connection proves which node speaks and in which role. A leader or candidate speaks for itself alone, is a member as
//! far as this node knows, and keeps the very folder that the group knows of it. Anybody else is refused and named.
//!
//! # Not here
//! A member that lies about terms or entries: Raft takes members at their word ([guarantees](../../../docs/guarantees.md)).

use std::collections::BTreeSet;

use covenant_types::{NodeId, Role};

use crate::message::{Label, Says};
use crate::types::{Instance, Member, StoredMembership};

/// Who sent a request, as proven by whoever carried it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The node.
    pub node: NodeId,
    /// The role in its certificate.
    pub role: Role,
}

impl Sender {
    /// Whether a node of this role may vote and lead. Towers sleep and stand in villages: they follow no log.
    pub fn may_vote(&self) -> bool {
        match self.role {
            Role::Hub | Role::Voter => true,
            Role::Tower => false,
        }
    }
}

/// Why a request was refused without a look at the rest of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Offence {
    /// A node whose role does not permit it to vote spoke as a voter.
    Role,
    /// A node that is no member spoke as one.
    Stranger,
    /// A node spoke in the name of another one.
    OtherName,
    /// A member spoke from another folder than the group knows: one that was replaced, or one that was begun anew.
    OtherInstance,
    /// A member meant another folder than this node has: this one was replaced, or was begun anew.
    NotMeant,
    /// A node whose role does not permit it sent a command or a question.
    MayNotAsk,
    /// It was no request.
    Malformed,
}

impl Offence {
    /// The word used in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::Stranger => "stranger",
            Self::OtherName => "other_name",
            Self::OtherInstance => "other_instance",
            Self::NotMeant => "not_meant",
            Self::MayNotAsk => "may_not_ask",
            Self::Malformed => "malformed",
        }
    }

    /// What happened, for people.
    pub fn explain(self) -> &'static str {
        match self {
            Self::Role => "its role does not permit it to vote",
            Self::Stranger => "it is no member of the group",
            Self::OtherName => "it speaks in the name of another node",
            Self::OtherInstance => {
                "it speaks from another folder than the group knows of it: remove it from the group, empty its folder, \
                 and add it again"
            }
            Self::NotMeant => {
                "it means another folder than this node has: remove this node from the group, empty its folder, and add \
                 it again"
            }
            Self::MayNotAsk => "its role does not permit it to ask the group",
            Self::Malformed => "it is no request",
        }
    }
}

/// What a member knows of its group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    /// The instance of its own folder.
    pub(crate) me: Instance,
    /// Who is a member by its own log.
    pub(crate) members: &'a StoredMembership,
    /// Who is a member by the word of a member, for one whose log is behind.
    pub(crate) vouched: Option<&'a StoredMembership>,
    /// Who is believed while its log names nobody.
    pub(crate) first: &'a BTreeSet<NodeId>,
    /// Whose commands and questions are taken.
    pub(crate) askers: &'a [Role],
}

impl Known<'_> {
    /// Decides about a request.
    pub(crate) fn judge(&self, sender: Sender, label: &Label) -> Result<(), Offence> {
        let claimed = match label.says {
            Says::Asks if self.askers.contains(&sender.role) => return Ok(()),
            Says::Asks => return Err(Offence::MayNotAsk),
            Says::Who | Says::Votes(_) if !sender.may_vote() => return Err(Offence::Role),
            Says::Who => return Ok(()),
            Says::Votes(claimed) => claimed,
        };
        if NodeId::from(claimed) != sender.node {
            return Err(Offence::OtherName);
        }
        match self.find(sender.node) {
            None => return Err(Offence::Stranger),
            Some(Member { instance }) if ![Instance::default(), label.from].contains(&instance) => {
                return Err(Offence::OtherInstance);
            }
            Some(_) => {}
        }
        if [Instance::default(), self.me].contains(&label.to) { Ok(()) } else { Err(Offence::NotMeant) }
    }

    /// What is known of `node` as a member.
    fn find(&self, node: NodeId) -> Option<Member> {
        let newer = |vouched: &&StoredMembership| vouched.log_id() > self.members.log_id();
        let members = self.vouched.filter(newer).unwrap_or(self.members).membership();
        if members.nodes().next().is_none() {
            return self.first.contains(&node).then(Member::default);
        }
        members.get_node(&node.into()).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use openraft::LeaderId;

    use super::*;
    use crate::types::{LogId, Membership, VoterId};

    const ME: Instance = Instance(100);

    fn node(number: u8) -> NodeId {
        NodeId([number; 16])
    }

    /// Members by number; each has its own number as its instance.
    fn members(index: u64, numbers: &[u8]) -> StoredMembership {
        let member = |number: &u8| (VoterId([*number; 16]), Member { instance: Instance((*number).into()) });
        let nodes: BTreeMap<_, _> = numbers.iter().map(member).collect();
        let log_id = LogId::new(LeaderId::new(1, VoterId([1; 16])), index);
        StoredMembership::new(Some(log_id), Membership::new(vec![nodes.keys().copied().collect()], nodes))
    }

    fn judge(role: Role, from: u8, label: Label, known: &Known<'_>) -> Result<(), Offence> {
        known.judge(Sender { node: node(from), role }, &label)
    }

    fn votes(claimed: u8, from: u128, to: u128) -> Label {
        Label { from: Instance(from), to: Instance(to), says: Says::Votes(VoterId([claimed; 16])) }
    }

    #[test]
    fn a_member_speaks_for_itself_from_the_folder_that_is_known_and_nobody_else_does() {
        let own = members(5, &[1, 2, 3]);
        let first = [node(9)].into();
        let known = Known { me: ME, members: &own, vouched: None, first: &first, askers: &[Role::Tower] };
        for (role, from, label, expected) in [
            (Role::Hub, 2, votes(2, 2, 100), Ok(())),
            (Role::Voter, 2, votes(2, 2, 0), Ok(())),
            (Role::Tower, 2, votes(2, 2, 100), Err(Offence::Role)),
            (Role::Hub, 2, votes(3, 3, 100), Err(Offence::OtherName)),
            (Role::Hub, 4, votes(4, 4, 100), Err(Offence::Stranger)),
            // Of the first list, and not a member any more.
            (Role::Hub, 9, votes(9, 9, 100), Err(Offence::Stranger)),
            (Role::Hub, 2, votes(2, 7, 100), Err(Offence::OtherInstance)),
            (Role::Hub, 2, votes(2, 0, 100), Err(Offence::OtherInstance)),
            (Role::Hub, 2, votes(2, 2, 101), Err(Offence::NotMeant)),
        ] {
            assert_eq!(judge(role, from, label, &known), expected, "{role} {from} {label:?}");
        }
    }

    #[test]
    fn who_asks_needs_a_role_and_no_membership() {
        let own = members(5, &[1]);
        let first = BTreeSet::new();
        let known = Known { me: ME, members: &own, vouched: None, first: &first, askers: &[Role::Tower] };
        let says = |says| Label { from: Instance(0), to: Instance(0), says };
        assert_eq!(judge(Role::Tower, 8, says(Says::Asks), &known), Ok(()));
        assert_eq!(judge(Role::Hub, 8, says(Says::Asks), &known), Err(Offence::MayNotAsk));
        assert_eq!(judge(Role::Hub, 8, says(Says::Who), &known), Ok(()));
        assert_eq!(judge(Role::Tower, 8, says(Says::Who), &known), Err(Offence::Role));
    }

    #[test]
    fn a_node_whose_log_is_empty_believes_the_first_and_one_that_is_behind_whom_a_member_vouched_for() {
        let (empty, old, new) = (StoredMembership::default(), members(5, &[1, 2, 3]), members(9, &[2, 3, 4]));
        let first = [node(1)].into();
        let fresh = Known { me: ME, members: &empty, vouched: None, first: &first, askers: &[] };
        assert_eq!(judge(Role::Hub, 1, votes(1, 1, 100), &fresh), Ok(()));
        assert_eq!(judge(Role::Hub, 4, votes(4, 4, 100), &fresh), Err(Offence::Stranger));
        let behind = Known { members: &old, vouched: Some(&new), ..fresh };
        assert_eq!(judge(Role::Hub, 4, votes(4, 4, 100), &behind), Ok(()));
        assert_eq!(judge(Role::Hub, 1, votes(1, 1, 100), &behind), Err(Offence::Stranger));
        let ahead = Known { members: &new, vouched: Some(&old), ..fresh };
        assert_eq!(judge(Role::Hub, 1, votes(1, 1, 100), &ahead), Err(Offence::Stranger));
    }
}
