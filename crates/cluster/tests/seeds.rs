//! A node finds its cluster by names and by a file, and comes back to a node that has moved.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use covenant_cluster::{Cluster, ClusterConfig, MemberState, MemberView, Seeds};
use covenant_env::{Env, Metrics, Network, UdpNetwork};
use covenant_types::BootEpoch;
use quinn::{AsyncUdpSocket, Runtime};
use support::{Identity, PATIENCE, pair};

/// UDP as it is, and a table of names.
#[derive(Debug)]
struct Names {
    udp: UdpNetwork,
    table: Mutex<Vec<SocketAddr>>,
    asked: Mutex<usize>,
}

impl Network for Names {
    fn bind(&self, address: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        self.udp.bind(address)
    }

    fn resolve(&self, host: &str, _port: u16) -> io::Result<Vec<SocketAddr>> {
        assert_eq!(host, "hub.example");
        *self.asked.lock().unwrap() += 1;
        let table = self.table.lock().unwrap().clone();
        if table.is_empty() { Err(io::Error::other("no such name")) } else { Ok(table) }
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        self.udp.runtime()
    }
}

fn names() -> Arc<Names> {
    let udp = UdpNetwork::new(tokio::runtime::Handle::current());
    Arc::new(Names { udp, table: Mutex::default(), asked: Mutex::default() })
}

fn start(name: &str, network: Arc<dyn Network>, seeds: Seeds) -> Arc<Cluster> {
    let handle = tokio::runtime::Handle::current();
    let env = Env { network, ..Env::real(handle.clone(), handle, 77, Metrics::none()) };
    let transport = Identity::new(name).transport_config(env.wall());
    Cluster::start(ClusterConfig::new(transport, seeds), env, None).expect("the node starts")
}

async fn until(cluster: &Cluster, condition: impl Fn(&[MemberView]) -> bool) {
    let mut events = cluster.events();
    let waiting = async {
        while !condition(&cluster.members()) {
            let _any = events.recv().await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(in_time.is_ok(), "not in time: {:#?}", cluster.members());
}

fn reachable(members: &[MemberView]) -> usize {
    members.iter().filter(|member| member.state == MemberState::Reachable).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_looked_up_again_until_it_leads_to_somebody_and_each_of_its_addresses_is_tried() {
    let hub = Identity::new("one").boot(&[]).await;
    let network = names();
    let seeds = Seeds::new(vec!["hub.example:7400".parse().unwrap()], None).unwrap();
    let two = start("two", Arc::clone(&network) as _, seeds);
    support::eventually("the name was asked for twice in vain", || *network.asked.lock().unwrap() >= 2).await;
    // Nobody is at the first address; this node itself is at the second.
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    *network.table.lock().unwrap() = vec![two.me().address, nobody, hub.address()];
    until(&two, |members| reachable(members) == 2).await;
    two.abandon();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_seeds_that_changes_leads_to_those_it_now_names() {
    let hub = Identity::new("one").boot(&[]).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seeds");
    std::fs::write(&path, "# nobody yet\n").unwrap();
    let two = start("two", names(), Seeds::new(Vec::new(), Some(path.clone())).unwrap());
    assert_eq!(two.members().len(), 1);
    std::fs::write(&path, format!("{}\n", hub.address())).unwrap();
    until(&two, |members| reachable(members) == 2).await;
    two.abandon();
}

/// The first boot stays where it is and answers, as a ghost does for as long as nobody has missed it. Only rumour tells of
/// the second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_later_boot_is_heard_of_is_dialled_at_its_new_address_at_once() {
    let one = Identity::new("one").boot(&[]).await;
    let two = Identity::new("two").boot(&[one.address()]).await;
    let mut identity = Identity::new("three");
    let ghost = identity.boot(&[one.address()]).await;
    for node in [&one, &two, &ghost] {
        node.until_reachable(&["one", "two", "three"]).await;
    }
    let again = identity.boot(&[two.address()]).await;
    let address = again.address();
    assert_ne!(address, ghost.address());
    for node in [&one, &two] {
        node.until("the second boot where it is now", |members| {
            members.iter().any(|member| {
                (member.epoch, member.address, member.state) == (BootEpoch(2), address, MemberState::Reachable)
            })
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_between_two_nodes_is_told_by_plane_and_counted_by_name() {
    let (one, two) = pair().await;
    let actor = one.actor(&two.name(), "actor");
    for _ in 0..10 {
        let echoed = actor.call(|reply| support::Message::Echo(vec![0; 1000], reply), support::AMPLE).await;
        assert!(echoed.is_ok());
    }
    let link = || one.cluster.links().into_iter().find(|link| link.name == two.name());
    let carried = || link().is_some_and(|link| link.sent.actors >= 10_000 && link.received.replies >= 10_000);
    support::eventually("the calls are in what is told of the connection", carried).await;
    let link = link().unwrap();
    assert!(link.sent.membership > 0 && link.goodput_out > 0 && link.goodput_in > 0, "{link:?}");
    assert_eq!((link.sent.bulk, link.address), (0, two.address()));
    assert!(one.counts.of("covenant_peer_bytes_total") > 20_000, "the metrics count it too");
}
