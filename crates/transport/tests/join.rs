//! Joining by token and renewing, over loopback, with an issuer as a hub has it.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

mod support;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use covenant_env::{Clock, Env};
use covenant_identity::{
    JoinToken, NodeKey, PeerIdentity, RedeemError, TokenBook, TokenDraw, TokenId, TokenIssuer, TrustedRoots,
    check_renewal, fingerprint,
};
use covenant_transport::join::{
    Issuer, JoinAnswer, JoinError, JoinRefusal, JoinRequest, Renewal, ask_time, join, renew,
};
use covenant_transport::{CloseCode, NodeCredentials};
use covenant_types::{Uptime, WallTime};
use futures_util::future::BoxFuture;
use support::{Node, Paper, grant, now, raw};

/// A hub's issuer in a few lines.
struct Desk {
    paper: Paper,
    book: Mutex<TokenBook>,
    seeds: Mutex<Vec<(covenant_types::NodeName, covenant_types::NodeId, SocketAddr)>>,
}

impl Desk {
    fn decide(&self, request: JoinRequest) -> Result<JoinAnswer, JoinRefusal> {
        let (csr, grant) = match request {
            JoinRequest::Redeem { token_id, secret, csr } => {
                let redeemed = self.book.lock().unwrap().redeem(TokenId(token_id), &secret, now());
                let grant = redeemed.map_err(|error| match error {
                    RedeemError::Used => JoinRefusal::UsedToken,
                    RedeemError::Expired => JoinRefusal::ExpiredToken,
                    _ => JoinRefusal::UnknownToken,
                })?;
                (csr, grant)
            }
            JoinRequest::Time => return Err(JoinRefusal::Internal),
            JoinRequest::Renew { chain, csr } => {
                let trusted = TrustedRoots::of("demo", self.paper.root.certificate().to_vec()).unwrap();
                let grant = check_renewal(&chain, &csr, &trusted, self.paper.issuing.scope(), now())
                    .map_err(|error| JoinRefusal::NotRenewable(error.to_string()))?;
                (csr, grant)
            }
        };
        let issuing = &self.paper.issuing;
        let certificate =
            issuing.sign_node(&csr, &grant, now()).map_err(|error| JoinRefusal::BadRequest(error.to_string()))?;
        Ok(JoinAnswer {
            chain: issuing.chain_for(certificate),
            cluster: "demo".into(),
            seeds: self.seeds.lock().unwrap().clone(),
            book_home: "hub".parse().unwrap(),
            roots: Vec::new(),
        })
    }
}

impl Issuer for Desk {
    fn handle(&self, request: JoinRequest, _from: IpAddr) -> BoxFuture<'static, Result<JoinAnswer, JoinRefusal>> {
        let decided = self.decide(request);
        Box::pin(async { decided })
    }

    fn time(&self) -> Result<WallTime, JoinRefusal> {
        Ok(now())
    }
}

struct Hub {
    node: Node,
    desk: Arc<Desk>,
}

impl Hub {
    fn start() -> Self {
        Self::with(Paper::at("demo", WallTime(now().0 - 3 * 24 * 3600)))
    }

    fn with(paper: Paper) -> Self {
        Self::within(paper, env())
    }

    fn within(paper: Paper, env: Env) -> Self {
        let credentials = paper.node("hub");
        let desk = Arc::new(Desk { paper, book: Mutex::default(), seeds: Mutex::default() });
        let node = Node::within(&desk.paper, credentials, env, Some(Arc::clone(&desk) as _));
        let seed = ("hub".parse().unwrap(), node.credentials.id(), node.address());
        desk.seeds.lock().unwrap().push(seed);
        Self { node, desk }
    }

    fn token(&self, name: &str) -> JoinToken {
        let issuer = TokenIssuer {
            cluster: "demo".into(),
            id: self.node.credentials.id(),
            addresses: vec![self.node.address()],
            root_fingerprint: fingerprint(self.desk.paper.root.certificate()),
        };
        let mut book = self.desk.book.lock().unwrap();
        book.issue(&issuer, grant(name), Duration::from_secs(600), TokenDraw::random(), now()).unwrap()
    }
}

fn env() -> Env {
    Env::for_test(5)
}

fn close_reason(error: &JoinError) -> &str {
    match error {
        JoinError::Unreachable { reason, .. } | JoinError::Interrupted { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_lets_a_node_in_once_and_it_can_connect_with_what_it_got() {
    let hub = Hub::start();
    let token: JoinToken = hub.token("newcomer").to_text().parse().unwrap();
    let key = NodeKey::generate();
    let answer = join(&token, &key, &env()).await.unwrap();
    assert_eq!(answer.book_home.as_str(), "hub");

    let roots = vec![answer.chain.last().unwrap().clone()];
    let credentials = Arc::new(NodeCredentials::new(Arc::new(key), answer.chain, roots).unwrap());
    let newcomer = Node::start(&hub.desk.paper, credentials, 1);
    let (name, id, address) = &answer.seeds[0];
    let peer = newcomer.transport.connect(*address, Some(*id)).await.unwrap();
    assert_eq!(&peer.info().name, name);
    hub.node.heard.until_heard("up newcomer").await;

    let again = join(&token, &NodeKey::generate(), &env()).await;
    assert_eq!(again, Err(JoinError::Refused(JoinRefusal::UsedToken)));
}

#[tokio::test]
async fn a_root_with_another_fingerprint_is_refused_before_the_secret_is_sent() {
    let hub = Hub::start();
    let good = hub.token("newcomer");
    let bad = JoinToken { root_fingerprint: [0; 32], ..good.clone() };
    let error = join(&bad, &NodeKey::generate(), &env()).await.unwrap_err();
    assert!(close_reason(&error).contains("root"), "{error}");
    assert!(join(&good, &NodeKey::generate(), &env()).await.is_ok(), "the token is unused");
}

#[tokio::test]
async fn another_node_than_the_issuer_or_another_cluster_is_refused() {
    let hub = Hub::start();
    let good = hub.token("newcomer");
    let other = JoinToken { issuer: NodeKey::generate().node_id(), ..good.clone() };
    let error = join(&other, &NodeKey::generate(), &env()).await.unwrap_err();
    assert!(close_reason(&error).contains("expected the node"), "{error}");
    let other = JoinToken { cluster: "other".into(), ..good };
    let error = join(&other, &NodeKey::generate(), &env()).await.unwrap_err();
    assert!(close_reason(&error).contains("cluster"), "{error}");
}

#[tokio::test]
async fn a_hub_that_is_not_there_is_passed_over_for_the_next_address() {
    let hub = Hub::start();
    let dead = {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    let token = hub.token("newcomer");
    let token = JoinToken { addresses: vec![dead, token.addresses[0]], ..token };
    assert!(join(&token, &NodeKey::generate(), &env()).await.is_ok());
}

#[tokio::test]
async fn five_failures_a_minute_are_too_many_and_successes_cost_nothing() {
    let hub = Hub::start();
    for number in 0..7 {
        join(&hub.token(&format!("node-{number}")), &NodeKey::generate(), &env()).await.unwrap();
    }
    let unknown = JoinToken { id: TokenId([0; 16]), ..hub.token("x") };
    for _ in 0..5 {
        let refused = join(&unknown, &NodeKey::generate(), &env()).await;
        assert_eq!(refused, Err(JoinError::Refused(JoinRefusal::UnknownToken)));
    }
    let good = hub.token("y");
    match join(&good, &NodeKey::generate(), &env()).await {
        Err(JoinError::Refused(JoinRefusal::TooManyAttempts { retry_after })) => {
            assert!(retry_after <= Duration::from_secs(60));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_node_that_issues_nothing_says_so() {
    let hub = Hub::start();
    let plain = Node::start(&hub.desk.paper, hub.desk.paper.node("plain"), 1);
    let token = hub.token("newcomer");
    let token = JoinToken { issuer: plain.credentials.id(), addresses: vec![plain.address()], ..token };
    let refused = join(&token, &NodeKey::generate(), &env()).await;
    assert_eq!(refused, Err(JoinError::Refused(JoinRefusal::NotAnIssuer)));
}

#[tokio::test]
async fn an_expired_certificate_is_renewed_for_its_key_and_name() {
    let hub = Hub::start();
    let ended = WallTime(now().0 - 3 * 24 * 3600);
    let old = hub.desk.paper.node_at("late", ended);
    let node = Node::start(&hub.desk.paper, Arc::clone(&old), 1);
    assert!(node.transport.connect(hub.node.address(), None).await.is_err(), "it has expired");

    let renewal = Renewal::of(&old, vec![(hub.node.credentials.id(), hub.node.address())], ended);
    let answer = renew(&renewal, old.key(), &env()).await.unwrap().answer;
    let identity = PeerIdentity::from_certificate(&answer.chain[0]).unwrap();
    assert!(identity.is_valid_at(now()) && identity.public_key == old.key().public_key());
    old.replace_chain(answer.chain).unwrap();
    node.transport.connect(hub.node.address(), None).await.unwrap();

    let thief = renew(&renewal, &NodeKey::generate(), &env()).await;
    assert!(matches!(thief, Err(JoinError::Refused(JoinRefusal::NotRenewable(_)))), "{thief:?}");
}

#[tokio::test]
async fn garbled_oversized_and_empty_requests_close_the_connection_with_a_code() {
    let hub = Hub::start();
    let cases = [
        (vec![], CloseCode::Malformed),
        (vec![0xff; 100], CloseCode::Malformed),
        (vec![0; 8 * 1024], CloseCode::Malformed),
        (vec![0; 8 * 1024 + 1], CloseCode::TooLarge),
    ];
    for (bytes, code) in cases {
        let (_endpoint, connection) = raw::dial(hub.node.address(), b"covenant-join/1", None).await.unwrap();
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        let _ = send.write_all(&bytes).await;
        let _ = send.finish();
        assert_eq!(raw::close_code(&connection).await, code.number().into(), "{} bytes", bytes.len());
    }
    assert!(join(&hub.token("after"), &NodeKey::generate(), &env()).await.is_ok());
}

#[tokio::test]
async fn a_clock_in_1970_is_told_the_time_and_gets_a_certificate_by_its_floor() {
    let hub = Hub::start();
    let ended = WallTime(now().0 - 3 * 24 * 3600);
    let old = hub.desk.paper.node_at("late", ended);
    let behind = Env { clock: Arc::new(Stopped(WallTime(0))), ..env() };
    let renewal = Renewal::of(&old, vec![(hub.node.credentials.id(), hub.node.address())], ended);
    let said = ask_time(&renewal, &behind).await;
    assert!(said.len() == 1 && said[0].0.abs_diff(now().0) < 60, "{said:?}");
    let renewed = renew(&renewal, old.key(), &behind).await.unwrap();
    assert_eq!(renewed.by, hub.node.credentials.id());

    // Ten years ahead the floor alone counts as well: what the clock says is not asked.
    let ahead = Env { clock: Arc::new(Stopped(WallTime(now().0 + 10 * 365 * 24 * 3600))), ..env() };
    assert_eq!(ask_time(&renewal, &ahead).await.len(), 1);
    assert!(renew(&renewal, old.key(), &ahead).await.is_ok());

    // A hub whose certificate ended before the floor is nobody.
    let beyond = Renewal { floor: WallTime(now().0 + 3 * 24 * 3600), ..renewal };
    assert_eq!(ask_time(&beyond, &behind).await, []);
    assert!(matches!(renew(&beyond, old.key(), &behind).await, Err(JoinError::Unreachable { .. })));
}

#[tokio::test]
async fn sixty_renewals_a_minute_from_one_address_are_enough() {
    // The hub's time stands still, so that sixty fit into a minute on any machine.
    let still = Env { clock: Arc::new(Stopped(now())), ..env() };
    let hub = Hub::within(Paper::at("demo", WallTime(now().0 - 3 * 24 * 3600)), still);
    let node = hub.desk.paper.node("often");
    let renewal = Renewal::of(&node, vec![(hub.node.credentials.id(), hub.node.address())], now());
    for _ in 0..30 {
        assert!(renew(&renewal, node.key(), &env()).await.is_ok());
        assert_eq!(ask_time(&renewal, &env()).await.len(), 1);
    }
    let refused = renew(&renewal, node.key(), &env()).await.unwrap_err();
    assert!(matches!(refused, JoinError::Refused(JoinRefusal::TooManyAttempts { .. })), "{refused:?}");
    assert!(join(&hub.token("newcomer"), &NodeKey::generate(), &env()).await.is_ok(), "a token costs nothing");
}

#[tokio::test]
async fn a_hub_that_does_not_renew_is_passed_over_for_the_next() {
    let hub = Hub::start();
    let plain = Node::start(&hub.desk.paper, hub.desk.paper.node("plain"), 1);
    let dead = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let node = hub.desk.paper.node("late");
    let issuers = vec![
        (NodeKey::generate().node_id(), dead),
        (plain.credentials.id(), plain.address()),
        (hub.node.credentials.id(), hub.node.address()),
    ];
    let renewed = renew(&Renewal::of(&node, issuers, now()), node.key(), &env()).await.unwrap();
    assert_eq!(renewed.by, hub.node.credentials.id());
}

/// A clock whose date stands still.
#[derive(Debug)]
struct Stopped(WallTime);

impl Clock for Stopped {
    fn now(&self) -> Uptime {
        env().now()
    }

    fn wall(&self) -> WallTime {
        self.0
    }
}
