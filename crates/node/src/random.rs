//! The one number that every random number of a running node follows from.

use std::fs::File;
use std::io::Read;

/// 64 bits from the operating system: the seed of a real node, and ids that nobody else will make.
pub fn entropy() -> u64 {
    let mut bytes = [0; 8];
    // /dev/urandom is there on every Linux; without it no key could be made either.
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.expect("the operating system gives random bytes");
    u64::from_ne_bytes(bytes)
}
