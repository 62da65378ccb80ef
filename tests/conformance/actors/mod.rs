//! The cases on real actors.
