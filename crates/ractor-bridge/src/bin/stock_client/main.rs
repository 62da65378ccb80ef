//! `stock_client`: a program of `ractor_cluster` as it comes, with nothing of Covenant in it, that uses a bridge.
//!
//! It does what its standard input says, a line at a time, and says a line for each. The tests start it, and it can be
//! used by hand: `stock_client ADDRESS FOLDER NAME COOKIE`, where FOLDER has `node.key` and `chain.pem`, and NAME is that in the
//! certificate.

mod quic;
mod words;

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use quinn::Connection;
use ractor::rpc::CallResult;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::node::{NodeConnectionMode, NodeServerSessionInformation};
use ractor_cluster::{
    NodeEventSubscription, NodeServer, NodeServerMessage, RactorClusterMessage, client_connect_external,
};
use tokio::sync::mpsc;
use words::Counter;

/// The group that is asked.
const GROUP: &str = "counters";
/// How long the group may take to change, and how often it is looked at.
const CHANGED_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, folder, name, cookie] = &arguments[..] else {
        return Err("stock_client takes ADDRESS FOLDER NAME COOKIE".into());
    };
    let identity = quic::Identity::load(Path::new(folder))?;
    let root = identity.root.clone();
    let (_endpoint, connection) = match quic::connect(address.parse()?, Some(identity), root).await {
        Ok(connected) => connected,
        Err(error) => return say(format_args!("refused: {error}")),
    };
    let isolated = Some(NodeConnectionMode::Isolated);
    let server = NodeServer::new(0, cookie.clone(), name.clone(), "laptop".to_owned(), None, isolated)
        .with_listen_addr("127.0.0.1".parse()?);
    let (server, _task) = Actor::spawn(None, server, ()).await?;
    let (told, mut events) = mpsc::channel(1);
    let subscription = Box::new(Events(told));
    server.cast(NodeServerMessage::SubscribeToEvents { id: "client".to_owned(), subscription })?;
    // It is announced to the bridge, which takes none of it in.
    let (own, _task) = Actor::spawn(None, Own, ()).await?;
    ractor::pg::join("clients".to_owned(), vec![own.get_cell()]);
    let (send, recv) = match connection.open_bi().await {
        Ok(streams) => streams,
        Err(error) => return say(format_args!("refused: {error}")),
    };
    client_connect_external(&server, Box::new(quic::Stream(send, recv))).await?;
    match events.recv().await {
        Some(true) => say(format_args!("ready"))?,
        Some(false) | None => return say(format_args!("refused: {}", connection.closed().await)),
    }
    let (said, mut lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| said.blocking_send(line))
    });
    while let Some(line) = lines.recv().await {
        let answer = act(&line, &server, &connection).await.unwrap_or_else(|error| format!("failed: {error}"));
        say(format_args!("{answer}"))?;
    }
    Ok(())
}

/// Does what a line says, and answers it.
async fn act(
    line: &str,
    server: &ActorRef<NodeServerMessage>,
    connection: &Connection,
) -> Result<String, Box<dyn Error>> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let number = || rest.parse::<u64>();
    Ok(match verb {
        "members" => return members(usize::try_from(number()?)?).await,
        "add" => cast(Counter::Add(number()?))?,
        "retire" => cast(Counter::Retire)?,
        "wrong" => {
            let counter: ActorRef<Wrong> = counter()?.get_cell().into();
            counter.cast(Wrong::Vanish)?;
            counter.cast(Wrong::Add(1))?;
            "ok".to_owned()
        }
        "total" => call(Counter::Total, Duration::from_secs(20)).await?,
        "hold" => {
            let millis = number()?;
            call(move |port| Counter::Hold(millis, port), Duration::from_secs(20)).await?
        }
        "last" => call(Counter::LastWord, Duration::from_secs(20)).await?,
        "forget" => call(Counter::Forget, Duration::from_secs(20)).await?,
        // So many calls at once, each held for a little; answers how many of them came to which end.
        "burst" => burst(number()?).await?,
        // So many casts as fast as they go.
        "flood" => {
            for _ in 0..number()? {
                cast(Counter::Add(1))?;
            }
            "ok".to_owned()
        }
        "server" => {
            let asked = server.call(NodeServerMessage::GetSessions, Some(Duration::from_secs(5))).await?;
            let CallResult::Success(sessions) = asked else { return Err("no sessions".into()) };
            let names = sessions.values().filter_map(|session| session.peer_name.as_ref());
            names.map(|name| name.connection_string.clone()).collect()
        }
        "closed" => connection.closed().await.to_string(),
        _ => return Err(format!("{line:?} is not understood").into()),
    })
}

/// Waits until the group has so many members.
async fn members(wanted: usize) -> Result<String, Box<dyn Error>> {
    let changed = async {
        while ractor::pg::get_members(&GROUP.to_owned()).len() != wanted {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(CHANGED_WITHIN, changed).await?;
    Ok(format!("{wanted} members"))
}

fn counter() -> Result<ActorRef<Counter>, Box<dyn Error>> {
    let members = ractor::pg::get_members(&GROUP.to_owned());
    Ok(members.into_iter().next().ok_or("the group is empty")?.into())
}

fn cast(message: Counter) -> Result<String, Box<dyn Error>> {
    counter()?.cast(message)?;
    Ok("ok".to_owned())
}

async fn call(
    message: impl FnOnce(ractor::RpcReplyPort<String>) -> Counter,
    within: Duration,
) -> Result<String, Box<dyn Error>> {
    Ok(match counter()?.call(message, Some(within)).await? {
        CallResult::Success(answer) => answer,
        CallResult::Timeout => "timeout".to_owned(),
        CallResult::SenderError => "no answer".to_owned(),
    })
}

async fn burst(calls: u64) -> Result<String, Box<dyn Error>> {
    let counter = counter()?;
    let asked: Vec<_> = (0..calls)
        .map(|_| {
            let counter = counter.clone();
            tokio::spawn(async move { counter.call(|port| Counter::Hold(1, port), Some(CHANGED_WITHIN)).await })
        })
        .collect();
    let mut ends = std::collections::BTreeMap::<String, u32>::new();
    for asked in asked {
        let end = match asked.await?? {
            CallResult::Success(answer) => answer,
            CallResult::Timeout => "timeout".to_owned(),
            CallResult::SenderError => "no answer".to_owned(),
        };
        *ends.entry(end).or_default() += 1;
    }
    Ok(ends.iter().map(|(end, count)| format!("{count} {end}")).collect::<Vec<_>>().join(", "))
}

fn say(line: std::fmt::Arguments<'_>) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// What no counter understands: a variant that it does not have, and a number that is too short.
#[derive(RactorClusterMessage)]
enum Wrong {
    Vanish,
    Add(u8),
}

/// An actor of the client's own.
struct Own;

impl Actor for Own {
    type Msg = Counter;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Counter>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

/// Tells whether the session is ready, or has ended: the first of the two that happens. Nobody listens for what follows.
struct Events(mpsc::Sender<bool>);

impl NodeEventSubscription for Events {
    fn node_session_opened(&self, _: NodeServerSessionInformation) {}

    fn node_session_disconnected(&self, _: NodeServerSessionInformation) {
        let _told = self.0.try_send(false);
    }

    fn node_session_authenticated(&self, _: NodeServerSessionInformation) {}

    fn node_session_ready(&self, _: NodeServerSessionInformation) {
        let _told = self.0.try_send(true);
    }
}
