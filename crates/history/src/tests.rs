//! The checker is shown to be sound: what a reference ledger answers passes, and each fault that is planted into it is found.

mod files;
mod model;
mod planted;
