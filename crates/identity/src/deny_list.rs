//! Everybody who is denied: a set that only grows.
//!
//! Invariants:
//! - Whoever is in it stays in it. Two lists become one by taking what either has, so that lists which were changed at two
//!   places at once un-deny nobody, in whatever order they meet.
//! - There is one denial for each who is denied. Of two the later one stays, which denies at least as much; so lists that have
//!   heard the same denials are equal.
//! - At most [`DENIALS_MAX`]. One that does not fit is refused aloud and pushes nobody out.

use std::collections::BTreeMap;

use covenant_types::NodeId;
use covenant_types::canonical::{CanonicalError, Reader, Writer};

use crate::denial::{DENIAL_BYTES_MAX, DenialError, Denied, SignedDenial};
use crate::{OperatorName, PeerIdentity, key_id_of, node_id_of};

/// The most that can be denied.
pub const DENIALS_MAX: usize = 1024;
/// The longest written list.
pub const DENY_LIST_BYTES_MAX: usize = 64 + DENIALS_MAX * (DENIAL_BYTES_MAX + 4);
const DOMAIN: &str = "covenant/deny-list/1";

/// Everybody who is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DenyList {
    keys: BTreeMap<NodeId, SignedDenial>,
    operators: BTreeMap<OperatorName, SignedDenial>,
}

/// What became of a denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Taken {
    /// It is in the list now, and was not before: pass it on.
    New,
    /// The list has it, or a later one about the same.
    Known,
    /// The list is full.
    Full,
}

impl DenyList {
    /// A list that denies nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether this denial would change the list. Ask before paying for its signature.
    pub fn is_news(&self, offered: &SignedDenial) -> bool {
        let known = match &offered.denial().who {
            Denied::Key { id, .. } => self.keys.get(id),
            Denied::Operator(name) => self.operators.get(name),
        };
        known.is_none_or(|known| rank(known) < rank(offered))
    }

    /// Takes in a denial that was checked.
    pub fn take(&mut self, offered: SignedDenial) -> Taken {
        if !self.is_news(&offered) {
            return Taken::Known;
        }
        let full = self.len() >= DENIALS_MAX;
        match &offered.denial().who {
            Denied::Key { id, .. } if full && !self.keys.contains_key(id) => return Taken::Full,
            Denied::Operator(name) if full && !self.operators.contains_key(name) => return Taken::Full,
            Denied::Key { id, .. } => self.keys.insert(*id, offered.clone()),
            Denied::Operator(name) => self.operators.insert(name.clone(), offered.clone()),
        };
        Taken::New
    }

    /// The denial of the key with this hash: of a node, by its id.
    pub fn of_key(&self, id: NodeId) -> Option<&SignedDenial> {
        self.keys.get(&id)
    }

    /// The latest denial of an operator.
    pub fn of_operator(&self, name: &OperatorName) -> Option<&SignedDenial> {
        self.operators.get(name)
    }

    /// Whether the owner of this certificate is denied.
    pub fn denies(&self, identity: &PeerIdentity) -> bool {
        let by_name = match &identity.subject {
            crate::Subject::Operator { name, .. } => self.operators.get(name),
            crate::Subject::Node { .. } => None,
        };
        let by_key = self.keys.get(&node_id_of(&identity.public_key));
        by_name.into_iter().chain(by_key).any(|signed| signed.denial().denies(identity))
    }

    /// Whether one of the certificates above somebody's own is of a denied key. `above` is DER; what cannot be read is nobody's.
    pub fn denies_authority<C: AsRef<[u8]>>(&self, above: &[C]) -> bool {
        !self.keys.is_empty()
            && above.iter().any(|der| key_id_of(der.as_ref()).is_ok_and(|id| self.keys.contains_key(&id)))
    }

    /// The keys that are denied, by their hashes.
    pub fn keys(&self) -> impl Iterator<Item = NodeId> {
        self.keys.keys().copied()
    }

    /// All denials, those of keys first.
    pub fn iter(&self) -> impl Iterator<Item = &SignedDenial> {
        self.keys.values().chain(self.operators.values())
    }

    /// How many are denied.
    pub fn len(&self) -> usize {
        self.keys.len() + self.operators.len()
    }

    /// Whether nobody is denied.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A number that two lists share when they hold the same denials.
    pub fn digest(&self) -> u64 {
        let mut hasher = blake3::Hasher::new();
        for signed in self.iter() {
            hasher.update(blake3::hash(signed.bytes()).as_bytes());
        }
        let mut digest = [0; 8];
        digest.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        u64::from_be_bytes(digest)
    }

    /// The list as a file has it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new(DOMAIN);
        writer.count(self.len());
        for signed in self.iter() {
            writer.bytes(signed.bytes());
        }
        writer.finish()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. Signatures are not checked: whoever wrote the file did.
    ///
    /// # Errors
    /// The bytes are no list of this version, or a longer one than is kept.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DenialError> {
        if bytes.len() > DENY_LIST_BYTES_MAX {
            return Err(DenialError::TooLong(bytes.len()));
        }
        let mut reader = Reader::new(bytes, DOMAIN)?;
        let mut list = Self::new();
        for _ in 0..reader.count(4)? {
            if list.take(SignedDenial::parse(reader.bytes()?)?) != Taken::New {
                return Err(CanonicalError::BadValue("denials").into());
            }
        }
        reader.finish()?;
        Ok(list)
    }
}

/// The later of two denials has the higher rank; at the same second, the one with the greater bytes.
fn rank(signed: &SignedDenial) -> (u64, &[u8]) {
    (signed.denial().at.0, signed.bytes())
}

#[cfg(test)]
mod tests {
    use covenant_types::WallTime;

    use super::*;
    use crate::{Denial, IssuingAuthority, RootAuthority};

    const NOW: WallTime = WallTime(1_790_000_000);

    fn authority() -> IssuingAuthority {
        RootAuthority::create("demo", NOW).unwrap().issue_issuing(NOW).unwrap()
    }

    fn denial(authority: &IssuingAuthority, who: Denied, later: u64) -> SignedDenial {
        let at = WallTime(NOW.0 + later);
        authority.deny(Denial { who, at, reason: String::new(), by: String::new() }).unwrap()
    }

    fn key(number: u16) -> Denied {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&number.to_be_bytes());
        Denied::Key { id: NodeId(id), grant: None }
    }

    fn ada() -> Denied {
        Denied::Operator("ada".parse().unwrap())
    }

    fn list(denials: &[&SignedDenial]) -> DenyList {
        let mut list = DenyList::new();
        for denial in denials {
            let _taken = list.take((*denial).clone());
        }
        list
    }

    #[test]
    fn lists_that_meet_in_any_order_deny_whom_either_denied() {
        let (one, two) = (authority(), authority());
        let all = [
            denial(&one, key(1), 0),
            denial(&two, key(1), 0),
            denial(&two, key(2), 5),
            denial(&one, ada(), 3),
            denial(&two, ada(), 9),
        ];
        let whole = list(&[&all[0], &all[1], &all[2], &all[3], &all[4]]);
        assert_eq!(whole.len(), 3);
        for order in [[4, 3, 2, 1, 0], [1, 0, 4, 2, 3], [3, 4, 0, 2, 1]] {
            let same = list(&order.map(|at| &all[at]));
            assert_eq!((&same, same.digest()), (&whole, whole.digest()), "{order:?}");
        }
        let at = whole.of_operator(&"ada".parse().unwrap()).unwrap().denial().at;
        assert_eq!(at, WallTime(NOW.0 + 9), "the later denial denies more certificates");
        assert_ne!(whole.digest(), list(&[&all[0]]).digest());
    }

    #[test]
    fn an_older_denial_and_a_shorter_list_change_nothing() {
        let authority = authority();
        let (old, new) = (denial(&authority, ada(), 0), denial(&authority, ada(), 9));
        let mut list = list(&[&new, &denial(&authority, key(1), 0)]);
        let before = list.clone();
        assert!(!list.is_news(&old));
        assert_eq!(list.take(old), Taken::Known);
        assert_eq!(list.take(new), Taken::Known);
        assert_eq!(list, before);
    }

    #[test]
    fn a_full_list_refuses_aloud_and_forgets_nobody() {
        let authority = authority();
        let mut list = DenyList::new();
        for number in 0..1023 {
            assert_eq!(list.take(denial(&authority, key(number), 0)), Taken::New);
        }
        assert_eq!(list.take(denial(&authority, ada(), 0)), Taken::New);
        assert_eq!(list.take(denial(&authority, key(2000), 0)), Taken::Full);
        assert_eq!(list.take(denial(&authority, ada(), 1)), Taken::New, "a later one takes an older one's place");
        assert!(list.of_key(NodeId([0; 16])).is_some());
        assert!(list.to_bytes().len() <= DENY_LIST_BYTES_MAX);
        assert_eq!(DenyList::from_bytes(&list.to_bytes()), Ok(list));
    }

    #[test]
    fn a_damaged_file_is_no_list() {
        let authority = authority();
        let bytes = list(&[&denial(&authority, key(1), 0), &denial(&authority, ada(), 0)]).to_bytes();
        for length in 0..bytes.len() {
            assert!(DenyList::from_bytes(&bytes[..length]).is_err(), "{length}");
        }
        assert!(DenyList::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
        let mut newer = bytes.clone();
        newer[4 + DOMAIN.len() - 1] = b'2';
        assert!(DenyList::from_bytes(&newer).is_err(), "another version");
        let twice = {
            let one = denial(&authority, key(1), 0);
            let mut writer = Writer::new(DOMAIN);
            writer.count(2).bytes(one.bytes()).bytes(one.bytes());
            writer.finish()
        };
        assert!(DenyList::from_bytes(&twice).is_err(), "one way to write each list");
    }

    #[test]
    fn an_authority_whose_key_is_denied_vouches_for_nobody() {
        let (one, two) = (authority(), authority());
        let id = key_id_of(one.certificate()).unwrap();
        let list = list(&[&denial(&two, Denied::Key { id, grant: None }, 0)]);
        assert!(list.denies_authority(&[one.certificate()]));
        assert!(!list.denies_authority(&[two.certificate(), b"nothing".as_slice()]));
    }
}
