//! Certificates of running nodes: renewed, ended, under clocks that are wrong, and roots that are replaced.

#![expect(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use covenant_cluster::{MemberEvent, MemberState};
use covenant_env::{Clock, RealClock};
use covenant_identity::{RootAuthority, Scope, TrustMark, TrustedRoots};
use covenant_node::api::ca::{AdoptRoots, AuthorityRequested, CaView, InstallAuthority};
use covenant_node::api::fault::FaultSet;
use covenant_node::api::{ApiError, CreateToken, ErrorKind, TokenCreated};
use covenant_node::{BootError, Trees};
use covenant_types::{NodeName, Region, Role, Uptime, WallTime};
use serde_json::{Value, json};
use support::{Ahead, Running, World, get, post, wait_for};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_hub_signs_for_its_region_alone_and_renews_what_another_hub_signed() {
    let world = World::new();
    let first = world.first().await;
    let second = joined(&world, &first, "hub-two", Role::Hub).await;
    let tower = joined(&world, &first, "tower-two", Role::Tower).await;
    let root = root_of(&world);
    let refused = post(&tower.socket(), "/v1/ca/request", &json!({})).await.unwrap_err();
    assert!(refused.message.contains("is no hub"), "{refused}");
    let refused = token(&second, "tower-x", Region::Asia).await.unwrap_err();
    assert!(refused.message.contains("no issuing authority"), "{refused}");

    let elsewhere = issue(&second, &root, Scope::Region(Region::Africa)).await.unwrap_err();
    assert!(elsewhere.message.contains("stands elsewhere"), "{elsewhere}");
    let stranger = RootAuthority::create("demo", RealClock::new().wall()).unwrap();
    let foreign = issue(&second, &stranger, Scope::Everywhere).await.unwrap_err();
    assert!(foreign.message.contains("does not trust its root"), "{foreign}");
    issue(&second, &root, Scope::Region(Region::Asia)).await.unwrap();

    assert!(token(&second, "tower-x", Region::Asia).await.is_ok(), "without a restart");
    let refused = token(&second, "tower-y", Region::Africa).await.unwrap_err();
    assert!(refused.message.contains("signs for asia only"), "{refused}");
    wait_for(|| sees(&tower, |member| member.trust.issues == Some(Scope::Region(Region::Asia)))).await;
    first.stop().await;
    let rotated = post(&tower.socket(), "/v1/cert/rotate", &json!(null)).await.unwrap();
    assert_eq!(rotated["by"], "hub-two", "the one that signed it before is gone");
    assert_eq!(reachable(&tower), 2, "no connection closed");
    let log = std::fs::read_to_string(world.dir("hub-two").join("audit.jsonl")).unwrap();
    assert!(log.contains("issuing authority of hub-two") && !log.contains("PRIVATE KEY"), "{log}");
    tower.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_certificate_ended_comes_up_by_renewing_within_14_days_and_not_after() {
    let world = World::new();
    let first = world.first().await;
    let tower = world.joined(&first, "tower-two").await;
    tower.stop().await;
    first.stop().await;
    let (here, there) = (Ahead::new(), Ahead::new());
    here.put_forward(13 * DAY);
    there.put_forward(13 * DAY);
    let first = world.boot_at("hub-one", Trees::built_in(), here.clone()).await.unwrap();
    let tower = world.boot_at("tower-two", Trees::built_in(), there.clone()).await.unwrap();
    wait_for(|| reachable(&first) == 2).await;
    tower.stop().await;
    first.stop().await;
    here.put_forward(29 * DAY);
    there.put_forward(29 * DAY);
    let first = world.boot_at("hub-one", Trees::built_in(), here).await.unwrap();
    let late = world.boot_at("tower-two", Trees::built_in(), there).await.unwrap_err();
    assert!(matches!(&late, BootError::CertificateEnded(why) if why.contains("join again")), "{late}");
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_finds_no_hub_to_renew_at_comes_up_says_so_and_goes_on_trying() {
    let world = World::new();
    let first = world.first().await;
    let tower = world.joined(&first, "tower-two").await;
    tower.stop().await;
    first.stop().await;
    let (here, there) = (Ahead::new(), Ahead::new());
    here.put_forward(2 * DAY);
    there.put_forward(2 * DAY);
    let tower = world.boot_at("tower-two", Trees::built_in(), there).await.unwrap();
    let status = get(&tower.socket(), "/v1/status").await.unwrap();
    assert!(status["not_ready_because"].as_str().unwrap().contains("certificate has ended"), "{status}");
    let doctor = get(&tower.socket(), "/v1/doctor").await.unwrap();
    assert!(doctor.to_string().contains("its certificate has ended"), "{doctor}");
    let first = world.boot_at("hub-one", Trees::built_in(), here).await.unwrap();
    wait_for(|| reachable(&first) == 2).await;
    let status = get(&tower.socket(), "/v1/status").await.unwrap();
    assert_eq!(status["ready"], true, "{status}");
    tower.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_boots_in_1970_or_ten_years_ahead_takes_part_and_keeps_the_true_time() {
    let world = World::new();
    let first = world.first().await;
    world.joined(&first, "tower-two").await.stop().await;
    let ahead = Ahead::new();
    ahead.put_forward(3650 * DAY);
    let clocks: [Arc<dyn Clock>; 2] = [Arc::new(In1970(RealClock::new())), ahead];
    for clock in clocks {
        let tower = world.boot_at("tower-two", Trees::built_in(), clock).await.unwrap();
        wait_for(|| reachable(&first) == 2 && reachable(&tower) == 2).await;
        let ends = get(&tower.socket(), "/v1/status").await.unwrap()["certificate_ends"].as_u64().unwrap();
        let now = RealClock::new().wall().0;
        assert!((now..now + 2 * DAY).contains(&ends), "{ends} beside {now}");
        let doctor = get(&tower.socket(), "/v1/doctor").await.unwrap();
        let findings = doctor["findings"].as_array().unwrap();
        let clock = findings.iter().find(|finding| finding["check"] == "machine clock").unwrap();
        assert_eq!(clock["level"], "warn", "{clock}");
        tower.stop().await;
        let kept: u64 = std::fs::read_to_string(world.dir("tower-two").join("time")).unwrap().trim().parse().unwrap();
        assert!(kept.abs_diff(now) < HOUR, "{kept} beside {now}: the next boot must not start from a lie");
    }
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_others_can_read_keeps_a_node_from_starting() {
    let world = World::new();
    world.make("hub-one", support::free_udp());
    for secret in ["node.key", "issuing.pem"] {
        let path = world.dir("hub-one").join("identity").join(secret);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let refused = world.boot("hub-one").await.unwrap_err();
        assert!(refused.to_string().contains("others can read this secret"), "{refused}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    world.boot("hub-one").await.unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_is_replaced_under_running_nodes_and_who_was_away_finds_its_way_back() {
    let world = World::new();
    let first = world.first().await;
    let tower = world.joined(&first, "tower-two").await;
    let late = world.joined(&first, "tower-late").await;
    wait_for(|| [&first, &tower, &late].iter().all(|node| reachable(node) == 3)).await;
    late.stop().await;
    wait_for(|| sees(&first, |member| member.name.as_str() == "tower-late" && member.state == MemberState::Left)).await;
    let mut events = first.node().cluster().events();
    let (old, now) = (root_of(&world), RealClock::new().wall());
    let new = RootAuthority::create("demo", now).unwrap();

    let trusted = trusted(&first).await;
    let refused = step(&first, trusted.prepare(&old, &new, now).unwrap(), false).await;
    assert!(refused.is_ok(), "a member that left knows the root that all know: {refused:?}");
    let prepared = self::trusted(&first).await;
    wait_for(|| sees(&first, |member| member.name.as_str() == "tower-two" && member.trust.version == 1)).await;
    let switch = prepared.switch(&new).unwrap();
    let refused = step(&first, switch.clone(), true).await.unwrap_err();
    assert!(refused.kind == ErrorKind::Conflict && refused.message.contains("hub-one (reachable)"), "{refused}");
    issue(&first, &new, Scope::Everywhere).await.unwrap();
    let refused = loop {
        // What the hub shows of itself takes a moment.
        let refused = step(&first, switch.clone(), false).await.unwrap_err();
        if !refused.message.contains("hub-one") {
            break refused;
        }
    };
    assert!(refused.message.contains("tower-late (left): it does not know the step before"), "{refused}");
    step(&first, switch, true).await.unwrap();
    let switched = self::trusted(&first).await;
    let finish = switched.finish(&new, false, RealClock::new().wall()).unwrap();
    let under = first.node().cluster().me().trust.under;
    wait_for(|| sees(&first, |member| member.name.as_str() == "tower-two" && member.trust.under == under)).await;
    step(&first, finish.clone(), true).await.unwrap();
    wait_for(|| sees(&tower, |member| member.name.as_str() == "tower-two" && member.trust.version == 3)).await;
    let again = step(&first, finish, true).await.unwrap_err();
    assert_eq!(again.kind, ErrorKind::Conflict, "{again}");
    assert_eq!((reachable(&first), reachable(&tower)), (2, 2));

    let late = world.boot("tower-late").await.unwrap();
    wait_for(|| reachable(&late) == 3).await;
    let view: CaView = serde_json::from_value(get(&late.socket(), "/v1/ca").await.unwrap()).unwrap();
    assert_eq!((view.version, view.roots.len(), view.retired.len()), (3, 1, 1));
    assert!(view.members.iter().all(|member| member.same_roots && member.under_first_root), "{:?}", view.members);
    while let Ok(event) = events.try_recv() {
        if let MemberEvent::Changed(member) = event {
            assert!(member.state != MemberState::Down, "{} was taken for dead", member.name);
        }
    }
    // The trust outlives the process, and a token made now carries it.
    late.stop().await;
    tower.stop().await;
    let tower = world.boot("tower-two").await.unwrap();
    wait_for(|| reachable(&tower) == 2).await;
    let newcomer = world.joined(&first, "tower-new").await;
    wait_for(|| reachable(&newcomer) == 3).await;
    newcomer.stop().await;
    tower.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_rotations_prepared_at_two_hubs_that_do_not_hear_each_other_one_is_left_when_they_do() {
    let world = World::new();
    let first = world.first().await;
    let second = joined(&world, &first, "hub-two", Role::Hub).await;
    let tower = joined(&world, &first, "tower-three", Role::Tower).await;
    wait_for(|| [&first, &second, &tower].iter().all(|node| reachable(node) == 3)).await;

    let (old, now) = (root_of(&world), RealClock::new().wall());
    let mut roots = [(); 2].map(|()| RootAuthority::create("demo", now).unwrap());
    roots.sort_by(|one, other| one.certificate().cmp(other.certificate()));
    let [stays, goes] = roots;
    let settled = trusted(&first).await;
    let cut = json!({ "fault": { "type": "partition" }, "direction": "both", "peer": "all" });
    let cut = json!({ "spec": cut, "ttl_ms": 600_000, "dry_run": false });
    let set: FaultSet = serde_json::from_value(post(&second.socket(), "/v1/fault/set", &cut).await.unwrap()).unwrap();
    // Each is the first as far as its hub knows.
    for (hub, new) in [(&first, &stays), (&second, &goes)] {
        step(hub, settled.prepare(&old, new, now).unwrap(), true).await.unwrap();
        assert_eq!(trusted(hub).await.roots()[1], new.certificate());
    }
    post(&second.socket(), "/v1/fault/lift", &json!({ "id": set.lease.unwrap().id })).await.unwrap();

    let kept = trusted(&first).await;
    let all_keep_it = |node: &Running| {
        let members = node.node().cluster().members();
        let same = |mark: &TrustMark| (mark.version, mark.roots) == (kept.version(), kept.digest());
        members.len() == 3 && members.iter().all(|member| same(&member.trust))
    };
    wait_for(|| [&first, &second, &tower].iter().all(|node| all_keep_it(node))).await;
    assert_eq!(kept.roots()[1], stays.certificate());
    // Whoever prepared the other one is told so, and what is left is what the next boot trusts.
    let given_way = trusted(&second).await;
    assert!(given_way.switch(&goes).is_err() && given_way.switch(&stays).is_ok());
    let file = world.dir("hub-two").join("identity/roots");
    wait_for(|| std::fs::read(&file).unwrap() == kept.to_bytes()).await;
    second.stop().await;
    let second = world.boot("hub-two").await.unwrap();
    assert_eq!(trusted(&second).await, kept);
    wait_for(|| reachable(&second) == 3).await;
    tower.stop().await;
    second.stop().await;
    first.stop().await;
}

/// A machine that lost its clock.
#[derive(Debug)]
struct In1970(RealClock);

impl Clock for In1970 {
    fn now(&self) -> Uptime {
        self.0.now()
    }

    fn wall(&self) -> WallTime {
        WallTime(self.now().since(Uptime::ZERO).as_secs())
    }
}

async fn trusted(node: &Running) -> TrustedRoots {
    let view: CaView = serde_json::from_value(get(&node.socket(), "/v1/ca").await.unwrap()).unwrap();
    match view.statements.is_empty() {
        true => TrustedRoots::of("demo", view.roots[0].certificate.clone()).unwrap(),
        false => TrustedRoots::from_own_file("demo", &view.statements).unwrap(),
    }
}

async fn step(node: &Running, statements: Vec<u8>, force: bool) -> Result<Value, ApiError> {
    post(&node.socket(), "/v1/ca/roots", &json!(AdoptRoots { statements, force, dry_run: false })).await
}

/// What `covenant ca issue` does.
async fn issue(hub: &Running, root: &RootAuthority, scope: Scope) -> Result<Value, ApiError> {
    let asked = post(&hub.socket(), "/v1/ca/request", &json!(null)).await?;
    let asked: AuthorityRequested = serde_json::from_value(asked).unwrap();
    let certificate = root.sign_issuing(&asked.csr, scope, RealClock::new().wall()).unwrap();
    let install = InstallAuthority { certificate, root: root.certificate().to_vec() };
    post(&hub.socket(), "/v1/ca/install", &json!(install)).await
}

async fn token(hub: &Running, name: &str, region: Region) -> Result<TokenCreated, ApiError> {
    let name = NodeName::new(name).unwrap();
    let request = CreateToken { role: Role::Tower, region, name, ttl_s: 60 };
    post(&hub.socket(), "/v1/token", &json!(request)).await.map(|made| serde_json::from_value(made).unwrap())
}

async fn joined(world: &World, hub: &Running, name: &str, role: Role) -> Running {
    let request = CreateToken { role, region: Region::Asia, name: NodeName::new(name).unwrap(), ttl_s: 60 };
    let made = post(&hub.socket(), "/v1/token", &json!(request)).await.unwrap();
    world.join(name, made["token"].as_str().unwrap()).await.unwrap();
    world.boot(name).await.unwrap()
}

fn root_of(world: &World) -> RootAuthority {
    let pem = std::fs::read_to_string(world.dir("hub-one").join("root/root.pem")).unwrap();
    RootAuthority::from_pem(&pem).unwrap()
}

fn reachable(node: &Running) -> usize {
    node.node().cluster().members().iter().filter(|member| member.state == MemberState::Reachable).count()
}

fn sees(node: &Running, so: impl Fn(&covenant_cluster::MemberView) -> bool) -> bool {
    node.node().cluster().members().iter().any(so)
}
