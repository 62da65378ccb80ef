//! Promises that span crates. The folders beside this one hold them, one kind each; this crate has no code of its own.
