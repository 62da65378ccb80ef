//! How many failed attempts an address has.
#[derive(Debug)]
pub(crate) struct AttemptLimit;
