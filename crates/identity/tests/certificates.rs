//! Authorities, certificates and renewal, through the public API.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use covenant_identity::{
    AuthorityError, CertificateError, IssuingAuthority, NODE_LIFETIME, NodeGrant, NodeKey, OperatorRole, PeerIdentity,
    RENEWAL_GRACE, RenewalError, RootAuthority, Subject, check_csr, check_renewal, fingerprint, make_csr, renew_at,
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
    let old = issuing.sign_node(&csr, &grant(), NOW).unwrap();
    let end = PeerIdentity::from_certificate(&old).unwrap().not_after;
    let renew = |csr: &[u8], now| check_renewal(&old, csr, "demo", &[issuing.certificate()], now);
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
    let foreign = theirs.sign_node(&csr, &grant(), NOW).unwrap();
    assert_eq!(check_renewal(&foreign, &csr, "demo", &[ours.certificate()], NOW), Err(RenewalError::Foreign));
    let own = ours.sign_node(&csr, &grant(), NOW).unwrap();
    assert_eq!(check_renewal(&own, &csr, "other", &[ours.certificate()], NOW), Err(RenewalError::Foreign));
    assert_eq!(check_renewal(&own, &csr, "demo", &[&own], NOW), Err(RenewalError::Foreign), "a node vouches for none");
    let operator = ours.sign_operator(&csr, &"ada".parse().unwrap(), OperatorRole::Admin, NOW).unwrap();
    assert_eq!(check_renewal(&operator, &csr, "demo", &[ours.certificate()], NOW), Err(RenewalError::NotANode));
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
