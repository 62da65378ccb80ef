//! State machines: timeouts of states, and messages that wait for another state.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Gate, LONG, eventually, gone, tree, within};
use covenant_env::Env;
use covenant_runtime::{
    BehaviourRegistry, Context, Exit, Machine, Ref, Reply, Resources, StartError, StateMachine, Step, System,
    SystemConfig,
};
use covenant_types::{ActorPath, CallError, ExitReason};
use serde::Deserialize;

/// Notes numbers in the state a message names, and goes where it is told.
struct Scripted(Arc<Notes>);

#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn write(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum At {
    Idle,
    Busy,
    /// Lasts ten seconds.
    Short,
}

enum Tell {
    Go(At),
    /// Noted in that state.
    In(At, u64),
    /// Noted in that state, which is left for the other.
    InThenGo(At, u64, At),
    /// Answered in that state.
    AskIn(At, Reply<At>),
    Hold(Arc<Gate>),
    Crash,
    Stop,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Script {
    fail_enter: bool,
}

impl StateMachine for Scripted {
    type Config = Script;
    type Message = Tell;
    type State = At;

    const POSTPONED_MAX: usize = 3;

    async fn start(script: Script, ctx: &Context<Machine<Self>>) -> Result<(Self, At), StartError> {
        let notes: Arc<Notes> = ctx.resource()?;
        Ok((Self(notes), if script.fail_enter { At::Busy } else { At::Idle }))
    }

    fn state_timeout(&self, state: &At) -> Option<Duration> {
        (*state == At::Short).then_some(Duration::from_secs(10))
    }

    async fn timeout(&mut self, state: &At, _: &Context<Machine<Self>>) -> Result<Step<Self>, Exit> {
        self.0.write(format!("timeout in {state:?}"));
        Ok(Step::Go(At::Idle))
    }

    async fn enter(&mut self, state: &At, ctx: &Context<Machine<Self>>) -> Result<(), Exit> {
        self.0.write(format!("enter {state:?}"));
        let refuses = *state == At::Busy && ctx.path().id() == "refuses";
        if refuses { Err(Exit::error("no entry")) } else { Ok(()) }
    }

    async fn handle(&mut self, state: &At, message: Tell, ctx: &Context<Machine<Self>>) -> Result<Step<Self>, Exit> {
        match message {
            Tell::Go(state) => return Ok(Step::Go(state)),
            Tell::In(at, _) | Tell::InThenGo(at, ..) | Tell::AskIn(at, _) if at != *state => {
                return Ok(Step::Postpone(message));
            }
            Tell::In(_, number) => self.0.write(number.to_string()),
            Tell::InThenGo(_, number, to) => {
                self.0.write(number.to_string());
                return Ok(Step::Go(to));
            }
            Tell::AskIn(_, reply) => reply.send(*state),
            Tell::Hold(gate) => gate.hold().await,
            Tell::Crash => return Err(Exit::error("told to")),
            Tell::Stop => ctx.stop(),
        }
        Ok(Step::Stay)
    }

    async fn stop(self, state: &At, reason: &ExitReason, _: &Context<Machine<Self>>) {
        self.0.write(format!("stop in {state:?}: {reason}"));
    }
}

struct Rig {
    system: System,
    notes: Arc<Notes>,
}

impl Rig {
    async fn start(keys: &str) -> Self {
        let notes = Arc::new(Notes::default());
        let mut registry = BehaviourRegistry::new();
        registry.register::<Machine<Scripted>>("scripted");
        let mut resources = Resources::new();
        resources.insert(Arc::clone(&notes));
        let tree = tree(&format!("intensity = 9\n[[child]]\nid = \"m\"\nbehaviour = \"scripted\"\n{keys}\n"), &[]);
        let system = System::start(SystemConfig { env: Env::for_test(1), tree, registry, resources }).await.unwrap();
        Self { system, notes }
    }

    fn machine(&self) -> Ref<Tell> {
        self.system.lookup(&path()).unwrap()
    }

    /// Tells it all this, then waits until the state is `at` and all was handled.
    async fn tell(&self, messages: impl IntoIterator<Item = Tell>, at: At) -> Vec<String> {
        for message in messages {
            self.machine().cast(message).await.unwrap();
        }
        assert_eq!(self.machine().call(|reply| Tell::AskIn(at, reply), LONG).await, Ok(at));
        self.notes.lines()
    }
}

fn path() -> ActorPath {
    "/m".parse().unwrap()
}

#[tokio::test]
async fn postponed_messages_are_handled_in_order_before_later_ones_once_the_state_changed() {
    let rig = Rig::start("").await;
    let messages = [
        Tell::In(At::Busy, 1),
        Tell::In(At::Busy, 2),
        Tell::Go(At::Idle), // no change: nothing is handled again
        Tell::In(At::Idle, 3),
        Tell::Go(At::Busy),
        Tell::In(At::Busy, 4),
    ];
    assert_eq!(rig.tell(messages, At::Busy).await, ["enter Idle", "3", "enter Busy", "1", "2", "4"]);
}

#[tokio::test]
async fn order_is_kept_over_a_change_in_the_midst_of_what_was_postponed() {
    let rig = Rig::start("").await;
    let messages = [
        Tell::In(At::Short, 1),                 // waits on when Busy begins
        Tell::InThenGo(At::Busy, 2, At::Short), // changes the state
        Tell::In(At::Short, 3),                 // was not looked at in Busy
        Tell::Go(At::Busy),
        Tell::In(At::Short, 4),
    ];
    let lines = rig.tell(messages, At::Short).await;
    assert_eq!(lines, ["enter Idle", "enter Busy", "2", "enter Short", "1", "3", "4"]);
}

#[tokio::test]
async fn one_message_too_many_is_dropped_and_its_caller_told() {
    let rig = Rig::start("").await;
    let messages = (1..=3).map(|number| Tell::In(At::Busy, number));
    rig.tell(messages, At::Idle).await;
    let asked = rig.machine().call(|reply| Tell::AskIn(At::Busy, reply), LONG).await;
    assert_eq!(asked, Err(CallError::MailboxFull));
    assert_eq!(rig.system.tree().children[0].mailbox.unwrap().dropped, 1);
    let lines = rig.tell([Tell::Go(At::Busy)], At::Busy).await;
    assert_eq!(lines, ["enter Idle", "enter Busy", "1", "2", "3"], "the others wait on");
}

#[tokio::test]
async fn a_crash_answers_what_was_postponed_and_the_next_incarnation_begins_anew() {
    for last in [Tell::Crash, Tell::Go(At::Busy)] {
        let rig = Rig::start("").await;
        let asking = rig.machine();
        let postponed =
            rig.system.env().work.spawn(async move { asking.call(|reply| Tell::AskIn(At::Short, reply), LONG).await });
        eventually(|| rig.system.tree().children[0].handled == 1).await;
        let crash_in_busy = matches!(last, Tell::Go(_));
        rig.machine().cast(Tell::InThenGo(At::Busy, 1, At::Idle)).await.unwrap();
        rig.machine().cast(last).await.unwrap();
        if crash_in_busy {
            rig.machine().cast(Tell::Crash).await.unwrap();
        }
        assert_eq!(within(postponed).await.unwrap(), Err(gone(ExitReason::Error("told to".to_owned()))));
        assert_eq!(rig.tell([], At::Idle).await.last().unwrap(), "enter Idle");
        assert_eq!(rig.system.tree().children[0].incarnation.0, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn the_timeout_of_a_state_fires_once_unless_the_state_was_left() {
    let rig = Rig::start("").await;
    let pause = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
    rig.tell([Tell::Go(At::Short)], At::Short).await;
    pause(9).await;
    rig.tell([Tell::Go(At::Short), Tell::In(At::Short, 1)], At::Short).await; // staying changes nothing
    pause(2).await;
    let mut expected = vec!["enter Idle", "enter Short", "1", "timeout in Short", "enter Idle"];
    assert_eq!(rig.tell([], At::Idle).await, expected);
    pause(60).await;
    rig.tell([Tell::Go(At::Short)], At::Short).await;
    pause(9).await;
    rig.tell([Tell::Go(At::Busy)], At::Busy).await;
    pause(60).await;
    expected.extend(["enter Short", "enter Busy"]);
    assert_eq!(rig.tell([], At::Busy).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_loses_no_timeout_and_a_state_that_was_left_late_has_none() {
    let rig = Rig::start("mailbox = { capacity = 2, overflow = \"fail\" }").await;
    for left_before in [false, true] {
        rig.tell([Tell::Go(At::Short)], At::Short).await;
        let gate = Gate::new();
        rig.machine().cast(Tell::Hold(Arc::clone(&gate))).await.unwrap();
        gate.entered().await;
        let last = if left_before { Tell::Go(At::Idle) } else { Tell::In(At::Short, 1) };
        rig.machine().cast(last).await.unwrap();
        assert_eq!(rig.machine().try_cast(Tell::Go(At::Idle)), Err(CallError::MailboxFull));
        tokio::time::sleep(Duration::from_secs(if left_before { 9 } else { 11 })).await;
        gate.open();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let timeouts = rig.notes.lines().iter().filter(|line| line.starts_with("timeout")).count();
        assert_eq!(timeouts, 1, "left before: {left_before}");
        rig.tell([], At::Idle).await;
    }
}

#[tokio::test]
async fn a_machine_stops_in_its_state_and_leaves_the_rest_of_what_was_postponed() {
    let rig = Rig::start("restart = \"transient\"").await;
    let machine = rig.machine();
    for message in [Tell::In(At::Busy, 1), Tell::Stop, Tell::In(At::Busy, 2)] {
        machine.cast(message).await.unwrap();
    }
    eventually(|| rig.notes.lines().len() == 2).await;
    assert_eq!(rig.notes.lines(), ["enter Idle", "stop in Idle: normal"]);
}

#[tokio::test]
async fn a_machine_that_cannot_enter_its_first_state_does_not_start() {
    let mut registry = BehaviourRegistry::new();
    registry.register::<Machine<Scripted>>("scripted");
    let mut resources = Resources::new();
    resources.insert(Arc::new(Notes::default()));
    let child = "[[child]]\nid = \"refuses\"\nbehaviour = \"scripted\"\nconfig = { fail_enter = true }\n";
    let config = SystemConfig { env: Env::for_test(1), tree: tree(child, &[]), registry, resources };
    let error = System::start(config).await.unwrap_err();
    assert!(error.to_string().contains("no entry"), "{error}");
}
