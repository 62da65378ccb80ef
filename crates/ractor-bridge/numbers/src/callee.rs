//! The process that is called.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::Failure;
use crate::link::{self, Carrier};
use crate::words::{Ask, LAST, WORKER};

/// `callee CARRIER LASTS CROWD`: so many actors that stop after their answer, and so many beside them that nobody asks. Says
/// where it is, and the certificate, and runs until it is killed or its standard input ends.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Failure> {
    let [carrier, lasts, crowd] = arguments else { return Err("callee CARRIER LASTS CROWD".into()) };
    let (carrier, lasts, crowd) = (Carrier::read(carrier)?, lasts.parse()?, crowd.parse()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(carrier, lasts, crowd))?;
    // Whoever started it has gone.
    let mut line = String::new();
    while std::io::stdin().read_line(&mut line)? > 0 {}
    Ok(())
}

async fn serve(carrier: Carrier, lasts: usize, crowd: usize) -> Result<(), Failure> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    for (group, count) in [(Some(WORKER), 1), (Some(LAST), lasts), (None, crowd)] {
        let mut members = Vec::new();
        for _ in 0..count {
            let (actor, _task) = Actor::spawn(None, Callee, ()).await?;
            members.push(actor.get_cell());
        }
        if let Some(group) = group.filter(|_| count > 0) {
            ractor::pg::join(group.to_owned(), members);
        }
    }
    let server = link::node("callee", port).await?;
    let (address, certificate) = match carrier {
        Carrier::Tcp => (SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Vec::new()),
        Carrier::Quic => link::answer(server)?,
    };
    let certificate: String = certificate.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{address} {certificate}-")?;
    Ok(out.flush()?)
}

/// How long a slow message takes, and how many are quick for each.
const SLOW: Duration = Duration::from_millis(1);
const SLOW_EVERY: u64 = 10;

struct Callee;

#[derive(Default)]
struct Taken {
    count: u64,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Actor for Callee {
    type Msg = Ask;
    type State = Taken;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Ask>, (): ()) -> Result<Taken, ActorProcessingErr> {
        Ok(Taken::default())
    }

    async fn handle(&self, myself: ActorRef<Ask>, message: Ask, taken: &mut Taken) -> Result<(), ActorProcessingErr> {
        match message {
            Ask::Echo(bytes, reply) => reply.send(bytes)?,
            Ask::Take(bytes) => taken.take(&bytes),
            Ask::TakeSlowly(bytes) => {
                taken.take(&bytes);
                if taken.count.is_multiple_of(SLOW_EVERY) {
                    tokio::time::sleep(SLOW).await;
                }
            }
            Ask::Took(reply) => {
                let took = taken.first.zip(taken.last).map_or(Duration::ZERO, |(first, last)| last - first);
                *taken = Taken::default();
                reply.send(u64::try_from(took.as_nanos())?)?;
            }
            Ask::Last(reply) => {
                reply.send(1)?;
                myself.stop(None);
            }
        }
        Ok(())
    }
}

impl Taken {
    fn take(&mut self, bytes: &[u8]) {
        std::hint::black_box(bytes);
        self.count += 1;
        let now = Instant::now();
        self.first.get_or_insert(now);
        self.last = Some(now);
    }
}
