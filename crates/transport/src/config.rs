//! What a transport is told at its start, and what each kind of network asks of QUIC.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use covenant_types::{BootEpoch, NodeName};
use quinn::congestion::CubicConfig;
use quinn::{EndpointConfig, IdleTimeout, MtuDiscoveryConfig, VarInt};

use crate::NodeCredentials;

/// What a transport is told at its start.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// Where to listen. Port 0 takes any free port; see [`crate::Transport::local_addr`].
    pub listen: SocketAddr,
    /// What to tell peers to dial, where that is not the address listened at.
    pub advertise: Option<SocketAddr>,
    /// Key, certificate chain and roots.
    pub identity: Arc<NodeCredentials>,
    /// The cluster's name, which is the trust domain of its certificates.
    pub cluster: String,
    /// This node's name.
    pub name: NodeName,
    /// This boot.
    pub epoch: BootEpoch,
    /// What the network is like.
    pub profile: Profile,
}

/// What the network is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Profile {
    /// One machine: demo and tests. A dead peer is noticed within 10 s.
    Loopback,
    /// A data centre or fibre.
    #[default]
    Lan,
    /// LTE and between regions. Keeps carrier NATs open.
    Wan,
    /// A satellite or battery node: silent while nothing is to be said.
    Leaf,
}

impl Profile {
    /// How long a dial, a handshake and the Hello after it may take together.
    pub(crate) fn handshake_deadline(self) -> Duration {
        match self {
            Self::Loopback => Duration::from_secs(5),
            Self::Lan => Duration::from_secs(8),
            Self::Wan => Duration::from_secs(15),
            Self::Leaf => Duration::from_secs(30),
        }
    }

    pub(crate) fn quic(self) -> quinn::TransportConfig {
        let mut config = quinn::TransportConfig::default();
        config
            .max_idle_timeout(Some(self.idle_timeout()))
            .receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES))
            .send_window(u64::from(RECEIVE_WINDOW_BYTES));
        let streams = |count: u32| VarInt::from_u32(count);
        match self {
            Self::Loopback => config
                .keep_alive_interval(Some(Duration::from_secs(3)))
                .datagram_send_buffer_size(256 * 1024)
                .datagram_receive_buffer_size(Some(256 * 1024))
                .max_concurrent_uni_streams(streams(64))
                .max_concurrent_bidi_streams(streams(64))
                .mtu_discovery_config(Some(mtu_up_to(LOOPBACK_MTU)))
                .congestion_controller_factory(Arc::new(ten_packets_of(LOOPBACK_MTU))),
            Self::Lan => config
                .keep_alive_interval(Some(Duration::from_secs(20)))
                .datagram_send_buffer_size(256 * 1024)
                .datagram_receive_buffer_size(Some(256 * 1024))
                .max_concurrent_uni_streams(streams(64))
                .max_concurrent_bidi_streams(streams(32)),
            Self::Wan => config
                .keep_alive_interval(Some(Duration::from_secs(25)))
                .datagram_send_buffer_size(64 * 1024)
                .datagram_receive_buffer_size(Some(128 * 1024))
                .max_concurrent_uni_streams(streams(64))
                .max_concurrent_bidi_streams(streams(32)),
            Self::Leaf => config
                .keep_alive_interval(None)
                .initial_rtt(Duration::from_secs(1))
                .datagram_send_buffer_size(16 * 1024)
                .datagram_receive_buffer_size(Some(64 * 1024))
                .max_concurrent_uni_streams(streams(16))
                .max_concurrent_bidi_streams(streams(16))
                .mtu_discovery_config(None),
        };
        config
    }

    /// For connections that others dial. Whoever dials knows what line it hangs on: it alone keeps the connection alive, and
    /// the shorter idle time of both counts. So a node that dials by way of space is not woken every few seconds.
    pub(crate) fn quic_accepting(self) -> quinn::TransportConfig {
        let mut config = self.quic();
        config.keep_alive_interval(None).max_idle_timeout(Some(Self::Leaf.idle_timeout()));
        config
    }

    pub(crate) fn endpoint(self) -> EndpointConfig {
        let mut config = EndpointConfig::default();
        if self == Self::Loopback {
            config.max_udp_payload_size(LOOPBACK_MTU).expect("the size is above 1200");
        }
        config
    }

    fn idle_timeout(self) -> IdleTimeout {
        let millis: u32 = match self {
            Self::Loopback => 10_000,
            Self::Lan => 60_000,
            Self::Wan => 120_000,
            Self::Leaf => LEAF_IDLE_MILLIS,
        };
        IdleTimeout::from(VarInt::from_u32(millis))
    }
}

/// A leaf writes to its hubs every ten minutes: two periods.
const LEAF_IDLE_MILLIS: u32 = 1_200_000;
/// How much one peer may have under way to this node, over all streams, before this node has read it.
const RECEIVE_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Ten packets of this size fit into one send of 64 KiB; above 6550 quinn silently falls back to 1200.
const LOOPBACK_MTU: u16 = 6500;

/// A first window of ten packets, as for any packet size. quinn's is ten of 1200 bytes: two large probes fill that, and a
/// connection that is closed while its window is full cannot say why.
fn ten_packets_of(mtu: u16) -> CubicConfig {
    let mut config = CubicConfig::default();
    config.initial_window(10 * u64::from(mtu));
    config
}

fn mtu_up_to(bound: u16) -> MtuDiscoveryConfig {
    let mut config = MtuDiscoveryConfig::default();
    config.upper_bound(bound);
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_dials_keeps_the_connection_alive_and_says_how_long_it_may_be_silent() {
        for profile in [Profile::Loopback, Profile::Lan, Profile::Wan, Profile::Leaf] {
            let accepting = format!("{:?}", profile.quic_accepting());
            assert!(accepting.contains("keep_alive_interval: None"), "{accepting}");
            let leaf = format!("max_idle_timeout: {:?}", Some(u64::from(LEAF_IDLE_MILLIS)));
            assert!(accepting.contains(&leaf), "{accepting}");
            let dialling = format!("{:?}", profile.quic());
            assert_eq!(dialling.contains("keep_alive_interval: None"), profile == Profile::Leaf);
        }
    }

    /// What quinn was told, as it prints it.
    fn told(profile: Profile) -> String {
        format!("{:?}", profile.quic())
    }

    #[test]
    fn each_kind_of_network_asks_of_quic_what_the_table_says() {
        let table: [(Profile, &[&str]); 4] = [
            (
                Profile::Loopback,
                &["max_idle_timeout: Some(10000)", "keep_alive_interval: Some(3s)", "upper_bound: 6500"],
            ),
            (
                Profile::Lan,
                &[
                    "max_idle_timeout: Some(60000)",
                    "keep_alive_interval: Some(20s)",
                    "initial_rtt: 333ms",
                    "datagram_send_buffer_size: 262144",
                    "datagram_receive_buffer_size: Some(262144)",
                    "max_concurrent_uni_streams: 64",
                    "max_concurrent_bidi_streams: 32",
                    "upper_bound: 1452",
                ],
            ),
            (
                Profile::Wan,
                &[
                    "max_idle_timeout: Some(120000)",
                    "keep_alive_interval: Some(25s)",
                    "initial_rtt: 333ms",
                    "datagram_send_buffer_size: 65536",
                    "datagram_receive_buffer_size: Some(131072)",
                    "max_concurrent_uni_streams: 64",
                    "max_concurrent_bidi_streams: 32",
                    "upper_bound: 1452",
                ],
            ),
            (
                Profile::Leaf,
                &[
                    "max_idle_timeout: Some(1200000)",
                    "keep_alive_interval: None",
                    "initial_rtt: 1s",
                    "initial_mtu: 1200",
                    "mtu_discovery_config: None",
                    "datagram_send_buffer_size: 16384",
                    "datagram_receive_buffer_size: Some(65536)",
                    "max_concurrent_uni_streams: 16",
                    "max_concurrent_bidi_streams: 16",
                ],
            ),
        ];
        for (profile, lines) in table {
            let told = told(profile);
            lines.iter().for_each(|line| assert!(told.contains(line), "{profile:?} has no {line}: {told}"));
        }
    }
}
