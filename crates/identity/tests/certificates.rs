//! Authorities, certificates and renewal, through the public API.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use covenant_identity::{
    AuthorityError, CertificateError, ChainError, IssuingAuthority, NODE_LIFETIME, NodeGrant, NodeKey, OperatorRole,
    PeerIdentity, RENEWAL_GRACE, RenewalError, RootAuthority, Scope, Subject, TrustedRoots, check_csr, check_renewal,
    fingerprint, make_csr, renew_at, verify_chain,
};
use covenant_types::{NodeName, Region, Role, WallTime};
use proptest::prelude::*;

const NOW: WallTime = WallTime(1_700_000_000);

fn after(span: Duration) -> WallTime {
    WallTime(NOW.0 + span.as_secs())
}

fn grant() -> NodeGrant {
    NodeGrant { name: NodeName::new("hub-africa").unwrap(), role: Role::Hub, region: Region::Africa }
}

fn issuing() -> IssuingAuthority {
    RootAuthority::create("demo", NOW).unwrap().issue_issuing(NOW).unwrap()
}

#[test]
fn a_node_certificate_says_who_the_node_is_for_a_day() {
    let key = NodeKey::generate();
    let certificate = issuing().sign_node(&make_csr(&key), &grant(), NOW).unwrap();
    let identity = PeerIdentity::from_certificate(&certificate).unwrap();
    assert_eq!(identity.trust_domain, "demo");
    assert_eq!(identity.subject, Subject::Node { id: key.node_id(), grant: grant() });
    assert_eq!(identity.uri(), format!("spiffe://demo/africa/hub/hub-africa/{}", key.node_id()));
    assert_eq!(identity.not_after.0 - identity.not_before.0, NODE_LIFETIME.as_secs());
    assert!(identity.is_valid_at(NOW));
    assert!(!identity.is_valid_at(after(NODE_LIFETIME)));
    assert_eq!(renew_at(identity.not_before, identity.not_after).0, identity.not_before.0 + 12 * 3600);
}

#[test]
fn an_operator_certificate_says_who_may_do_what() {
    let key = NodeKey::generate();
    let name = "ada".parse().unwrap();
    let certificate = issuing().sign_operator(&make_csr(&key), &name, OperatorRole::Chaos, NOW).unwrap();
    let identity = PeerIdentity::from_certificate(&certificate).unwrap();
    assert_eq!(identity.subject, Subject::Operator { name, role: OperatorRole::Chaos });
    assert_eq!(identity.public_key, key.public_key());
}

#[test]
fn serials_are_random_so_no_two_certificates_are_alike() {
    let (issuing, csr) = (issuing(), make_csr(&NodeKey::generate()));
    let one = issuing.sign_node(&csr, &grant(), NOW).unwrap();
    assert_ne!(one, issuing.sign_node(&csr, &grant(), NOW).unwrap());
}

#[test]
fn authorities_survive_their_files_and_go_on_signing() {
    let root = RootAuthority::from_pem(&RootAuthority::create("demo", NOW).unwrap().to_pem()).unwrap();
    let issuing = IssuingAuthority::from_pem(&root.issue_issuing(NOW).unwrap().to_pem()).unwrap();
    assert_eq!((issuing.cluster(), root.cluster()), ("demo", "demo"));
    assert_eq!(fingerprint(issuing.root()), fingerprint(root.certificate()));
    let certificate = issuing.sign_node(&make_csr(&NodeKey::generate()), &grant(), NOW).unwrap();
    assert_eq!(issuing.chain_for(certificate).len(), 3);
}

#[test]
fn files_that_are_not_authorities_are_refused() {
    let root = RootAuthority::create("demo", NOW).unwrap();
    let issuing = root.issue_issuing(NOW).unwrap();
    assert!(RootAuthority::from_pem(&issuing.to_pem()).is_err(), "an issuing authority is no root");
    assert!(IssuingAuthority::from_pem(&root.to_pem()).is_err(), "a root is no issuing authority");
    let other = RootAuthority::create("demo", NOW).unwrap();
    let mixed = format!("{}{}", *NodeKey::generate().to_pem(), other.to_pem().split_once("KEY-----\n").unwrap().1);
    assert!(RootAuthority::from_pem(&mixed).is_err(), "another's key");
    assert!(RootAuthority::from_pem("").is_err());
    assert!(matches!(RootAuthority::create("De Mo", NOW), Err(AuthorityError::ClusterName(_))));
}

#[test]
fn nothing_outlives_the_authority_that_signed_it() {
    let issuing = issuing();
    let late = WallTime(issuing.not_after().0 - 3600);
    let certificate = issuing.sign_node(&make_csr(&NodeKey::generate()), &grant(), late).unwrap();
    assert_eq!(PeerIdentity::from_certificate(&certificate).unwrap().not_after, issuing.not_after());
    let ended = issuing.sign_node(&make_csr(&NodeKey::generate()), &grant(), issuing.not_after());
    assert_eq!(ended, Err(AuthorityError::Ended));
}

#[test]
fn a_certificate_is_renewed_for_the_same_key_until_14_days_after_its_end() {
    let (issuing, key) = (issuing(), NodeKey::generate());
    let csr = make_csr(&key);
    let old = issuing.chain_for(issuing.sign_node(&csr, &grant(), NOW).unwrap());
    let end = PeerIdentity::from_certificate(&old[0]).unwrap().not_after;
    let trusted = trust(&issuing);
    let renew = |csr: &[u8], now| check_renewal(&old, csr, &trusted, Scope::Everywhere, now);
    assert_eq!(renew(&csr, NOW), Ok(grant()));
    assert_eq!(renew(&csr, WallTime(end.0 + RENEWAL_GRACE.as_secs() - 1)), Ok(grant()));
    assert_eq!(renew(&csr, WallTime(end.0 + RENEWAL_GRACE.as_secs())), Err(RenewalError::TooLate));
    assert_eq!(renew(&csr, WallTime(NOW.0 - 3600)), Err(RenewalError::NotYet));
    assert_eq!(renew(&make_csr(&NodeKey::generate()), NOW), Err(RenewalError::OtherKey));
}

#[test]
fn a_foreign_or_an_operators_certificate_is_not_renewed() {
    let (ours, theirs, key) = (issuing(), issuing(), NodeKey::generate());
    let csr = make_csr(&key);
    let trusted = trust(&ours);
    let renew = |chain: &[Vec<u8>]| check_renewal(chain, &csr, &trusted, Scope::Everywhere, NOW);
    let foreign = theirs.chain_for(theirs.sign_node(&csr, &grant(), NOW).unwrap());
    assert_eq!(renew(&foreign), Err(RenewalError::Foreign(ChainError::UnknownRoot)));
    let own = ours.sign_node(&csr, &grant(), NOW).unwrap();
    let vouched = [own.clone(), own.clone()];
    assert_eq!(renew(&vouched), Err(RenewalError::Foreign(ChainError::BadSignature)), "a node vouches for none");
    assert!(matches!(renew(&[]), Err(RenewalError::Foreign(ChainError::Length(0)))));
    let operator = ours.sign_operator(&csr, &"ada".parse().unwrap(), OperatorRole::Admin, NOW).unwrap();
    assert_eq!(renew(&ours.chain_for(operator)), Err(RenewalError::NotANode));
}

#[test]
fn any_issuing_authority_of_its_region_renews_a_certificate_and_no_other_does() {
    let root = RootAuthority::create("demo", NOW).unwrap();
    let (africa, again, asia) =
        (regional(&root, Region::Africa), regional(&root, Region::Africa), regional(&root, Region::Asia));
    let key = NodeKey::generate();
    let csr = make_csr(&key);
    let old = africa.chain_for(africa.sign_node(&csr, &grant(), NOW).unwrap());
    let trusted = trust(&africa);
    for (asked, renews) in [(&again, true), (&issuing_of(&root), true), (&asia, false)] {
        let renewed = check_renewal(&old, &csr, &trusted, asked.scope(), NOW);
        assert_eq!(renewed.is_ok(), renews, "{}", asked.scope());
    }
    assert_eq!(asia.sign_node(&csr, &grant(), NOW), Err(AuthorityError::OutOfScope(Scope::Region(Region::Asia))));
    let operator = africa.sign_operator(&csr, &"ada".parse().unwrap(), OperatorRole::Viewer, NOW);
    assert_eq!(operator, Err(AuthorityError::OutOfScope(Scope::Region(Region::Africa))), "operators act everywhere");
}

#[test]
fn what_an_authority_signed_for_another_region_is_not_believed_whatever_stands_beside_it() {
    let root = RootAuthority::create("demo", NOW).unwrap();
    let key = NodeKey::generate();
    // A hub of Asia whose program was changed: the same key under a scope that its certificate does not give.
    let hub_key = NodeKey::from_pem(&NodeKey::generate().to_pem()).unwrap();
    let real = root.sign_issuing(&make_csr(&hub_key), Scope::Region(Region::Asia), NOW).unwrap();
    let stranger = RootAuthority::create("demo", NOW).unwrap();
    let pretended = stranger.sign_issuing(&make_csr(&hub_key), Scope::Everywhere, NOW).unwrap();
    let lying = IssuingAuthority::assemble(hub_key, pretended.clone(), stranger.certificate().to_vec()).unwrap();
    let leaf = lying.sign_node(&make_csr(&key), &grant(), NOW).unwrap();
    for above in [vec![real.clone()], vec![pretended.clone(), real.clone()], vec![real, pretended]] {
        let chain = [vec![leaf.clone()], above].concat();
        let refused = verify_chain(&chain, &[root.certificate()], "demo", NOW);
        assert!(matches!(refused, Err(ChainError::OutOfScope(_))), "{refused:?}");
    }
}

fn issuing_of(root: &RootAuthority) -> IssuingAuthority {
    root.issue_issuing(NOW).unwrap()
}

fn regional(root: &RootAuthority, region: Region) -> IssuingAuthority {
    let key = NodeKey::generate();
    let certificate = root.sign_issuing(&make_csr(&key), Scope::Region(region), NOW).unwrap();
    IssuingAuthority::assemble(key, certificate, root.certificate().to_vec()).unwrap()
}

fn trust(issuing: &IssuingAuthority) -> TrustedRoots {
    TrustedRoots::of("demo", issuing.root().to_vec()).unwrap()
}

#[test]
fn cut_padded_and_changed_certificates_and_requests_are_refused() {
    let (issuing, key) = (issuing(), NodeKey::generate());
    let csr = make_csr(&key);
    let certificate = issuing.sign_node(&csr, &grant(), NOW).unwrap();
    for length in 0..certificate.len() {
        assert!(PeerIdentity::from_certificate(&certificate[..length]).is_err(), "certificate cut at {length}");
    }
    for length in 0..csr.len() {
        assert!(check_csr(&csr[..length]).is_err(), "request cut at {length}");
    }
    for at in 0..csr.len() {
        let mut changed = csr.clone();
        changed[at] ^= 1;
        // The parser overlooks a few tag bits outside what is signed; they change nothing.
        let read = check_csr(&changed);
        assert!(read.is_err() || read == Ok(key.public_key()), "request changed at {at}");
    }
    assert!(check_csr(&[csr.as_slice(), &[0]].concat()).is_err());
    assert!(PeerIdentity::from_certificate(&[certificate.as_slice(), &[0]].concat()).is_err());
    assert_eq!(PeerIdentity::from_certificate(&vec![0x30; 10_000]), Err(CertificateError::TooLarge(10_000)));
}

#[test]
fn an_authority_and_a_certificate_with_another_keys_id_name_nobody() {
    let issuing = issuing();
    for authority in [issuing.certificate(), issuing.root()] {
        assert!(matches!(PeerIdentity::from_certificate(authority), Err(CertificateError::BadName { .. })));
    }
    // The subject key's bytes swapped for another's: the id in the name is no longer the key's.
    let (key, other) = (NodeKey::generate(), NodeKey::generate());
    let mut certificate = issuing.sign_node(&make_csr(&key), &grant(), NOW).unwrap();
    let at = certificate.windows(32).position(|window| window == key.public_key()).unwrap();
    certificate[at..at + 32].copy_from_slice(&other.public_key());
    assert!(matches!(PeerIdentity::from_certificate(&certificate), Err(CertificateError::BadName { .. })));
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = PeerIdentity::from_certificate(&bytes);
        let _ = check_csr(&bytes);
    }
}
