//! The layout of what crosses on the control plane. All integers big-endian, each frame after its `u32` length.
//!
//! kind u8 · flags u8 (0) · tie u64 · then, from the asker to the holder
//! - monitor: again u8 · expected incarnation u32 · path
//! - link: again u8 · expected incarnation u32 · own incarnation u32 · length of the path u16 · path · own path
//! - untied: nothing. The asker took the tie away, or has heard that it is over.
//! - exited: own incarnation u32 · the end. The asker's end of a link has ended.
//! - settled: nothing; the tie is 0. All ties have been said again.
//!
//! and from the holder to the asker
//! - bound: incarnation u32
//! - fired: incarnation u32 · the end
//! - let go: nothing. The holder's actor took the link away, or has heard that the asker's end has ended.
//!
//! and, with the number of a call in place of the tie, which is answered on the reply plane
//! - order: order u8 (1 stop, 2 kill) · milliseconds left u32 · path
//!
//! Incarnation 0 stands for none. An end is the `CallError` that a call would have ended in.

use covenant_runtime::{DownReason, FarOrder, FarTie};
use covenant_types::{ActorPath, CallError, ExitReason, Incarnation};

use crate::remoting::frame::{ERROR_BYTES_MAX, put_error};

/// The longest frame: two paths, or an end.
pub(crate) const CONTROL_FRAME_BYTES_MAX: usize = 8 * 1024;

/// Something about one tie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TieFrame {
    pub(crate) tie: u64,
    pub(crate) word: Word,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Ask(Ask),
    Untied,
    Exited { incarnation: Option<Incarnation>, end: End },
    Settled,
    Bound(Incarnation),
    Fired { incarnation: Option<Incarnation>, end: End },
    LetGo,
    Order { order: FarOrder, millis_left: u32, path: ActorPath },
}

/// A tie that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) path: ActorPath,
    pub(crate) tie: FarTie,
    /// It was asked for over an earlier connection.
    pub(crate) again: bool,
    /// What it was bound to then.
    pub(crate) expected: Option<Incarnation>,
}

/// Why a tie fires.
pub(crate) type End = DownReason;

const MONITOR: u8 = 1;
const LINK: u8 = 2;
const UNTIED: u8 = 3;
const EXITED: u8 = 4;
const SETTLED: u8 = 5;
const BOUND: u8 = 6;
const FIRED: u8 = 7;
const LET_GO: u8 = 8;
const ORDER: u8 = 9;

impl TieFrame {
    /// Reads a frame; `None` if it is none.
    pub(crate) fn parse(frame: &[u8]) -> Option<Self> {
        let ([kind, 0], rest) = frame.split_first_chunk::<2>()? else { return None };
        let (tie, rest) = rest.split_first_chunk::<8>()?;
        let word = match *kind {
            MONITOR => {
                let (again, expected, rest) = asked(rest)?;
                Word::Ask(Ask { path: path(rest)?, tie: FarTie::Monitor, again, expected })
            }
            LINK => {
                let (again, expected, rest) = asked(rest)?;
                let (own, rest) = incarnation(rest)?;
                let (length, rest) = rest.split_first_chunk::<2>()?;
                let (to, from) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
                let tie = FarTie::Link { from: path(from)?, incarnation: own? };
                Word::Ask(Ask { path: path(to)?, tie, again, expected })
            }
            EXITED | FIRED => {
                let (incarnation, rest) = incarnation(rest)?;
                let end = (&covenant_wire::decode::<CallError>(rest, ERROR_BYTES_MAX).ok()?).into();
                if *kind == EXITED { Word::Exited { incarnation, end } } else { Word::Fired { incarnation, end } }
            }
            BOUND => match incarnation(rest)? {
                (Some(incarnation), []) => Word::Bound(incarnation),
                _ => return None,
            },
            ORDER => {
                let (order, rest) = rest.split_first()?;
                let (millis_left, rest) = rest.split_first_chunk::<4>()?;
                let order = match order {
                    1 => FarOrder::Stop,
                    2 => FarOrder::Kill,
                    _ => return None,
                };
                Word::Order { order, millis_left: u32::from_be_bytes(*millis_left), path: path(rest)? }
            }
            UNTIED if rest.is_empty() => Word::Untied,
            SETTLED if rest.is_empty() => Word::Settled,
            LET_GO if rest.is_empty() => Word::LetGo,
            _ => return None,
        };
        Some(Self { tie: u64::from_be_bytes(*tie), word })
    }

    /// Appends the frame.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        crate::remoting::frame::frame(out, |out| {
            out.extend_from_slice(&[self.word.kind(), 0]);
            out.extend_from_slice(&self.tie.to_be_bytes());
            match &self.word {
                Word::Ask(Ask { path, tie, again, expected }) => {
                    out.push(u8::from(*again));
                    put_incarnation(out, *expected);
                    if let FarTie::Link { from, incarnation } = tie {
                        put_incarnation(out, Some(*incarnation));
                        let length = u16::try_from(path.as_str().len()).expect("a path has at most 512 bytes");
                        out.extend_from_slice(&length.to_be_bytes());
                        out.extend_from_slice(path.as_str().as_bytes());
                        out.extend_from_slice(from.as_str().as_bytes());
                    } else {
                        out.extend_from_slice(path.as_str().as_bytes());
                    }
                }
                Word::Exited { incarnation, end } | Word::Fired { incarnation, end } => {
                    put_incarnation(out, *incarnation);
                    put_error(out, &as_error(end));
                }
                Word::Bound(incarnation) => put_incarnation(out, Some(*incarnation)),
                Word::Order { order, millis_left, path } => {
                    out.push(match order {
                        FarOrder::Stop => 1,
                        FarOrder::Kill => 2,
                    });
                    out.extend_from_slice(&millis_left.to_be_bytes());
                    out.extend_from_slice(path.as_str().as_bytes());
                }
                Word::Untied | Word::Settled | Word::LetGo => {}
            }
        });
    }
}

impl Word {
    fn kind(&self) -> u8 {
        match self {
            Self::Ask(Ask { tie: FarTie::Monitor, .. }) => MONITOR,
            Self::Ask(Ask { tie: FarTie::Link { .. }, .. }) => LINK,
            Self::Untied => UNTIED,
            Self::Exited { .. } => EXITED,
            Self::Settled => SETTLED,
            Self::Bound(_) => BOUND,
            Self::Fired { .. } => FIRED,
            Self::LetGo => LET_GO,
            Self::Order { .. } => ORDER,
        }
    }
}

fn as_error(end: &DownReason) -> CallError {
    match end {
        DownReason::Exited(reason) => CallError::Gone(reason.clone()),
        DownReason::NoProc => CallError::NoProc,
        DownReason::NoConnection => CallError::NoConnection,
    }
}

/// A link that is refused: whoever asked for it ends with this.
pub(crate) fn refused(why: &str) -> End {
    DownReason::Exited(ExitReason::Error(why.to_owned()))
}

fn asked(bytes: &[u8]) -> Option<(bool, Option<Incarnation>, &[u8])> {
    let (again @ (0 | 1), rest) = bytes.split_first()? else { return None };
    let (expected, rest) = incarnation(rest)?;
    Some((*again == 1, expected, rest))
}

fn incarnation(bytes: &[u8]) -> Option<(Option<Incarnation>, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    let number = u32::from_be_bytes(*number);
    Some(((number > 0).then_some(Incarnation(number)), rest))
}

fn put_incarnation(out: &mut Vec<u8>, incarnation: Option<Incarnation>) {
    out.extend_from_slice(&incarnation.map_or(0, |incarnation| incarnation.0).to_be_bytes());
}

/// People may leave the first `/` out, nodes may not: one path has one form here.
fn path(bytes: &[u8]) -> Option<ActorPath> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.parse().ok().filter(|path: &ActorPath| path.as_str() == text)
}

#[cfg(test)]
mod tests {
    use covenant_wire::FrameReader;

    use super::*;

    fn frames() -> Vec<TieFrame> {
        let path: ActorPath = "/sync/scheduler".parse().unwrap();
        let link = FarTie::Link { from: "/a".parse().unwrap(), incarnation: Incarnation(4) };
        let ask = |tie, again, expected| Word::Ask(Ask { path: path.clone(), tie, again, expected });
        let words = [
            ask(FarTie::Monitor, false, None),
            ask(FarTie::Monitor, true, Some(Incarnation(3))),
            ask(link, true, None),
            Word::Untied,
            Word::Exited { incarnation: Some(Incarnation(1)), end: DownReason::Exited(ExitReason::Killed) },
            Word::Settled,
            Word::Bound(Incarnation(7)),
            Word::Fired { incarnation: None, end: DownReason::NoProc },
            Word::Fired { incarnation: None, end: DownReason::NoConnection },
            Word::LetGo,
            Word::Order { order: FarOrder::Stop, millis_left: 5000, path: path.clone() },
            Word::Order { order: FarOrder::Kill, millis_left: 0, path },
        ];
        (1..).zip(words).map(|(tie, word)| TieFrame { tie, word }).collect()
    }

    fn bytes(frame: &TieFrame) -> Vec<u8> {
        let mut out = Vec::new();
        frame.put(&mut out);
        let mut reader = FrameReader::new(CONTROL_FRAME_BYTES_MAX);
        reader.push(&out);
        reader.next_frame().unwrap().unwrap().to_vec()
    }

    #[test]
    fn frames_are_read_as_they_were_written() {
        for frame in frames() {
            assert_eq!(TieFrame::parse(&bytes(&frame)).as_ref(), Some(&frame));
        }
    }

    #[test]
    fn the_longest_frames_fit() {
        let long: ActorPath = format!("/{}", "x".repeat(500)).parse().unwrap();
        let tie = FarTie::Link { from: long.clone(), incarnation: Incarnation(1) };
        let ask = Word::Ask(Ask { path: long, tie, again: true, expected: Some(Incarnation(u32::MAX)) });
        let end = DownReason::Exited(ExitReason::Panicked("é".repeat(9000)));
        for word in [ask, Word::Fired { incarnation: None, end }] {
            assert!(TieFrame::parse(&bytes(&TieFrame { tie: u64::MAX, word })).is_some());
        }
    }

    #[test]
    fn cut_and_garbled_frames_are_refused() {
        for frame in frames() {
            let bytes = bytes(&frame);
            let texts = [MONITOR, LINK, ORDER].contains(&bytes[0]);
            // A path may be cut to another path. Everything else is seen.
            let end = if texts { bytes.len() - "/sync/scheduler".len() } else { bytes.len() };
            for length in 0..end {
                assert_eq!(TieFrame::parse(&bytes[..length]), None, "{frame:?} cut to {length}");
            }
            let mut flagged = bytes.clone();
            flagged[1] = 1;
            assert_eq!(TieFrame::parse(&flagged), None, "{frame:?} with a flag");
            if !texts {
                assert_eq!(TieFrame::parse(&[&bytes[..], &[0]].concat()), None, "{frame:?} and more");
            }
        }
        assert_eq!(TieFrame::parse(&[0; 32]), None);
        assert_eq!(TieFrame::parse(&[BOUND, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]), None, "bound to nothing");
    }
}
