//! What went wrong, since when, and how we know.

use std::fmt;

use covenant_types::{Uptime, WallTime};
use serde::{Deserialize, Serialize};

/// Something that needs a look: opened by a detector, closed by the same one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Counts up from 1 on this node since its watcher started.
    pub id: u64,
    /// What kind of thing went wrong.
    pub kind: IncidentKind,
    /// The actor's path, or the node's name.
    pub subject: String,
    /// When it was opened, for people.
    pub opened: WallTime,
    /// When it was opened, in milliseconds since the node started.
    pub opened_ms: u64,
    /// When it was closed; `None` while it is open.
    pub closed: Option<WallTime>,
    /// When it was closed, in milliseconds since the node started.
    pub closed_ms: Option<u64>,
    /// What was seen, oldest first: the first look and the latest [`EVIDENCE_MAX`] - 1.
    pub evidence: Vec<Evidence>,
}

/// One thing that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// When, for people.
    pub at: WallTime,
    /// When, in milliseconds since the node started.
    pub at_ms: u64,
    /// What, with its numbers.
    pub what: String,
}

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IncidentKind {
    /// An actor restarts again and again.
    RestartRate,
    /// A mailbox is nearly full and stays so.
    MailboxDepth,
    /// A member cannot be reached.
    MemberState,
    /// A member does what no honest one does.
    Misconduct,
    /// A member holds a message type for another one than this node does.
    SchemaDiffers,
    /// An authority that signs certificates ends soon, or has ended.
    Authority,
    /// A public log of the ledger was damaged, does not go on, or was signed otherwise than agreed.
    PublicLog,
}

impl IncidentKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::RestartRate,
        Self::MailboxDepth,
        Self::MemberState,
        Self::Misconduct,
        Self::SchemaDiffers,
        Self::Authority,
        Self::PublicLog,
    ];

    /// The word for it in views and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RestartRate => "restart-rate",
            Self::MailboxDepth => "mailbox-depth",
            Self::MemberState => "member-state",
            Self::Misconduct => "misconduct",
            Self::SchemaDiffers => "schema-differs",
            Self::Authority => "authority",
            Self::PublicLog => "public-log",
        }
    }
}

impl fmt::Display for IncidentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One moment by both clocks: the node's for order, the wall's for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Time since the node started.
    pub uptime: Uptime,
    /// The date.
    pub wall: WallTime,
}

impl Incident {
    pub(crate) fn open(id: u64, kind: IncidentKind, subject: String, now: Moment, what: String) -> Self {
        let mut incident = Self {
            id,
            kind,
            subject,
            opened: now.wall,
            opened_ms: now.uptime.as_millis(),
            closed: None,
            closed_ms: None,
            evidence: Vec::with_capacity(2),
        };
        incident.note(now, what);
        incident
    }

    pub(crate) fn note(&mut self, now: Moment, what: String) {
        if self.evidence.len() >= EVIDENCE_MAX {
            // The first look says how it began; of the others the latest tell most.
            self.evidence.remove(1);
        }
        let what = what.chars().take(EVIDENCE_CHARS_MAX).collect();
        self.evidence.push(Evidence { at: now.wall, at_ms: now.uptime.as_millis(), what });
    }

    pub(crate) fn close(&mut self, now: Moment, what: String) {
        self.note(now, what);
        self.closed = Some(now.wall);
        self.closed_ms = Some(now.uptime.as_millis());
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }
}

/// The most pieces of evidence one incident keeps.
pub const EVIDENCE_MAX: usize = 16;
/// The longest piece of evidence; a panic's message may be of any length.
const EVIDENCE_CHARS_MAX: usize = 240;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_keeps_the_first_look_and_the_latest() {
        let mut incident =
            Incident::open(1, IncidentKind::RestartRate, "/x".into(), Moment::default(), "look 0".into());
        (1..100).for_each(|look| incident.note(Moment::default(), format!("look {look}")));
        let looks: Vec<&str> = incident.evidence.iter().map(|evidence| evidence.what.as_str()).collect();
        assert_eq!((looks.len(), looks[0], looks[1], looks[15]), (EVIDENCE_MAX, "look 0", "look 85", "look 99"));
    }
}
