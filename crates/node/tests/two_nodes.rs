//! Nodes booted inside one process: the seam that simulation stands on, and everything a node refuses.

#![expect(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use covenant_cluster::MemberState;
use covenant_node::api::{CreateToken, ErrorKind, Status, TokenCreated};
use covenant_node::{BootError, NodeConfig, Trees, audit};
use covenant_types::{NodeName, Region, Role};
use serde_json::json;
use support::{World, certified, get, operator, post, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_in_one_process_find_each_other_work_and_count_apart() {
    let world = World::new();
    let first = world.first().await;
    let second = world.joined(&first, "tower-two").await;
    wait_for(|| [&first, &second].iter().all(|node| reachable(node) == 2)).await;

    // The book is on the first node: asked at the second, the request crosses the cluster.
    let done = post(&second.socket(), "/v1/ledger/assess", &json!({ "year": 2024 })).await.unwrap();
    assert_eq!((&done["payers"], &done["pool"]), (&json!(194), &json!("10953934201.60")));
    assert!(world.dir("hub-one").join("ledger/book").exists() && !world.dir("tower-two").join("ledger/book").exists());

    second.stop().await;
    wait_for(|| {
        let members = first.node().cluster().members();
        members.iter().any(|member| member.name.as_str() == "tower-two" && member.state == MemberState::Left)
    })
    .await;
    let second = world.boot("tower-two").await.unwrap();
    let status: Status = serde_json::from_value(get(&second.socket(), "/v1/status").await.unwrap()).unwrap();
    assert_eq!(status.epoch.0, 2);
    wait_for(|| reachable(&first) == 2).await;
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_restored_from_a_backup_is_a_node_again_that_counts_on_from_what_the_others_know() {
    let world = World::new();
    let first = world.first().await;
    world.joined(&first, "tower-two").await.stop().await;
    for _ in 0..2 {
        let second = world.boot("tower-two").await.unwrap();
        wait_for(|| reachable(&first) == 2).await;
        second.stop().await;
    }
    // The backup is of its first day, and it was started three times since.
    let counter = world.dir("tower-two").join("boot_epoch");
    std::fs::write(&counter, "1\n").unwrap();
    let second = world.boot("tower-two").await.unwrap();
    wait_for(|| [&first, &second].iter().all(|node| reachable(node) == 2)).await;
    let status: Status = serde_json::from_value(get(&second.socket(), "/v1/status").await.unwrap()).unwrap();
    assert_eq!(status.epoch.0, 4);
    assert_eq!(std::fs::read_to_string(&counter).unwrap(), "4\n");
    let named = second.node().cluster().misbehaving();
    assert!(named.iter().any(|it| it.name.as_str() == "tower-two" && it.why == "restored"), "{named:?}");
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_vanishes_is_seen_down_and_what_needs_it_fails_by_name() {
    let world = World::new();
    let first = world.first().await;
    let second = world.joined(&first, "tower-two").await;
    wait_for(|| [&first, &second].iter().all(|node| reachable(node) == 2)).await;
    // Dropped, not stopped: nothing is handed over and nobody is told.
    drop(first);
    wait_for(|| {
        let members = second.node().cluster().members();
        members.iter().any(|member| member.name.as_str() == "hub-one" && member.state == MemberState::Down)
    })
    .await;
    let error = post(&second.socket(), "/v1/ledger/assess", &json!({ "year": 2024 })).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    assert!(error.message.contains("hub-one"), "the node that keeps the book is named: {error}");
    let first = world.boot("hub-one").await.unwrap();
    wait_for(|| [&first, &second].iter().all(|node| reachable(node) == 2)).await;
    second.stop().await;
    first.stop().await;
}

fn reachable(node: &support::Running) -> usize {
    node.node().cluster().members().iter().filter(|member| member.state == MemberState::Reachable).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_or_wrong_is_refused_and_nothing_changes() {
    let world = World::new();
    let first = world.first().await;

    let in_use = world.boot("hub-one").await.unwrap_err();
    assert!(in_use.to_string().contains("in use by process"), "{in_use}");

    world.make("hub-two", first.listen());
    let taken = world.boot("hub-two").await.unwrap_err();
    assert!(taken.told().contains(&first.listen().to_string()), "{}", taken.told());
    assert_eq!(taken.into_api().kind, ErrorKind::Conflict);

    // What a boot began before it was refused is undone: the same port is free again at once.
    let hub_three = support::free_udp();
    world.make("hub-three", hub_three);
    let config = world.dir("hub-three").join("node.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let place = |text: &str| text.lines().filter(|line| line.starts_with("listen")).nth(1).unwrap().to_owned();
    std::fs::write(&config, text.replace(&place(&text), &format!("listen = \"{}\"", first.control()))).unwrap();
    let taken = world.boot("hub-three").await.unwrap_err();
    assert!(taken.told().contains(&first.control().to_string()), "{}", taken.told());
    wait_for(|| std::net::UdpSocket::bind(hub_three).is_ok()).await;

    let epoch = || std::fs::read_to_string(world.dir("hub-one").join("boot_epoch")).unwrap();
    let before = epoch();
    first.stop().await;
    let trees = world.dir("trees");
    std::fs::create_dir_all(&trees).unwrap();
    std::fs::write(trees.join("hub.toml"), "strategy = \"one_for_one\"\nintensty = 3\n").unwrap();
    let wrong = world.boot_with("hub-one", Trees::folder(&trees)).await.unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "the tree cannot be used: hub.toml:2:1: unknown key \"intensty\": did you mean \"intensity\"?"
    );
    let sneaky = "strategy = \"one_for_one\"\n\n[[child]]\nid = \"x\"\nbehaviour = \"sync.shedule\"\n";
    std::fs::write(trees.join("hub.toml"), sneaky).unwrap();
    let unknown = world.boot_with("hub-one", Trees::folder(&trees)).await.unwrap_err();
    assert!(unknown.to_string().contains("hub.toml:3: child /x: unknown behaviour \"sync.shedule\""), "{unknown}");
    assert_eq!(unknown.into_api().kind, ErrorKind::Usage);
    assert_eq!(epoch(), before, "a boot that is refused is not counted");

    let config = world.dir("hub-one").join("node.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("name = \"hub-one\"", "name = \"hub-other\"")).unwrap();
    let other = world.boot("hub-one").await.unwrap_err();
    assert!(matches!(other, BootError::WrongIdentity { .. }), "{other}");
    std::fs::write(&config, &text).unwrap();
    assert!(NodeConfig::parse(&config, &format!("{text}\nextra = 1\n")).is_err());

    let nations = world.dir("hub-one").join("nations.csv");
    std::fs::write(&nations, "iso2,iso3\n").unwrap();
    std::fs::write(&config, format!("{text}\n").replace("[ledger]\n", "[ledger]\nnations = \"nations.csv\"\n"))
        .unwrap();
    let table = world.boot("hub-one").await.unwrap_err();
    assert!(table.to_string().contains("nations.csv:1:"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_dataset_is_fetched_without_being_asked_and_survives_its_publisher() {
    let world = World::new();
    let first = world.first().await;
    let source = world.dir("source");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join("page.txt"), "readable when the world is dark\n".repeat(10_000)).unwrap();
    let tower = world.joined(&first, "tower-two").await;
    tower.stop().await;
    let config = world.dir("tower-two").join("node.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("pinned = []"), "{text}");
    std::fs::write(&config, text.replace("pinned = []", "pinned = [\"page\"]")).unwrap();
    let tower = world.boot("tower-two").await.unwrap();
    let publish = |name: &str| json!({ "dir": source, "name": name, "class": "general" });
    post(&first.socket(), "/v1/content/publish", &publish("page")).await.unwrap();
    post(&first.socket(), "/v1/content/publish", &publish("other")).await.unwrap();

    let view = loop {
        let view = get(&tower.socket(), "/v1/content").await.unwrap();
        if view["datasets"][0]["complete"] == true {
            break view;
        }
    };
    assert_eq!(view["datasets"].as_array().unwrap().len(), 1, "what is not wanted is left where it is: {view}");
    first.stop().await;
    let target = world.dir("read");
    post(&tower.socket(), "/v1/content/get", &json!({ "name": "page", "to": target })).await.unwrap();
    assert_eq!(std::fs::read(target.join("page.txt")).unwrap(), std::fs::read(source.join("page.txt")).unwrap());
    let refused = post(&tower.socket(), "/v1/content/publish", &publish("mine")).await.unwrap_err();
    assert!(refused.message.contains("only hubs publish"), "{refused}");
    tower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_admits_one_node_once() {
    let world = World::new();
    let first = world.first().await;
    let request = CreateToken { role: Role::Tower, region: Region::Asia, name: name("tower-a"), ttl_s: 60 };
    let token: TokenCreated =
        serde_json::from_value(post(&first.socket(), "/v1/token", &json!(request)).await.unwrap()).unwrap();
    world.join("tower-a", &token.token).await.unwrap();
    let again = world.join("tower-b", &token.token).await.unwrap_err();
    assert!(again.contains("used already"), "{again}");
    for garbage in ["", "covenant-join-1.", "covenant-join-1.AAAA", &"x".repeat(10_000)] {
        assert!(world.join("tower-c", garbage).await.is_err());
    }
    let mut altered = token.token.clone();
    altered.pop();
    assert!(world.join("tower-d", &altered).await.is_err());
    // The same folder joins with a good token: what was refused left nothing that is in the way.
    let request = CreateToken { name: name("tower-d"), ..request };
    let token = post(&first.socket(), "/v1/token", &json!(request)).await.unwrap();
    world.join("tower-d", token["token"].as_str().unwrap()).await.unwrap();
    let forever = CreateToken { ttl_s: u64::MAX, name: name("tower-e"), ..request };
    assert_eq!(post(&first.socket(), "/v1/token", &json!(forever)).await.unwrap_err().kind, ErrorKind::Usage);
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_admits_nobody() {
    let world = World::new();
    world.make("hub-one", support::free_udp());
    let clock = support::Ahead::new();
    let hub = world.boot_at("hub-one", Trees::built_in(), clock.clone()).await.unwrap();
    let request = CreateToken { role: Role::Tower, region: Region::Asia, name: name("tower-a"), ttl_s: 60 };
    let token = post(&hub.socket(), "/v1/token", &json!(request)).await.unwrap();
    clock.put_forward(61);
    let late = world.join("tower-a", token["token"].as_str().unwrap()).await.unwrap_err();
    assert!(late.contains("expired"), "{late}");
    assert!(!world.dir("tower-a").join("node.toml").exists(), "no node was made");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_tree_without_permission_is_refused_and_audited() {
    let world = World::new();
    let first = world.first().await;
    let empty = json!({ "tree": { "root": "hub", "files": {} }, "plan": "none" });
    for (role, kind) in [
        ("viewer", ErrorKind::Denied),
        ("chaos", ErrorKind::Denied),
        ("operator", ErrorKind::Usage),
        ("admin", ErrorKind::Usage),
    ] {
        let person = certified(&first, role, role).await;
        let refused = operator(&person, first.control(), "hub-one", "POST", "/v1/tree/apply", Some(&empty)).await;
        assert_eq!(refused.unwrap_err().kind, kind, "{role}: who may gets to the missing hub.toml");
        let seen = operator(&person, first.control(), "hub-one", "POST", "/v1/tree/drift", Some(&json!({}))).await;
        assert_eq!(seen.unwrap()["empty"], true, "{role} may look");
    }
    let log = std::fs::read_to_string(world.dir("hub-one").join("audit.jsonl")).unwrap();
    let lines: Vec<audit::AuditLine> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let changes: Vec<_> = lines.iter().filter(|line| line.act.verb == "tree change").collect();
    assert_eq!(changes.len(), 4, "{log}");
    assert!(changes[0].act.result.contains("operator viewer (viewer) may not tree change"), "{log}");
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_do_what_their_role_allows_and_every_act_is_a_line() {
    let world = World::new();
    let first = world.first().await;
    let address = first.control();
    let kill = json!({ "path": "/sync/warmer" });
    for (role, may_kill) in [("viewer", false), ("operator", false), ("chaos", true), ("admin", true)] {
        let person = certified(&first, role, role).await;
        assert!(operator(&person, address, "hub-one", "GET", "/v1/members", None).await.is_ok(), "{role}");
        let killed = operator(&person, address, "hub-one", "POST", "/v1/actor/kill", Some(&kill)).await;
        assert_eq!(killed.is_ok(), may_kill, "{role}: {killed:?}");
        wait_for(|| first.runs("/sync/warmer")).await;
        if let Err(error) = killed {
            assert_eq!(error.kind, ErrorKind::Denied);
        }
    }
    // The same person is nobody at a node that is called by another name.
    let admin = certified(&first, "admin-two", "admin").await;
    assert!(operator(&admin, address, "hub-two", "GET", "/v1/members", None).await.is_err());
    // A node's own certificate names no operator.
    let node = world.node_identity("hub-one");
    let refused = operator(&node, address, "hub-one", "GET", "/v1/members", None).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Denied);
    assert!(refused.message.contains("the node hub-one may not"), "{refused}");

    let path = world.dir("hub-one").join("audit.jsonl");
    let log = std::fs::read_to_string(&path).unwrap();
    for who in ["operator viewer (viewer)", "operator chaos (chaos)", "the node hub-one"] {
        assert!(log.contains(who), "{who} is not in\n{log}");
    }
    let lines: Vec<audit::AuditLine> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kills: Vec<(&str, bool)> = lines
        .iter()
        .filter(|line| line.act.verb == "actor kill" && line.act.target == "hub-one:/sync/warmer")
        .map(|line| (line.act.who.as_str(), line.act.result == "ok"))
        .collect();
    let expected = [
        ("operator viewer (viewer)", false),
        ("operator operator (operator)", false),
        ("operator chaos (chaos)", true),
        ("operator admin (admin)", true),
    ];
    assert_eq!(kills, expected, "{log}");
    assert!(!log.contains("PRIVATE KEY"));
    audit::verify(&path).unwrap();
    first.stop().await;
}

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

/// A plain connection to the TLS port gets nothing at all.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_the_control_port_serves_nothing() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::new();
    let first = world.first().await;
    let address: SocketAddr = first.control();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /v1/members HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // Closed with or without a TLS alert; never HTTP.
    let _closed = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");

    // TLS by somebody of another cluster: it trusts this one, and is not trusted.
    let other = World::new();
    other.make("hub-one", support::free_udp());
    let mut stranger = other.node_identity("hub-one");
    stranger.roots = world.node_identity("hub-one").roots;
    assert!(operator(&stranger, address, "hub-one", "GET", "/v1/members", None).await.is_err());
    first.stop().await;
}
