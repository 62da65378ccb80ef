//! How do I keep a connection to something that comes and goes?
//!
//! An actor that is connected while it runs: it connects in its start, ends when the line drops, and its supervisor starts it
//! again, after pauses that grow. Callers keep their reference, and what they ask meanwhile waits.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use covenant::prelude::*;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The `config` of its child in the tree.
#[derive(serde::Deserialize)]
struct Line {
    to: String,
}

/// A line to a gauge, that is asked by sending it a line.
struct Gauge {
    stream: BufReader<TcpStream>,
}

struct Read(Reply<String>);

impl Behaviour for Gauge {
    type Config = Line;
    type Message = Read;

    async fn start(line: Line, _: &Context<Self>) -> Result<Self, StartError> {
        let stream = TcpStream::connect(&line.to).await.map_err(StartError::failed)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    async fn handle(&mut self, Read(reply): Read, _: &Context<Self>) -> Result<(), Exit> {
        self.stream.write_all(b"read\n").await.map_err(Exit::error)?;
        let mut value = String::new();
        match self.stream.read_line(&mut value).await {
            Ok(0) => Err(Exit::error("the line dropped")),
            Ok(_) => {
                reply.send(value.trim_end().to_owned());
                Ok(())
            }
            Err(error) => Err(Exit::error(error)),
        }
    }
}

/// A gauge that drops the line after each answer.
async fn gauge(listener: TcpListener) -> std::io::Result<()> {
    for value in 1.. {
        let (mut stream, _) = listener.accept().await?;
        let mut asked = String::new();
        BufReader::new(&mut stream).read_line(&mut asked).await?;
        stream.write_all(format!("{value} bar\n").as_bytes()).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let tree = format!(
        r#"
strategy  = "one_for_one"
intensity = 100
period    = "10s"

[[child]]
id = "gauge"
behaviour = "pressure.gauge"
backoff = {{ min = "10ms", max = "5s", jitter = 0.2 }}
config = {{ to = "{}" }}
"#,
        listener.local_addr()?
    );
    let mut registry = BehaviourRegistry::new();
    registry.register::<Gauge>("pressure.gauge");
    let far_away = tokio::spawn(gauge(listener));
    let system = covenant::start(&tree, registry).await?;

    let line = system.lookup(&"/gauge".parse()?)?;
    let mut read = 0;
    while read < 3 {
        match line.call(Read, Duration::from_secs(5)).await {
            Ok(value) => {
                read += 1;
                println!("read {value}");
            }
            Err(error) => println!("{error}; asking again"),
        }
    }
    println!("connected {} times", system.tree().children[0].incarnation);

    system.stop(Duration::from_secs(1)).await;
    far_away.abort();
    Ok(())
}
