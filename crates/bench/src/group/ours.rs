//! Three members of ours, each a process, and a node with the clients in this one.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use covenant_book::{AccountOrder, Action, Asset, Limit, Movement, NewTransfer, Order, Period, Tags};
use covenant_cluster::Cluster;
use covenant_consensus::{GroupClient, Groups, Sender};
use covenant_identity::certificates_to_pem;
use covenant_transport::NodeCredentials;
use covenant_types::{NodeId, Role, TransferId};
use serde::de::DeserializeOwned;

use super::voter::Told;
use super::{BOOK, MEMBERS, NOTES, PATIENCE, record};
use crate::Failure;
use crate::book::{account, handed, spread};
use crate::consensus::groups;
use crate::load::Target;
use crate::nodes::{AMPLE, Authority, Host, start_node, until_reachable};

/// Accounts that transfers are between.
const ACCOUNTS: u64 = 10_000;
const ACCOUNTS_AT_A_TIME: usize = 1000;

/// The members.
pub(super) struct Ours {
    members: Vec<Member>,
    pub(super) host: Host,
    cluster: Arc<Cluster>,
    groups: Groups,
    me: Sender,
    ids: BTreeSet<NodeId>,
}

/// A process. It ends with its input, and here at the latest.
struct Member {
    id: NodeId,
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Ours {
    /// Starts members that keep their logs in `folder`, and forms the groups.
    pub(super) fn start(folder: &Path) -> Result<Self, Failure> {
        let host = Host::new(1)?;
        let authority = Authority::new(&host.env)?;
        let asker = authority.transport("hub-0", &host.env)?;
        let me = Sender { node: asker.identity.id(), role: Role::Hub };
        let cluster = start_node(&asker, &host, Vec::new())?;
        let seeds = vec![cluster.transport().ok_or("the node has left")?.local_addr()];
        let mut members = Vec::new();
        for number in 1..=MEMBERS as u64 {
            let (key, chain) = authority.node(&format!("hub-{number}"), &host.env)?;
            let folder = folder.join(format!("ours-{number}"));
            std::fs::create_dir_all(folder.join("book-state"))?;
            let key = Arc::new(key);
            let id = NodeCredentials::new(key.clone(), chain.clone(), vec![authority.root()])?.id();
            let mut member = Member::start(id)?;
            let _address: String = member.tell(&Told::Node {
                number,
                cluster: asker.cluster.clone(),
                key: key.to_pem().to_string(),
                chain: certificates_to_pem(&chain),
                root: certificates_to_pem(&[authority.root()]),
                seeds: seeds.clone(),
                folder,
            })?;
            members.push(member);
        }
        until_reachable(&host, &cluster, MEMBERS + 1)?;
        let voters: BTreeSet<NodeId> = members.iter().map(|member: &Member| member.id).collect();
        for member in &mut members {
            let _serves: bool = member.tell(&Told::Serve { me: member.id, voters: voters.clone() })?;
        }
        let first = members.first_mut().ok_or("there are members")?;
        let _formed: bool = first.tell(&Told::Form { voters: voters.clone() })?;
        let groups = groups(&host, &cluster);
        let ours = Self { members, host, cluster, groups, me, ids: voters };
        ours.open_accounts()?;
        Ok(ours)
    }

    pub(super) fn processes(&self) -> Vec<u32> {
        self.members.iter().map(|member| member.process.id()).collect()
    }

    pub(super) fn notes(&self) -> Arc<NotesClient> {
        Arc::new(NotesClient(self.client(NOTES)))
    }

    pub(super) fn book(&self) -> Arc<BookClient> {
        Arc::new(BookClient(self.client(BOOK)))
    }

    fn client(&self, group: &str) -> GroupClient {
        self.groups.client(group, self.me, &self.ids)
    }

    fn open_accounts(&self) -> Result<(), Failure> {
        let client = self.client(BOOK);
        self.host.on_work(async move {
            let numbers: Vec<u64> = (0..ACCOUNTS).collect();
            for (number, some) in numbers.chunks(ACCOUNTS_AT_A_TIME).enumerate() {
                let order = |number: &u64| AccountOrder { id: account(*number), asset: Asset::USD, limit: Limit::None };
                let order = Order::Open(some.iter().map(order).collect());
                client.submit(spread(number as u64, 4), handed(order).bytes, AMPLE).await?;
            }
            Ok(())
        })
    }

    /// Kills the member that leads the notes, and says how long it took until another one took a write, and until a client that
    /// knew the dead one was answered.
    pub(super) fn writes_after_kill(&mut self) -> Result<(Duration, Duration), Failure> {
        let mut leader = None;
        for (place, member) in self.members.iter_mut().enumerate() {
            let [leads, _]: [bool; 2] = member.tell(&Told::Leads)?;
            leader = leader.or(leads.then_some(place));
        }
        let killed = self.members.swap_remove(leader.ok_or("nobody leads")?);
        let client = self.notes();
        let (knows, asks) = (client.clone(), client);
        self.host.on_work(async move { knows.write(1, 1).await })?;
        let (dead, began) = (killed.id, Instant::now());
        drop(killed);
        let asked = self.host.env.work.spawn(async move {
            let answered = asks.write(2, 1).await.map_err(|error| error.to_string());
            answered.map(|()| began.elapsed())
        });
        let (first, wrote) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            for member in &mut self.members {
                let first = first.clone();
                scope.spawn(move || {
                    let wrote = member.tell(&Told::Write { dead }).map_err(|error| error.to_string());
                    if wrote != Ok(false) {
                        // Who is second is not listened to.
                        let _second = first.send(wrote.map(|_| began.elapsed()));
                    }
                });
            }
        });
        let again = wrote.recv_timeout(PATIENCE)??;
        let answered = self.host.on_work(async move { Ok(asked.await.map_err(|_| "the client ended early")??) })?;
        Ok((again, answered))
    }

    pub(super) fn close(self) {
        drop(self.members);
        self.cluster.abandon();
        self.host.close();
    }
}

impl Member {
    fn start(id: NodeId) -> Result<Self, Failure> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("--voter")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().ok_or("the output of a child is piped")?);
        Ok(Self { id, process, input, output })
    }

    fn tell<T: DeserializeOwned>(&mut self, told: &Told) -> Result<T, Failure> {
        let input = self.input.as_mut().ok_or("the member ends")?;
        writeln!(input, "{}", serde_json::to_string(told)?)?;
        input.flush()?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(serde_json::from_str(&line).map_err(|_| format!("a member said {line:?}"))?)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Both fail only where it has ended.
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// Writes records of so many bytes, which the members count.
pub(super) struct NotesClient(GroupClient);

impl Target for NotesClient {
    async fn write(&self, number: u64, records: usize) -> Result<(), Failure> {
        self.0.submit(number.into(), record(number, records), AMPLE).await?;
        Ok(())
    }
}

/// Posts transfers.
pub(super) struct BookClient(GroupClient);

impl Target for BookClient {
    async fn write(&self, number: u64, records: usize) -> Result<(), Failure> {
        // Numbers of writes are far apart by client, and those of its transfers between them.
        let transfers = (0..records as u64).map(|at| transfer(number.wrapping_mul(1 << 8) + at)).collect();
        let bytes = handed(Order::Transfer { transfers, whole: false }).bytes;
        let answer = self.0.submit(spread(number, 5), bytes, AMPLE).await?;
        if answer.is_empty() { Err("a transfer was not understood".into()) } else { Ok(()) }
    }
}

/// How many bytes a transfer is.
pub(super) fn transfer_bytes() -> usize {
    handed(Order::Transfer { transfers: vec![transfer(1)], whole: false }).bytes.len()
}

fn transfer(number: u64) -> NewTransfer {
    let side = |kind| u64::try_from(spread(number, kind) % u128::from(ACCOUNTS)).unwrap_or(0);
    let debit = side(6);
    let credit = if side(7) == debit { (debit + 1) % ACCOUNTS } else { side(7) };
    let (debit, credit) = (account(debit), account(credit));
    let action = Action::Post(Movement { debit, credit, amount: 5, tags: Tags::default() });
    NewTransfer { id: TransferId(spread(number, 1)), action, period: Period(2026), linked: false }
}
