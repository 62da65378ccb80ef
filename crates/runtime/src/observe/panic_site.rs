//! Where a panic happened. Only a panic hook is told, and hooks belong to the whole process.

use std::cell::RefCell;
use std::fmt;
use std::sync::Once;

use serde::{Deserialize, Serialize};

/// A place in the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PanicSite {
    /// The file, as the compiler was given it.
    pub file: String,
    /// Its line, counted from 1.
    pub line: u32,
    /// The column, counted from 1.
    pub column: u32,
}

impl fmt::Display for PanicSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

thread_local! {
    static LAST: RefCell<Option<PanicSite>> = const { RefCell::new(None) };
}

/// From now on crash reports of this process say where a panic happened. The hook that was set before goes on to print,
/// once. Calling this again changes nothing.
pub fn note_panic_sites() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let site = panic.location().map(|location| PanicSite {
                file: location.file().to_owned(),
                line: location.line(),
                column: location.column(),
            });
            let _thread_ends = LAST.try_with(|last| *last.borrow_mut() = site);
            before(panic);
        }));
    });
}

/// The place of the last panic of this thread. Ask where a panic was just caught.
pub(crate) fn take_panic_site() -> Option<PanicSite> {
    LAST.try_with(RefCell::take).ok().flatten()
}
