//! A door as a state machine: who comes while it is closed waits in order, and it closes by itself.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use covenant::prelude::*;

/// The `config` of its child in the tree.
#[derive(serde::Deserialize)]
struct Lock {
    code: u32,
    open_ms: u64,
}

/// What people may ask of a [`Door`].
enum Message {
    /// Opens the door, if the code is right.
    Unlock(u32, Reply<bool>),
    /// Goes through; answered when that was possible.
    Enter(&'static str, Reply<u32>),
}

/// Where it is.
#[derive(PartialEq)]
enum State {
    Closed,
    Open,
}

/// What both states share.
struct Door {
    lock: Lock,
    entered: u32,
}

impl StateMachine for Door {
    type Config = Lock;
    type Message = Message;
    type State = State;

    /// More people do not fit before the door: they are told so.
    const POSTPONED_MAX: usize = 16;

    async fn start(lock: Lock, _: &Context<Machine<Self>>) -> Result<(Self, State), StartError> {
        Ok((Self { lock, entered: 0 }, State::Closed))
    }

    async fn handle(
        &mut self,
        state: &State,
        message: Message,
        _: &Context<Machine<Self>>,
    ) -> Result<Step<Self>, Exit> {
        Ok(match (state, message) {
            (_, Message::Unlock(code, reply)) if code == self.lock.code => {
                reply.send(true);
                Step::Go(State::Open)
            }
            (_, Message::Unlock(_, reply)) => {
                reply.send(false);
                Step::Stay
            }
            (State::Closed, enter @ Message::Enter(..)) => Step::Postpone(enter),
            (State::Open, Message::Enter(name, reply)) => {
                self.entered += 1;
                println!("{name} goes in");
                reply.send(self.entered);
                Step::Stay
            }
        })
    }

    fn state_timeout(&self, state: &State) -> Option<Duration> {
        (*state == State::Open).then(|| Duration::from_millis(self.lock.open_ms))
    }

    async fn timeout(&mut self, _: &State, _: &Context<Machine<Self>>) -> Result<Step<Self>, Exit> {
        println!("the door closes");
        Ok(Step::Go(State::Closed))
    }
}

const TREE: &str = r#"
[[child]]
id = "door"
behaviour = "door"
config = { code = 1234, open_ms = 50 }
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut registry = BehaviourRegistry::new();
    registry.register::<Machine<Door>>("door");
    let system = covenant::start(TREE, registry).await?;

    let door: Ref<Message> = system.lookup(&"/door".parse()?)?;
    let deadline = Duration::from_secs(1);
    let enter = |name| door.call(move |reply| Message::Enter(name, reply), deadline);
    let unlock = async {
        println!("a wrong code opens it: {}", door.call(|reply| Message::Unlock(1, reply), deadline).await?);
        println!("the right one does: {}", door.call(|reply| Message::Unlock(1234, reply), deadline).await?);
        Ok::<_, CallError>(())
    };
    let (ada, grace, unlocked) = tokio::join!(enter("ada"), enter("grace"), unlock);
    unlocked?;
    println!("ada was number {}, grace number {}", ada?, grace?);

    tokio::time::sleep(Duration::from_millis(100)).await;
    let late = door.call(|reply| Message::Enter("late", reply), Duration::from_millis(100)).await;
    println!("late: {late:?}");

    system.stop(deadline).await;
    Ok(())
}
