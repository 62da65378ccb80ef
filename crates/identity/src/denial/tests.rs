use covenant_types::{NodeName, Region, Role};

use super::*;
use crate::{NodeKey, OperatorRole, RootAuthority, make_csr};

const NOW: WallTime = WallTime(1_790_000_000);

fn cluster() -> (RootAuthority, IssuingAuthority) {
    let root = RootAuthority::create("demo", NOW).unwrap();
    let issuing = root.issue_issuing(NOW).unwrap();
    (root, issuing)
}

fn tower() -> NodeGrant {
    NodeGrant { name: NodeName::new("tower-kandy").unwrap(), role: Role::Tower, region: Region::Asia }
}

fn of_node(id: NodeId) -> Denial {
    let who = Denied::Key { id, grant: Some(tower()) };
    Denial { who, at: NOW, reason: "stolen".to_owned(), by: "operator ada (admin)".to_owned() }
}

fn of_operator(name: &str, at: WallTime) -> Denial {
    Denial { who: Denied::Operator(name.parse().unwrap()), at, ..of_node(NodeId([0; 16])) }
}

#[test]
fn a_denial_is_read_as_it_was_signed_and_believed_up_to_its_root_only() {
    let (root, issuing) = cluster();
    let nobody = Denial { who: Denied::Key { id: NodeId([1; 16]), grant: None }, ..of_node(NodeId([1; 16])) };
    for denial in [of_node(NodeId([7; 16])), nobody, of_operator("ada", NOW)] {
        let signed = issuing.deny(denial.clone()).unwrap();
        let read = SignedDenial::parse(signed.bytes()).unwrap();
        assert_eq!((read.denial(), &read), (&denial, &signed));
        assert_eq!(read.verify("demo", &[root.certificate()]), Ok(()));
        assert_eq!(read.verify("other", &[root.certificate()]), Err(DenialError::UnknownRoot));
        let other = RootAuthority::create("demo", NOW).unwrap();
        assert_eq!(read.verify("demo", &[other.certificate()]), Err(DenialError::UnknownRoot));
    }
}

#[test]
fn a_denial_with_one_flipped_bit_is_not_believed() {
    let (root, issuing) = cluster();
    let signed = issuing.deny(of_node(NodeId([7; 16]))).unwrap();
    for at in 0..signed.bytes().len() {
        let mut bytes = signed.bytes().to_vec();
        bytes[at] ^= 1;
        let believed = SignedDenial::parse(&bytes).is_ok_and(|read| read.verify("demo", &[root.certificate()]).is_ok());
        assert!(!believed, "byte {at}");
    }
}

#[test]
fn cut_overlong_and_unprintable_denials_are_refused() {
    let (_, issuing) = cluster();
    let signed = issuing.deny(of_node(NodeId([7; 16]))).unwrap();
    for length in 0..signed.bytes().len() {
        assert!(SignedDenial::parse(&signed.bytes()[..length]).is_err(), "{length}");
    }
    assert_eq!(SignedDenial::parse(&[0; 2049]), Err(DenialError::TooLong(2049)));
    for reason in ["é".repeat(201), "\x1b[2J".to_owned()] {
        assert!(issuing.deny(Denial { reason, ..of_node(NodeId([7; 16])) }).is_err());
    }
    assert!(issuing.deny(Denial { reason: "é".repeat(200), ..of_node(NodeId([7; 16])) }).is_ok(), "the longest fits");
}

#[test]
fn only_an_authority_denies_and_only_in_its_own_time() {
    let (root, issuing) = cluster();
    let late = WallTime(issuing.not_after().0);
    assert_eq!(issuing.deny(of_operator("ada", late)).unwrap_err(), DenialError::Authority(AuthorityError::Ended));
    let early = issuing.deny(of_operator("ada", WallTime(NOW.0 - 86_400))).unwrap();
    assert_eq!(early.verify("demo", &[root.certificate()]), Err(DenialError::NotAtThatTime));
    // A node signs with its own key and shows its own certificate.
    let key = NodeKey::generate();
    let certificate = issuing.sign_node(&make_csr(&key), &tower(), NOW).unwrap();
    let mut bytes = of_operator("ada", NOW).body(&certificate);
    let signature = key.sign(&bytes);
    bytes.extend_from_slice(&signature);
    let forged = SignedDenial::parse(&bytes).unwrap();
    assert_eq!(forged.verify("demo", &[root.certificate()]), Err(DenialError::Forged));
}

#[test]
fn an_authority_of_one_region_denies_nobody_and_is_not_believed_when_it_does() {
    let root = RootAuthority::create("demo", NOW).unwrap();
    let key = NodeKey::generate();
    for scope in [Region::Asia, Region::Africa].map(Scope::Region) {
        let certificate = root.sign_issuing(&make_csr(&key), scope, NOW).unwrap();
        let key = NodeKey::from_pem(&key.to_pem()).unwrap();
        let hub = IssuingAuthority::assemble(key, certificate, root.certificate().to_vec()).unwrap();
        // Of a node of its own region, as of any other: what it says of the region of a key proves nothing.
        let denial = of_node(NodeId([7; 16]));
        assert_eq!(hub.deny(denial.clone()), Err(DenialError::OutOfScope(scope)));
        let mut bytes = denial.body(hub.certificate());
        let signature = hub.signature_of(&bytes);
        bytes.extend_from_slice(&signature);
        let signed = SignedDenial::parse(&bytes).unwrap();
        assert_eq!(signed.verify("demo", &[root.certificate()]), Err(DenialError::OutOfScope(scope)));
    }
}

#[test]
fn a_node_is_denied_for_good_and_an_operator_until_the_next_certificate() {
    let (_, issuing) = cluster();
    let key = NodeKey::generate();
    let identity_of = |der: Vec<u8>| PeerIdentity::from_certificate(&der).unwrap();
    let later = WallTime(NOW.0 + 86_400);
    let renewed = identity_of(issuing.sign_node(&make_csr(&key), &tower(), later).unwrap());
    assert!(of_node(key.node_id()).denies(&renewed));
    assert!(!of_node(NodeId([7; 16])).denies(&renewed));

    let ada = "ada".parse().unwrap();
    let operator = |at| identity_of(issuing.sign_operator(&make_csr(&key), &ada, OperatorRole::Admin, at).unwrap());
    assert!(of_operator("ada", NOW).denies(&operator(NOW)));
    assert!(!of_operator("ada", NOW).denies(&operator(later)));
    assert!(!of_operator("eve", NOW).denies(&operator(NOW)));
    assert!(!of_operator("tower-kandy", NOW).denies(&renewed), "a node of that name is no operator");
    assert!(of_node(key.node_id()).denies(&operator(later)), "a denied key is denied whoever shows it");
}

/// What is signed must stay readable: the body's bytes are part of the protocol.
#[test]
fn golden_bytes_of_version_1() {
    let field = |text: &str| [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat();
    let expected = [
        field("covenant/denial/1"),
        field("key"),
        [&[0, 0, 0, 16][..], &[7; 16]].concat(),
        field("tower-kandy"),
        field("tower"),
        field("asia"),
        NOW.0.to_be_bytes().to_vec(),
        field("stolen"),
        field("operator ada (admin)"),
        field("DER"),
    ];
    assert_eq!(of_node(NodeId([7; 16])).body(b"DER"), expected.concat());
    let expected = [
        field("covenant/denial/1"),
        field("operator"),
        field(""),
        field("ada"),
        field(""),
        field(""),
        NOW.0.to_be_bytes().to_vec(),
        field("stolen"),
        field("operator ada (admin)"),
        field("DER"),
    ];
    assert_eq!(of_operator("ada", NOW).body(b"DER"), expected.concat());
}
