//! What can be typed of faults of the network.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use covenant_transport::{Direction, Fault, FaultSpec, PeerScope, REORDER_DELAY_DEFAULT, Ratio};
use covenant_types::{NodeName, parse_duration};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum FaultVerb {
    /// Have a node hold a fault on itself: it ends by itself when nobody renews it
    Set(Box<SetFault>),
    /// Have a fault hold on
    Renew {
        /// The node that holds it
        node: NodeName,
        /// Its number there
        id: u64,
        /// It ends by itself this long from now
        #[arg(long, value_parser = parse_duration)]
        ttl: Duration,
    },
    /// The faults that a node holds, with what they did, and those it held last
    Ls {
        /// The node
        node: NodeName,
    },
    /// End faults before their time
    #[command(group(ArgGroup::new("which").required(true).args(["id", "all"])))]
    Lift {
        /// The node that holds them
        node: NodeName,
        /// The number of one
        id: Option<u64>,
        /// All of them
        #[arg(long)]
        all: bool,
    },
}

/// Having a node hold a fault on itself.
#[derive(Clone, Debug, Args)]
#[command(group(ArgGroup::new("fault").required(true).args(
    ["latency", "spike", "loss", "duplicate", "reorder", "bandwidth", "partition"])))]
#[command(group(ArgGroup::new("peer").args(["to", "from", "with"])))]
pub(crate) struct SetFault {
    /// The node whose line it is
    pub(crate) node: NodeName,
    /// Datagrams take this much longer, as 50ms
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    latency: Option<Duration>,
    /// Give or take this much
    #[arg(long, value_name = "TIME", requires = "latency", value_parser = parse_duration)]
    jitter: Option<Duration>,
    /// Datagrams take this much longer from time to time
    #[arg(long, value_name = "TIME", requires_all = ["every", "length"], value_parser = parse_duration)]
    spike: Option<Duration>,
    /// From one spike to the next
    #[arg(long, value_name = "TIME", requires = "spike", value_parser = parse_duration)]
    every: Option<Duration>,
    /// How long a spike lasts
    #[arg(long, value_name = "TIME", requires = "spike", value_parser = parse_duration)]
    length: Option<Duration>,
    /// So many datagrams are lost, as 20%
    #[arg(long, value_name = "RATIO")]
    loss: Option<Ratio>,
    /// So many one after another, in the mean
    #[arg(long, value_name = "COUNT", requires = "loss")]
    burst: Option<u32>,
    /// So many datagrams arrive twice
    #[arg(long, value_name = "RATIO")]
    duplicate: Option<Ratio>,
    /// So many datagrams are overtaken by later ones
    #[arg(long, value_name = "RATIO")]
    reorder: Option<Ratio>,
    /// By how much those are late; 20ms when left out
    #[arg(long, value_name = "TIME", requires = "reorder", value_parser = parse_duration)]
    by: Option<Duration>,
    /// The line carries so many bits a second, as 20mbit
    #[arg(long, value_name = "RATE")]
    bandwidth: Option<BitRate>,
    /// So many bytes wait for the line at most; a quarter of a second's when left out
    #[arg(long, value_name = "BYTES", requires = "bandwidth")]
    queue: Option<u64>,
    /// Nothing passes
    #[arg(long)]
    partition: bool,
    /// Only what it sends to this node or address
    #[arg(long, value_name = "PEER")]
    to: Option<Peer>,
    /// Only what it receives from this node or address
    #[arg(long, value_name = "PEER")]
    from: Option<Peer>,
    /// Only what it sends to and receives from this node or address
    #[arg(long, value_name = "PEER")]
    with: Option<Peer>,
    /// It ends by itself after this long unless it is renewed
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) ttl: Duration,
    /// It ends after this long even if it is renewed; 1h, or the ttl if that is longer, when left out
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) hard_deadline: Option<Duration>,
    /// Only say what it would do
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask first
    #[arg(long)]
    pub(crate) yes: bool,
}

impl SetFault {
    /// What was typed, in the node's words.
    pub(crate) fn spec(&self) -> FaultSpec {
        let or_zero = |span: Option<Duration>| span.unwrap_or_default();
        // One of them is there, or clap had refused.
        let fault = if let Some(delay) = self.latency {
            Fault::Latency { delay, jitter: or_zero(self.jitter) }
        } else if let Some(delay) = self.spike {
            Fault::Spike { delay, every: or_zero(self.every), length: or_zero(self.length) }
        } else if let Some(ratio) = self.loss {
            Fault::Loss { ratio, burst: self.burst.unwrap_or(1) }
        } else if let Some(ratio) = self.duplicate {
            Fault::Duplicate { ratio }
        } else if let Some(ratio) = self.reorder {
            Fault::Reorder { ratio, delay: self.by.unwrap_or(REORDER_DELAY_DEFAULT) }
        } else if let Some(BitRate(bits_per_second)) = self.bandwidth {
            let queue_bytes = self.queue.unwrap_or_else(|| Fault::usual_queue_bytes(bits_per_second));
            Fault::Bandwidth { bits_per_second, queue_bytes }
        } else {
            Fault::Partition
        };
        let (direction, peer) = match (&self.to, &self.from, &self.with) {
            (Some(peer), _, _) => (Direction::Out, peer.0.clone()),
            (_, Some(peer), _) => (Direction::In, peer.0.clone()),
            (_, _, Some(peer)) => (Direction::Both, peer.0.clone()),
            (None, None, None) => (Direction::Both, PeerScope::All),
        };
        FaultSpec { fault, direction, peer }
    }
}

/// A node by name or address, or all.
#[derive(Clone, Debug)]
struct Peer(PeerScope);

impl FromStr for Peer {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self(PeerScope::All));
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self(PeerScope::Address(address)));
        }
        let name = text.parse().map_err(|error| format!("{error}; a peer is a node's name, IP:PORT or all"))?;
        Ok(Self(PeerScope::Node(name)))
    }
}

/// Bits in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BitRate(u64);

impl FromStr for BitRate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no bandwidth: write 64kbit, 20mbit or 1gbit");
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (digits, unit) = text.split_at(split);
        let factor = match unit {
            "bit" => 1,
            "kbit" => 1000,
            "mbit" => 1_000_000,
            "gbit" => 1_000_000_000,
            _ => return Err(bad()),
        };
        digits.parse::<u64>().ok().and_then(|count| count.checked_mul(factor)).map(Self).ok_or_else(bad)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(subcommand)]
        verb: FaultVerb,
    }

    fn typed(words: &str) -> Result<String, String> {
        let parsed = Typed::try_parse_from(format!("fault {words}").split(' ')).map_err(|error| error.to_string())?;
        match parsed.verb {
            FaultVerb::Set(set) => Ok(set.spec().to_string()),
            FaultVerb::Renew { .. } | FaultVerb::Ls { .. } | FaultVerb::Lift { .. } => Ok(String::new()),
        }
    }

    #[test]
    fn one_fault_one_way_and_a_time_are_typed_and_nothing_half() {
        let said = |words| typed(&format!("set hub-asia --ttl 60s {words}"));
        assert_eq!(said("--loss 20% --to hub-africa").unwrap(), "loss 20% to hub-africa");
        assert_eq!(said("--loss 0.3 --burst 5").unwrap(), "loss 30% in bursts of 5 with all");
        assert_eq!(said("--partition --from 127.0.0.1:7700").unwrap(), "partition from 127.0.0.1:7700");
        assert_eq!(said("--latency 50ms --jitter 10ms --with all").unwrap(), "latency 50ms ± 10ms with all");
        assert_eq!(said("--bandwidth 20mbit").unwrap(), "bandwidth 20000000 bit/s, queue 625000 B with all");
        assert_eq!(said("--spike 2s --every 30s --length 5s").unwrap(), "spike 2s for 5s every 30s with all");
        assert_eq!(said("--reorder 5%").unwrap(), "reorder 5% by 20ms with all");
        for half in [
            "",
            "--loss 20% --partition",
            "--jitter 5ms",
            "--spike 2s",
            "--loss 200%",
            "--bandwidth 20",
            "--partition --to a --from b",
            "--partition --to No!",
        ] {
            assert!(said(half).is_err(), "{half:?}");
        }
        assert!(typed("set hub-asia --partition").unwrap_err().contains("--ttl"), "no fault without an end");
        assert!(typed("lift hub-asia").is_err() && typed("lift hub-asia 3 --all").is_err());
        assert!(typed("lift hub-asia 3").is_ok() && typed("lift hub-asia --all").is_ok());
    }
}
