//! The issuing side.
#[derive(Debug)]
pub(crate) struct JoinService;
