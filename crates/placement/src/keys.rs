//! What leases are of: names, and children that the cluster places. Anything else may be a lease's key too.

use covenant_types::{ActorPath, Name};

/// The key of a strong name: its letters, in a path. A path has no dots, so `.` is written `_d` and `_` is `__`.
pub fn key_of_name(name: &Name) -> Option<ActorPath> {
    let id = name.as_str().replace('_', "__").replace('.', "_d");
    ActorPath::root().child(NAMES).ok()?.child(&id).ok()
}

/// What keys of names begin with.
const NAMES: &str = "strong-name";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_a_key_of_its_own() {
        let key = |name: &str| key_of_name(&Name::new(name).unwrap()).unwrap().to_string();
        assert_eq!(key("bank.clerk"), "/strong-name/bank_dclerk");
        assert_ne!(key("a.b"), key("a_db"));
        assert_ne!(key("a_.b"), key("a__db"));
        assert_eq!(key(&"_".repeat(Name::BYTES_MAX)).len(), "/strong-name/".len() + 2 * Name::BYTES_MAX);
    }
}
