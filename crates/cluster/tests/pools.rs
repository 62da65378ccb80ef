//! A cluster laid out in pools: whom a node sees, and through whom.

mod support;

use covenant_cluster::MemberState;
use covenant_env::{Clock, RealClock};
use covenant_types::{LinkTier, Region, Role, WallTime};
use support::{AMPLE, Identity, Message, Node, Note, eventually};

const ALL: [&str; 6] = ["hub-a", "hub-b", "hub-c", "tower-a", "tower-c", "leaf"];

/// Two regions, three hubs, a tower in each region, and a leaf.
async fn land() -> Vec<Node> {
    let hub = |name, region| Identity::placed(name, Role::Hub, region, LinkTier::Lan);
    let tower = |name, region| Identity::placed(name, Role::Tower, region, LinkTier::Lan);
    let first = hub("hub-a", Region::Africa).boot(&[]).await;
    let seeds = [first.address()];
    let mut nodes = vec![first];
    for mut identity in [
        hub("hub-b", Region::Africa),
        hub("hub-c", Region::Asia),
        tower("tower-a", Region::Africa),
        tower("tower-c", Region::Asia),
        Identity::placed("leaf", Role::Tower, Region::Africa, LinkTier::Satellite),
    ] {
        nodes.push(identity.boot(&seeds).await);
    }
    for node in &nodes {
        node.until_reachable(&ALL).await;
    }
    nodes
}

fn connected(node: &Node, other: &Node) -> bool {
    node.cluster.peer(&other.name()).is_some()
}

/// The last node of [`land`] is connected to both hubs of its region: it is seen by all before that.
async fn until_the_leaf_has_its_hubs(nodes: &[Node]) {
    let leaf = nodes.last().expect("the leaf");
    eventually("it keeps a connection to each of its hubs", || {
        connected(leaf, &nodes[0]) && connected(leaf, &nodes[1])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_of_a_cluster_in_pools_sees_all_and_a_killed_one_is_down_for_all() {
    let mut nodes = land().await;
    for name in ["tower-c", "leaf", "hub-b"] {
        let victim = nodes.remove(nodes.iter().position(|node| node.name().as_str() == name).unwrap());
        let name = victim.name();
        victim.kill();
        for node in &nodes {
            node.until_state(&name, MemberState::Down).await;
        }
    }
    let left: Vec<_> = nodes.iter().map(Node::name).collect();
    let left: Vec<&str> = left.iter().map(|name| name.as_str()).collect();
    for node in &nodes {
        node.until_reachable(&left).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaf_that_leaves_its_cluster_has_left_for_all() {
    let mut nodes = land().await;
    until_the_leaf_has_its_hubs(&nodes).await;
    let leaf = nodes.pop().unwrap();
    let name = leaf.name();
    leaf.cluster.leave().await;
    for node in &nodes {
        node.until_state(&name, MemberState::Left).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_connection_is_dialled_for_a_message_and_left_when_there_are_no_more() {
    let nodes = land().await;
    let (near, far, leaf) = (&nodes[3], &nodes[4], &nodes[5]);
    eventually("what the seed was needed for is over", || !connected(near, far) && !connected(leaf, far)).await;
    let echo = async |from: &Node, to: &Node| {
        from.actor(&to.name(), "actor").call(|reply| Message::Echo(vec![7], reply), AMPLE).await
    };
    assert_eq!(echo(near, far).await, Ok(vec![7]));
    assert!(connected(near, far));
    assert_eq!(echo(leaf, far).await, Ok(vec![7]));
    assert_eq!(echo(far, leaf).await, Ok(vec![7]), "a leaf is reached as well");
    eventually("they are idle", || !connected(near, far) && !connected(leaf, far)).await;
    assert!(connected(leaf, &nodes[0]) && connected(near, &nodes[0]), "those who watch each other stay connected");
    for node in &nodes {
        node.until_reachable(&ALL).await;
    }
    assert!(near.counts.of("covenant_cluster_dials_on_demand_total") > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaf_that_sleeps_is_asleep_for_all_and_has_its_mail_from_afar_when_it_wakes() {
    let nodes = land().await;
    until_the_leaf_has_its_hubs(&nodes).await;
    let (far, leaf) = (&nodes[4], &nodes[5]);
    let name = leaf.name();
    let until = WallTime(RealClock::new().wall().0 + 600);
    assert_eq!(leaf.cluster.sleep(until).await.unwrap().told.len(), 2, "its hubs");
    for node in &nodes[..5] {
        node.until_state(&name, MemberState::Asleep).await;
    }
    let actor = far.actor(&name, "actor");
    for number in 0..10 {
        actor.cast(Message::Note(Note { sender: 1, number, padding: Vec::new() })).await.unwrap();
    }
    assert!(leaf.cluster.wake().await);
    eventually("its mail has come", || leaf.notes.numbers(1) == (0..10).collect::<Vec<_>>()).await;
    for node in &nodes {
        node.until_reachable(&ALL).await;
    }
}
