//! Nodes, the network between them, and the time they share.
//!
//! Time passes in short steps. In each step every node in turn runs alone up to the step's end, in its own runtime. A step
//! is no longer than the shortest line: nothing that one node sends in a step can reach another before the next, so that
//! their order within it makes no difference to them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use covenant_cluster::MemberState;
use covenant_env::Random;
use covenant_node::Node;

use super::chronicle::Chronicle;
use super::clock::wall;
use super::host::{Common, Host};
use super::identity::Disk;
use super::network::{Counts, Network, Weather};
use super::office::Office;
use super::rules::Rules;
use super::{Mischief, Setup};
use crate::Trace;

/// After how much virtual time the rules are checked.
pub const CHECK_EVERY: Duration = Duration::from_millis(100);

/// Whole nodes in virtual time.
pub(super) struct World {
    now: Duration,
    network: Arc<Network>,
    hosts: Vec<Host>,
    chronicle: Chronicle,
    office: Arc<Office>,
    disk: Disk,
    mischief: Option<Mischief>,
    /// What the run came to at each check.
    marks: Vec<(Trace, Trace)>,
}

impl World {
    /// Nodes on disk, none of which runs yet.
    pub(super) fn new(setup: &Setup, seed: u64) -> Result<Self> {
        let random = Random::new(seed);
        let profile = if setup.patient { "lan" } else { "loopback" };
        let disk = Disk::make(setup.nodes, profile, random, wall(Duration::ZERO))?;
        let network = Network::new(setup.nodes, random);
        let chronicle = Chronicle::default();
        let office = Arc::new(Office::new(chronicle.clone()));
        let common = Common {
            network: network.clone(),
            chronicle: chronicle.clone(),
            random,
            names: disk.names.clone(),
            trees: disk.trees(),
            office: Arc::clone(&office),
        };
        let hosts = (0..setup.nodes)
            .map(|node| Ok(Host::new(node, disk.config(node)?, common.clone())))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            now: Duration::ZERO,
            network,
            hosts,
            chronicle,
            office,
            disk,
            mischief: setup.mischief,
            marks: Vec::new(),
        })
    }

    pub(super) fn now(&self) -> Duration {
        self.now
    }

    pub(super) fn len(&self) -> usize {
        self.hosts.len()
    }

    pub(super) fn runs(&self, node: usize) -> bool {
        self.hosts[node].runs()
    }

    /// Takes down what is done to the nodes.
    pub(super) fn tell(&self, what: &str) {
        self.chronicle.tell(self.now, what);
    }

    pub(super) fn rules<T>(&self, tell: impl FnOnce(&mut Rules) -> T) -> T {
        self.chronicle.rules(tell)
    }

    /// Whether a rule is broken: then there is no point in going on.
    pub(super) fn is_broken(&self) -> bool {
        self.rules(|rules| !rules.broken().is_empty())
    }

    pub(super) fn weather(&self, change: impl FnOnce(&mut Weather)) {
        self.network.change(change);
    }

    pub(super) fn counts(&self) -> Counts {
        self.network.counts()
    }

    /// What the run came to at each check: events, packets.
    pub(super) fn into_marks(mut self) -> (Vec<(Trace, Trace)>, Vec<String>) {
        self.mark();
        (self.marks, self.chronicle.story())
    }

    pub(super) fn start(&mut self, node: usize) -> Result<()> {
        if let Some(Mischief::OldEpoch) = self.mischief
            && self.now > Duration::ZERO
        {
            // As if its data directory were restored from a backup.
            std::fs::write(self.disk.data(node).join("boot_epoch"), "0")?;
        }
        self.hosts[node].start(self.now)
    }

    pub(super) fn crash(&mut self, node: usize) {
        self.hosts[node].crash(self.now);
    }

    pub(super) fn stop(&mut self, node: usize) -> bool {
        self.hosts[node].stop(self.now)
    }

    /// Suspends a node's machine for so long. False where that cannot be.
    pub(super) fn suspend(&mut self, node: usize, span: Duration) -> bool {
        let is_suspended = self.hosts[node].suspend(self.now, self.now + span);
        if is_suspended {
            self.rules(|rules| rules.suspended(node));
        }
        is_suspended
    }

    /// Lets nothing of a node reach the source of leases from now on.
    pub(super) fn cut_off(&self, node: usize) {
        self.office.cut_off(self.now, node);
    }

    /// Lets all nodes reach the source of leases.
    pub(super) fn reconnect(&self) {
        self.office.mend(self.now);
    }

    /// Does something with a node, inside its runtime; `None` while there is none.
    pub(super) fn with<T>(&self, node: usize, act: impl FnOnce(&Node) -> T) -> Option<T> {
        self.hosts[node].with(act)
    }

    /// Runs something beside a node.
    pub(super) fn spawn(&self, node: usize, future: impl Future<Output = ()> + Send + 'static) {
        self.hosts[node].spawn(future);
    }

    pub(super) fn chronicle(&self) -> Chronicle {
        self.chronicle.clone()
    }

    /// Lets time pass, or less of it where a rule is broken.
    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end && !self.is_broken() {
            let next = self.now + self.network.lookahead;
            for host in &mut self.hosts {
                host.run(next);
            }
            self.now = next;
            if self.now.as_millis().is_multiple_of(CHECK_EVERY.as_millis()) {
                self.check();
            }
        }
    }

    /// Lets time pass until it is so, looked at with every check; `None` if it is not within `bound`.
    pub(super) fn until(&mut self, bound: Duration, so: impl Fn(&Self) -> bool) -> Option<Duration> {
        let start = self.now;
        while self.now - start <= bound && !self.is_broken() {
            if so(self) {
                return Some(self.now - start);
            }
            self.run(CHECK_EVERY);
        }
        None
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.disk.names.iter().position(|known| known.as_str() == name)
    }

    fn check(&mut self) {
        let (now, is_quiet) = (self.now, self.rules(|rules| rules.is_quiet()));
        // What is true of all comes first, then what each of them sees of it.
        for (node, host) in self.hosts.iter().enumerate() {
            let Some((has, me, shards)) = host.has() else { continue };
            self.chronicle.rules(|rules| rules.has(now, node, &has, (me, &shards)));
            let Some(holdings) = host.holds() else { continue };
            self.chronicle.rules(|rules| rules.holds(now, node, holdings));
        }
        for (viewer, host) in self.hosts.iter().enumerate() {
            let Some(views) = host.views() else { continue };
            let views: Vec<_> =
                views.into_iter().filter_map(|view| Some((self.place(view.name.as_str())?, view))).collect();
            self.chronicle.rules(|rules| rules.views(now, wall(now), viewer, &views));
            let Some(sees) = host.sees(&views, is_quiet) else { continue };
            self.chronicle.rules(|rules| rules.sees(now, viewer, &sees));
        }
        self.chronicle.rules(|rules| rules.check(now));
        self.mark();
    }

    fn mark(&mut self) {
        if let Some(Mischief::Chance) = self.mischief {
            // What no seed decides.
            let chance = std::collections::hash_map::RandomState::new();
            let late = std::hash::BuildHasher::hash_one(&chance, self.now).is_multiple_of(2);
            self.weather(|weather| weather.lag = Duration::from_millis(u64::from(late)));
        }
        self.marks.push((self.chronicle.trace(), self.network.trace()));
    }

    /// What is missing for all that run to hold all that run for reachable, in their present lives.
    pub(super) fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for (viewer, host) in self.hosts.iter().enumerate().filter(|(_, host)| host.runs()) {
            let Some(views) = host.views() else {
                missing.push(format!("n{viewer} is not up"));
                continue;
            };
            for subject in (0..self.len()).filter(|subject| self.runs(*subject)) {
                let name = self.disk.names[subject].as_str();
                let epoch = self.rules(|rules| rules.epoch(subject));
                match views.iter().find(|view| view.name.as_str() == name) {
                    Some(view) if view.state == MemberState::Reachable && Some(view.epoch) == epoch => {}
                    Some(view) => missing.push(format!("n{viewer} holds {name} {}, epoch {}", view.state, view.epoch)),
                    None => missing.push(format!("n{viewer} does not know {name}")),
                }
            }
        }
        missing
    }
}
