//! `watch.watcher`: the actor that feeds the watch and answers what it found.

use std::sync::Arc;
use std::time::Duration;

use covenant_cluster::Cluster;
use covenant_env::Env;
use covenant_runtime::{Behaviour, BehaviourRegistry, Context, Exit, Reply, RuntimeEvent, StartError, TreeView};
use covenant_types::parse_duration;
use metrics::{Counter, Gauge};
use serde::{Deserialize, Deserializer};
use tokio::sync::broadcast::error::RecvError;

use crate::incident::{Incident, IncidentKind, Moment};
use crate::members::Members;
use crate::watch::{ActorSample, Effect, Event, Thresholds, Watch};

/// Adds the behaviours of this crate: `watch.watcher`.
pub fn register(registry: &mut BehaviourRegistry) {
    registry.register::<Watcher>("watch.watcher");
}

/// The `config` table of the watcher in its tree file. Everything may be left out.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WatcherConfig {
    /// So many restarts of one actor within `window` open an incident.
    pub restarts: u32,
    /// The window for them; so long without one closes it.
    #[serde(deserialize_with = "duration")]
    pub window: Duration,
    /// A mailbox filled to this percentage opens an incident.
    pub mailbox_open_percent: u8,
    /// A mailbox filled to less than this percentage closes it.
    pub mailbox_close_percent: u8,
    /// For how long a mailbox must be so, or a member be back.
    #[serde(deserialize_with = "duration")]
    pub sustain: Duration,
    /// Whether the cluster's members are watched too. A node without a cluster says false.
    pub members: bool,
}

impl Default for WatcherConfig {
    fn default() -> Self {
        let Thresholds { restarts, window, mailbox_open_percent, mailbox_close_percent, sustain } =
            Thresholds::default();
        Self { restarts, window, mailbox_open_percent, mailbox_close_percent, sustain, members: true }
    }
}

impl WatcherConfig {
    fn thresholds(&self) -> Result<Thresholds, StartError> {
        let Self { restarts, window, mailbox_open_percent, mailbox_close_percent, sustain, members: _ } = *self;
        if restarts == 0 || window.is_zero() {
            return Err(StartError::failed("restarts and window must be above zero"));
        }
        if mailbox_open_percent > 100 || mailbox_close_percent >= mailbox_open_percent {
            return Err(StartError::failed(
                "mailbox_close_percent must be below mailbox_open_percent, and that at most 100",
            ));
        }
        Ok(Thresholds { restarts, window, mailbox_open_percent, mailbox_close_percent, sustain })
    }
}

/// What can be asked of the watcher, and what it tells itself.
#[derive(Debug)]
pub enum Message {
    /// Asks for the incidents: open ones first, each group newest first.
    List(Reply<Vec<Incident>>),
    /// It is time to look at the tree and the members. The watcher sends this to itself once a second.
    Look,
    /// Something happened to an actor. The watcher sends this to itself.
    Happened(RuntimeEvent),
}

/// Watches the node it runs on.
#[derive(Debug)]
pub struct Watcher {
    watch: Watch,
    members: Option<Arc<Members>>,
    numbers: Numbers,
}

impl Behaviour for Watcher {
    type Config = WatcherConfig;
    type Message = Message;

    async fn start(config: WatcherConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        let thresholds = config.thresholds()?;
        let members = if config.members { Some(members(ctx)?) } else { None };
        // Before the first look, so that nothing falls between the two.
        let mut events = ctx.system().events();
        let me = ctx.me();
        let listen = async move {
            loop {
                let message = match events.recv().await {
                    Ok(event) => Message::Happened(event),
                    // What was lost are reasons; the incarnations in the tree still tell how often.
                    Err(RecvError::Lagged(_)) => Message::Look,
                    Err(RecvError::Closed) => return,
                };
                // Full: the next look makes up for it. Gone: this task ends with the actor.
                let _ = me.cast(message).await;
            }
        };
        ctx.spawn(listen).map_err(StartError::failed)?;
        ctx.send_every(LOOK_EVERY, || Message::Look);
        Ok(Self { watch: Watch::new(thresholds), members, numbers: Numbers::new(ctx.env()) })
    }

    fn kind(message: &Message) -> &'static str {
        match message {
            Message::List(_) => "List",
            Message::Look => "Look",
            Message::Happened(_) => "Happened",
        }
    }

    async fn handle(&mut self, message: Message, ctx: &Context<Self>) -> Result<(), Exit> {
        match message {
            Message::List(reply) => reply.send(self.watch.incidents()),
            Message::Happened(happened) => {
                if let Some(event) = event(happened) {
                    self.take(moment(ctx.env()), event);
                }
            }
            Message::Look => {
                let now = moment(ctx.env());
                let told = self.members.as_ref().map_or_else(Vec::new, |members| members.look());
                for member in told {
                    let event = Event::MemberTold { name: member.name, state: member.state, epoch: member.epoch };
                    self.take(now, event);
                }
                let told = self.members.as_ref().map_or_else(Vec::new, |members| members.told());
                told.into_iter().for_each(|told| self.take(now, Event::Told(told)));
                let mut samples = Vec::new();
                flatten(&ctx.system().tree(), &mut samples);
                self.take(now, Event::Sampled(samples));
            }
        }
        Ok(())
    }
}

impl Watcher {
    fn take(&mut self, now: Moment, event: Event) {
        let effects = self.watch.handle(now, event);
        for effect in &effects {
            match effect {
                Effect::Opened(incident) => {
                    let evidence = incident.evidence.last().map_or("", |seen| seen.what.as_str());
                    tracing::warn!(id = incident.id, kind = %incident.kind, subject = incident.subject, evidence, "incident opened");
                    self.numbers.opened.increment(1);
                }
                Effect::Closed(incident) => {
                    let evidence = incident.evidence.last().map_or("", |seen| seen.what.as_str());
                    tracing::info!(id = incident.id, kind = %incident.kind, subject = incident.subject, evidence, "incident closed");
                }
            }
        }
        if !effects.is_empty() {
            self.numbers.show(&self.watch);
        }
    }
}

fn members(ctx: &Context<Watcher>) -> Result<Arc<Members>, StartError> {
    if let Ok(members) = ctx.resource::<Members>() {
        return Ok(members);
    }
    Ok(Arc::new(Members::of(ctx.resource::<Cluster>()?)))
}

/// What of the runtime's events the watch takes notice of.
fn event(happened: RuntimeEvent) -> Option<Event> {
    match happened {
        RuntimeEvent::Started { path, incarnation } => Some(Event::Started { path, incarnation }),
        RuntimeEvent::StartFailed { path, reason, .. } => Some(Event::StartFailed { path, reason }),
        RuntimeEvent::Exited { path, reason, .. } => Some(Event::Exited { path, reason }),
        // A supervisor that gave up exits, and is restarted by the one above: that is told too.
        RuntimeEvent::Escalated { .. } | RuntimeEvent::Unkillable { .. } => None,
    }
}

fn moment(env: &Env) -> Moment {
    Moment { uptime: env.now(), wall: env.wall() }
}

fn flatten(view: &TreeView, samples: &mut Vec<ActorSample>) {
    samples.push(ActorSample {
        path: view.path.clone(),
        incarnation: view.incarnation,
        depth: view.mailbox.map_or(0, |mailbox| mailbox.depth),
        capacity: view.mailbox.map_or(0, |mailbox| mailbox.capacity),
    });
    view.children.iter().for_each(|child| flatten(child, samples));
}

/// What the watcher counts.
struct Numbers {
    open: Vec<(IncidentKind, Gauge)>,
    opened: Counter,
    overlooked: Gauge,
}

impl Numbers {
    fn new(env: &Env) -> Self {
        let gauge =
            |kind: IncidentKind| (kind, env.metrics.gauge("covenant_incidents_open", &[("kind", kind.as_str())]));
        Self {
            open: IncidentKind::ALL.map(gauge).into(),
            opened: env.metrics.counter("covenant_incidents_opened_total", &[]),
            overlooked: env.metrics.gauge("covenant_watch_overlooked", &[]),
        }
    }

    fn show(&self, watch: &Watch) {
        for (kind, gauge) in &self.open {
            gauge.set(u32::try_from(watch.open_count(*kind)).map_or(f64::INFINITY, f64::from));
        }
        self.overlooked.set(u32::try_from(watch.overlooked()).map_or(f64::INFINITY, f64::from));
    }
}

impl std::fmt::Debug for Numbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Numbers")
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// How often the tree and the members are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
