//! What can be wrong with a line, and with whose.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use covenant_types::{NodeName, format_duration};
use serde::{Deserialize, Serialize};

use super::Ratio;

/// What is wrong with the line. Several faults at once add up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Every datagram takes longer, give or take `jitter`. Their order stays.
    Latency {
        /// How much longer.
        #[serde(rename = "delay_ms", with = "millis")]
        delay: Duration,
        /// By how much that differs at most, both ways, evenly spread.
        #[serde(rename = "jitter_ms", with = "millis", default)]
        jitter: Duration,
    },
    /// From time to time every datagram takes longer for a while. Their order stays.
    Spike {
        /// How much longer.
        #[serde(rename = "delay_ms", with = "millis")]
        delay: Duration,
        /// From the beginning of one spike to that of the next; the first begins at once.
        #[serde(rename = "every_ms", with = "millis")]
        every: Duration,
        /// How long a spike lasts.
        #[serde(rename = "length_ms", with = "millis")]
        length: Duration,
    },
    /// Datagrams are lost: each by itself, or in bursts as on a radio line (the two states of Gilbert and Elliott).
    Loss {
        /// How many of all.
        ratio: Ratio,
        /// How many are lost one after another, in the mean. 1 loses each by itself.
        #[serde(default = "one")]
        burst: u32,
    },
    /// Datagrams arrive twice.
    Duplicate {
        /// How many of all.
        ratio: Ratio,
    },
    /// Datagrams are held back, so that later ones overtake them.
    Reorder {
        /// How many of all.
        ratio: Ratio,
        /// For how long.
        #[serde(rename = "delay_ms", with = "millis")]
        delay: Duration,
    },
    /// The line carries so much and no more. What waits for it is in a queue with a bound; what finds that full is lost.
    Bandwidth {
        /// Bits in a second, headers of IP and UDP included.
        bits_per_second: u64,
        /// Bytes that wait at most.
        queue_bytes: u64,
    },
    /// Nothing passes.
    Partition,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// What this node sends.
    Out,
    /// What this node receives.
    In,
    /// Both.
    Both,
}

/// Whose datagrams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerScope {
    /// All.
    All,
    /// Those to and from this address.
    Address(SocketAddr),
    /// Those to and from this node, wherever it is known to be.
    Node(NodeName),
}

/// A fault, which way and with whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// What is wrong.
    pub fault: Fault,
    /// Which way.
    pub direction: Direction,
    /// With whom.
    pub peer: PeerScope,
}

impl Fault {
    /// The word used in output.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Latency { .. } => "latency",
            Self::Spike { .. } => "spike",
            Self::Loss { .. } => "loss",
            Self::Duplicate { .. } => "duplicate",
            Self::Reorder { .. } => "reorder",
            Self::Bandwidth { .. } => "bandwidth",
            Self::Partition => "partition",
        }
    }

    /// Whether its numbers make sense.
    ///
    /// # Errors
    /// One of them is out of bounds; the error says which, and what would do.
    pub fn check(&self) -> Result<(), FaultError> {
        let short = |what: &'static str, span: Duration| {
            if span > DELAY_MAX {
                Err(FaultError(format!("{what} is at most {} s", DELAY_MAX.as_secs())))
            } else {
                Ok(())
            }
        };
        let more_than_nothing = |what: &'static str, ok: bool| {
            if ok { Ok(()) } else { Err(FaultError(format!("{what} must be more than nothing"))) }
        };
        match *self {
            Self::Latency { delay, jitter } => {
                short("a delay", delay)?;
                more_than_nothing("delay or jitter", !delay.is_zero() || !jitter.is_zero())?;
                if jitter > delay { Err(FaultError("jitter is at most the delay".to_owned())) } else { Ok(()) }
            }
            Self::Spike { delay, every, length } => {
                short("a delay", delay)?;
                more_than_nothing("delay and length", !delay.is_zero() && !length.is_zero())?;
                if length > every {
                    Err(FaultError("a spike is over before the next begins: length is at most every".to_owned()))
                } else {
                    Ok(())
                }
            }
            Self::Loss { ratio, burst } => {
                more_than_nothing("the ratio", ratio.value() > 0.0)?;
                if (1..=BURST_MAX).contains(&burst) {
                    Ok(())
                } else {
                    Err(FaultError(format!("a burst is 1 to {BURST_MAX} datagrams")))
                }
            }
            Self::Duplicate { ratio } => more_than_nothing("the ratio", ratio.value() > 0.0),
            Self::Reorder { ratio, delay } => {
                short("a delay", delay)?;
                more_than_nothing("ratio and delay", ratio.value() > 0.0 && !delay.is_zero())
            }
            Self::Bandwidth { bits_per_second, queue_bytes } => {
                if !(BITS_PER_SECOND_MIN..=BITS_PER_SECOND_MAX).contains(&bits_per_second) {
                    Err(FaultError("a bandwidth is 1 kbit to 100 gbit a second".to_owned()))
                } else if !(QUEUE_BYTES_MIN..=QUEUE_BYTES_MAX).contains(&queue_bytes) {
                    Err(FaultError(format!("a queue is {QUEUE_BYTES_MIN} to {QUEUE_BYTES_MAX} bytes long")))
                } else {
                    Ok(())
                }
            }
            Self::Partition => Ok(()),
        }
    }

    /// The queue of a line of this bandwidth where nobody said how long: a quarter of a second, and at least 32 KiB.
    pub fn usual_queue_bytes(bits_per_second: u64) -> u64 {
        (bits_per_second / 8 / 4).clamp(32 * 1024, QUEUE_BYTES_MAX)
    }

    /// In which order faults act on a datagram: what does not arrive takes no room on the line.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Partition => 0,
            Self::Loss { .. } => 1,
            Self::Duplicate { .. } => 2,
            Self::Bandwidth { .. } => 3,
            Self::Latency { .. } => 4,
            Self::Spike { .. } => 5,
            Self::Reorder { .. } => 6,
        }
    }
}

impl Direction {
    /// Whether what goes `way`, which is not `Both`, is meant.
    pub(super) fn includes(self, way: Self) -> bool {
        self == Self::Both || self == way
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latency { delay, jitter } if jitter.is_zero() => write!(f, "latency {}", format_duration(*delay)),
            Self::Latency { delay, jitter } => {
                write!(f, "latency {} ± {}", format_duration(*delay), format_duration(*jitter))
            }
            Self::Spike { delay, every, length } => {
                let [delay, every, length] = [delay, every, length].map(|span| format_duration(*span));
                write!(f, "spike {delay} for {length} every {every}")
            }
            Self::Loss { ratio, burst: 1 } => write!(f, "loss {ratio}"),
            Self::Loss { ratio, burst } => write!(f, "loss {ratio} in bursts of {burst}"),
            Self::Duplicate { ratio } => write!(f, "duplicate {ratio}"),
            Self::Reorder { ratio, delay } => write!(f, "reorder {ratio} by {}", format_duration(*delay)),
            Self::Bandwidth { bits_per_second, queue_bytes } => {
                write!(f, "bandwidth {bits_per_second} bit/s, queue {queue_bytes} B")
            }
            Self::Partition => f.write_str("partition"),
        }
    }
}

impl fmt::Display for FaultSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.direction {
            Direction::Out => "to",
            Direction::In => "from",
            Direction::Both => "with",
        };
        match &self.peer {
            PeerScope::All => write!(f, "{} {way} all", self.fault),
            PeerScope::Address(address) => write!(f, "{} {way} {address}", self.fault),
            PeerScope::Node(name) => write!(f, "{} {way} {name}", self.fault),
        }
    }
}

/// How long datagrams of [`Fault::Reorder`] are held back where nobody said.
pub const REORDER_DELAY_DEFAULT: Duration = Duration::from_millis(20);
/// The longest delay. A datagram later than this is as good as lost.
const DELAY_MAX: Duration = Duration::from_secs(60);
/// The longest burst in the mean, in datagrams.
const BURST_MAX: u32 = 1000;
const BITS_PER_SECOND_MIN: u64 = 1000;
const BITS_PER_SECOND_MAX: u64 = 100_000_000_000;
/// One datagram of the largest packet size has room.
const QUEUE_BYTES_MIN: u64 = 8 * 1024;
const QUEUE_BYTES_MAX: u64 = 16 * 1024 * 1024;

fn one() -> u32 {
    1
}

/// Spans as whole milliseconds.
mod millis {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

/// A fault whose numbers make no sense. Nothing was set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FaultError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_say_what_they_do_and_refuse_what_makes_no_sense() {
        let half = Ratio::try_from(0.5).unwrap();
        let ms = Duration::from_millis;
        let spec = FaultSpec {
            fault: Fault::Loss { ratio: half, burst: 4 },
            direction: Direction::Out,
            peer: PeerScope::Node("hub-asia".parse().unwrap()),
        };
        assert_eq!(spec.to_string(), "loss 50% in bursts of 4 to hub-asia");
        assert_eq!(spec.fault.check(), Ok(()));
        for bad in [
            Fault::Latency { delay: ms(0), jitter: ms(0) },
            Fault::Latency { delay: ms(1), jitter: ms(2) },
            Fault::Latency { delay: ms(61_000), jitter: ms(0) },
            Fault::Spike { delay: ms(5), every: ms(10), length: ms(11) },
            Fault::Loss { ratio: half, burst: 0 },
            Fault::Loss { ratio: Ratio::try_from(0.0).unwrap(), burst: 1 },
            Fault::Reorder { ratio: half, delay: ms(0) },
            Fault::Bandwidth { bits_per_second: 0, queue_bytes: 1 << 20 },
            Fault::Bandwidth { bits_per_second: 1 << 20, queue_bytes: 0 },
        ] {
            assert!(bad.check().is_err(), "{bad}");
        }
    }
}
