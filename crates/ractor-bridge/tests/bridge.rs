//! A node with a bridge, and stock `ractor_cluster` programs in processes of their own.

#![expect(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

#[expect(dead_code, reason = "some of it only the client needs")]
#[path = "../src/bin/stock_client/quic.rs"]
mod quic;
mod support;
#[path = "../src/bin/stock_client/words.rs"]
mod words;

use std::net::SocketAddr;
use std::time::Duration;

use covenant_ractor_bridge::{IN_FLIGHT_BYTES_MAX, MESSAGE_COST_BYTES};
use covenant_types::Role;
use support::{COOKIE, World, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// One test is one process: there is one bridge in a process, so that the tests take turns.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_client_finds_a_member_casts_to_it_and_calls_it() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let world = World::boot().await;
    let mut client = world.client("tower-edge", Role::Tower, COOKIE);
    assert_eq!(client.hears().await, "ready");
    assert_eq!(client.ask("members 1").await, "1 members");
    assert_eq!(client.ask("total").await, "0");
    assert_eq!(client.ask("add 40").await, "ok");
    assert_eq!(client.ask("add 2").await, "ok");
    assert_eq!(client.ask("total").await, "42");
    assert_eq!(world.metric("covenant_bridge_clients"), 1.0);
    // What the client announced was left: its actor and its group are not seen here.
    assert!(world.metric("covenant_bridge_left_total{what=\"groups\"}") >= 1.0);
    assert_eq!(ractor::pg::get_members(&"clients".to_owned()).len(), 0);
    drop(client);
    wait_for(|| world.metric("covenant_bridge_clients") == 0.0).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_crashes_is_there_again_and_one_that_ends_leaves_its_group() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let world = World::boot().await;
    let mut client = world.client("tower-edge", Role::Tower, COOKIE);
    assert_eq!(client.hears().await, "ready");
    assert_eq!(client.ask("members 1").await, "1 members");
    for _ in 0..20 {
        assert_eq!(client.ask("last").await, "last", "an answer given before the end is delivered");
    }
    // Its state is lost with each crash, the member is not.
    assert_eq!(client.ask("add 5").await, "ok");
    assert_eq!(client.ask("total").await, "5");
    assert!(world.incarnation().0 > 20);
    let forgotten = client.ask("forget").await;
    assert!(forgotten.contains("dropped without a reply"), "{forgotten}");
    assert_eq!(client.ask("retire").await, "ok");
    assert_eq!(client.ask("members 0").await, "0 members");
    world.start_counter_again().await;
    assert_eq!(client.ask("members 1").await, "1 members");
    assert_eq!(client.ask("total").await, "0");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_mailbox_is_an_answer_and_a_flood_waits_outside() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let world = World::boot().await;
    let mut client = world.client("tower-edge", Role::Tower, COOKIE);
    assert_eq!(client.hears().await, "ready");
    assert_eq!(client.ask("members 1").await, "1 members");
    let ends = client.ask("burst 2000").await;
    let counted: u32 = ends.split(", ").map(|end| end.split(' ').next().unwrap().parse::<u32>().unwrap()).sum();
    assert_eq!(counted, 2000, "{ends}");
    assert!(ends.contains("held") && ends.contains("mailbox is full"), "{ends}");
    assert!(!ends.contains("timeout") && !ends.contains("no answer"), "{ends}");
    // Casts wait for room, and their client with them: none is lost.
    assert_eq!(client.ask("flood 20000").await, "ok");
    assert_eq!(client.ask("members 1").await, "1 members");
    wait_for(|| world.metric("covenant_bridge_casts_total") == 20000.0).await;
    assert_eq!(client.ask("total").await, "20000");
    assert_eq!(world.metric("covenant_bridge_clients"), 1.0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_only_so_much_under_way() {
    let _turn = ONE_AT_A_TIME.lock().await;
    // Room for all that the client sends, so that only the bridge holds it back.
    let world = World::with_room_for(5000).await;
    let mut client = world.client("tower-edge", Role::Tower, COOKIE);
    assert_eq!(client.hears().await, "ready");
    assert_eq!(client.ask("members 1").await, "1 members");
    let most = IN_FLIGHT_BYTES_MAX / MESSAGE_COST_BYTES;
    let deepest = world.deepest(client.ask("burst 2000")).await;
    assert!(deepest.1 <= most && deepest.1 > most / 2, "{deepest:?}");
    assert_eq!(deepest.0, "2000 held");
    assert!(world.metric("covenant_bridge_waits_total") > 0.0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_cannot_be_read_are_borne_for_a_while() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let world = World::boot().await;
    let mut client = world.client("tower-edge", Role::Tower, COOKIE);
    assert_eq!(client.hears().await, "ready");
    assert_eq!(client.ask("members 1").await, "1 members");
    // Two each time: a variant that is none, and a number that is too short.
    for _ in 0..7 {
        assert_eq!(client.ask("wrong").await, "ok");
    }
    assert_eq!(client.ask("total").await, "0");
    assert_eq!(world.metric("covenant_bridge_dropped_total{why=\"unreadable\"}"), 14.0);
    assert_eq!(client.ask("wrong").await, "ok");
    let closed = client.ask("closed").await;
    assert!(closed.contains("16 messages could not be read"), "{closed}");
    let mut other = world.client("tower-other", Role::Tower, COOKIE);
    assert_eq!(other.hears().await, "ready");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_revoked_is_closed_and_not_let_in_again() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let world = World::boot().await;
    let mut client = world.client("tower-edge", Role::Tower, COOKIE);
    assert_eq!(client.hears().await, "ready");
    let revoked = world.revoke("tower-edge", Role::Tower).await;
    assert!(revoked.contains("\"revoked\":true"), "{revoked}");
    let closed = client.ask("closed").await;
    assert!(closed.contains("was revoked"), "{closed}");
    let mut again = world.client("tower-edge", Role::Tower, COOKIE);
    let heard = again.hears().await;
    assert!(heard.starts_with("refused: ") && heard.contains("certificate"), "{heard}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_connect_is_told_why() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let world = World::boot().await;
    let heard = |line: String, why: &str| assert!(line.starts_with("refused: ") && line.contains(why), "{line}");

    let mut voter = world.client("voter-edge", Role::Voter, COOKIE);
    heard(voter.hears().await, "nodes of the role voter are not let in here");
    let mut other_name = world.client_named("tower-edge", Role::Tower, COOKIE, "tower-other");
    heard(other_name.hears().await, "the client calls itself \"tower-other\"");
    let mut cookie = world.client("tower-edge", Role::Tower, "another cookie");
    heard(cookie.hears().await, "its cookie is another one");
    let mut stranger = world.stranger("tower-stranger");
    heard(stranger.hears().await, "aborted by peer");

    // Without a certificate TLS 1.3 is over for the client before the server has refused it.
    let (_endpoint, connection) = quic::connect(world.bridge(), None, world.root()).await.unwrap();
    let closed = timeout(WITHIN, connection.closed()).await.unwrap().to_string();
    assert!(closed.contains("certificate"), "{closed}");
    assert!(world.metric("covenant_bridge_refused_total{why=\"tls\"}") >= 2.0);
    assert!(world.metric("covenant_bridge_refused_total{why=\"bad_certificate\"}") >= 1.0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_starts_again_takes_the_place_of_its_ghost_each_time() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let world = World::boot().await;
    let mut ghosts = Vec::new();
    for _ in 0..8 {
        let mut client = world.client("tower-edge", Role::Tower, COOKIE);
        assert_eq!(client.hears().await, "ready");
        assert_eq!(client.ask("members 1").await, "1 members");
        assert_eq!(client.ask("total").await, "0");
        ghosts.push(client);
    }
    let last = ghosts.pop().unwrap();
    for mut ghost in ghosts {
        let closed = ghost.ask("closed").await;
        assert!(closed.contains("a newer connection of the same client"), "{closed}");
    }
    assert_eq!(world.metric("covenant_bridge_clients"), 1.0);
    drop(last);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_to_be_had_over_tcp() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let world = World::boot().await;
    let mut client = world.client("tower-edge", Role::Tower, COOKIE);
    assert_eq!(client.hears().await, "ready");
    let server = client.ask("server").await;
    let port: u16 = server.rsplit(':').next().unwrap().parse().unwrap();
    let mut tcp = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await.unwrap();
    // A greeting as `ractor_cluster` sends it over TCP, and one of TLS that is none.
    tcp.write_all(&[0, 0, 0, 0, 0, 0, 0, 4, 10, 2, 10, 0]).await.unwrap();
    let mut answer = Vec::new();
    let _reset = timeout(WITHIN, tcp.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.is_empty() || answer[0] == 21, "an alert of TLS at most: {answer:?}");
    assert!(support::tls_is_refused(port).await);
    assert_eq!(client.ask("total").await, "0");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bytes_end_their_own_session_and_nothing_else() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let world = World::boot().await;
    let mut client = world.client("tower-edge", Role::Tower, COOKIE);
    assert_eq!(client.hears().await, "ready");
    assert_eq!(client.ask("members 1").await, "1 members");
    let frame = |body: &[u8]| [&(body.len() as u64).to_be_bytes()[..], body].concat();
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("a length beyond all", u64::MAX.to_be_bytes().to_vec(), "is longer than"),
        ("no protobuf", frame(&[0xff; 40]), "is not that of a client"),
        ("a cast before the handshake", frame(&[0x12, 4, 0x0a, 2, 8, 1]), "before the handshake was over"),
        ("an acknowledgement of its own", frame(&[0x0a, 4, 0x32, 2, 0x0a, 0]), "speaks as a server"),
        ("another's name", frame(&[0x0a, 6, 0x0a, 4, 0x0a, 2, b'h', b'u']), "calls itself"),
        ("silence", vec![], "took too long"),
    ];
    for (what, bytes, why) in cases {
        let identity = world.identity("tower-hostile", Role::Tower);
        let (_endpoint, connection) = quic::connect(world.bridge(), Some(identity), world.root()).await.unwrap();
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(if bytes.is_empty() { &[0] } else { &bytes }).await.unwrap();
        let closed = timeout(WITHIN, connection.closed()).await.unwrap().to_string();
        assert!(closed.contains(why), "{what}: {closed}");
    }
    assert_eq!(client.ask("add 7").await, "ok");
    assert_eq!(client.ask("total").await, "7");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bridge_starts_again_when_it_is_killed() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let world = World::boot().await;
    let mut client = world.client("tower-edge", Role::Tower, COOKIE);
    assert_eq!(client.hears().await, "ready");
    world.kill_bridge().await;
    assert!(!client.ask("closed").await.is_empty());
    let mut again = world.client("tower-edge", Role::Tower, COOKIE);
    assert_eq!(again.hears().await, "ready");
    assert_eq!(again.ask("members 1").await, "1 members");
    assert_eq!(again.ask("total").await, "0");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_bridge_in_a_process_does_not_start() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let world = World::boot().await;
    let refused = World::try_boot().await.unwrap_err();
    assert!(refused.contains("another bridge runs in this process"), "{refused}");
    world.stop().await;
}
