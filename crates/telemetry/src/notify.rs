//! Word to systemd over `NOTIFY_SOCKET`, as `sd_notify(3)` gives it.
//!
//! Where nobody listens every word is dropped without an error, so that callers need not ask whether systemd is there.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The longest status text; systemd shows one line.
const STATUS_BYTES_MAX: usize = 512;

/// Tells systemd how this process is.
#[derive(Debug)]
pub struct Notifier(Option<(UnixDatagram, SocketAddr)>);

impl Notifier {
    /// The listener that systemd named in `NOTIFY_SOCKET`, or none.
    ///
    /// # Errors
    /// The variable names something that cannot be a socket.
    pub fn from_env() -> Result<Self, NotifyError> {
        Self::to(std::env::var_os("NOTIFY_SOCKET").as_deref())
    }

    /// The listener at `address`: a path, or a name in the abstract namespace behind an `@`. None for `None` or an empty one.
    ///
    /// # Errors
    /// `address` cannot be a socket.
    pub fn to(address: Option<&OsStr>) -> Result<Self, NotifyError> {
        let Some(address) = address.filter(|address| !address.is_empty()) else { return Ok(Self(None)) };
        let parsed = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            [b'/', ..] => SocketAddr::from_pathname(address),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it begins with neither '/' nor '@'")),
        };
        let bad = |source| NotifyError { address: address.to_string_lossy().chars().take(128).collect(), source };
        let target = parsed.map_err(bad)?;
        let socket = UnixDatagram::unbound().map_err(bad)?;
        // A listener that does not read must not hold the node up.
        socket.set_nonblocking(true).map_err(bad)?;
        Ok(Self(Some((socket, target))))
    }

    /// The node is up: peers, actors and the control API answer.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// The node has begun to stop.
    pub fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\nSTATUS={}", one_line(status)));
    }

    /// One line for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", one_line(status)));
    }

    /// The node is alive. Send it only after what the node lives by has answered: a watchdog that a timer pets tells nothing.
    pub fn watchdog(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, words: &str) {
        if let Some((socket, target)) = &self.0 {
            // The word is advice. A listener that is gone or full leaves the node as it is.
            if let Err(error) = socket.send_to_addr(words.as_bytes(), target) {
                tracing::debug!(%error, "systemd did not take the word");
            }
        }
    }
}

/// How often to send [`Notifier::watchdog`]: half of what systemd asks for. `None` where it asks for nothing.
pub fn watchdog_period() -> Option<Duration> {
    let read = |name| std::env::var(name).ok();
    period(read("WATCHDOG_USEC")?.as_str(), read("WATCHDOG_PID").as_deref(), std::process::id())
}

fn period(micros: &str, for_process: Option<&str>, me: u32) -> Option<Duration> {
    if for_process.is_some_and(|process| process.parse() != Ok(me)) {
        return None;
    }
    let micros: u64 = micros.parse().ok().filter(|&micros| micros > 0)?;
    Some(Duration::from_micros(micros) / 2)
}

/// A status is one line: a line break in it would begin another assignment.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(STATUS_BYTES_MAX));
    for c in text.chars() {
        if line.len() + c.len_utf8() > STATUS_BYTES_MAX {
            break;
        }
        line.push(if c.is_control() { ' ' } else { c });
    }
    line
}

/// `NOTIFY_SOCKET` names something that cannot be a socket. The node runs, but systemd will not hear of it.
#[derive(Debug, thiserror::Error)]
#[error("cannot tell systemd at {address:?}")]
pub struct NotifyError {
    address: String,
    source: io::Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(listener: &UnixDatagram) -> String {
        let mut bytes = [0; 1024];
        let length = listener.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn words_reach_a_listener_at_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::to(Some(path.as_os_str())).unwrap();
        notifier.ready("5 members");
        assert_eq!(heard(&listener), "READY=1\nSTATUS=5 members");
        notifier.watchdog();
        assert_eq!(heard(&listener), "WATCHDOG=1");
        notifier.stopping("SIGTERM");
        assert_eq!(heard(&listener), "STOPPING=1\nSTATUS=SIGTERM");
    }

    #[test]
    fn words_reach_a_listener_in_the_abstract_namespace() {
        let name = format!("covenant-notify-test-{}", std::process::id());
        let listener = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Notifier::to(Some(OsStr::new(&format!("@{name}")))).unwrap().status("alive");
        assert_eq!(heard(&listener), "STATUS=alive");
    }

    #[test]
    fn a_status_cannot_smuggle_in_another_word() {
        assert_eq!(one_line("stuck\nREADY=1"), "stuck READY=1");
        assert_eq!(one_line(&"é".repeat(400)).len(), STATUS_BYTES_MAX);
    }

    #[test]
    fn without_a_listener_words_are_dropped() {
        Notifier::to(None).unwrap().ready("nobody hears");
        Notifier::to(Some(OsStr::new(""))).unwrap().ready("nobody hears");
        Notifier::to(Some(OsStr::new("/nonexistent/notify"))).unwrap().ready("the listener is gone");
        assert!(Notifier::to(Some(OsStr::new("relative"))).is_err());
    }

    #[test]
    fn the_watchdog_is_petted_twice_in_its_period_and_only_by_the_process_it_is_for() {
        assert_eq!(period("30000000", Some("7"), 7), Some(Duration::from_secs(15)));
        assert_eq!(period("30000000", None, 7), Some(Duration::from_secs(15)));
        assert_eq!(period("30000000", Some("8"), 7), None);
        assert_eq!(period("0", None, 7), None);
        assert_eq!(period("soon", None, 7), None);
    }
}
