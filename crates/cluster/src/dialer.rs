//! Dials the seeds and all those to whom this node keeps a connection, until each stands. One task and its dials.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use covenant_env::Tasks;
use covenant_transport::{CloseCode, DialError, Profile};
use covenant_types::{NodeId, Uptime};
use rand::rngs::StdRng;
use tokio::sync::mpsc;

use crate::dial_book::{DialBook, Pace, Target};
use crate::seeds::{Seed, Seeds, SeedsFile};
use crate::shared::Shared;

/// How many dials may be under way.
pub const DIALS_MAX: usize = 32;
/// How many dials a node on a satellite line may have under way: each costs it kilobytes and half a minute.
pub const DIALS_MAX_LEAF: usize = 4;
/// How many of the addresses of a seed's name are tried at one attempt.
pub const SEED_ANSWERS_MAX: usize = 8;
/// How long the addresses of a name are waited for.
const RESOLVE_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked whether a file of seeds has changed.
const FILE_LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long the dialer sleeps when nobody is due.
const IDLE: Duration = Duration::from_secs(60);

/// The task's state.
pub(crate) struct Dialer {
    shared: Arc<Shared>,
    book: DialBook,
    /// Where to look, and who answered there last.
    seeds: BTreeMap<Seed, Option<NodeId>>,
    /// Those that the configuration names; the others are of the file.
    listed: Vec<Seed>,
    file: Option<SeedsFile>,
    file_look: Uptime,
    dials_max: usize,
    head_start: Duration,
    rng: StdRng,
}

/// How a dial ended.
struct Dialled {
    target: Target,
    /// Who is there, or why nobody is.
    result: Result<NodeId, String>,
}

impl Dialer {
    pub(crate) fn new(shared: Arc<Shared>, profile: Profile, seeds: Seeds) -> Self {
        let rng = shared.env.random.derive("cluster.dial");
        let (pace, dials_max) = (pace(profile), dials_max(profile));
        let file_look = shared.env.now().after(FILE_LOOK_EVERY);
        let Seeds { listed, file } = seeds;
        let (book, head_start) = (DialBook::new(pace), pace.min);
        let mut dialer =
            Self { shared, book, seeds: BTreeMap::new(), listed, file, file_look, dials_max, head_start, rng };
        dialer.take_seeds();
        dialer
    }

    /// Takes over what configuration and file say. Seeds that stay are remembered with who answered there.
    fn take_seeds(&mut self) {
        let mut before = std::mem::take(&mut self.seeds);
        let in_file = self.file.iter().flat_map(|file| &file.seeds);
        for seed in self.listed.iter().chain(in_file) {
            self.seeds.insert(seed.clone(), before.remove(seed).flatten());
        }
    }

    /// Reads the file of seeds again where it has changed.
    async fn look_at_file(&mut self) {
        self.file_look = self.shared.env.now().after(FILE_LOOK_EVERY);
        let Some(mut file) = self.file.clone() else { return };
        let looked = self.shared.env.blocking(move || (file.read_again(), file)).await;
        let Ok((read, file)) = looked else { return };
        self.file = Some(file);
        match read {
            Ok(false) => {}
            Ok(true) => {
                self.take_seeds();
                tracing::info!(seeds = self.seeds.len(), "the file of seeds has changed");
            }
            Err(error) => tracing::warn!(%error, "the file of seeds is not used; those known before stay"),
        }
    }

    /// Runs until the task is dropped.
    pub(crate) async fn run(mut self) {
        // A dial that has told its result still takes a moment to end.
        let mut dials = Tasks::new(self.shared.env.system.clone(), 2 * self.dials_max);
        let mut under_way = 0;
        let (ended, mut results) = mpsc::channel::<Dialled>(DIALS_MAX);
        loop {
            let now = self.shared.env.now();
            if self.file.is_some() && self.file_look <= now {
                self.look_at_file().await;
            }
            let wanted = self.wanted();
            self.book.want(now, &wanted);
            for target in self.book.take_due(now, self.dials_max - under_way) {
                if dials.spawn(dial(Arc::clone(&self.shared), target.clone(), ended.clone())) {
                    under_way += 1;
                } else {
                    self.book.ended(now, &target, &mut self.rng);
                }
            }
            // Without a free slot the next result wakes us.
            let mut sleep = match self.book.next() {
                Some(next) if under_way < self.dials_max => next.since(now).min(IDLE),
                Some(_) | None => IDLE,
            };
            if self.file.is_some() {
                sleep = sleep.min(self.file_look.since(now));
            }
            tokio::select! {
                biased;
                Some(dialled) = results.recv() => {
                    under_way -= 1;
                    self.ended(dialled);
                }
                () = self.shared.wanted_changed.notified() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Everybody to whom there is no connection, with the head start each gives to being dialled by the other side.
    fn wanted(&self) -> BTreeMap<Target, Duration> {
        let connected = |id: NodeId| self.shared.session(id).is_some();
        let demanded = self.shared.demands.wanted(self.shared.env.now());
        let mut wanted = BTreeMap::new();
        if self.shared.is_asleep() {
            return wanted;
        }
        let warm = self.shared.warm();
        // Who belongs elsewhere has served as a seed once it answered, until this node is alone.
        let alone = self.shared.sessions().is_empty();
        let directory = self.shared.directory();
        for (seed, answered) in &self.seeds {
            let served = answered.is_some_and(|id| !warm.contains(&id)) && !alone;
            if !served && !answered.is_some_and(|id| id == self.shared.me || connected(id)) {
                // A node that we know is dialled as that node first; only if it stays away, whoever is there now.
                let known = answered.is_some_and(|id| directory.record(id).is_some());
                let wait = if known { self.head_start * 10 } else { Duration::ZERO };
                wanted.insert(Target::Seed(seed.clone()), wait);
            }
        }
        for signed in directory.records() {
            let id = signed.record.id;
            let is_wanted = warm.contains(&id) && directory.worth_dialling(id);
            if is_wanted && !connected(id) && !self.shared.is_shunned(id) {
                // Of two that learn of each other at once, the smaller id dials. The other does if nothing came of it.
                let wait = if self.shared.me < id { Duration::ZERO } else { self.head_start };
                wanted.insert(Target::Node(id, signed.record.address), wait);
            }
        }
        for signed in demanded.into_iter().filter(|id| !connected(*id)).filter_map(|id| directory.record(id)) {
            wanted.insert(Target::Node(signed.record.id, signed.record.address), Duration::ZERO);
        }
        wanted
    }

    fn ended(&mut self, dialled: Dialled) {
        let Dialled { target, result } = dialled;
        self.book.ended(self.shared.env.now(), &target, &mut self.rng);
        match (result, target) {
            // Only where it is still a seed: the file may have changed meanwhile.
            (Ok(id), Target::Seed(seed)) => {
                if let Some(answered) = self.seeds.get_mut(&seed) {
                    *answered = Some(id);
                }
            }
            (Ok(_), Target::Node(..)) => {}
            (Err(why), target) => {
                self.shared.counters.dials_failed.increment(1);
                tracing::debug!(?target, why, "a dial failed");
            }
        }
    }
}

async fn dial(shared: Arc<Shared>, target: Target, ended: mpsc::Sender<Dialled>) {
    let result = match &target {
        Target::Node(_, address) | Target::Seed(Seed::Address(address)) => connect(&shared, *address).await,
        Target::Seed(Seed::Name { host, port }) => connect_to_name(&shared, host, *port).await,
    };
    // The dialer is gone only together with this task.
    let _gone = ended.send(Dialled { target, result }).await;
}

/// Who is at an address. This node itself is an answer too.
async fn connect(shared: &Shared, address: SocketAddr) -> Result<NodeId, String> {
    let transport = shared.transport().ok_or_else(|| DialError::Closed.to_string())?;
    // Whoever answers is welcome. To insist on the node would make the transport turn away that very node when it dials us
    // from another address, for as long as we try its old one.
    let epoch = shared.own_record().epoch;
    match transport.connect(address, None).await {
        Ok(peer) => Ok(peer.info().id),
        Err(DialError::Refused { code: CloseCode::DialledSelf, .. }) => Ok(shared.me),
        Err(error @ DialError::Refused { code: CloseCode::Revoked, .. }) => {
            tracing::warn!(%address, %error, "refused: one of the two nodes is on the deny-list");
            Err(error.to_string())
        }
        Err(error @ DialError::Refused { code: CloseCode::Doubled | CloseCode::StaleEpoch, .. }) => {
            // Of a Hello that was said in an epoch which has been raised since, a later one is its own.
            if shared.own_record().epoch == epoch {
                shared.refused_as_twin(address);
            }
            Err(error.to_string())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Who is at the first of a name's addresses where somebody else than this node answers.
async fn connect_to_name(shared: &Shared, host: &str, port: u16) -> Result<NodeId, String> {
    let (network, name) = (Arc::clone(&shared.env.network), host.to_owned());
    let asking = shared.env.blocking(move || network.resolve(&name, port));
    let asked = tokio::time::timeout(RESOLVE_WITHIN, asking).await;
    let answer = asked.map_err(|_| format!("{host} was not resolved in time"))?;
    let addresses = answer.and_then(|answer| answer).map_err(|error| {
        tracing::warn!(host, %error, "the name of a seed has no address");
        format!("{host}: {error}")
    })?;
    let mut why = format!("{host} has no address");
    let mut is_me = false;
    for address in addresses.into_iter().take(SEED_ANSWERS_MAX) {
        match connect(shared, address).await {
            Ok(id) if id == shared.me => is_me = true,
            Ok(id) => return Ok(id),
            Err(error) => why = error,
        }
    }
    if is_me { Ok(shared.me) } else { Err(why) }
}

fn dials_max(profile: Profile) -> usize {
    match profile {
        Profile::Loopback | Profile::Lan | Profile::Wan => DIALS_MAX,
        Profile::Leaf => DIALS_MAX_LEAF,
    }
}

fn pace(profile: Profile) -> Pace {
    match profile {
        Profile::Loopback => Pace { min: Duration::from_millis(200), max: Duration::from_secs(2) },
        Profile::Lan => Pace { min: Duration::from_secs(1), max: Duration::from_secs(30) },
        Profile::Wan | Profile::Leaf => Pace { min: Duration::from_secs(5), max: Duration::from_secs(120) },
    }
}
