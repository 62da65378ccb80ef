//! Connecting to a node that has very many actors, beside one that has none.

use std::time::{Duration, Instant};

use covenant_runtime::{BehaviourRegistry, Resources};
use covenant_types::{ActorPath, NodeName};

use crate::Failure;
use crate::actor::Subject;
use crate::nodes::{Authority, Files, Host, start_node, start_tree, until_reachable};
use crate::report::{Outcome, Row, Unit};

const ROUNDS: usize = 7;
const ACTORS: usize = 100_000;
/// What is said on a new connection has been said after this.
const SETTLE: Duration = Duration::from_secs(1);
/// The most that connecting may bring over the network, both ways.
const BYTES_MARK: f64 = 64.0 * 1024.0;
/// "No measurable difference", for a number that moves by itself from round to round.
const MARK: f64 = 1.1;

const TREE: Files = &[
    ("root", "[[child]]\nid = \"pool\"\ntree = \"pool\"\n"),
    (
        "pool",
        "strategy = \"dynamic\"\n\n[[child]]\nid = \"template\"\nbehaviour = \"bench.subject\"\nhost = \"light\"\n",
    ),
];

pub(super) fn run() -> Result<Outcome, Failure> {
    let hosts = [Host::new(29)?, Host::new(30)?, Host::new(31)?];
    let authority = Authority::new(&hosts[0].env)?;
    let far = |name: &str, host: &Host, actors: usize| {
        let cluster = start_node(&authority.transport(name, &host.env)?, host, Vec::new())?;
        let mut registry = BehaviourRegistry::new();
        registry.register::<Subject>("bench.subject");
        let system = start_tree(host, TREE, registry, Resources::new())?;
        let starting = system.clone();
        host.on_work(async move {
            let pool: ActorPath = "/pool".parse()?;
            for _ in 0..actors {
                // Each exposes itself to other nodes.
                starting.start_instance(&pool, None, toml::Table::new()).await?;
            }
            Ok(())
        })?;
        cluster.attach(system);
        Ok::<_, Failure>(cluster)
    };
    let (crowded, empty) = (far("crowded", &hosts[1], ACTORS)?, far("empty", &hosts[2], 0)?);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (mut bytes, mut empty_bytes) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        for (to, took, moved) in [(&crowded, &mut ours, &mut bytes), (&empty, &mut theirs, &mut empty_bytes)] {
            // A newcomer each time: a node that came back would be told of its earlier boot as well.
            let name = format!("newcomer-{}-{round}", to.me().name);
            let config = authority.transport(&name, &hosts[0].env)?;
            let began = Instant::now();
            let cluster = start_node(&config, &hosts[0], vec![to.me().address])?;
            until_connected(&hosts[0], &cluster, &to.me().name)?;
            let connected = began.elapsed().as_secs_f64();
            let peer = cluster.peer(&to.me().name).ok_or("the connection is gone")?;
            std::thread::sleep(SETTLE);
            let stats = peer.stats();
            let planes = stats.sent.iter().chain(&stats.received);
            if round > 0 {
                took.push(connected);
                moved.push(planes.map(|(_, bytes)| *bytes).sum::<u64>() as f64);
            }
            let leaving = std::sync::Arc::clone(&cluster);
            hosts[0].on_work(async move {
                leaving.leave().await;
                Ok(())
            })?;
        }
    }
    let rows = vec![
        Row::new("connecting to a node of 100 000 actors", Unit::Seconds, ours)
            .beside("to an empty node", theirs)
            .ratio_at_most(MARK),
        Row::new("… bytes on its streams, both ways", Unit::Bytes, bytes)
            .beside("to an empty node", empty_bytes)
            .at_most(BYTES_MARK)
            .ratio_at_most(MARK),
    ];
    let notes = vec![format!(
        "{ROUNDS} newcomers to each in turn, from the opening of their endpoint until they see the node as reachable; bytes are \
         those on streams after {} s, without the probes for the largest packet, which both nodes get alike",
        SETTLE.as_secs()
    )];
    crowded.abandon();
    empty.abandon();
    hosts.into_iter().for_each(Host::close);
    Ok(Outcome { rows, notes })
}

fn until_connected(
    host: &Host,
    cluster: &std::sync::Arc<covenant_cluster::Cluster>,
    to: &NodeName,
) -> Result<(), Failure> {
    until_reachable(host, cluster, 2)?;
    if cluster.peer(to).is_some() { Ok(()) } else { Err("reachable, and not connected".into()) }
}
