//! `ca` and `cert`: who signs for whom. The root's key is read here, signs here, and is wiped here.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use covenant_cluster::MemberState;
use covenant_env::{Clock, RealClock};
use covenant_identity::{RootAuthority, RotationPhase, Scope, TrustedRoots};
use covenant_node::Zeroizing;
use covenant_node::api::ca::{
    AdoptRoots, AuthorityInstalled, AuthorityRequested, CaMember, CaView, CertificateRotated, InstallAuthority,
    RootView, RootsAdopted,
};
use covenant_node::api::{ApiError, ErrorKind};
use covenant_types::{NodeName, WallTime, format_duration};
use tokio::time::Instant;

use super::part::{confirm, consequences, named};
use crate::args::{CaVerb, Global, Phase, RootKey, Rotate};
use crate::client::Client;
use crate::output::{Output, Tone};

/// The longest root's file that is read, in bytes.
const ROOT_BYTES_MAX: u64 = 64 * 1024;
/// How long hubs may take to show that their issuing certificates are under the new root.
const SHOWN_WITHIN: Duration = Duration::from_secs(30);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Works with authorities.
pub(crate) async fn ca(global: &Global, verb: CaVerb, output: &Output) -> Result<(), ApiError> {
    match verb {
        CaVerb::Show => show(global, output).await,
        CaVerb::Issue { hub, scope, key } => {
            let client = named(&about(global, hub)).await?;
            let installed = issue(&client, &read_root(&key)?, scope).await?;
            output.view(&installed, |_| {
                format!("{} signs for {} until {}", installed.node, installed.scope, in_days(installed.ends))
            });
            Ok(())
        }
        CaVerb::Rotate(args) => rotate(global, &args, output).await,
    }
}

/// Renews a node's certificate now.
pub(super) async fn rotate_certificate(
    global: &Global,
    name: Option<NodeName>,
    output: &Output,
) -> Result<(), ApiError> {
    let client = named(&about(global, name)).await?;
    let rotated: CertificateRotated = client.post("/v1/cert/rotate", &()).await?;
    output.view(&rotated, |_| {
        format!("the certificate of {} is renewed by {}; it ends in {}", rotated.node, rotated.by, left(rotated.ends))
    });
    Ok(())
}

/// The same options about the node that was named as an argument.
fn about(global: &Global, name: Option<NodeName>) -> Global {
    let mut global = global.clone();
    if name.is_some() {
        global.node = name;
    }
    global
}

async fn show(global: &Global, output: &Output) -> Result<(), ApiError> {
    let view: CaView = global.client().await?.get("/v1/ca").await?;
    output.view(&view, |output| {
        let mut text = format!("{}: version {}, {}\n", view.cluster, view.version, view.phase);
        for (place, root) in view.roots.iter().enumerate() {
            let what = if place == 0 { "root   " } else { "trusted" };
            text.push_str(&format!("{what} {} ends in {}\n", short(root), left(root.until)));
        }
        for root in &view.retired {
            text.push_str(&format!("retired {} since {}\n", short(root), root.until.0));
        }
        if let Some(issuing) = &view.issuing {
            text.push_str(&format!("{} signs for {}, for {} more\n", view.node, issuing.scope, left(issuing.ends)));
        }
        let row = |member: &CaMember| {
            let yes_no = |yes: bool| if yes { (Tone::Good, "yes".to_owned()) } else { (Tone::Warn, "no".to_owned()) };
            vec![
                (Tone::Plain, member.name.to_string()),
                (Tone::Plain, member.state.to_string()),
                yes_no(member.same_roots),
                yes_no(member.under_first_root),
                (Tone::Plain, member.issues.map_or("-", Scope::as_str).to_owned()),
                (Tone::Dim, left(member.certificate_ends)),
            ]
        };
        let rows: Vec<_> = view.members.iter().map(row).collect();
        text + &output.table(&["NODE", "STATE", "SAME ROOTS", "UNDER THE ROOT", "SIGNS FOR", "CERT"], &rows)
    });
    Ok(())
}

/// Has the hub make a key, signs it, and gives the hub the certificate.
async fn issue(client: &Client, root: &RootAuthority, scope: Option<Scope>) -> Result<AuthorityInstalled, ApiError> {
    let view: CaView = client.get("/v1/ca").await?;
    if !view.roots.iter().any(|trusted| trusted.certificate == root.certificate()) {
        let message = format!("{} does not trust the root of this key; nothing was done", view.node);
        return Err(ApiError::new(ErrorKind::Conflict, message));
    }
    let asked: AuthorityRequested = client.post("/v1/ca/request", &()).await?;
    let scope = scope.or(view.issuing.map(|issuing| issuing.scope)).unwrap_or(Scope::Region(asked.region));
    let certificate = root.sign_issuing(&asked.csr, scope, now());
    let certificate = certificate.map_err(|error| ApiError::usage(format!("{error}; nothing was signed")))?;
    client.post("/v1/ca/install", &InstallAuthority { certificate, root: root.certificate().to_vec() }).await
}

async fn rotate(global: &Global, args: &Rotate, output: &Output) -> Result<(), ApiError> {
    let client = global.client().await?;
    let view: CaView = client.get("/v1/ca").await?;
    let trusted = trusted(&view)?;
    let given = read_root(&args.key)?;
    let made = match (args.phase, &args.new_root_key) {
        (Phase::Prepare, Some(file)) if file.exists() => {
            return Err(ApiError::usage(format!("{} exists; choose another file; nothing was done", file.display())));
        }
        (Phase::Prepare, Some(file)) => Some((new_root(&view.cluster)?, file)),
        (Phase::Prepare, None) => {
            return Err(ApiError::usage(
                "say where the new root's key is to go: --new-root-key FILE; nothing was done",
            ));
        }
        (_, Some(_)) => return Err(ApiError::usage("only prepare makes a new root; nothing was done")),
        (_, None) => None,
    };
    let statements = match (args.phase, &made) {
        (Phase::Prepare, Some((new, _))) => trusted.prepare(&given, new, now()),
        (Phase::Switch, _) => trusted.switch(&given),
        (Phase::Finish, _) => trusted.finish(&given, args.forget, now()),
        (Phase::Cancel | Phase::Prepare, _) => trusted.cancel(&given),
    };
    let statements =
        statements.map_err(|error| ApiError::new(ErrorKind::Conflict, format!("{error}; nothing was done")))?;
    let request = |dry_run| AdoptRoots { statements: statements.clone(), force: args.force, dry_run };
    let plan: RootsAdopted = client.post("/v1/ca/roots", &request(true)).await?;
    let (what, follows) = (format!("the rotation to {}", plan.phase), follows(&plan));
    if args.dry_run {
        output.view(&plan, |_| consequences(&what, &follows));
        return Ok(());
    }
    confirm(&what, &follows, args.yes, output)?;
    // Where somebody lacks the step before, no hub is touched: the node refuses below, and says who it is.
    if args.phase == Phase::Switch && wait_until_known(&client, args.force).await? {
        issue_for_all(global, &view, &given, output).await?;
        wait_until_shown(&client, &request(true), args.force).await?;
    }
    if let Some((new, file)) = &made {
        covenant_store::write_atomic(file, new.to_pem().as_bytes(), 0o600).map_err(ApiError::failure)?;
    }
    let done: Result<RootsAdopted, ApiError> = client.post("/v1/ca/roots", &request(false)).await;
    if let (Err(error), Some((_, file))) = (&done, &made)
        && matches!(error.kind, ErrorKind::Conflict | ErrorKind::Refused | ErrorKind::Denied | ErrorKind::Usage)
    {
        // It was not taken: a key that nobody trusts is of no use. It may be gone already.
        let _gone = std::fs::remove_file(file);
    }
    let done = done?;
    output.view(&done, |_| {
        format!("the rotation is {} (version {}); see who follows with: covenant ca show", done.phase, done.version)
    });
    if let Some((_, file)) = &made {
        output.talk(&format!("take {} offline: it is the cluster's next root", file.display()));
    }
    if done.phase == RotationPhase::Settled && args.phase == Phase::Finish {
        output.talk("the old root's key is worth nothing now: destroy it");
    }
    Ok(())
}

/// Gives every issuing hub that can be reached from here a certificate under the new root.
async fn issue_for_all(global: &Global, view: &CaView, new: &RootAuthority, output: &Output) -> Result<(), ApiError> {
    if global.socket.is_some() || global.address.is_some() {
        return Ok(());
    }
    // While it is prepared the first root is the old one.
    let to_do = |member: &&CaMember| {
        member.issues.is_some() && member.under_first_root && member.state == MemberState::Reachable
    };
    for member in view.members.iter().filter(to_do) {
        issue(&global.client_of(&member.name)?, new, None).await?;
        output.talk(&format!("{} signs under the new root", member.name));
    }
    Ok(())
}

/// Waits until all who count know the roots that the asked node knows, for a while: statements take a moment to spread.
async fn wait_until_known(client: &Client, force: bool) -> Result<bool, ApiError> {
    let begun = Instant::now();
    loop {
        let view: CaView = client.get("/v1/ca").await?;
        let counts = |member: &&CaMember| !force || member.state == MemberState::Reachable;
        if view.members.iter().filter(counts).all(|member| member.same_roots) {
            return Ok(true);
        }
        if begun.elapsed() > SHOWN_WITHIN {
            return Ok(false);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until nobody who counts lacks what the step needs, for a while: what hubs say of themselves takes a moment to spread.
async fn wait_until_shown(client: &Client, dry_run: &AdoptRoots, force: bool) -> Result<(), ApiError> {
    let begun = Instant::now();
    loop {
        let plan: RootsAdopted = client.post("/v1/ca/roots", dry_run).await?;
        let in_the_way = plan.lacking.iter().any(|lack| !force || lack.state == MemberState::Reachable);
        // Past that time the node itself says who stands in the way.
        if !in_the_way || begun.elapsed() > SHOWN_WITHIN {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What follows, and who lacks what.
fn follows(plan: &RootsAdopted) -> Vec<String> {
    let lacking = plan.lacking.iter().map(|lack| format!("{} ({}): {}", lack.name, lack.state, lack.why));
    plan.consequences.iter().cloned().chain(lacking).collect()
}

/// What the node trusts, read again from what it shows, so that the next statement is made of that.
fn trusted(view: &CaView) -> Result<TrustedRoots, ApiError> {
    let read = match view.roots.first() {
        Some(root) if view.statements.is_empty() => TrustedRoots::of(&view.cluster, root.certificate.clone()),
        _ => TrustedRoots::from_own_file(&view.cluster, &view.statements),
    };
    read.map_err(|error| ApiError::failure(format!("what {} says of its roots cannot be used: {error}", view.node)))
}

fn new_root(cluster: &str) -> Result<RootAuthority, ApiError> {
    RootAuthority::create(cluster, now()).map_err(ApiError::failure)
}

/// Reads a root's key from a file of its own or from stdin. Never from an argument: those are seen by all.
fn read_root(key: &RootKey) -> Result<RootAuthority, ApiError> {
    let text = match &key.root_key {
        Some(file) => covenant_node::read_secret(file, ROOT_BYTES_MAX).map_err(ApiError::usage)?,
        None => read_stdin()?,
    };
    let from = key.root_key.as_deref().unwrap_or(Path::new("stdin")).display().to_string();
    RootAuthority::from_pem(&text).map_err(|error| ApiError::usage(format!("{from}: {error}; nothing was done")))
}

fn read_stdin() -> Result<Zeroizing<String>, ApiError> {
    // Room for all of it at once: a buffer that grows leaves copies of a secret behind.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(ROOT_BYTES_MAX).unwrap_or(0) + 1));
    std::io::stdin().take(ROOT_BYTES_MAX).read_to_string(&mut text).map_err(ApiError::usage)?;
    Ok(text)
}

fn now() -> WallTime {
    RealClock::new().wall()
}

fn left(until: WallTime) -> String {
    let seconds = until.0.saturating_sub(now().0);
    let unit = if seconds >= 2 * 86_400 {
        86_400
    } else if seconds >= 3600 {
        3600
    } else {
        60
    };
    format_duration(Duration::from_secs(seconds - seconds % unit))
}

fn in_days(until: WallTime) -> String {
    format!("{} from now", left(until))
}

fn short(root: &RootView) -> &str {
    root.fingerprint.get(..16).unwrap_or(&root.fingerprint)
}
