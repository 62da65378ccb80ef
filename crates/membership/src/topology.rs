//! Who watches whom: which pools a node is in, and whom it keeps a connection to.
//!
//! # Intuition
//! One pool of everybody costs every node a little for each other node. So the hubs of all regions watch each other, each
//! region watches its own nodes and hubs, and a node that pays for every byte watches nobody: it is a *leaf*, keeps in touch
//! with two hubs, and they say for it that it is there.
//!
//! Everybody decides this alone, from the signed records, and comes to the same answer.

use std::collections::BTreeSet;

use covenant_types::{LinkTier, NodeId, Region, Role};

/// How many hubs a node that needs hubs keeps a connection to.
pub const UPLINKS: usize = 2;
/// How many hubs a node dials that has none it can use.
pub const RECOVERY_HUBS: usize = 8;

/// How the cluster is laid out. All nodes of a cluster must use the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Topology {
    /// One pool of everybody. For a cluster of up to a few dozen nodes.
    #[default]
    Flat,
    /// A pool for each region, one of all hubs, and leaves.
    Pools,
}

/// A pool, as datagrams and feeds name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(pub u16);

impl PoolId {
    /// Everybody, in a flat cluster.
    pub const FLAT: Self = Self(0);
    /// The hubs of all regions.
    pub const HUBS: Self = Self(1);

    /// The hubs of a region, and its nodes that are no leaves.
    pub fn region(region: Region) -> Self {
        let index = Region::ALL.iter().position(|known| *known == region).and_then(|index| u16::try_from(index).ok());
        Self(FIRST_REGION + index.unwrap_or(0))
    }
}

/// What decides where a node belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// What it is there for.
    pub role: Role,
    /// Where it stands.
    pub region: Region,
    /// What kind of line it hangs on.
    pub tier: LinkTier,
}

/// What a node is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It watches its region and the other hubs, and speaks for its region to them.
    Hub,
    /// It watches its region.
    Member,
    /// It watches nobody.
    Leaf,
}

impl Place {
    /// What a node there is to the others.
    pub fn standing(&self) -> Standing {
        match (self.role, self.tier) {
            (Role::Hub, _) => Standing::Hub,
            (Role::Tower | Role::Voter, LinkTier::Satellite) => Standing::Leaf,
            (Role::Tower | Role::Voter, LinkTier::Lan | LinkTier::Wan) => Standing::Member,
        }
    }

    pub(crate) fn is_hub(&self) -> bool {
        self.standing() == Standing::Hub
    }
}

/// Another node, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The node.
    pub id: NodeId,
    /// Where it belongs.
    pub place: Place,
    /// Whether it may answer: it is neither down nor has left.
    pub usable: bool,
}

impl Topology {
    /// The pools of a node, the one that judges it best first.
    pub fn pools_of(self, place: &Place) -> Vec<PoolId> {
        match (self, place.standing()) {
            (Self::Flat, _) => vec![PoolId::FLAT],
            (Self::Pools, Standing::Hub) => vec![PoolId::region(place.region), PoolId::HUBS],
            (Self::Pools, Standing::Member) => vec![PoolId::region(place.region)],
            (Self::Pools, Standing::Leaf) => Vec::new(),
        }
    }

    /// The pool in which two nodes watch each other; the nearest where there are two.
    pub fn shared(self, one: &Place, other: &Place) -> Option<PoolId> {
        let theirs = self.pools_of(other);
        self.pools_of(one).into_iter().find(|pool| theirs.contains(pool))
    }

    /// Whether one of two nodes that are connected is a hub that answers for the other.
    pub fn leases(self, one: &Place, other: &Place) -> bool {
        self.shared(one, other).is_none() && one.is_hub() != other.is_hub()
    }

    /// Whom the node `me` keeps a connection to, of these.
    pub fn warm(self, me: NodeId, place: &Place, others: &[Neighbour]) -> BTreeSet<NodeId> {
        let all = others.iter().filter(|other| other.id != me);
        match self {
            Self::Flat => all.map(|other| other.id).collect(),
            Self::Pools => {
                let mates = all.filter(|other| self.shared(place, &other.place).is_some()).map(|other| other.id);
                let mut warm: BTreeSet<NodeId> = mates.collect();
                if !place.is_hub() {
                    warm.extend(uplinks(me, place, others));
                }
                warm
            }
        }
    }
}

/// The hubs that a node looks to, best first: two that may answer, those of its own region before others. Where none may,
/// some of those that did.
pub fn uplinks(node: NodeId, place: &Place, others: &[Neighbour]) -> Vec<NodeId> {
    let mut hubs: Vec<&Neighbour> = others.iter().filter(|other| other.id != node && other.place.is_hub()).collect();
    hubs.sort_by_key(|hub| (hub.place.region != place.region, weight(&node, &hub.id), hub.id));
    let usable: Vec<NodeId> = hubs.iter().filter(|hub| hub.usable).map(|hub| hub.id).take(UPLINKS).collect();
    if usable.is_empty() { hubs.into_iter().map(|hub| hub.id).take(RECOVERY_HUBS).collect() } else { usable }
}

/// Spreads nodes over hubs: a hub that comes or goes moves only those it takes or had. FNV-1a, then splitmix64's end.
fn weight(node: &NodeId, hub: &NodeId) -> u64 {
    let bytes = node.0.iter().chain(&hub.0);
    let mut z =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Regions follow from here, in the order of [`Region::ALL`].
const FIRST_REGION: u16 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const HUB: Place = Place { role: Role::Hub, region: Region::Africa, tier: LinkTier::Wan };
    const FAR_HUB: Place = Place { region: Region::Asia, ..HUB };
    const MEMBER: Place = Place { role: Role::Tower, region: Region::Africa, tier: LinkTier::Wan };
    const LEAF: Place = Place { tier: LinkTier::Satellite, ..MEMBER };

    fn neighbour(number: u8, place: Place) -> Neighbour {
        Neighbour { id: NodeId([number; 16]), place, usable: true }
    }

    fn warm(me: u8, place: &Place, others: &[Neighbour]) -> Vec<u8> {
        Topology::Pools.warm(NodeId([me; 16]), place, others).into_iter().map(|id| id.0[0]).collect()
    }

    #[test]
    fn hubs_share_a_pool_with_all_hubs_and_members_with_their_region_and_leaves_with_nobody() {
        let shared = |one, other| Topology::Pools.shared(one, other);
        assert_eq!(shared(&HUB, &FAR_HUB), Some(PoolId::HUBS));
        assert_eq!(shared(&HUB, &HUB), Some(PoolId::region(Region::Africa)), "the nearer pool judges");
        assert_eq!(shared(&HUB, &MEMBER), Some(PoolId::region(Region::Africa)));
        assert_eq!(shared(&FAR_HUB, &MEMBER), None);
        assert_eq!(shared(&HUB, &LEAF), None);
        assert!(Topology::Pools.leases(&LEAF, &HUB) && Topology::Pools.leases(&FAR_HUB, &MEMBER));
        assert!(!Topology::Pools.leases(&LEAF, &MEMBER), "only hubs answer for others");
        assert_eq!(Topology::Flat.shared(&LEAF, &FAR_HUB), Some(PoolId::FLAT));
    }

    #[test]
    fn a_node_keeps_connections_to_its_pools_and_needs_two_hubs() {
        let all = [
            neighbour(1, HUB),
            neighbour(2, FAR_HUB),
            neighbour(3, FAR_HUB),
            neighbour(4, MEMBER),
            neighbour(5, LEAF),
            neighbour(6, Place { region: Region::Asia, ..MEMBER }),
        ];
        assert_eq!(warm(1, &HUB, &all), [2, 3, 4]);
        let member = warm(4, &MEMBER, &all);
        assert!(member.contains(&1) && member.len() == 2, "its hub, and one more from elsewhere: {member:?}");
        let leaf = warm(5, &LEAF, &all);
        assert!(leaf.contains(&1) && leaf.len() == 2, "{leaf:?}");
        assert_eq!(Topology::Flat.warm(NodeId([5; 16]), &LEAF, &all).len(), 5);
    }

    #[test]
    fn a_hub_that_is_down_is_replaced_and_where_none_is_left_all_are_tried() {
        let mut hubs: Vec<_> = (1..=12).map(|number| neighbour(number, FAR_HUB)).collect();
        let before = uplinks(NodeId([99; 16]), &LEAF, &hubs);
        assert_eq!(before.len(), UPLINKS);
        hubs.iter_mut().filter(|hub| hub.id == before[0]).for_each(|hub| hub.usable = false);
        let after = uplinks(NodeId([99; 16]), &LEAF, &hubs);
        assert_eq!((after.len(), after[0]), (UPLINKS, before[1]), "the other stays");
        hubs.iter_mut().for_each(|hub| hub.usable = false);
        assert_eq!(uplinks(NodeId([99; 16]), &LEAF, &hubs).len(), RECOVERY_HUBS);
    }

    #[test]
    fn leaves_spread_over_the_hubs_of_their_region() {
        let hubs: Vec<_> = (1..=4).map(|number| neighbour(number, HUB)).chain([neighbour(9, FAR_HUB)]).collect();
        let mut counts = [0; 10];
        for leaf in 0..1000_u16 {
            let mut id = [7; 16];
            id[..2].copy_from_slice(&leaf.to_be_bytes());
            uplinks(NodeId(id), &LEAF, &hubs).iter().for_each(|hub| counts[usize::from(hub.0[0])] += 1);
        }
        assert_eq!(counts[9], 0, "none goes abroad without need");
        assert!(counts[1..=4].iter().all(|count| (400..600).contains(count)), "{counts:?}");
    }
}
