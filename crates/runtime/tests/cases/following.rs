//! Traces: what follows from what.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{self, Gate, LONG, eventually, within};
use covenant_env::Env;
use covenant_runtime::{
    Behaviour, BehaviourRegistry, Context, CrashLog, Exit, FlightRecord, Observe, Reply, Resources, StartError, System,
    SystemConfig, TraceLimits, current_trace, traced,
};
use covenant_types::{ActorPath, TraceId};

/// What a [`Hop`] is told.
enum Word {
    /// Notes the trace it is in under this name, and passes the rest on to these, the first of them next.
    Pass(&'static str, Vec<&'static str>),
    /// As `Pass`, after the gate was opened.
    Wait(&'static str, Arc<Gate>, Vec<&'static str>),
    /// As `Pass`, by way of something of its own.
    By(Way, &'static str, Vec<&'static str>),
    /// Answers the trace it is in.
    Which(Reply<Option<TraceId>>),
    /// Asks that actor for its trace, and answers it.
    Ask(&'static str, Reply<Option<TraceId>>),
    /// Crashes.
    Crash,
}

/// How a message may be sent later.
#[derive(Clone, Copy)]
enum Way {
    Timer,
    Task,
    /// After a trace of its own was begun.
    Anew,
}

type Seen = Mutex<Vec<(String, Option<TraceId>)>>;

struct Hop(Arc<Seen>);

impl Hop {
    fn note(&self, what: &str) {
        self.0.lock().unwrap().push((what.to_owned(), current_trace()));
    }
}

async fn pass(ctx: &Context<Hop>, what: &'static str, mut to: Vec<&'static str>) {
    if to.is_empty() {
        return;
    }
    let next = ctx.lookup::<Word>(&path(to.remove(0))).unwrap();
    next.cast(Word::Pass(what, to)).await.unwrap();
}

impl Behaviour for Hop {
    type Config = toml::Table;
    type Message = Word;

    async fn start(_: toml::Table, ctx: &Context<Self>) -> Result<Self, StartError> {
        Ok(Self(ctx.resource()?))
    }

    async fn handle(&mut self, word: Word, ctx: &Context<Self>) -> Result<(), Exit> {
        match word {
            Word::Pass(what, to) => {
                self.note(what);
                pass(ctx, what, to).await;
            }
            Word::Wait(what, gate, to) => {
                gate.hold().await;
                self.note(what);
                pass(ctx, what, to).await;
            }
            Word::By(Way::Timer, what, _) => ctx.send_after(Duration::from_millis(1), Word::Pass(what, Vec::new())),
            Word::By(Way::Task, what, _) => {
                let me = ctx.me();
                let task = async move {
                    tokio::task::yield_now().await;
                    me.cast(Word::Pass(what, Vec::new())).await.unwrap();
                };
                ctx.spawn(task).unwrap();
            }
            Word::By(Way::Anew, what, to) => {
                let begun = ctx.begin_trace();
                tokio::task::yield_now().await;
                assert_eq!(current_trace(), Some(begun));
                pass(ctx, what, to).await;
            }
            Word::Which(reply) => reply.send(current_trace()),
            Word::Ask(whom, reply) => {
                let whom = ctx.lookup::<Word>(&path(whom)).unwrap();
                let theirs = whom.call(Word::Which, LONG).await.unwrap();
                assert_eq!(current_trace(), theirs, "the answer changes nothing");
                reply.send(theirs);
            }
            Word::Crash => return Err(Exit::error("told to")),
        }
        Ok(())
    }

    fn kind(word: &Word) -> &'static str {
        if let Word::Pass(what, _) | Word::Wait(what, ..) | Word::By(_, what, _) = word { what } else { "other" }
    }
}

fn path(text: &str) -> ActorPath {
    text.parse().unwrap()
}

struct Rig {
    system: System,
    seen: Arc<Seen>,
    log: CrashLog,
}

impl Rig {
    /// `/a`, `/b` and `/c`.
    async fn start(env: Env) -> Self {
        let mut registry = BehaviourRegistry::new();
        registry.register::<Hop>("hop");
        let (seen, log, mut resources) = (Arc::new(Seen::default()), CrashLog::new(), Resources::new());
        resources.insert(Arc::clone(&seen));
        let child = |id| format!("[[child]]\nid = \"{id}\"\nbehaviour = \"hop\"\n");
        let tree = support::tree(&["a", "b", "c"].map(child).concat(), &[]);
        let observe = Observe { crashes: Some(log.clone()), ..Observe::default() };
        let config = SystemConfig { env, tree, registry, resources };
        let system = System::start_observed(config, observe).await.unwrap();
        Self { system, seen, log }
    }

    async fn cast(&self, to: &str, trace: Option<TraceId>, word: Word) {
        let to = self.system.lookup::<Word>(&path(to)).unwrap();
        traced(trace, to.cast(word)).await.unwrap();
    }

    /// The traces that were noted under `what`, once there are so many.
    async fn seen(&self, what: &str, count: usize) -> Vec<Option<TraceId>> {
        let of_it = || -> Vec<Option<TraceId>> {
            self.seen.lock().unwrap().iter().filter(|(name, _)| name == what).map(|(_, trace)| *trace).collect()
        };
        eventually(|| of_it().len() == count).await;
        of_it()
    }
}

#[tokio::test]
async fn what_a_handler_sends_is_part_of_the_trace_of_its_message() {
    let rig = Rig::start(Env::for_test(1)).await;
    let trace = Some(rig.system.new_trace());
    rig.cast("/a", trace, Word::Pass("chain", vec!["/b", "/c"])).await;
    assert_eq!(rig.seen("chain", 3).await, [trace; 3]);
    assert_eq!(current_trace(), None, "whoever is no actor is in none");
}

#[tokio::test]
async fn a_message_from_outside_is_part_of_none_also_after_one_that_was() {
    let rig = Rig::start(Env::for_test(1)).await;
    let trace = Some(rig.system.new_trace());
    let gate = Gate::new();
    rig.cast("/a", trace, Word::Wait("first", Arc::clone(&gate), vec![])).await;
    gate.entered().await;
    rig.cast("/a", None, Word::Pass("second", vec!["/b"])).await;
    gate.open();
    assert_eq!((rig.seen("first", 1).await, rig.seen("second", 2).await), (vec![trace], vec![None; 2]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn traces_at_once_do_not_mix_and_outlive_a_wait_that_changes_threads() {
    let rig = Rig::start(Env::for_test(1)).await;
    let chain = |what, first, rest: Vec<&'static str>| {
        let (rig, trace) = (&rig, Some(rig.system.new_trace()));
        async move {
            for _ in 0..200 {
                let gate = Gate::new();
                rig.cast(first, trace, Word::Wait(what, Arc::clone(&gate), rest.clone())).await;
                gate.entered().await;
                gate.open(); // from here, so that the handler goes on wherever there is a thread
            }
            assert_eq!(rig.seen(what, 600).await, [trace; 600], "{what}");
        }
    };
    let (one, other) = (chain("one", "/a", vec!["/b", "/c"]), chain("other", "/a", vec!["/c", "/b"]));
    within(futures_util::future::join(one, other)).await;
}

#[tokio::test]
async fn timers_and_tasks_of_an_actor_are_part_of_the_trace_they_were_started_in() {
    let rig = Rig::start(Env::for_test(1)).await;
    let trace = Some(rig.system.new_trace());
    rig.cast("/a", trace, Word::By(Way::Timer, "timer", vec![])).await;
    rig.cast("/a", trace, Word::By(Way::Task, "task", vec![])).await;
    rig.cast("/a", None, Word::By(Way::Timer, "untraced", vec![])).await;
    let seen = (rig.seen("timer", 1).await, rig.seen("task", 1).await, rig.seen("untraced", 1).await);
    assert_eq!(seen, (vec![trace], vec![trace], vec![None]));
}

#[tokio::test]
async fn calls_carry_a_trace_there_and_the_caller_stays_in_its_own() {
    let rig = Rig::start(Env::for_test(1)).await;
    let trace = Some(rig.system.new_trace());
    let a = rig.system.lookup::<Word>(&path("/a")).unwrap();
    let asked = traced(trace, a.call(|reply| Word::Ask("/b", reply), LONG)).await;
    assert_eq!(asked, Ok(trace));
    assert_eq!(a.call(Word::Which, LONG).await, Ok(None));
}

#[tokio::test]
async fn a_handler_can_begin_a_trace_which_ends_with_it() {
    let rig = Rig::start(Env::for_test(1)).await;
    for _ in 0..2 {
        rig.cast("/a", None, Word::By(Way::Anew, "anew", vec!["/b"])).await;
    }
    rig.cast("/a", None, Word::Pass("after", vec![])).await;
    let begun = rig.seen("anew", 2).await;
    assert!(begun[0].is_some() && begun[1].is_some() && begun[0] != begun[1], "{begun:?}");
    assert_eq!(rig.seen("after", 1).await, [None]);
}

#[tokio::test]
async fn traces_stand_in_flight_records_traces_and_crash_reports() {
    let rig = Rig::start(Env::for_test(1)).await;
    let trace = Some(rig.system.new_trace());
    let limits = TraceLimits { messages: 2, time: LONG };
    let mut watched = rig.system.trace(&path("/a"), limits, LONG).await.unwrap();
    rig.cast("/a", None, Word::Pass("without", vec![])).await;
    rig.cast("/a", trace, Word::Pass("with", vec![])).await;
    let told = [within(watched.next()).await.unwrap().trace, within(watched.next()).await.unwrap().trace];
    assert_eq!(told, [None, trace]);
    let of = |record: &FlightRecord| record.messages.iter().map(|message| message.trace).collect::<Vec<_>>();
    let inspected = rig.system.inspect(&path("/a"), LONG).await.unwrap();
    assert_eq!(of(&inspected.record.unwrap()), [None, trace]);

    rig.cast("/a", trace, Word::Crash).await;
    within(rig.log.told()).await;
    let crashes = rig.log.take().crashes.into_values().next().unwrap();
    let report = crashes.first.unwrap();
    assert_eq!((report.trace, of(&report.record.unwrap())), (trace, vec![None, trace, trace]));
}

#[tokio::test]
async fn the_trace_of_what_was_in_hand_is_known_of_a_kill_too() {
    let rig = Rig::start(Env::for_test(1)).await;
    let (trace, gate) = (Some(rig.system.new_trace()), Gate::new());
    rig.cast("/a", trace, Word::Wait("held", Arc::clone(&gate), vec![])).await;
    gate.entered().await;
    rig.system.kill(&path("/a")).await.unwrap();
    let report = rig.log.take().crashes.into_values().next().unwrap().first.unwrap();
    assert_eq!(report.trace, trace);
    rig.cast("/b", trace, Word::Pass("done", vec![])).await;
    rig.seen("done", 1).await;
    rig.system.kill(&path("/b")).await.unwrap();
    let report = rig.log.take().crashes.into_values().next().unwrap().first.unwrap();
    assert_eq!(report.trace, None, "it had nothing in hand");
}
