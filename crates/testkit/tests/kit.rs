//! The testkit keeps its word: what comes about is seen, and what does not is told readably.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use covenant_runtime::{Behaviour, Context, Exit, Ref, Reply, StartError};
use covenant_testkit::{HEARD_MAX, Kit, run};
use covenant_types::{CallError, ExitReason};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Route {
    to: String,
}

enum Letter {
    Send(String),
    Ask(Reply<Arc<String>>),
    Burn,
    Wander,
}

/// Passes letters on, and burns when told to.
struct Postman {
    to: Ref<String>,
}

impl Behaviour for Postman {
    type Config = Route;
    type Message = Letter;

    async fn start(route: Route, ctx: &Context<Self>) -> Result<Self, StartError> {
        let to = route.to.parse().map_err(StartError::failed)?;
        Ok(Self { to: ctx.lookup(&to).map_err(StartError::failed)? })
    }

    async fn handle(&mut self, letter: Letter, ctx: &Context<Self>) -> Result<(), Exit> {
        match letter {
            Letter::Send(text) => self.to.cast(text).await.map_err(Exit::error),
            Letter::Ask(reply) => {
                reply.send(ctx.resource().map_err(Exit::error)?);
                Ok(())
            }
            Letter::Burn => Err(Exit::error("burned")),
            Letter::Wander => {
                drop(ctx.env().work.handle().spawn(std::future::pending::<()>()));
                Ok(())
            }
        }
    }
}

const TREE: &str = r#"
intensity = 2

[[child]]
id = "desk"
behaviour = "desk"
config = { anything = "goes" }

[[child]]
id = "postman"
behaviour = "postman"
backoff = { min = "1h", max = "1h" }
config = { to = "/desk" }
"#;

fn kit() -> Kit {
    Kit::new().behaviour::<Postman>("postman")
}

fn complaint(test: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(test)).unwrap_err();
    panic.downcast_ref::<String>().cloned().unwrap_or_else(|| (*panic.downcast_ref::<&str>().unwrap()).to_owned())
}

#[test]
fn a_neighbour_is_stood_in_for_and_an_hour_of_backoff_takes_no_time() {
    let began = std::time::Instant::now();
    run(async {
        let mut kit = kit().lend(Arc::new("of the kit".to_owned()));
        let desk = kit.stand_in::<String>("desk");
        let tree = kit.start(TREE).await;
        tree.cast("/postman", Letter::Send("first".to_owned())).await;
        assert_eq!(desk.next().await, "first");
        assert_eq!(*tree.call("/postman", Letter::Ask).await, "of the kit");
        tree.cast("/postman", Letter::Burn).await;
        tree.cast("/postman", Letter::Send("second".to_owned())).await;
        assert!(desk.hears_nothing_for(Duration::from_secs(59 * 60)).await, "what waits is not lost, and waits");
        assert_eq!(tree.incarnation("/postman"), 1);
        tree.until_incarnation("/postman", 2).await;
        assert_eq!(desk.next().await, "second");
        let crashes = tree.crashes();
        assert_eq!((crashes.len(), &crashes[0].0.reason), (1, &"error: burned".to_owned()));
        assert!(tree.crashes().is_empty(), "each is told once");
        tree.kill("/desk").await;
        tree.until_incarnation("/desk", 2).await;
        tree.stop().await;
    });
    assert!(began.elapsed() < Duration::from_secs(60), "an hour passed in virtual time");
}

#[test]
fn a_tree_that_gives_up_is_waited_for() {
    run(async {
        let mut kit = kit();
        let _desk = kit.stand_in::<String>("desk");
        let tree = kit.start(&TREE.replace("intensity = 2", "intensity = 0")).await;
        tree.cast("/postman", Letter::Burn).await;
        assert_eq!(tree.until_it_gives_up().await, ExitReason::Shutdown);
    });
}

#[test]
fn what_does_not_come_about_is_told_with_the_tree_and_what_happened() {
    let told = complaint(|| {
        run(async {
            let mut kit = kit();
            let _desk = kit.stand_in::<String>("desk");
            let tree = kit.start(TREE).await;
            tree.cast("/postman", Letter::Burn).await;
            tree.until_incarnation("/desk", 2).await;
        });
    });
    for words in [
        "in vain for incarnation 2 of /desk",
        "/desk desk: running #1, 0 handled, 0 waiting",
        "/postman postman: restarting #1",
        "/postman #1 ended: error: burned",
    ] {
        assert!(told.contains(words), "{words:?} is not in {told}");
    }
    let told = complaint(|| run(async { drop(kit().start(TREE).await) }));
    assert!(told.contains("did not start") && told.contains("unknown behaviour \"desk\""), "{told}");
    let told = complaint(|| run(async { drop(kit().start("strategy = \"one\"").await) }));
    assert!(told.contains("this is no tree: main.toml:1:12"), "{told}");
}

#[test]
fn a_stand_in_that_hears_nothing_says_so() {
    let told = complaint(|| {
        run(async {
            let mut kit = kit();
            let desk = kit.stand_in::<String>("desk");
            let _tree = kit.start(TREE).await;
            desk.next().await;
        });
    });
    assert!(told.contains("was told nothing"), "{told}");
}

#[test]
fn a_task_that_nobody_owns_fails_the_test() {
    let told = complaint(|| {
        run(async {
            let mut kit = kit();
            let _desk = kit.stand_in::<String>("desk");
            let tree = kit.start(TREE).await;
            tree.cast("/postman", Letter::Wander).await;
            tree.settle().await;
            tree.stop().await;
        });
    });
    assert!(told.contains("left 1 tasks running"), "{told}");
}

#[test]
fn a_dropped_tree_leaves_nothing_and_untaken_messages_are_bounded() {
    run(async {
        let mut kit = kit();
        let desk = kit.stand_in::<String>("desk");
        let tree = kit.start(TREE).await;
        for number in 0..=HEARD_MAX {
            tree.cast("/desk", number.to_string()).await;
        }
        tree.until_incarnation("/desk", 2).await;
        assert_eq!(desk.take().len(), HEARD_MAX);
        let gone = tree.actor::<Letter>("/postman");
        drop(tree);
        let answer = gone.call(Letter::Ask, Duration::from_secs(1)).await;
        assert!(matches!(answer, Err(CallError::Gone(_) | CallError::NoProc | CallError::Timeout)), "{answer:?}");
    });
}
