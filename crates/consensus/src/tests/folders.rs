//! Folders that are lost, copied and restored, and members that were away while the group changed.

use std::time::Duration;

use super::cluster::{Cluster, node, nodes};
use crate::consensus::{ChangeError, StartError};
use crate::folder::FolderError;
use crate::gate::Offence;

const SOON: Duration = Duration::from_secs(20);

/// Somebody who does not lead.
async fn follower(cluster: &Cluster) -> covenant_types::NodeId {
    let leader = cluster.leader().await;
    *cluster.alive().iter().find(|node| **node != leader).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_voter_that_lost_its_folder_has_no_say_until_it_is_removed_and_added_again() {
    let mut cluster = Cluster::of(&[1, 2, 3], 21).await;
    cluster.write(1).await;
    cluster.agreed().await;
    let forgot = follower(&cluster).await;
    cluster.kill(forgot);
    cluster.lose_folder(forgot);
    cluster.start(forgot).await;
    cluster.write(2).await;
    let named = |cluster: &Cluster| {
        let intruders = cluster.member(forgot).intruders();
        intruders.iter().any(|intruder| intruder.offence == Offence::NotMeant)
    };
    cluster.until("it says that another folder is meant", named).await;
    // By itself it would form a group of its own, and does not.
    let formed = cluster.member(forgot).form(&nodes(&[1, 2, 3])).await;
    assert!(matches!(formed, Err(ChangeError::Refused(_))), "{formed:?}");
    assert_eq!(cluster.member(forgot).read_stale(|tally| tally.sum), 0);
    let leader = cluster.member(cluster.leader().await);
    let again = leader.add_voter(forgot, SOON).await;
    assert!(matches!(&again, Err(ChangeError::Refused(why)) if why.contains("remove it first")), "{again:?}");
    leader.remove(forgot, SOON).await.unwrap();
    leader.add_voter(forgot, SOON).await.unwrap();
    drop(leader);
    assert_eq!(cluster.agreed().await.sum, 2);
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_was_copied_to_another_node_is_refused_there() {
    let mut cluster = Cluster::of(&[1, 2, 3], 22).await;
    cluster.write(1).await;
    cluster.kill(node(2));
    let copy = cluster.disk(node(2));
    cluster.restore_folder(node(4), copy);
    let started = cluster.try_start(node(4)).await;
    let named = |owner| owner == node(2);
    assert!(
        matches!(started, Err(StartError::Folder(FolderError::OfAnother { owner, .. })) if named(owner)),
        "{started:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_voter_whose_log_went_back_is_sent_nothing_by_the_leader_that_knows() {
    let mut cluster = Cluster::of(&[1, 2, 3], 23).await;
    cluster.write(1).await;
    cluster.agreed().await;
    let restored = follower(&cluster).await;
    cluster.kill(restored);
    let disk = cluster.disk(restored);
    let (backup, goes_on) = (disk.after_cut(1), disk.after_cut(2));
    cluster.restore_folder(restored, goes_on);
    cluster.start(restored).await;
    for id in 2..=10 {
        cluster.write(id).await;
    }
    assert_eq!(cluster.agreed().await.sum, 10);
    let leader = cluster.leader().await;
    cluster.kill(restored);
    cluster.restore_folder(restored, backup);
    cluster.start(restored).await;
    for id in 11..=20 {
        cluster.write(id).await;
    }
    tokio::time::sleep(SOON).await;
    assert_eq!(cluster.leader().await, leader, "the leader goes on");
    assert_eq!(cluster.member(leader).read_stale(|tally| tally.sum), 20);
    assert!(cluster.member(restored).read_stale(|tally| tally.sum) <= 1, "it was sent nothing");
}

#[tokio::test(start_paused = true)]
async fn who_was_away_while_the_group_changed_learns_of_its_leader_from_a_member_it_knows() {
    let mut cluster = Cluster::of(&[1, 2, 3], 24).await;
    cluster.write(1).await;
    cluster.agreed().await;
    let away = follower(&cluster).await;
    cluster.kill(away);
    cluster.start(node(4)).await;
    let leader = cluster.leader().await;
    let stays = cluster.member(leader);
    stays.add_voter(node(4), SOON).await.unwrap();
    let leaves = *cluster.alive().iter().find(|alive| ![leader, node(4)].contains(alive)).unwrap();
    stays.remove(leaves, SOON).await.unwrap();
    drop(stays);
    cluster.kill(leaves);
    for _ in 0..50 {
        let term = cluster.statuses()[&node(4)].term;
        if cluster.leader().await == node(4) {
            break;
        }
        // Until the other one has stood for election: a leader that comes back at once goes on.
        cluster.kill(leader);
        cluster.until("it stands", |cluster| cluster.statuses()[&node(4)].term > term).await;
        cluster.start(leader).await;
    }
    assert_eq!(cluster.leader().await, node(4));
    cluster.start(away).await;
    cluster.write(2).await;
    cluster.until("it has caught up", |cluster| cluster.member(away).read_stale(|tally| tally.sum) == 2).await;
}
