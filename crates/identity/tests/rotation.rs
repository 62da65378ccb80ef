//! Replacing a root, through the public API: nobody is cut off, and nobody is led astray.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use covenant_identity::{
    Adoption, ChainError, HISTORY_BYTES_MAX, IssuingAuthority, NodeGrant, NodeKey, RootAuthority, RootsError,
    RotationPhase, TrustedRoots, fingerprint, make_csr,
};
use covenant_types::{NodeName, Region, Role, WallTime};
use proptest::prelude::*;

const NOW: WallTime = WallTime(1_700_000_000);

fn root() -> RootAuthority {
    RootAuthority::create("demo", NOW).unwrap()
}

fn trust(root: &RootAuthority) -> TrustedRoots {
    TrustedRoots::of("demo", root.certificate().to_vec()).unwrap()
}

fn chain_under(root: &RootAuthority) -> Vec<Vec<u8>> {
    let issuing: IssuingAuthority = root.issue_issuing(NOW).unwrap();
    let grant = NodeGrant { name: NodeName::new("hub").unwrap(), role: Role::Hub, region: Region::Africa };
    issuing.chain_for(issuing.sign_node(&make_csr(&NodeKey::generate()), &grant, NOW).unwrap())
}

/// The statements of a whole rotation from `old` to `new`, each as it is first sent.
fn rotation(old: &RootAuthority, new: &RootAuthority, forget: bool) -> [Vec<u8>; 3] {
    let mut trusted = trust(old);
    let prepared = trusted.prepare(old, new, NOW).unwrap();
    trusted.adopt(&prepared).unwrap();
    let switched = trusted.switch(new).unwrap();
    trusted.adopt(&switched).unwrap();
    [prepared, switched, trusted.finish(new, forget, WallTime(NOW.0 + 60)).unwrap()]
}

#[test]
fn from_prepare_to_finish_both_roots_are_believed_and_after_that_the_new_one() {
    let (old, new) = (root(), root());
    let [prepared, switched, finished] = rotation(&old, &new, false);
    let (under_old, under_new) = (chain_under(&old), chain_under(&new));
    let mut trusted = trust(&old);
    let believes = |trusted: &TrustedRoots, at: u64| {
        [&under_old, &under_new].map(|chain| trusted.verify_chain(chain, WallTime(NOW.0 + at)).is_ok())
    };
    assert_eq!(believes(&trusted, 0), [true, false]);
    assert_eq!(trusted.adopt(&prepared), Ok(Adoption::New));
    assert_eq!((trusted.phase(), trusted.roots()[0].as_slice()), (RotationPhase::Prepared, old.certificate()));
    assert_eq!(believes(&trusted, 0), [true, true]);
    assert_eq!(trusted.adopt(&switched), Ok(Adoption::New));
    assert_eq!((trusted.phase(), trusted.roots()[0].as_slice()), (RotationPhase::Switched, new.certificate()));
    assert_eq!(believes(&trusted, 0), [true, true]);
    assert_eq!(trusted.adopt(&finished), Ok(Adoption::New));
    assert_eq!((trusted.phase(), trusted.version()), (RotationPhase::Settled, 3));
    assert_eq!(believes(&trusted, 100), [false, true], "what the old root signs from now on");
    assert_eq!(believes(&trusted, 10), [true, true], "what it vouched for before");
    assert_eq!(trusted.adopt(&finished), Ok(Adoption::Known));
}

#[test]
fn of_two_rotations_prepared_at_once_all_keep_the_same_one_in_either_order() {
    let (old, one, other) = (root(), root(), root());
    let prepared = [&one, &other].map(|new| trust(&old).prepare(&old, new, NOW).unwrap());
    let after = |order: [usize; 2]| {
        let mut trusted = trust(&old);
        assert_eq!(trusted.adopt(&prepared[order[0]]), Ok(Adoption::New));
        let second = trusted.adopt(&prepared[order[1]]).unwrap();
        (trusted, second)
    };
    let ((first, heard), (second, heard_other_way)) = (after([0, 1]), after([1, 0]));
    assert_eq!((first.roots(), first.digest(), first.to_bytes()), (second.roots(), second.digest(), second.to_bytes()));
    let mut heard = [heard, heard_other_way];
    heard.sort_by_key(|adoption| *adoption == Adoption::New);
    assert_eq!(heard, [Adoption::Known, Adoption::New], "one of them had to give its own up");
    let (winner, loser) = if first.roots()[1] == one.certificate() { (&one, &other) } else { (&other, &one) };
    assert!(first.switch(loser).is_err(), "the other operator is told so");
    assert!(first.switch(winner).is_ok());
}

#[test]
fn a_rotation_that_was_prepared_at_once_by_another_root_is_refused() {
    let (old, new, foreign) = (root(), root(), root());
    let mut trusted = trust(&old);
    trusted.adopt(&trust(&old).prepare(&old, &new, NOW).unwrap()).unwrap();
    let before = trusted.clone();
    let theirs = trust(&foreign).prepare(&foreign, &new, NOW).unwrap();
    assert!(matches!(trusted.adopt(&theirs), Ok(Adoption::Refused(_))));
    assert_eq!(trusted, before);
}

#[test]
fn a_root_that_is_forgotten_vouches_for_nothing() {
    let (old, new) = (root(), root());
    let [.., finished] = rotation(&old, &new, true);
    let mut trusted = trust(&old);
    trusted.adopt(&finished).unwrap();
    assert_eq!(trusted.verify_chain(&chain_under(&old), NOW), Err(ChainError::UnknownRoot));
    assert!(trusted.verify_chain(&chain_under(&new), NOW).is_ok());
}

#[test]
fn who_was_away_for_a_whole_rotation_believes_the_last_word_of_it() {
    let (old, new) = (root(), root());
    let [_, _, finished] = rotation(&old, &new, false);
    let mut late = trust(&old);
    assert_eq!(late.adopt(&finished), Ok(Adoption::New), "it carries what was missed");
    assert_eq!(late.roots(), [new.certificate().to_vec()]);
    let again = TrustedRoots::from_own_file("demo", &late.to_bytes()).unwrap();
    assert_eq!(again, late, "and it survives its file");
}

#[test]
fn a_joiner_who_knows_either_fingerprint_comes_to_the_same_trust() {
    let (old, new) = (root(), root());
    let [prepared, switched, finished] = rotation(&old, &new, false);
    for (statements, pins) in
        [(&prepared, vec![&old, &new]), (&switched, vec![&old, &new]), (&finished, vec![&old, &new])]
    {
        for pin in pins {
            let print = fingerprint(pin.certificate());
            let found = TrustedRoots::pinned("demo", &print, &[], statements);
            // Who is pinned to the new root alone must not believe it before the old one's word is over.
            match found {
                Ok(trusted) => assert!(trusted.roots().contains(&new.certificate().to_vec())),
                Err(error) => assert!(statements == &prepared && std::ptr::eq(pin, &raw const new), "{error}"),
            }
        }
    }
    let nobody = TrustedRoots::pinned("demo", &[7; 32], &[old.certificate().to_vec()], &finished);
    assert_eq!(nobody, Err(RootsError::NoSuchRoot));
}

#[test]
fn a_statement_of_a_stranger_or_of_a_retired_root_changes_nothing() {
    let (old, new, stranger) = (root(), root(), root());
    let [prepared, switched, finished] = rotation(&old, &new, false);
    let mut trusted = trust(&old);
    let theirs = trust(&stranger).prepare(&stranger, &new, NOW).unwrap();
    assert!(matches!(trusted.adopt(&theirs), Ok(Adoption::Refused(_))));
    assert_eq!(trusted, trust(&old));
    trusted.adopt(&finished).unwrap();
    // Whoever has the old root's key now prepares, switches and prepares again, up to a higher version.
    let mut forged = trust(&old);
    let mut last = Vec::new();
    for _ in 0..3 {
        last = forged.prepare(&old, &stranger, NOW).unwrap();
        forged.adopt(&last).unwrap();
        last = forged.cancel(&old).unwrap();
        forged.adopt(&last).unwrap();
    }
    assert!(forged.version() > trusted.version());
    let before = trusted.clone();
    assert!(matches!(trusted.adopt(&last), Ok(Adoption::Refused(_))));
    assert_eq!(trusted, before);
    for older in [prepared, switched] {
        assert_eq!(trusted.adopt(&older), Ok(Adoption::Known), "there is no way back");
    }
}

#[test]
fn two_statements_of_one_version_are_told_apart() {
    let (old, new) = (root(), root());
    let mut trusted = trust(&old);
    trusted.adopt(&trust(&old).prepare(&old, &new, NOW).unwrap()).unwrap();
    let mut rival = trusted.clone();
    let (switched, cancelled) = (trusted.switch(&new).unwrap(), trusted.cancel(&old).unwrap());
    trusted.adopt(&switched).unwrap();
    rival.adopt(&cancelled).unwrap();
    assert_eq!(trusted.version(), rival.version());
    assert_ne!(trusted.digest(), rival.digest());
    assert!(matches!(trusted.adopt(&cancelled), Ok(Adoption::Refused(_))));
    assert!(matches!(rival.adopt(&switched), Ok(Adoption::Refused(_))));
}

#[test]
fn each_step_needs_the_one_before_and_the_right_key() {
    let (old, new, other) = (root(), root(), root());
    let mut trusted = trust(&old);
    assert!(matches!(trusted.switch(&new), Err(RootsError::OtherPhase { .. })));
    assert!(matches!(trusted.finish(&new, false, NOW), Err(RootsError::OtherPhase { .. })));
    assert!(matches!(trusted.cancel(&old), Err(RootsError::OtherPhase { .. })));
    assert_eq!(trusted.prepare(&other, &new, NOW), Err(RootsError::OtherRoot));
    let foreign = RootAuthority::create("elsewhere", NOW).unwrap();
    assert!(trusted.prepare(&old, &foreign, NOW).is_err());
    let prepared = trusted.prepare(&old, &new, NOW).unwrap();
    trusted.adopt(&prepared).unwrap();
    assert!(matches!(trusted.prepare(&old, &other, NOW), Err(RootsError::OtherPhase { .. })));
    assert_eq!(trusted.switch(&other), Err(RootsError::OtherRoot));
    let mut cancelled = trusted.clone();
    let taken_back = trusted.cancel(&old).unwrap();
    cancelled.adopt(&taken_back).unwrap();
    assert_eq!((cancelled.phase(), cancelled.roots()), (RotationPhase::Settled, &[old.certificate().to_vec()][..]));
    let switched = trusted.switch(&new).unwrap();
    trusted.adopt(&switched).unwrap();
    assert_eq!(trusted.finish(&old, false, NOW), Err(RootsError::OtherRoot));
}

#[test]
fn ten_rotations_leave_a_bounded_history() {
    let mut authority = root();
    let mut trusted = trust(&authority);
    for round in 0..10 {
        let new = root();
        for step in 0..3 {
            let statement = match step {
                0 => trusted.prepare(&authority, &new, NOW).unwrap(),
                1 => trusted.switch(&new).unwrap(),
                _ => trusted.finish(&new, false, NOW).unwrap(),
            };
            assert!(statement.len() < HISTORY_BYTES_MAX, "{} bytes", statement.len());
            assert_eq!(trusted.adopt(&statement), Ok(Adoption::New), "round {round} step {step}");
        }
        authority = new;
    }
    assert_eq!(trusted.version(), 30);
    assert!(trusted.retired().len() <= 2);
}

#[test]
fn a_changed_or_cut_statement_is_refused() {
    let (old, new) = (root(), root());
    let statement = trust(&old).prepare(&old, &new, NOW).unwrap();
    let trusted = trust(&old);
    for length in 0..statement.len() {
        assert!(trusted.clone().adopt(&statement[..length]).is_err(), "{length}");
    }
    for at in (0..statement.len()).step_by(7) {
        let mut changed = statement.clone();
        changed[at] ^= 1;
        assert_ne!(trusted.clone().adopt(&changed), Ok(Adoption::New), "byte {at}");
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        static TRUST: std::sync::OnceLock<TrustedRoots> = std::sync::OnceLock::new();
        let _ = TRUST.get_or_init(|| trust(&root())).clone().adopt(&bytes);
        let _ = TrustedRoots::from_own_file("demo", &bytes);
    }
}
