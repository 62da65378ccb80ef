//! Commands that three nodes agree on over QUIC, each with its own runtimes and folder, asked by clients on a fourth.
//!
//! What is agreed on is a parameter: a [`Subject`]. Every command is answered when it is synced on a majority and applied.

mod notes;

use std::collections::BTreeSet;
use std::io;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use covenant_cluster::Cluster;
use covenant_consensus::{Consensus, ConsensusConfig, Folder, GroupClient, Groups, Replicated, Sender};
use covenant_types::{NodeId, Role};

pub(crate) use self::notes::Notes;
use crate::Failure;
use crate::disk::{Place, synced_records};
use crate::load::{Load, Round, Target};
use crate::nodes::{AMPLE, Authority, Host, start_node, until_reachable};
use crate::processor_time::cpu_seconds;
use crate::report::{Outcome, Row, Unit};
use crate::stats::{p50_p99, rate};

const GROUP: &str = "ledger";
const VOTERS: usize = 3;
const ROUNDS: usize = 9;
/// Long enough for a sync to be slow once in a while.
const ROUND: Duration = Duration::from_secs(1);
const CLIENTS: usize = 64;
const RECORD: [u8; 256] = [7; 256];
const BATCH: usize = 100;
/// What etcd 3.4 did with 64 clients on the machine that the marks were set on, puts a second; the mark is twice that.
pub(crate) const ETCD_PUTS: f64 = 3_700.0;
/// The longest that one in a hundred may take at that rate.
const P99_MARK: f64 = 0.025;

/// What a group agrees on while it is measured.
pub(crate) trait Subject: Send + Sync + 'static {
    /// The state.
    type State: Replicated;
    /// Opens one node's state in its folder.
    fn open(folder: &Path) -> io::Result<Self::State>;
    /// A command that does `records` things, never the same twice.
    fn command(number: u128, records: usize) -> Vec<u8>;
}

pub(crate) fn run() -> Result<Outcome, Failure> {
    run_with::<Notes>()
}

/// Measures a group that agrees on `S`.
pub(crate) fn run_with<S: Subject>() -> Result<Outcome, Failure> {
    let scratch = tempfile::tempdir()?;
    let stage = Stage::<S>::start(scratch.path())?;
    let (mut one, mut many, mut batched, mut syncs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut p50, mut p99, mut paced_p99, mut cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut next, own) = (0, Path::new("/proc/self/stat"));
    for round in 0..=ROUNDS {
        let alone = stage.clients(&mut next, 1, 1, None)?;
        let before = cpu_seconds(own)?;
        let together = stage.clients(&mut next, CLIENTS, 1, None)?;
        let spent = cpu_seconds(own)? - before;
        let paced = stage.clients(&mut next, CLIENTS, 1, Some(ETCD_PUTS))?;
        let hundreds = stage.clients(&mut next, CLIENTS, BATCH, None)?;
        let synced = synced_records(scratch.path(), Place::End, &RECORD, ROUND / 4)?;
        if round > 0 {
            one.push(alone.rate());
            many.push(together.rate());
            cpu.push(spent / together.done() as f64);
            let (half, most) = p50_p99(together.took);
            p50.push(half);
            p99.push(most);
            paced_p99.push(p50_p99(paced.took).1);
            batched.push(hundreds.rate() * BATCH as f64);
            syncs.push(rate(synced.0, synced.1));
        }
    }
    stage.stop()?;
    let plain = "plain file, append + fsync";
    let rows = vec![
        Row::new("commands, one client", Unit::PerSecond, one).beside(plain, syncs.clone()),
        Row::new(format!("commands, {CLIENTS} clients"), Unit::PerSecond, many)
            .beside(plain, syncs)
            .at_least(2.0 * ETCD_PUTS),
        Row::new("… p50", Unit::Seconds, p50),
        Row::new("… p99", Unit::Seconds, p99),
        Row::new("… processor time of all nodes, each", Unit::Seconds, cpu),
        Row::new(format!("p99 at {ETCD_PUTS} a second"), Unit::Seconds, paced_p99).at_most(P99_MARK),
        Row::new(format!("records, {CLIENTS} clients, {BATCH} in a command"), Unit::PerSecond, batched)
            .at_least(20.0 * ETCD_PUTS),
    ];
    let notes = vec![format!(
        "{ROUNDS} rounds of {} s each; {VOTERS} voters and a node with the clients in one process, each with runtimes and an \
         endpoint of its own; every command of {} B is answered when it is synced at a majority and applied; marks are of \
         etcd's {ETCD_PUTS} puts a second",
        ROUND.as_secs_f64(),
        RECORD.len()
    )];
    Ok(Outcome { rows, notes })
}

/// The nodes.
struct Stage<S: Subject> {
    voters: Vec<Voter<S>>,
    asker: (Host, Arc<Cluster>, Groups),
    client: Arc<Client<S>>,
}

/// Sends the commands of a subject.
struct Client<S>(GroupClient, PhantomData<S>);

impl<S: Subject> Target for Client<S> {
    async fn write(&self, number: u64, records: usize) -> Result<(), Failure> {
        let number = u128::from(number);
        self.0.submit(number, S::command(number, records), AMPLE).await?;
        Ok(())
    }
}

/// A member on its node.
struct Voter<S: Subject> {
    host: Host,
    cluster: Arc<Cluster>,
    groups: Groups,
    member: Arc<Consensus<S::State>>,
}

impl<S: Subject> Stage<S> {
    fn start(scratch: &Path) -> Result<Self, Failure> {
        let mut hosts = Vec::new();
        for number in 0..=VOTERS {
            hosts.push(Host::new(number as u64 + 1)?);
        }
        let authority = Authority::new(&hosts[0].env)?;
        let (mut nodes, mut seeds) = (Vec::new(), Vec::new());
        for (number, host) in hosts.into_iter().enumerate() {
            let transport = authority.transport(&format!("hub-{number}"), &host.env)?;
            let id = transport.identity.id();
            let cluster = start_node(&transport, &host, seeds.clone())?;
            seeds.push(cluster.transport().ok_or("the node has left")?.local_addr());
            let groups = groups(&host, &cluster);
            nodes.push((host, cluster, groups, id));
        }
        for (host, cluster, ..) in &nodes {
            until_reachable(host, cluster, VOTERS + 1)?;
        }
        let ids: BTreeSet<NodeId> = nodes.iter().take(VOTERS).map(|(.., id)| *id).collect();
        let (asker_host, asker_cluster, asker_groups, me) = nodes.pop().ok_or("no node asks")?;
        let mut voters = Vec::new();
        for (number, (host, cluster, groups, id)) in nodes.into_iter().enumerate() {
            let folder = scratch.join(format!("node-{number}"));
            let state = folder.join("state");
            std::fs::create_dir_all(&state)?;
            let disk = Arc::new(Folder::open(&folder.join("group"))?);
            let config = ConsensusConfig { first_voters: ids.clone(), ..ConsensusConfig::new(GROUP) };
            let (env, network) = (host.env.clone(), groups.network(GROUP));
            let member = host.on_work(async move {
                Ok(Arc::new(Consensus::start(config, id, env, disk, network, move || S::open(&state)).await?))
            })?;
            groups.serve(GROUP, &member);
            voters.push(Voter { host, cluster, groups, member });
        }
        let Voter { host, member, .. } = &voters[0];
        let (member, form) = (member.clone(), ids.clone());
        host.on_work(async move { Ok(member.form(&form).await?) })?;
        let client = asker_groups.client(GROUP, Sender { node: me, role: Role::Hub }, &ids);
        let client = Arc::new(Client::<S>(client, PhantomData));
        Ok(Self { voters, asker: (asker_host, asker_cluster, asker_groups), client })
    }

    /// Has clients send commands, each one after another: as fast as they are answered, or so many a second together.
    fn clients(&self, next: &mut u64, clients: usize, records: usize, pace: Option<f64>) -> Result<Round, Failure> {
        let load = Load { clients, records, during: ROUND, pace };
        self.asker.0.on_work(load.against(&self.client, next))
    }

    fn stop(self) -> Result<(), Failure> {
        drop(self.client);
        for Voter { host, cluster, groups, member } in self.voters {
            groups.end(GROUP);
            host.on_work(async move {
                cluster.leave().await;
                drop(member);
                Ok(())
            })?;
            host.close();
        }
        self.asker.0.close();
        Ok(())
    }
}

/// The groups of a node, over its connections.
pub(crate) fn groups(host: &Host, cluster: &Arc<Cluster>) -> Groups {
    let connections = cluster.clone();
    let groups = Groups::new(host.env.clone(), Arc::new(move |node| connections.peer_of(node)));
    let taking = groups.clone();
    cluster.set_consensus_handler(Arc::new(move |peer, plane, send, recv| taking.take(peer, plane, send, recv)));
    groups
}
