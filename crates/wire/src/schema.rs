//! What a message type looks like, as a hash: two nodes whose hashes differ do not read each other's messages.
//!
//! # Intuition
//! The codec writes no names, so bytes of one version of a type are often readable as another, wrongly. A type therefore
//! describes itself: its name, its variants, the names of its fields and the hashes of their types. BLAKE3 of that is its
//! schema hash, and it crosses with the name of the message type. Deriving [`Schema`] writes the description.
//!
//! # Invariants
//! - The hash follows from what is written in the type alone: not from the compiler, the machine or the path of a module.
//! - A type that contains itself has a hash: where it meets itself, how many types it is inside of is described instead.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use covenant_types::canonical::Writer;
use covenant_types::{
    ActorPath, BootEpoch, CallError, ExitReason, Incarnation, LinkTier, NodeId, NodeName, Region, Role, StartAttempt,
    TraceId, TransferId, Uptime, WallTime,
};
use serde::{Deserialize, Serialize};

/// BLAKE3 of what a type says of itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SchemaHash(pub [u8; 32]);

impl SchemaHash {
    /// The hash of one type.
    pub fn of<T: Schema>() -> Self {
        Describe::hashed(&mut Vec::new(), T::describe)
    }

    /// The hash of the message type `name`, whose variants `describe` writes. One that says nothing of itself has the hash
    /// of its name.
    pub fn message(name: &str, describe: impl FnOnce(&mut Describe<'_>)) -> Self {
        Describe::hashed(&mut Vec::new(), |to| {
            to.part(MESSAGE, name);
            describe(to);
        })
    }

    /// The hash of the message type `name`, which is mapped by hand to a request and a response.
    pub fn exchange<Request: Schema, Response: Schema>(name: &str) -> Self {
        Self::message(name, |to| {
            to.field::<Request>("request");
            to.reply::<Response>();
        })
    }
}

impl fmt::Display for SchemaHash {
    /// Its first eight bytes, in hexadecimal: enough for people to compare.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SchemaHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SchemaHash({self})")
    }
}

/// A type that can be part of a message, and says what it looks like.
pub trait Schema {
    /// Writes what it looks like.
    fn describe(to: &mut Describe<'_>);
}

/// Takes down what a type looks like.
#[derive(Debug)]
pub struct Describe<'a> {
    record: Writer,
    /// The types that this description is inside of, outermost first.
    inside: &'a mut Vec<&'static str>,
}

impl Describe<'_> {
    /// A type that has no parts, or none that anybody may change.
    pub fn word(&mut self, name: &str) {
        self.part(WORD, name);
    }

    /// A struct: its fields follow.
    pub fn structure(&mut self, name: &str) {
        self.part(STRUCT, name);
    }

    /// An enum: its variants follow.
    pub fn choice(&mut self, name: &str) {
        self.part(ENUM, name);
    }

    /// A variant: its fields follow.
    pub fn variant(&mut self, name: &str) {
        self.part(VARIANT, name);
    }

    /// A field. One without a name is named by its number.
    pub fn field<T: Schema>(&mut self, name: &str) {
        self.part(FIELD, name);
        self.hash_of::<T>();
    }

    /// That what came before is answered, and with what.
    pub fn reply<T: Schema>(&mut self) {
        self.part(REPLY, "");
        self.hash_of::<T>();
    }

    fn part(&mut self, kind: u8, name: &str) {
        self.record.u8(kind).text(name);
    }

    fn hash_of<T: Schema>(&mut self) {
        let name = std::any::type_name::<T>();
        if let Some(at) = self.inside.iter().rposition(|outer| *outer == name) {
            self.part(OUTER, "");
            self.record.count(self.inside.len() - at);
            return;
        }
        self.inside.push(name);
        let hash = Self::hashed(self.inside, T::describe);
        self.inside.pop();
        self.record.bytes(&hash.0);
    }

    fn hashed(inside: &mut Vec<&'static str>, describe: impl FnOnce(&mut Describe<'_>)) -> SchemaHash {
        let mut to = Describe { record: Writer::new(DOMAIN), inside };
        describe(&mut to);
        SchemaHash(*blake3::hash(&to.record.finish()).as_bytes())
    }
}

const DOMAIN: &str = "covenant/schema/1";
const MESSAGE: u8 = 1;
const WORD: u8 = 2;
const STRUCT: u8 = 3;
const ENUM: u8 = 4;
const VARIANT: u8 = 5;
const FIELD: u8 = 6;
const REPLY: u8 = 7;
const OUTER: u8 = 8;

macro_rules! words {
    ($($type:ty = $word:literal),+ $(,)?) => {
        $(impl Schema for $type {
            fn describe(to: &mut Describe<'_>) {
                to.word($word);
            }
        })+
    };
}

words! {
    bool = "bool", char = "char", String = "text", str = "text", () = "nothing",
    u8 = "u8", u16 = "u16", u32 = "u32", u64 = "u64", u128 = "u128", usize = "usize",
    i8 = "i8", i16 = "i16", i32 = "i32", i64 = "i64", i128 = "i128", isize = "isize",
    f32 = "f32", f64 = "f64",
    Duration = "duration", PathBuf = "file path",
    IpAddr = "ip", Ipv4Addr = "ipv4", Ipv6Addr = "ipv6", SocketAddr = "socket address",
    ActorPath = "covenant actor path", NodeId = "covenant node id", NodeName = "covenant node name",
    BootEpoch = "covenant boot epoch", Incarnation = "covenant incarnation", StartAttempt = "covenant start attempt",
    Region = "covenant region", Role = "covenant role", LinkTier = "covenant link tier",
    TransferId = "covenant transfer id", TraceId = "covenant trace id",
    Uptime = "covenant uptime", WallTime = "covenant wall time",
    ExitReason = "covenant exit reason", CallError = "covenant call error",
}

macro_rules! holders {
    ($([$($param:ident),+] $type:ty = $word:literal),+ $(,)?) => {
        $(impl<$($param: Schema),+> Schema for $type {
            fn describe(to: &mut Describe<'_>) {
                to.word($word);
                $(to.hash_of::<$param>();)+
            }
        })+
    };
}

holders! {
    [T] Vec<T> = "list", [T] VecDeque<T> = "list", [T] BTreeSet<T> = "list", [T] Option<T> = "option",
    [T, E] Result<T, E> = "result", [K, V] BTreeMap<K, V> = "map",
    [A] (A,) = "tuple", [A, B] (A, B) = "tuple", [A, B, C] (A, B, C) = "tuple", [A, B, C, D] (A, B, C, D) = "tuple",
    [A, B, C, D, E] (A, B, C, D, E) = "tuple", [A, B, C, D, E, F] (A, B, C, D, E, F) = "tuple",
}

impl<T: Schema, S> Schema for HashSet<T, S> {
    fn describe(to: &mut Describe<'_>) {
        BTreeSet::<T>::describe(to);
    }
}

impl<K: Schema, V: Schema, S> Schema for HashMap<K, V, S> {
    fn describe(to: &mut Describe<'_>) {
        BTreeMap::<K, V>::describe(to);
    }
}

impl<T: Schema, const N: usize> Schema for [T; N] {
    fn describe(to: &mut Describe<'_>) {
        to.word(&format!("array of {N}"));
        to.hash_of::<T>();
    }
}

/// What is boxed has the bytes of what it holds.
impl<T: Schema + ?Sized> Schema for Box<T> {
    fn describe(to: &mut Describe<'_>) {
        T::describe(to);
    }
}

/// As a box.
impl<T: Schema + ?Sized> Schema for Arc<T> {
    fn describe(to: &mut Describe<'_>) {
        T::describe(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Point {
        _x: u32,
        _y: u32,
    }

    impl Schema for Point {
        fn describe(to: &mut Describe<'_>) {
            to.structure("Point");
            to.field::<u32>("x");
            to.field::<u32>("y");
        }
    }

    fn hash(describe: impl FnOnce(&mut Describe<'_>)) -> SchemaHash {
        Describe::hashed(&mut Vec::new(), describe)
    }

    #[test]
    fn the_hash_is_another_when_a_name_an_order_or_a_type_is() {
        let other_name = hash(|to| {
            to.structure("Point");
            to.field::<u32>("x");
            to.field::<u32>("z");
        });
        let other_order = hash(|to| {
            to.structure("Point");
            to.field::<u32>("y");
            to.field::<u32>("x");
        });
        let other_type = hash(|to| {
            to.structure("Point");
            to.field::<u32>("x");
            to.field::<u64>("y");
        });
        let all = BTreeSet::from([SchemaHash::of::<Point>(), other_name, other_order, other_type]);
        assert_eq!(all.len(), 4);
        assert_ne!(SchemaHash::of::<Vec<Point>>(), SchemaHash::of::<Vec<u32>>(), "a change shows however deep it is");
        assert_eq!(SchemaHash::of::<Box<Point>>(), SchemaHash::of::<Point>());
    }

    enum Tree {
        _Leaf(u8),
        _Fork(Vec<Tree>),
    }

    impl Schema for Tree {
        fn describe(to: &mut Describe<'_>) {
            to.choice("Tree");
            to.variant("Leaf");
            to.field::<u8>("0");
            to.variant("Fork");
            to.field::<Vec<Self>>("0");
        }
    }

    #[test]
    fn a_type_that_contains_itself_has_a_hash() {
        assert_eq!(SchemaHash::of::<Tree>(), SchemaHash::of::<Tree>());
        assert_ne!(SchemaHash::of::<Tree>(), SchemaHash::of::<Vec<Tree>>());
    }

    #[test]
    fn a_message_is_told_apart_by_its_name_and_by_what_is_answered() {
        let one = SchemaHash::exchange::<u8, u8>("one");
        assert_ne!(one, SchemaHash::exchange::<u8, u8>("two"));
        assert_ne!(one, SchemaHash::exchange::<u8, u16>("one"));
        assert_ne!(one, SchemaHash::message("one", |_| {}));
    }
}
