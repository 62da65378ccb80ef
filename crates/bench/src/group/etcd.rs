//! Three members of etcd on this machine, and clients of them.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::grpc::{Channel, Field, field, put_bytes};
use super::{MEMBERS, PATIENCE, RECORD_BYTES};
use crate::Failure;
use crate::load::Target;

/// Its program. `COVENANT_ETCD` names another one.
const PROGRAM: &str = "etcd";
/// Connections of the clients together: more than ours have. Other numbers were not tried.
const CHANNELS: usize = 8;
/// Records that are written over and over: a multiple of what is in one transaction, which may name none twice.
const KEYS: u64 = 100_000;
const KEY_BYTES: usize = 16;
/// How long one try waits while nobody leads.
const TRY_WITHIN: Duration = Duration::from_millis(100);
const ASK_EVERY: Duration = Duration::from_millis(5);

/// Whether there is one, by its version.
pub(super) fn version() -> Option<String> {
    let output = Command::new(program()).arg("--version").output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()?.lines().next().map(str::to_owned)
}

fn program() -> String {
    std::env::var("COVENANT_ETCD").unwrap_or_else(|_| PROGRAM.to_owned())
}

/// The members.
pub(super) struct Etcd {
    members: Vec<Member>,
}

struct Member {
    port: u16,
    process: Child,
}

impl Drop for Member {
    fn drop(&mut self) {
        // Both fail only where it has ended.
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// The way of clients to the member that leads.
pub(super) struct Puts {
    channels: Vec<Channel>,
    turn: AtomicU64,
}

impl Etcd {
    /// Starts members that keep their data in `folder`, with etcd's own settings.
    pub(super) fn start(folder: &Path) -> Result<Self, Failure> {
        // Free for the moment: etcd has no way to be handed a socket.
        let held: Vec<_> =
            (0..MEMBERS * 2).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
        let ports: Vec<u16> =
            held.iter().map(|socket| socket.local_addr().map(|at| at.port())).collect::<Result<_, _>>()?;
        drop(held);
        let (clients, peers) = ports.split_at(MEMBERS);
        let all: Vec<String> =
            peers.iter().enumerate().map(|(number, port)| format!("m{number}=http://127.0.0.1:{port}")).collect();
        let mut members = Vec::new();
        for (number, (port, peer)) in clients.iter().zip(peers).enumerate() {
            let (at, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
            let process = Command::new(program())
                .args(["--name", &format!("m{number}"), "--initial-cluster", &all.join(",")])
                .args(["--listen-client-urls", &at, "--advertise-client-urls", &at])
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                .args(["--log-level", "error", "--logger", "zap", "--data-dir"])
                .arg(folder.join(format!("etcd-{number}")))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            members.push(Member { port: *port, process });
        }
        Ok(Self { members })
    }

    pub(super) fn processes(&self) -> Vec<u32> {
        self.members.iter().map(|member| member.process.id()).collect()
    }

    /// The place of the member that leads, as soon as one does.
    async fn leader(&self) -> Result<usize, Failure> {
        let found = async {
            loop {
                for (place, member) in self.members.iter().enumerate() {
                    if leads(member.port).await.unwrap_or(false) {
                        return place;
                    }
                }
                tokio::time::sleep(ASK_EVERY).await;
            }
        };
        Ok(tokio::time::timeout(PATIENCE, found).await.map_err(|_| "no member of etcd came to lead")?)
    }

    /// A way to the member that leads.
    pub(super) async fn puts(&self) -> Result<Puts, Failure> {
        let leader = self.leader().await?;
        Puts::to(self.members.get(leader).ok_or("there is no such member")?.port).await
    }

    /// Kills the leader, and says how long it took until the others took a write.
    pub(super) async fn writes_after_kill(&mut self) -> Result<Duration, Failure> {
        let leader = self.leader().await?;
        let killed = self.members.swap_remove(leader);
        let mut ways = Vec::new();
        for member in &self.members {
            ways.push(Puts::to(member.port).await?);
        }
        let began = std::time::Instant::now();
        drop(killed);
        let tries = ways.iter().map(|way| {
            Box::pin(async move {
                loop {
                    let tried = tokio::time::timeout(TRY_WITHIN, way.write(1, 1)).await;
                    if matches!(tried, Ok(Ok(()))) {
                        return;
                    }
                    tokio::time::sleep(ASK_EVERY).await;
                }
            })
        });
        let first = futures_util::future::select_all(tries);
        tokio::time::timeout(PATIENCE, first).await.map_err(|_| "etcd took no write after its leader was killed")?;
        Ok(began.elapsed())
    }
}

async fn leads(port: u16) -> Result<bool, Failure> {
    let status = Channel::connect(port).await?.call("etcdserverpb.Maintenance/Status", &[]).await?;
    let Some(Field::Bytes(header)) = field(&status, 1) else { return Ok(false) };
    let (me, leader) = (field(header, 2), field(&status, 4));
    Ok(leader.is_some() && leader == me)
}

impl Puts {
    async fn to(port: u16) -> Result<Self, Failure> {
        let mut channels = Vec::new();
        for _ in 0..CHANNELS {
            channels.push(Channel::connect(port).await?);
        }
        Ok(Self { channels, turn: AtomicU64::new(0) })
    }
}

impl Target for Puts {
    async fn write(&self, _number: u64, records: usize) -> Result<(), Failure> {
        let count = records as u64;
        let first = self.turn.fetch_add(count, Ordering::Relaxed);
        let channel =
            self.channels.get(usize::try_from(first / count)? % CHANNELS).ok_or("there is no such channel")?;
        let put = |key: u64| {
            let mut put = Vec::with_capacity(RECORD_BYTES + 8);
            put_bytes(&mut put, 1, format!("{:0KEY_BYTES$}", key % KEYS).as_bytes());
            put_bytes(&mut put, 2, &[7; RECORD_BYTES - KEY_BYTES]);
            put
        };
        if records == 1 {
            channel.call("etcdserverpb.KV/Put", &put(first)).await?;
            return Ok(());
        }
        let mut transaction = Vec::with_capacity(records * (RECORD_BYTES + 16));
        for key in first..first + count {
            let mut operation = Vec::with_capacity(RECORD_BYTES + 16);
            put_bytes(&mut operation, 2, &put(key));
            put_bytes(&mut transaction, 2, &operation);
        }
        let answer = channel.call("etcdserverpb.KV/Txn", &transaction).await?;
        if field(&answer, 2) != Some(Field::Number(1)) {
            return Err("etcd did not take a transaction".into());
        }
        Ok(())
    }
}
