//! Groups that begin with the state of another one.

use std::sync::Arc;
use std::time::Duration;

use covenant_env::Env;
use covenant_types::WallTime;

use super::SimDisk;
use super::cluster::{Cluster, node, nodes};
use crate::consensus::ChangeError;
use crate::found::{FoundError, found};
use crate::replicated::Replicated;

const SOON: Duration = Duration::from_secs(20);
const AT: WallTime = WallTime(1_790_000_000);

/// A disk with a group of `of` alone, which has what `from` has.
async fn founded(cluster: &Cluster, from: u8, of: u8) -> SimDisk {
    let disk = SimDisk::default();
    let view = cluster.member(node(from)).read_stale(Replicated::view).unwrap();
    found(Arc::new(disk.clone()), &Env::for_test(of.into()), "test", node(of), AT, view).await.unwrap();
    disk
}

#[tokio::test(start_paused = true)]
async fn a_group_founded_on_the_state_of_another_goes_on_from_it_and_takes_in_voters() {
    let old = Cluster::of(&[1], 51).await;
    for id in 1..=5 {
        old.write(id).await;
    }
    let disk = founded(&old, 1, 7).await;
    let mut new = Cluster::of(&[], 52).await;
    new.restore_folder(node(7), disk);
    new.start(node(7)).await;
    assert_eq!(new.leader().await, node(7));
    assert_eq!(new.agreed().await.sum, old.agreed().await.sum);
    // What was written before is known: an id is done once also across the restore.
    new.write(5).await;
    new.write(6).await;
    assert_eq!(new.agreed().await.sum, old.agreed().await.sum + 1);
    // Who is added has nothing and gets the state, not only what came since.
    for added in [8, 9] {
        new.start(node(added)).await;
        new.member(node(added)).believe(nodes(&[7, 8, 9]));
        new.member(new.leader().await).add_voter(node(added), SOON).await.unwrap();
    }
    new.write(7).await;
    new.kill(node(7));
    new.write(8).await;
    new.start(node(7)).await;
    assert_eq!(new.agreed().await.sum, old.agreed().await.sum + 3);
}

#[tokio::test(start_paused = true)]
async fn two_voters_restored_from_one_backup_never_become_one_group() {
    let mut old = Cluster::of(&[1], 53).await;
    old.write(1).await;
    let disks = [founded(&old, 1, 7).await, founded(&old, 1, 8).await];
    old.kill(node(1));
    let mut both = Cluster::of(&[], 54).await;
    for (number, disk) in [7, 8].into_iter().zip(disks) {
        both.restore_folder(node(number), disk);
        both.start(node(number)).await;
    }
    both.until("each leads itself", |both| both.statuses().values().all(|status| status.leads)).await;
    let refused = both.member(node(7)).add_voter(node(8), SOON).await;
    assert!(matches!(&refused, Err(ChangeError::Refused(why)) if why.contains("empty its folder")), "{refused:?}");
    for number in [7, 8] {
        let status = &both.statuses()[&node(number)];
        assert_eq!(status.voters, nodes(&[number]), "{status:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_is_founded_in_an_empty_folder_only() {
    let mut old = Cluster::of(&[1], 55).await;
    old.write(1).await;
    let view = old.member(node(1)).read_stale(Replicated::view).unwrap();
    let disk = Arc::new(old.disk(node(1)));
    let again = found(disk, &Env::for_test(1), "test", node(1), AT, view).await;
    assert!(matches!(again, Err(FoundError::NotEmpty)), "{again:?}");
    old.write(2).await;
    assert_eq!(old.agreed().await.sum, 2);
}
