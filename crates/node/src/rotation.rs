//! Whether the cluster is ready for the next step of a rotation of its root. Pure.
//!
//! Each step needs the one before on every member: a node that does not trust the new root would be cut off by the switch,
//! one that is still certified under the old root by the finish. A member that is away keeps the last certificate it had, and
//! finds its way back by renewing; `force` lets the others go on without it.

use covenant_cluster::{MemberState, MemberView};
use covenant_identity::{RotationPhase, TrustMark, TrustedRoots, root_print};

use crate::api::ca::Lack;

/// Which members lack what the step from `before` to `after` needs.
pub(crate) fn lacking(before: &TrustedRoots, after: &TrustedRoots, members: &[MemberView]) -> Vec<Lack> {
    let lack = |member: &MemberView| {
        let why = match (before.phase(), after.phase()) {
            _ if !has_same_roots(&member.trust, before) => Some("it does not know the step before"),
            (RotationPhase::Prepared, RotationPhase::Switched) => {
                let new = root_print(&after.roots()[0]);
                (member.trust.issues.is_some() && member.trust.under != new)
                    .then_some("its issuing authority is not under the new root: run `covenant ca issue` for it")
            }
            (RotationPhase::Switched, RotationPhase::Settled) => {
                let new = root_print(&after.roots()[0]);
                (member.trust.under != new).then_some("its certificate is not under the new root yet")
            }
            // Taken back: whoever is under the new root already would be cut off.
            (RotationPhase::Prepared, RotationPhase::Settled) => {
                let old = root_print(&after.roots()[0]);
                (member.trust.under != old)
                    .then_some("it is certified under the new root: run `covenant ca issue` with the old one")
            }
            _ => None,
        };
        why.map(|why| Lack { name: member.name.clone(), state: member.state, why: why.to_owned() })
    };
    members.iter().filter_map(lack).collect()
}

/// Those of `lacking` that stand in the way.
pub(crate) fn standing_in_the_way(lacking: &[Lack], force: bool) -> Vec<&Lack> {
    lacking.iter().filter(|lack| !force || lack.state == MemberState::Reachable).collect()
}

/// Whether who shows `mark` trusts exactly these roots.
pub(crate) fn has_same_roots(mark: &TrustMark, trusted: &TrustedRoots) -> bool {
    mark.version == trusted.version() && mark.roots == trusted.digest()
}

/// What follows from the step to `after`, in sentences.
pub(crate) fn consequences(before: &TrustedRoots, after: &TrustedRoots) -> Vec<String> {
    let sentences: &[&str] = match (before.phase(), after.phase()) {
        (_, RotationPhase::Prepared) => &[
            "every node trusts the new root beside the old one; nothing else changes",
            "next: covenant ca issue for every issuing hub with the new root's key, then --phase switch",
            "undo it with: covenant ca rotate --phase cancel",
        ],
        (_, RotationPhase::Switched) => &[
            "every node has its certificate renewed under the new root within minutes; no connection closes",
            "tokens and operators' files made so far go on working until --phase finish",
            "there is no way back but another rotation",
        ],
        (RotationPhase::Prepared, RotationPhase::Settled) => {
            &["no node trusts the new root any more; the old one stays as it was"]
        }
        (_, RotationPhase::Settled) => &[
            "no node talks to anybody certified under the old root any more",
            "operators certified under it need a new file: covenant operator create",
            "tokens made before the switch are worth nothing",
        ],
    };
    let mut sentences: Vec<String> = sentences.iter().map(|&sentence| sentence.to_owned()).collect();
    if before.phase() == RotationPhase::Switched {
        sentences.push(if after.retired().is_empty() {
            "content published under the old root is not believed any more: publish it again".to_owned()
        } else {
            "content published under the old root stays readable".to_owned()
        });
    }
    sentences
}

#[cfg(test)]
mod tests {
    use covenant_cluster::Phase;
    use covenant_identity::{RootAuthority, Scope};
    use covenant_types::{BootEpoch, LinkTier, NodeId, NodeName, Region, Role, WallTime};

    use super::*;

    const NOW: WallTime = WallTime(1_800_000_000);

    fn member(name: &str, state: MemberState, trust: TrustMark) -> MemberView {
        MemberView {
            schema_differs: Vec::new(),
            id: NodeId([0; 16]),
            name: NodeName::new(name).unwrap(),
            role: Role::Hub,
            region: Region::Asia,
            epoch: BootEpoch(1),
            state,
            phase: Phase::Active,
            tier: LinkTier::Lan,
            address: "127.0.0.1:1".parse().unwrap(),
            version: String::new(),
            certificate_issuer: NodeId([0; 16]),
            certificate_begins: NOW,
            certificate_ends: NOW,
            trust,
            rtt_ms: None,
            loss_permille: None,
        }
    }

    /// Who of an issuing hub, a plain tower and one that is down stands in the way of a step, without and with force.
    fn in_the_way(before: &TrustedRoots, after: &TrustedRoots, marks: [TrustMark; 3]) -> [Vec<String>; 2] {
        let [hub, tower, gone] = marks;
        let members = [
            member("hub", MemberState::Reachable, TrustMark { issues: Some(Scope::Everywhere), ..hub }),
            member("tower", MemberState::Reachable, tower),
            member("gone", MemberState::Down, gone),
        ];
        let lacking = lacking(before, after, &members);
        [false, true]
            .map(|force| standing_in_the_way(&lacking, force).iter().map(|lack| lack.name.to_string()).collect())
    }

    #[test]
    fn each_step_waits_for_everybody_and_force_passes_over_who_is_away_alone() {
        let [old, new] = [0; 2].map(|_| RootAuthority::create("demo", NOW).unwrap());
        let settled = TrustedRoots::of("demo", old.certificate().to_vec()).unwrap();
        let step = |from: &TrustedRoots, statement: Vec<u8>| {
            let mut next = from.clone();
            next.adopt(&statement).unwrap();
            next
        };
        let prepared = step(&settled, settled.prepare(&old, &new, NOW).unwrap());
        let switched = step(&prepared, prepared.switch(&new).unwrap());
        let finished = step(&switched, switched.finish(&new, false, NOW).unwrap());
        let cancelled = step(&prepared, prepared.cancel(&old).unwrap());
        let mark = |trusted: &TrustedRoots, under: &RootAuthority| TrustMark {
            version: trusted.version(),
            roots: trusted.digest(),
            under: root_print(under.certificate()),
            issues: None,
        };
        let nobody: [Vec<String>; 2] = Default::default();
        let names = |names: &[&str]| -> Vec<String> { names.iter().map(|&name| name.to_owned()).collect() };

        let all = |trusted, under| [mark(trusted, under); 3];
        assert_eq!(in_the_way(&settled, &prepared, all(&settled, &old)), nobody);
        let behind = [mark(&prepared, &new), mark(&settled, &old), mark(&settled, &old)];
        assert_eq!(in_the_way(&prepared, &switched, behind), [names(&["tower", "gone"]), names(&["tower"])]);
        let hub_not_issued = in_the_way(&prepared, &switched, all(&prepared, &old));
        assert_eq!(
            hub_not_issued,
            [names(&["hub"]), names(&["hub"])],
            "its own authority would sign under the old root"
        );
        let renewed = [mark(&switched, &new), mark(&switched, &old), mark(&prepared, &old)];
        assert_eq!(in_the_way(&switched, &finished, renewed), [names(&["tower", "gone"]), names(&["tower"])]);
        assert_eq!(in_the_way(&switched, &finished, all(&switched, &new)), nobody);
        let back = [mark(&prepared, &new), mark(&prepared, &old), mark(&prepared, &old)];
        assert_eq!(in_the_way(&prepared, &cancelled, back)[0], names(&["hub"]));
    }

    #[test]
    fn two_rotations_at_once_show_as_members_that_lack_the_step() {
        let [old, one, other] = [0; 3].map(|_| RootAuthority::create("demo", NOW).unwrap());
        let settled = TrustedRoots::of("demo", old.certificate().to_vec()).unwrap();
        let [ours, theirs] = [&one, &other].map(|new| {
            let mut next = settled.clone();
            next.adopt(&settled.prepare(&old, new, NOW).unwrap()).unwrap();
            next
        });
        let mark = TrustMark { version: theirs.version(), roots: theirs.digest(), ..TrustMark::default() };
        assert!(!has_same_roots(&mark, &ours));
    }
}
