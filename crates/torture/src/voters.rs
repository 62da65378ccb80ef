//! Three processes of the real program, each a voter of the ledger, and what is done to them.

use std::fs::{File, OpenOptions};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use crate::disks::{DiskFaults, Disks};
use crate::lock;
use crate::plan::{Trouble, VOTERS};

/// What they are called.
pub(crate) const NODES: [&str; VOTERS] = ["hub-africa", "hub-europe", "hub-asia"];
const REGIONS: [&str; VOTERS] = ["africa", "europe", "asia"];
/// How long a cluster may take to form.
const FORM_WITHIN: Duration = Duration::from_secs(120);
/// How long a process may take to end in order.
const END_WITHIN: Duration = Duration::from_secs(30);
/// What `covenant` ends with where nothing was done, and may be done later.
/// One that started a moment ago does not know whom it is meant to cut off.
const NOT_FOUND: i32 = 3;
const REFUSED: i32 = 6;
const TIMEOUT: i32 = 7;
const UNREACHABLE: i32 = 8;
/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The voters. Dropping it kills their processes.
#[derive(Debug)]
pub(crate) struct Voters {
    program: PathBuf,
    folder: PathBuf,
    disks: Option<Disks>,
    running: [Mutex<Option<Child>>; VOTERS],
}

impl Voters {
    /// Makes a cluster of three hubs in `folder`, gives each a vote, and starts the three.
    pub(crate) async fn start(program: &Path, folder: &Path, disks: Option<Disks>) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("up.toml"), layout()?)?;
        form(program, folder).await?;
        let voters = Self {
            program: program.to_owned(),
            folder: folder.to_owned(),
            disks,
            running: std::array::from_fn(|_| Mutex::new(None)),
        };
        for voter in 0..VOTERS {
            voters.begin(voter)?;
        }
        Ok(voters)
    }

    /// Where a voter's control API listens.
    pub(crate) fn socket(&self, voter: usize) -> PathBuf {
        self.folder.join(NODES[voter]).join("control.sock")
    }

    /// The log of a voter's process.
    pub(crate) fn log(&self, voter: usize) -> PathBuf {
        self.folder.join(NODES[voter]).join("node.log")
    }

    /// Starts a voter's process, where none runs.
    pub(crate) fn begin(&self, voter: usize) -> anyhow::Result<()> {
        let mut running = lock(&self.running[voter]);
        if let Some(child) = running.as_mut()
            && child.try_wait()?.is_none()
        {
            return Ok(());
        }
        let log: File = OpenOptions::new().create(true).append(true).open(self.log(voter))?;
        let mut program = Command::new(&self.program);
        program.args(["node", "run", "--stop-on-eof", "--config"]);
        program.arg(self.folder.join(NODES[voter]).join("node.toml"));
        program.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).process_group(0);
        if let Some(disks) = &self.disks {
            disks.put_under(&mut program, NODES[voter])?;
        }
        *running = Some(program.spawn().with_context(|| format!("{} cannot be run", self.program.display()))?);
        Ok(())
    }

    /// Whether a voter's process ended by itself, and how: none may.
    pub(crate) fn ended(&self, voter: usize) -> Option<String> {
        let mut running = lock(&self.running[voter]);
        let status = running.as_mut()?.try_wait().ok()??;
        Some(status.to_string())
    }

    fn kill(&self, voter: usize) -> anyhow::Result<()> {
        if let Some(mut child) = lock(&self.running[voter]).take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    fn signal(&self, voter: usize, signal: &str) -> anyhow::Result<()> {
        let pid = lock(&self.running[voter]).as_ref().map(Child::id);
        if let Some(pid) = pid {
            let status = Command::new("kill").args([signal, &pid.to_string()]).status()?;
            ensure!(status.success(), "kill {signal} {pid}: {status}");
        }
        Ok(())
    }

    /// Has a node spoil its own line, for so long. One that is down, stands still or has too much to do is asked again until the
    /// time is over: then it has had worse.
    async fn line(&self, voter: usize, fault: &[&str], lasts: Duration) -> anyhow::Result<()> {
        let ttl = format!("{}ms", lasts.as_millis());
        let asking = async {
            loop {
                let mut program = tokio::process::Command::new(&self.program);
                program.args(["fault", "set", NODES[voter], "--yes", "--ttl", &ttl]).args(fault).arg("--folder");
                program.arg(&self.folder).env_remove("COVENANT_FOLDER").stdin(Stdio::null()).kill_on_drop(true);
                let output = program.output().await?;
                let said = String::from_utf8_lossy(&output.stderr);
                match output.status.code() {
                    Some(0) => return Ok(()),
                    Some(NOT_FOUND | REFUSED | TIMEOUT | UNREACHABLE) => tokio::time::sleep(LOOK_EVERY).await,
                    code => bail!("fault set {fault:?} ended with {code:?}: {said}"),
                }
            }
        };
        tokio::time::timeout(lasts, asking).await.unwrap_or(Ok(()))
    }

    fn disk(&self, voter: usize, faults: DiskFaults) -> anyhow::Result<()> {
        self.disks.as_ref().map_or(Ok(()), |disks| disks.set(NODES[voter], faults))
    }

    /// Lets a trouble begin. Those of the network end by themselves.
    pub(crate) async fn hurt(&self, trouble: Trouble, lasts: Duration) -> anyhow::Result<()> {
        let well = DiskFaults::default();
        match trouble {
            Trouble::Kill(voter) => self.kill(voter),
            Trouble::KillAll => (0..VOTERS).try_for_each(|voter| self.kill(voter)),
            Trouble::Stop(voter) => self.signal(voter, "-STOP"),
            Trouble::CutOff(voter) => {
                for other in (0..VOTERS).filter(|other| *other != voter) {
                    self.line(voter, &["--partition", "--with", NODES[other]], lasts).await?;
                }
                Ok(())
            }
            Trouble::CutBetween(voter, other) => {
                self.line(voter, &["--partition", "--with", NODES[other]], lasts).await
            }
            Trouble::Deaf(voter, other) => self.line(voter, &["--partition", "--from", NODES[other]], lasts).await,
            Trouble::Lossy(voter) => self.line(voter, &["--loss", "20%", "--to", "all"], lasts).await,
            Trouble::SlowDisk(voter, slow_ms) => self.disk(voter, DiskFaults { slow_ms, ..well }),
            Trouble::FailingSync(voter) => self.disk(voter, DiskFaults { sync_fails: true, ..well }),
            Trouble::FullDisk(voter) => self.disk(voter, DiskFaults { full: true, ..well }),
            Trouble::FailingWrite(voter) => self.disk(voter, DiskFaults { write_fails: true, ..well }),
        }
    }

    /// Ends what does not end by itself.
    pub(crate) fn heal(&self, trouble: Trouble) -> anyhow::Result<()> {
        match trouble {
            Trouble::Kill(voter) => self.begin(voter),
            Trouble::KillAll => (0..VOTERS).try_for_each(|voter| self.begin(voter)),
            Trouble::Stop(voter) => self.signal(voter, "-CONT"),
            Trouble::SlowDisk(voter, _)
            | Trouble::FailingSync(voter)
            | Trouble::FullDisk(voter)
            | Trouble::FailingWrite(voter) => self.disk(voter, DiskFaults::default()),
            Trouble::CutOff(_) | Trouble::CutBetween(..) | Trouble::Deaf(..) | Trouble::Lossy(_) => Ok(()),
        }
    }
}

impl Drop for Voters {
    fn drop(&mut self) {
        for voter in 0..VOTERS {
            // Fails only where it has ended already.
            let _ended = self.kill(voter);
        }
    }
}

/// Three hubs, on ports that are free now.
fn layout() -> anyhow::Result<String> {
    let mut text = "cluster = \"torture\"\n".to_owned();
    let mut held = Vec::new();
    for (name, region) in NODES.iter().zip(REGIONS) {
        let listen = UdpSocket::bind("127.0.0.1:0")?;
        let (control, metrics) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
        text += &format!(
            "\n[[node]]\nname = \"{name}\"\nrole = \"hub\"\nregion = \"{region}\"\nlisten = \"{}\"\ncontrol = \"{}\"\n\
             metrics = \"{}\"\nsubscribe = []\n",
            listen.local_addr()?,
            control.local_addr()?,
            metrics.local_addr()?,
        );
        // Bound until all are found, so that none is given twice.
        held.push((listen, control, metrics));
    }
    Ok(text)
}

/// Has `covenant up` make the cluster and give everybody a vote, and ends it again.
async fn form(program: &Path, folder: &Path) -> anyhow::Result<()> {
    let said = folder.join("up.log");
    let mut up = Command::new(program);
    up.args(["up", "--plain", "--folder"]).arg(folder).stdin(Stdio::null()).stdout(Stdio::null());
    let mut up = Reaped(up.stderr(File::create(&said)?).spawn()?);
    let ready = async {
        while !std::fs::read_to_string(&said)?.contains("nodes are ready") {
            if let Some(status) = up.0.try_wait()? {
                bail!("`up` ended ({status}): {}", std::fs::read_to_string(&said)?);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    };
    match tokio::time::timeout(FORM_WITHIN, ready).await {
        Ok(ready) => ready?,
        Err(_) => bail!("`up` was not ready within {FORM_WITHIN:?}: {}", std::fs::read_to_string(&said)?),
    }
    let status = Command::new("kill").args(["-TERM", &up.0.id().to_string()]).status()?;
    ensure!(status.success(), "`up` cannot be told to end");
    let ended = async {
        while up.0.try_wait()?.is_none() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(END_WITHIN, ended).await.context("`up` does not end")?
}

/// A process that does not outlive its owner.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}
