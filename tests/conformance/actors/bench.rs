//! The core's bench and a running tree side by side: every step is taken by both, and both must then stand alike.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use covenant_env::Env;
use covenant_runtime::{
    ActorState, AdminFailure, Behaviour, BehaviourRegistry, Context, Exit, Resources, StartError, Started, System,
    SystemConfig,
};
use covenant_supervision::{ChildNode, Host, Mailbox, TreeSpec, Work};
use covenant_types::{ActorPath, ExitReason, parse_duration};
use serde::Deserialize;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::core::bench as core;
use crate::core::script::{self, Nature};
use crate::{ChildId, ChildSpec, Strategy, SupervisorSpec};

/// How often everything that is ready is polled after a step: far more than any step needs.
const POLLS: usize = 400;
/// From so many children on only every such step is looked at.
const MANY: usize = 256;

/// How an actor of the bench that waits is to go on.
#[derive(Clone, Copy, Debug)]
enum Word {
    Up,
    Fail,
    Ignore,
    Crash,
}

/// What the actors of one bench share.
#[derive(Default)]
struct World {
    natures: Mutex<BTreeMap<String, Nature>>,
    /// Those that wait for a word, in their start or their stop.
    waiting: Mutex<BTreeMap<String, oneshot::Sender<Word>>>,
    answers: Mutex<Vec<String>>,
}

impl World {
    fn natures(&self) -> MutexGuard<'_, BTreeMap<String, Nature>> {
        self.natures.lock().unwrap()
    }

    async fn word(&self, id: &str) -> Word {
        let (give, word) = oneshot::channel();
        self.waiting.lock().unwrap().insert(id.to_owned(), give);
        word.await.unwrap_or(Word::Crash)
    }

    /// False where it does not wait.
    fn give(&self, id: &str, word: Word) -> bool {
        let waiting = self.waiting.lock().unwrap().remove(id);
        waiting.is_some_and(|waiting| waiting.send(word).is_ok())
    }
}

struct Probe {
    world: Arc<World>,
    id: String,
    /// It ends by itself, and was not asked to.
    by_itself: bool,
}

#[derive(Deserialize)]
struct NoConfig {}

impl Behaviour for Probe {
    type Config = NoConfig;
    type Message = ExitReason;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        let world: Arc<World> = ctx.resource()?;
        let id = ctx.path().id().to_owned();
        let nature = {
            let mut natures = world.natures();
            let nature = natures.entry(id.clone()).or_default();
            let now = *nature;
            if !now.slow {
                nature.fails = nature.fails.saturating_sub(1);
            }
            now
        };
        let word = match nature {
            Nature { slow: true, .. } => world.word(&id).await,
            Nature { fails: 1.., .. } => Word::Fail,
            Nature { taken: true, .. } => return Err(StartError::NameTaken("other".to_owned())),
            Nature { ignored: true, .. } => Word::Ignore,
            _ => Word::Up,
        };
        match word {
            Word::Up | Word::Crash => {}
            Word::Fail => return Err(StartError::failed("no")),
            Word::Ignore => return Err(StartError::Ignore),
        }
        if nature.tells {
            ctx.tell_starter("extra");
        }
        Ok(Self { world, id, by_itself: false })
    }

    async fn handle(&mut self, reason: ExitReason, _: &Context<Self>) -> Result<(), Exit> {
        if let ExitReason::Panicked(text) = &reason {
            panic!("{text}");
        }
        self.by_itself = true;
        Err(Exit(reason))
    }

    async fn stop(self, _: &ExitReason, _: &Context<Self>) {
        let lasting = self.world.natures().get(&self.id).is_some_and(|nature| nature.lasting);
        if lasting && !self.by_itself && matches!(self.world.word(&self.id).await, Word::Crash) {
            panic!("boom");
        }
    }
}

/// A bench of the core's, and actors that live through the same.
pub(crate) struct Bench {
    core: core::Bench,
    world: Arc<World>,
    runtime: Runtime,
    tree: TreeSpec,
    dynamic: bool,
    /// `None` before the boot, and where that failed.
    system: Option<System>,
    /// Ids whose spec was gone once: a child of the tree counts on when it is back, an added one begins anew.
    forgotten: BTreeSet<String>,
    /// The child of the step was there before it.
    known: bool,
    /// The core has ended.
    over: bool,
    steps: usize,
}

impl Deref for Bench {
    type Target = core::Bench;

    fn deref(&self) -> &core::Bench {
        &self.core
    }
}

impl Bench {
    pub(crate) fn new(strategy: Strategy, children: &str) -> Self {
        let (spec, natures) = script::supervisor(strategy, children);
        let world = Arc::new(World::default());
        for (child, nature) in spec.children.iter().zip(natures) {
            assert!(!nature.immortal, "nothing that waits is immortal: use a spinning handler and threads");
            world.natures().insert(child.id.to_string(), nature);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        Self {
            core: core::Bench::new(strategy, children),
            world,
            runtime,
            tree: tree(spec),
            dynamic: strategy == Strategy::Dynamic,
            system: None,
            forgotten: BTreeSet::new(),
            known: false,
            over: false,
            steps: 0,
        }
    }

    /// Takes steps parted by `; ` and returns what the core did in each, parted likewise.
    pub(crate) fn run(&mut self, steps: &str) -> String {
        let done: Vec<String> = steps.split("; ").map(|step| self.step(step)).collect();
        done.join("; ")
    }

    fn step(&mut self, step: &str) -> String {
        let answered = self.core.answers.len();
        let subject = step.split([' ', ':']).nth(1).unwrap_or_default();
        self.known = ChildId::new(subject).is_ok_and(|id| self.core.core.child(&id).is_some());
        let done = self.core.run(step);
        self.world.answers.lock().unwrap().clear();
        self.act(step);
        self.settle();
        let mut expected = self.core.answers[answered..].to_vec();
        let mut answers = self.world.answers.lock().unwrap().clone();
        expected.sort();
        answers.sort();
        assert_eq!(answers, expected, "answers to actors after {step:?}, which did: {done}");
        self.forgotten.extend(done.split(", ").filter_map(|word| word.strip_prefix("forget ")).map(str::to_owned));
        self.over |= done.contains("exit ") || done.contains("start failed");
        self.steps += 1;
        // Of a thousand children not after each step.
        let look = self.core.core.counts().workers < MANY || self.steps.is_multiple_of(MANY);
        // A restart that is tried again at once waits for time on the bench, and not on actors.
        let due = self.core.timers.iter().any(|(due, _)| *due <= self.core.now);
        if look && !due {
            self.compare(step, &done);
        }
        done
    }

    /// Lets everything happen that does not wait for time.
    fn settle(&self) {
        // Where there are many, none of the cases has more than one of them at work at a time.
        let polls = if self.core.core.counts().workers < MANY { POLLS } else { POLLS / 10 };
        self.runtime.block_on(async {
            for _ in 0..polls {
                tokio::task::yield_now().await;
            }
        });
    }

    fn act(&mut self, step: &str) {
        let words: Vec<&str> = step.split(' ').collect();
        match words[..] {
            ["boot"] => self.boot(),
            ["shutdown"] => {
                let system = self.system();
                self.task(async move { drop(system.stop(Duration::from_secs(1_000_000)).await) });
            }
            ["crash", child] => self.end(child, ExitReason::Panicked("boom".into())),
            ["end", child] => self.end(child, ExitReason::Normal),
            ["gone", child] => self.end(child, ExitReason::Shutdown),
            ["gone", child, why] => self.end(child, ExitReason::ShutdownWith(why.into())),
            ["conflict", child] => self.end(child, ExitReason::NameConflict("there".into())),
            ["die" | "kill", child] => {
                if !self.world.give(child, Word::Crash) {
                    let (system, path) = (self.system(), path(child));
                    self.task(async move { drop(system.kill(&path).await) });
                }
            }
            ["up", child] => assert!(self.world.give(child, Word::Up), "{child} is not starting"),
            ["fail", child] => assert!(self.world.give(child, Word::Fail), "{child} is not starting"),
            ["ignore", child] => assert!(self.world.give(child, Word::Ignore), "{child} is not starting"),
            ["terminate", child] => {
                let (system, path) = (self.system(), path(child));
                self.call(async move { system.terminate_child(&path).await.map(|()| None) });
            }
            ["restart", child] => {
                let (system, path) = (self.system(), path(child));
                self.call(async move { system.restart_child(&path).await.map(Some) });
            }
            ["delete", child] => {
                let (system, path) = (self.system(), path(child));
                self.call(async move { system.delete_child(&path).await.map(|()| None) });
            }
            ["add", child] => {
                let spec = self.learn_new(child);
                let system = self.system();
                self.call(async move { system.start_child(&ActorPath::root(), node(spec)).await.map(Some) });
            }
            ["instance", child] => {
                let (id, system) = (self.learn_new(child).id, self.system());
                let start = async move {
                    system.start_instance(&ActorPath::root(), Some(id), toml::Table::new()).await.map(Some)
                };
                self.call(start);
            }
            ["now", child] => drop(self.learn(child)),
            ["spoil", child, starts] => {
                self.world.natures().entry(child.to_owned()).or_default().fails = starts.parse().unwrap();
            }
            ["replace", strategy, ..] => {
                let text = step.strip_prefix("replace ").and_then(|rest| rest.strip_prefix(strategy)).unwrap();
                let strategy = match strategy {
                    "all" => Strategy::OneForAll,
                    "rest" => Strategy::RestForOne,
                    "dynamic" => Strategy::Dynamic,
                    _ => Strategy::OneForOne,
                };
                let (spec, natures) = script::supervisor(strategy, text.trim_start());
                for (child, nature) in spec.children.iter().zip(natures) {
                    self.world.natures().entry(child.id.to_string()).or_insert(nature);
                }
                let (system, tree) = (self.system(), tree(spec));
                self.call(async move {
                    system.replace_specs(&ActorPath::root(), tree, BTreeMap::new()).await.map(|()| None)
                });
            }
            ["pass", span] => {
                let span = parse_duration(span).unwrap();
                self.runtime.block_on(async move { tokio::time::sleep(span).await });
            }
            _ => panic!("actors take no step {step:?}"),
        }
    }

    fn boot(&mut self) {
        let mut registry = BehaviourRegistry::new();
        registry.register::<Probe>("probe");
        let mut resources = Resources::new();
        resources.insert(Arc::clone(&self.world));
        let tree = self.tree.clone();
        self.system = self.runtime.block_on(async {
            System::start(SystemConfig { env: Env::for_test(1), tree, registry, resources }).await.ok()
        });
    }

    /// Remembers how a child behaves from now on.
    fn learn(&self, child: &str) -> ChildSpec {
        let (spec, nature) = script::child(child);
        assert!(!nature.immortal, "nothing that waits is immortal");
        self.world.natures().insert(spec.id.to_string(), nature);
        spec
    }

    /// The same for a child that is to be added. One that is there already goes on as it does.
    fn learn_new(&self, child: &str) -> ChildSpec {
        if self.known { script::child(child).0 } else { self.learn(child) }
    }

    fn end(&self, child: &str, reason: ExitReason) {
        let word = if matches!(reason, ExitReason::Panicked(_)) { Word::Crash } else { Word::Up };
        if !self.world.give(child, word) {
            let probe = self.system().lookup::<ExitReason>(&path(child)).unwrap();
            probe.try_cast(reason).unwrap();
        }
    }

    fn system(&self) -> System {
        self.system.clone().expect("it was booted")
    }

    fn task(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(future));
    }

    fn call(&self, call: impl Future<Output = Result<Option<Started>, AdminFailure>> + Send + 'static) {
        let world = Arc::clone(&self.world);
        self.task(async move {
            let answer = match call.await {
                Ok(None) => "ok".to_owned(),
                Ok(Some(Started { path: None, .. })) => "ok, ignored".to_owned(),
                Ok(Some(Started { info: Some(info), .. })) => format!("ok, started, {info}"),
                Ok(Some(Started { info: None, .. })) => "ok, started".to_owned(),
                Err(AdminFailure::Refused(error)) => format!("refused: {error}"),
                // The core refuses who comes late; of a supervisor that has gone there is no core to ask.
                Err(AdminFailure::NoSupervisor(_) | AdminFailure::Gone(_)) => {
                    "refused: the supervisor is stopping".to_owned()
                }
                Err(other) => format!("failed: {other}"),
            };
            world.answers.lock().unwrap().push(answer);
        });
    }

    /// The children of the running tree stand as the core says.
    fn compare(&self, step: &str, done: &str) {
        let Some(system) = &self.system else {
            assert!(self.over, "the boot failed on actors alone: {done}");
            return;
        };
        let ended = self.runtime.block_on(async {
            let mut ended = std::pin::pin!(system.ended());
            std::future::poll_fn(|cx| std::task::Poll::Ready(ended.as_mut().poll(cx).is_ready())).await
        });
        assert_eq!(ended, self.over, "after {step:?} one has ended and the other has not: {done}");
        if ended {
            return;
        }
        let ups = |id: &str, ups: u32| if self.forgotten.contains(id) { 0 } else { ups };
        let mut expected: Vec<(String, ActorState, u32)> = self
            .core
            .core
            .children()
            .map(|child| {
                let up = self.core.ups.get(child.id).copied().unwrap_or(0);
                (child.id.to_string(), child.state.into(), ups(child.id.as_str(), up))
            })
            .collect();
        let mut found: Vec<(String, ActorState, u32)> = system
            .tree()
            .children
            .iter()
            .map(|child| {
                let id = child.path.id();
                (id.to_owned(), child.state, ups(id, child.incarnation.0))
            })
            .collect();
        if self.dynamic {
            expected.sort_by(|a, b| a.0.cmp(&b.0));
            found.sort_by(|a, b| a.0.cmp(&b.0));
        }
        assert_eq!(found, expected, "actors after {step:?}, which did: {done}");
    }
}

fn path(child: &str) -> ActorPath {
    child.parse().unwrap()
}

fn node(spec: ChildSpec) -> ChildNode {
    let (name, file) = ("probe".to_owned(), "bench.toml".to_owned());
    let work = Work::Behaviour { name, config: toml::Table::new(), file, line: 1 };
    ChildNode { spec, mailbox: Mailbox::default(), host: Host::default(), work }
}

fn tree(spec: SupervisorSpec) -> TreeSpec {
    let children = spec.children.iter().cloned().map(node).collect();
    TreeSpec { name: "bench".to_owned(), spec, children, partitions: 1 }
}
