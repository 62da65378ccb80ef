//! The control API's TLS over real TCP.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

mod support;

use std::sync::Arc;

use covenant_env::{Env, RealClock};
use covenant_identity::{NodeKey, OperatorRole, PeerIdentity, make_csr};
use covenant_transport::tls::{ControlIdentity, SERVER_NAME, control_client_config, control_server_config};
use rustls_pki_types::ServerName;
use support::{Paper, now};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

struct Caller {
    key: NodeKey,
    chain: Vec<Vec<u8>>,
    root: Vec<u8>,
}

impl Caller {
    fn operator(paper: &Paper, trusts: &Paper) -> Self {
        let key = NodeKey::generate();
        let name = "ada".parse().unwrap();
        let certificate = paper.issuing.sign_operator(&make_csr(&key), &name, OperatorRole::Chaos, now()).unwrap();
        Self { key, chain: paper.issuing.chain_for(certificate), root: trusts.root.certificate().to_vec() }
    }

    /// Calls the node named `expected` and returns what the server saw of us, or the error of either side.
    async fn call(&self, server: &Paper, expected: &str) -> Result<String, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = control_server_config(&server.node("hub"), Arc::new(RealClock::new())).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let serving = Env::for_test(0).system.spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.map_err(|error| error.to_string())?;
            let seen = PeerIdentity::from_certificate(&stream.get_ref().1.peer_certificates().unwrap()[0]).unwrap();
            stream.write_all(b"ok").await.map_err(|error| error.to_string())?;
            stream.shutdown().await.map_err(|error| error.to_string())?;
            Ok::<_, String>(seen.uri())
        });
        let roots = [self.root.clone()];
        let identity = ControlIdentity { key: &self.key, chain: &self.chain, roots: &roots, cluster: "demo" };
        let config = control_client_config(&identity, expected.parse().unwrap(), Arc::new(RealClock::new())).unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from(SERVER_NAME).unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|e| e.to_string())?;
        let mut said = String::new();
        let read = stream.read_to_string(&mut said).await;
        let seen = serving.await.unwrap()?;
        read.map_err(|error| error.to_string())?;
        assert_eq!(said, "ok");
        Ok(seen)
    }
}

#[tokio::test]
async fn an_operator_reaches_the_node_it_names_and_the_node_knows_who_it_is() {
    let paper = Paper::new("demo");
    let seen = Caller::operator(&paper, &paper).call(&paper, "hub").await;
    assert_eq!(seen.as_deref(), Ok("spiffe://demo/operator/ada/chaos"));
}

#[tokio::test]
async fn another_node_than_the_one_named_is_refused_by_the_operator() {
    let paper = Paper::new("demo");
    let error = Caller::operator(&paper, &paper).call(&paper, "tower").await.unwrap_err();
    assert!(error.contains("expected the node tower, found hub"), "{error}");
}

#[tokio::test]
async fn an_operator_of_another_authority_is_refused_by_the_node() {
    let (ours, theirs) = (Paper::new("demo"), Paper::new("demo"));
    let error = Caller::operator(&theirs, &ours).call(&ours, "hub").await.unwrap_err();
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_node_of_another_authority_is_refused_by_the_operator() {
    let (ours, theirs) = (Paper::new("demo"), Paper::new("demo"));
    let error = Caller::operator(&ours, &ours).call(&theirs, "hub").await.unwrap_err();
    assert!(error.contains("certificate"), "{error}");
}
