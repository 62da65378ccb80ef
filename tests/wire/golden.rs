//! Golden bytes. What a released version wrote must be read by every later one, byte for byte.
//!
//! `v1/` holds the bytes as hexadecimal text, one record a file. A change that breaks one of these is a new protocol version
//! with a folder of its own: the old files stay.

use std::path::Path;

use covenant_identity::{Adoption, Denial, Denied, NodeGrant, RotationPhase, SignedDenial, TrustedRoots};
use covenant_types::canonical::{CanonicalError, Reader, Writer};
use covenant_types::{
    ActorPath, BootEpoch, CallError, ExitReason, Incarnation, NodeId, NodeName, Region, Role, TransferId, WallTime,
};
use covenant_wire::{FrameReader, decode, encode, frame_into};

/// The longest value these tests decode.
const LIMIT: usize = 4096;

fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("wire/v1").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    // Comments say what the bytes are; white space is free.
    let digits: String = text.lines().map(|line| line.split('#').next().unwrap_or("")).collect();
    let digits: Vec<u32> = digits.chars().filter_map(|c| c.to_digit(16)).collect();
    assert_eq!(digits.len() % 2, 0, "{name} has half a byte");
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("two digits are a byte")).collect()
}

#[track_caller]
fn check(name: &str, bytes: &[u8]) {
    let shown = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(shown(bytes), shown(&golden(name)), "{name}");
}

/// One value of the frame codec, both ways.
#[track_caller]
fn check_value<T>(name: &str, value: &T)
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    check(name, &encode(value));
    assert_eq!(decode::<T>(&golden(name), LIMIT).as_ref(), Ok(value), "{name}");
}

#[test]
fn a_canonical_record_has_the_bytes_it_always_had() {
    let mut writer = Writer::new("covenant/golden/1");
    writer.u8(1).u16(0x0203).u32(0x0405_0607).u64(0x0809_0a0b_0c0d_0e0f).u128(16).i128(-2);
    writer.text("São Tomé").bytes(&[0xde, 0xad]).count(2).text("").text("x");
    check("canonical-record.hex", &writer.finish());
}

#[test]
fn an_old_canonical_record_is_read() {
    let bytes = golden("canonical-record.hex");
    let mut reader = Reader::new(&bytes, "covenant/golden/1").expect("the domain is the same");
    assert_eq!((reader.u8(), reader.u16(), reader.u32()), (Ok(1), Ok(0x0203), Ok(0x0405_0607)));
    assert_eq!((reader.u64(), reader.u128(), reader.i128()), (Ok(0x0809_0a0b_0c0d_0e0f), Ok(16), Ok(-2)));
    assert_eq!((reader.text(), reader.bytes()), (Ok("São Tomé"), Ok(&[0xde, 0xad][..])));
    assert_eq!((reader.count(4), reader.text(), reader.text()), (Ok(2), Ok(""), Ok("x")));
    assert_eq!(reader.finish(), Ok(()));
}

#[test]
fn a_signature_over_one_kind_of_record_is_of_no_use_for_another() {
    let bytes = golden("canonical-record.hex");
    let other = Reader::new(&bytes, "covenant/manifest/1").err();
    assert_eq!(other, Some(CanonicalError::WrongDomain { expected: "covenant/manifest/1" }));
}

#[test]
fn names_have_the_bytes_they_always_had() {
    check_value("node-id.hex", &NodeId([0xab; 16]));
    check_value("node-name.hex", &NodeName::new("hub-africa").expect("it is a name"));
    check_value("actor-path.hex", &"/sync/scheduler".parse::<ActorPath>().expect("it is a path"));
    check_value("role-and-region.hex", &(Role::Tower, Region::LatinAmerica));
    check_value("boot-epoch-and-incarnation.hex", &(BootEpoch(1 << 40), Incarnation(7)));
    check_value("transfer-id.hex", &TransferId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10));
}

#[test]
fn ends_of_calls_have_the_bytes_they_always_had() {
    let gone = CallError::Gone(ExitReason::Panicked("index out of bounds".into()));
    let all = vec![
        CallError::Timeout,
        CallError::NoProc,
        gone,
        CallError::MailboxFull,
        CallError::NoConnection,
        CallError::Rejected("no such account".into()),
    ];
    check_value("call-errors.hex", &all);
    check_value("call-error-draining.hex", &CallError::Draining);
    let reasons = vec![
        ExitReason::Normal,
        ExitReason::Shutdown,
        ExitReason::ShutdownWith("drained".into()),
        ExitReason::Error("disk".into()),
        ExitReason::Killed,
        ExitReason::NoConnection,
    ];
    check_value("exit-reasons.hex", &reasons);
}

#[test]
fn a_frame_has_the_bytes_it_always_had_and_an_old_one_is_read() {
    let mut bytes = Vec::new();
    frame_into(b"hello", &mut bytes);
    frame_into(b"", &mut bytes);
    check("two-frames.hex", &bytes);
    let mut reader = FrameReader::new(LIMIT);
    reader.push(&golden("two-frames.hex"));
    assert_eq!(reader.next_frame().map(|frame| frame.map(<[u8]>::to_vec)), Ok(Some(b"hello".to_vec())));
    assert_eq!(reader.next_frame().map(|frame| frame.map(<[u8]>::to_vec)), Ok(Some(Vec::new())));
    assert_eq!(reader.pending(), 0);
}

#[test]
fn messages_to_actors_have_the_bytes_they_always_had() {
    use covenant_cluster::fuzz::{actor_frame_seeds, feed_frame_seeds, fuzz_actor_frame, fuzz_feed_frame};
    let names = ["name", "cast", "cast-traced", "call-traced", "name-fenced"];
    let frames = actor_frame_seeds();
    assert_eq!(frames.len(), names.len());
    for (name, frame) in names.into_iter().zip(frames) {
        check(&format!("actor-frame-{name}.hex"), &frame);
        fuzz_actor_frame(&frame);
    }
    let letter = feed_frame_seeds().pop().expect("the last is a letter");
    check("feed-frame-letter.hex", &letter);
    fuzz_feed_frame(&letter);
}

#[test]
fn a_name_that_no_constructor_would_make_is_refused_from_the_wire_too() {
    let bytes = encode("Hub Africa; DROP TABLE");
    assert!(decode::<NodeName>(&bytes, LIMIT).is_err());
    assert!(decode::<ActorPath>(&encode("/../etc"), LIMIT).is_err());
}

mod schemas {
    //! Types as messages have them, and their hashes: another hash is another type for every node that runs already.

    use covenant_runtime::{Ref, Remotable, Reply, Schema, SchemaHash};
    use covenant_types::NodeName;
    use serde::{Deserialize, Serialize};

    #[derive(Schema, Serialize, Deserialize)]
    enum Unit {
        Grams(u32),
        Pieces { count: u64, of: Option<Box<Unit>> },
        Nothing,
    }

    #[derive(Schema, Serialize, Deserialize)]
    struct Parcel {
        to: NodeName,
        parts: Vec<(String, Unit)>,
    }

    #[derive(Remotable)]
    #[remotable(name = "covenant.golden/1")]
    enum Post {
        Send(Parcel, Reply<bool>),
        Weigh {
            unit: Unit,
            reply: Reply<u64>,
        },
        Tell(Ref<Post>),
        Forget,
        #[remotable(local)]
        Tick,
    }

    #[track_caller]
    fn check(name: &str, hash: SchemaHash) {
        super::check(name, &hash.0);
    }

    #[test]
    fn schema_hashes_are_what_they_always_were() {
        check("schema-enum.hex", SchemaHash::of::<Unit>());
        check("schema-struct.hex", SchemaHash::of::<Parcel>());
        check("schema-message.hex", Post::schema());
        assert_eq!(Post::NAME, "covenant.golden/1");
        check("schema-by-hand.hex", SchemaHash::exchange::<u32, Vec<u8>>("covenant.golden.hand/1"));
        check("schema-unsaid.hex", SchemaHash::message("covenant.golden.unsaid/1", |_| {}));
        let unused = (Post::Forget, Post::Tick);
        drop(unused);
    }
}

#[test]
fn an_old_history_of_roots_is_read_and_written_as_it_was() {
    let bytes = golden("root-history.hex");
    let trusted = TrustedRoots::from_own_file("demo", &bytes).expect("a history of this version");
    assert_eq!((trusted.version(), trusted.phase(), trusted.roots().len()), (3, RotationPhase::Settled, 1));
    assert_eq!(trusted.digest(), 0x60efd7c7a94ed489);
    assert_eq!(trusted.to_bytes(), bytes);
    // Who knows the first root only believes the last word, by the signatures alone.
    let retired = &trusted.retired()[0];
    let mut late = TrustedRoots::of("demo", retired.certificate.clone()).expect("a root of this cluster");
    assert_eq!(late.adopt(&bytes), Ok(Adoption::New));
    assert_eq!(late, trusted);
}

#[test]
fn old_denials_are_read_and_believed_under_their_root() {
    let at = WallTime(1_790_000_000);
    let denial = |who| Denial { who, at, reason: "stolen in Kisumu".to_owned(), by: "operator ada (admin)".to_owned() };
    let grant =
        NodeGrant { name: NodeName::new("tower-kisumu").expect("a name"), role: Role::Tower, region: Region::Africa };
    let id = NodeId([0xab; 16]);
    let said = [
        ("denial-of-a-node.hex", Denied::Key { id, grant: Some(grant) }),
        ("denial-of-a-key.hex", Denied::Key { id, grant: None }),
        ("denial-of-an-operator.hex", Denied::Operator("ada".parse().expect("a name"))),
    ];
    let root = golden("denials-root.hex");
    for (name, who) in said {
        let bytes = golden(name);
        let signed = SignedDenial::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(signed.denial(), &denial(who), "{name}");
        assert_eq!(signed.bytes(), bytes, "{name}");
        assert_eq!(signed.verify("demo", &[&root]), Ok(()), "{name}");
        let mut forged = bytes.clone();
        // In the reason, which is plain text and stays so.
        let reason = bytes.windows(6).position(|window| window == b"stolen").expect("the reason");
        forged[reason] = b'S';
        let forged = SignedDenial::parse(&forged).expect("it is read before it is checked");
        assert!(forged.verify("demo", &[&root]).is_err(), "{name}: another word under the same signature");
    }
}
