//! Applies that meet what is broken: a child that crashes without end, and one that does not come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use covenant_runtime::{Behaviour, Context, Exit, Reply, Resources, StartError, SystemConfig};
use serde::Deserialize;

use super::*;

/// What a child of these trees is like: `calm`, `loops` or `breaks`.
#[derive(Deserialize)]
struct Mood {
    mood: String,
}

/// Set by the first start that `breaks`: no start succeeds from then on.
#[derive(Default)]
struct Broken(AtomicBool);

struct Moody(String);

enum Word {
    Crash,
    Mood(Reply<String>),
}

impl Behaviour for Moody {
    type Config = Mood;
    type Message = Word;

    async fn start(config: Mood, ctx: &Context<Self>) -> Result<Self, StartError> {
        let broken = ctx.resource::<Broken>()?;
        if config.mood == "breaks" {
            broken.0.store(true, Ordering::Release);
        }
        if broken.0.load(Ordering::Acquire) {
            return Err(StartError::failed("broken"));
        }
        if config.mood == "loops" {
            let _full_of_crashes = ctx.me().try_cast(Word::Crash);
        }
        Ok(Self(config.mood))
    }

    async fn handle(&mut self, word: Word, _: &Context<Self>) -> Result<(), Exit> {
        match word {
            Word::Crash if self.0 == "loops" => return Err(Exit::error("again")),
            Word::Crash => {}
            Word::Mood(reply) => reply.send(self.0.clone()),
        }
        Ok(())
    }
}

struct Rig {
    live: LiveTree,
    system: System,
    registry: BehaviourRegistry,
    broken: Arc<Broken>,
    _data: tempfile::TempDir,
}

fn bundle(a: &str) -> TreeBundle {
    let child = |id: &str, keys: &str| format!("[[child]]\nid = \"{id}\"\nbehaviour = \"moody\"\n{keys}\n");
    let text = format!("intensity = 1000000\n{}{}", child("a", a), child("b", "config = { mood = \"calm\" }"));
    TreeBundle { root: "main".to_owned(), files: [("main".to_owned(), text)].into() }
}

impl Rig {
    /// Runs `/a` with these keys, and `/b`, which is calm.
    async fn start(a: &str) -> Self {
        let (data, env, broken) = (tempfile::tempdir().unwrap(), Env::for_test(1), Arc::new(Broken::default()));
        let mut registry = BehaviourRegistry::new();
        registry.register::<Moody>("moody");
        let (files, told) = read_bundle(bundle(a), &registry).unwrap();
        let store = TreeStore::new(data.path());
        store.boot(&files).unwrap();
        let mut resources = Resources::new();
        resources.insert(Arc::clone(&broken));
        let (tree, live) = (told.spec.clone(), LiveTree::new(store, told, &env));
        let config = SystemConfig { env, tree, registry: registry.clone(), resources };
        let system = System::start(config).await.unwrap();
        Self { live, system, registry, broken, _data: data }
    }

    async fn apply(&self, a: &str) -> Result<Applied, ApiError> {
        let (files, to) = read_bundle(bundle(a), &self.registry).unwrap();
        let (plan, _) = self.live.plan("here", &self.system.tree(), &to).unwrap();
        let wanted = Wanted { files, to, hash: plan.hash, who: "test".to_owned() };
        self.live.apply("here", &self.system, wanted).await
    }

    async fn mood(&self, path: &str) -> String {
        let actor = self.system.lookup::<Word>(&path.parse().unwrap()).unwrap();
        actor.call(Word::Mood, Duration::from_secs(20)).await.unwrap()
    }

    fn incarnation(&self, path: &str) -> u32 {
        self.system.tree().find(&path.parse().unwrap()).unwrap().incarnation.0
    }
}

#[tokio::test]
async fn an_apply_mends_a_child_that_crashes_without_end() {
    for pause in ["", "backoff = { min = \"1h\", max = \"1h\" }"] {
        let rig = Rig::start(&format!("config = {{ mood = \"loops\" }}\n{pause}")).await;
        while rig.system.tree().find(&"/a".parse().unwrap()).unwrap().state == covenant_runtime::ActorState::Running
            || pause.is_empty() && rig.incarnation("/a") < 10
        {
            tokio::task::yield_now().await;
        }
        let applied = rig.apply(&format!("config = {{ mood = \"calm\" }}\n{pause}")).await.unwrap();
        assert_eq!(applied.done, ["restarted /a"]);
        assert_eq!(rig.mood("/a").await, "calm");
        let mended = rig.incarnation("/a");
        assert_eq!((rig.mood("/b").await.as_str(), rig.incarnation("/b")), ("calm", 1), "its sibling never noticed");
        assert_eq!((rig.incarnation("/a"), rig.incarnation("/")), (mended, 1), "and the loop is over");
    }
}

#[tokio::test]
async fn an_undo_that_fails_says_what_is_left_and_the_old_specs_are_in_force() {
    let rig = Rig::start("config = { mood = \"calm\" }").await;
    let before = rig.live.told().hash;
    let failed = rig.apply("config = { mood = \"breaks\" }").await.unwrap_err();
    let said = failed.message;
    assert!(said.starts_with("/a: the child did not start"), "{said}");
    assert!(said.contains("before that it had nothing; and not all of it could be undone: /a: "), "{said}");
    assert!(said.contains("covenant tree drift"), "{said}");
    assert_eq!(rig.live.told().hash, before);
    assert_eq!(TreeFiles::hash(&rig.live.store.in_force().unwrap().0), before, "what the next boot runs");
    assert_eq!(rig.incarnation("/b"), 1);

    rig.broken.0.store(false, Ordering::Release);
    rig.system.restart_child(&"/a".parse().unwrap()).await.unwrap();
    assert_eq!(rig.mood("/a").await, "calm", "started by hand it is what it was");
    let applied = rig.apply("config = { mood = \"still calm\" }").await.unwrap();
    assert_eq!((applied.done, rig.mood("/a").await.as_str()), (vec!["restarted /a".to_owned()], "still calm"));
}
