//! A dataset from node to node, checked and on disk, beside the same bytes over bare QUIC.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use covenant_content::{
    ChunkId, Class, ContentConfig, ContentStore, REQUEST_CHUNKS_MAX, StoreMessage, StoreRequest, StoreResponse, Trust,
    fetch,
};
use covenant_env::Env;
use covenant_identity::TrustedRoots;
use covenant_runtime::{BehaviourRegistry, Resources, System};
use covenant_transport::Peer;

use crate::Failure;
use crate::bare::Bare;
use crate::disk::synced_file;
use crate::nodes::{AMPLE, Authority, Files, Host, Pair, start_tree};
use crate::report::{Outcome, Row, Unit};
use crate::stats::rate;

const ROUNDS: usize = 5;
const BYTES: usize = 64 * 1024 * 1024;
/// About what a fetch stores with one sync: sixteen chunks of 64 KiB.
const SYNCED_BYTES: usize = 1024 * 1024;
const TREE: Files = &[("root", "[[child]]\nid = \"store\"\nbehaviour = \"content.store\"\n")];
const NAME: &str = "bench";

pub(crate) fn run() -> Result<Outcome, Failure> {
    let first = Host::new(9)?;
    let authority = Authority::new(&first.env)?;
    let pair = Pair::start(&authority)?;
    let bare = Bare::connect(&pair.configs)?;
    let scratch = tempfile::tempdir()?;
    let trust = Trust::fixed(TrustedRoots::of(&pair.configs[0].cluster, authority.root())?);

    let hub = publisher(&pair, scratch.path(), trust.clone())?;
    let source = scratch.path().join("source");
    fs::create_dir(&source)?;
    fs::write(source.join("noise"), noise(BYTES, &first.env))?;
    let published = publish(&pair.hosts[0], &hub, &source)?;
    let signed = Arc::new(manifest(&pair.hosts[0], &hub)?);

    let peer = pair.clusters[1].peer(&pair.configs[0].name).ok_or("the nodes are not connected")?;
    let total = BYTES as u64;
    let (mut ours, mut theirs, mut disk) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let folder = scratch.path().join("fetched");
        let (env, near) = (&pair.hosts[1].env, &pair.hosts[1]);
        let store = Arc::new(ContentStore::open(&folder, trust.clone(), env.wall())?);
        let missing = store.add_manifest((*signed).clone(), env.wall())?;
        let ids: Vec<ChunkId> = missing.iter().map(|chunk| chunk.id).collect();
        let took = near.on_work(fetch_all(peer.clone(), store, env.clone(), ids))?;
        let bare_took = bare.bulk(total)?;
        let disk_took = synced_file(scratch.path(), total, SYNCED_BYTES)?;
        fs::remove_dir_all(&folder)?;
        if round > 0 {
            ours.push(rate(total, took));
            theirs.push(rate(total, bare_took));
            disk.push(rate(total, disk_took));
        }
    }
    bare.close();
    pair.close();
    first.close();
    let what = "dataset fetched, every chunk checked, on disk";
    let rows = vec![
        Row::new(what, Unit::BytesPerSecond, ours.clone()).beside("bare QUIC stream", theirs),
        Row::new(what, Unit::BytesPerSecond, ours).beside("plain file, fsync per MiB", disk),
    ];
    let notes = vec![format!(
        "{ROUNDS} rounds of {} MiB of noise in {} chunks, into an empty store on the same disk as the source; the bare stream drops what it reads",
        BYTES / (1024 * 1024),
        published
    )];
    Ok(Outcome { rows, notes })
}

/// Fetches as `sync` does, batch after batch, and sees that nothing is missing.
async fn fetch_all(peer: Peer, store: Arc<ContentStore>, env: Env, ids: Vec<ChunkId>) -> Result<Duration, Failure> {
    let began = Instant::now();
    let mut stored = 0;
    for batch in ids.chunks(REQUEST_CHUNKS_MAX) {
        stored += fetch(&peer, &store, &env, batch).await?.stored;
    }
    let took = began.elapsed();
    if stored == ids.len() { Ok(took) } else { Err(format!("{stored} of {} chunks arrived", ids.len()).into()) }
}

/// The first node's store, behind its actor.
fn publisher(pair: &Pair, scratch: &Path, trust: Trust) -> Result<System, Failure> {
    let config = &pair.configs[0];
    let identity = Arc::clone(&config.identity);
    let content = ContentConfig::new(
        config.name.clone(),
        scratch.join("published"),
        Arc::clone(config.identity.key()),
        trust,
        move || identity.chain(),
    );
    let mut registry = BehaviourRegistry::new();
    covenant_content::register(&mut registry);
    let mut resources = Resources::new();
    resources.insert(Arc::new(content)).insert(Arc::clone(&pair.clusters[0]));
    start_tree(&pair.hosts[0], TREE, registry, resources)
}

fn ask(host: &Host, hub: &System, request: StoreRequest) -> Result<StoreResponse, Failure> {
    let store = hub.lookup::<StoreMessage>(&"/store".parse()?)?;
    host.on_work(async move { Ok(store.call(|reply| StoreMessage { request, reply }, AMPLE).await?) })
}

/// Publishes a folder and returns how many chunks it has.
fn publish(host: &Host, hub: &System, source: &Path) -> Result<u64, Failure> {
    let request = StoreRequest::Publish { dir: source.to_owned(), name: NAME.to_owned(), class: Class::Health };
    let answer = ask(host, hub, request)?;
    let StoreResponse::Published(published) = answer else {
        return Err(format!("publishing was answered with {answer:?}").into());
    };
    Ok(published.chunks)
}

fn manifest(host: &Host, hub: &System) -> Result<covenant_content::SignedManifest, Failure> {
    let StoreResponse::Catalog(catalog) = ask(host, hub, StoreRequest::Catalog)? else {
        return Err("there is no catalogue".into());
    };
    let id = catalog.first().ok_or("nothing is published")?.id;
    let StoreResponse::Manifest(Some(signed)) = ask(host, hub, StoreRequest::Manifest(id))? else {
        return Err("what the catalogue names has no manifest".into());
    };
    Ok(*signed)
}

/// Bytes in which no chunk is like another.
fn noise(count: usize, env: &Env) -> Vec<u8> {
    use rand::RngCore;
    let mut bytes = vec![0; count];
    env.random.derive("bench.noise").fill_bytes(&mut bytes);
    bytes
}
