//! Making a cluster's first node, and making one more by a token.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use covenant_cluster::Seed;
use covenant_content::Class;
use covenant_env::Env;
use covenant_identity::{
    IssuingAuthority, JoinToken, NodeGrant, NodeKey, RootAuthority, Scope, TokenTextError, make_csr,
};
use covenant_ledger::LedgerConfig;
use covenant_placement::PlacementConfig;
use covenant_types::{NodeId, NodeName, Region, Role};

use crate::config::{
    ClusterSection, ContentSection, ControlSection, IssuerSection, Layout, LedgerSection, LinkProfile, LogSection,
    MetricsSection, NodeConfig, NodeSection,
};
use crate::files::{FilesError, NodeFiles};

/// Where a new node is to live, and how it is to be reached.
#[derive(Clone, Debug)]
pub struct NodePlace {
    /// Its folder, which holds no node yet.
    pub dir: PathBuf,
    /// Where peers reach it.
    pub listen: SocketAddr,
    /// Where operators with certificates reach it.
    pub control: Option<SocketAddr>,
    /// Where monitors reach it.
    pub metrics: Option<SocketAddr>,
    /// Where anybody reads the public log of the ledger.
    pub ledger: Option<SocketAddr>,
    /// Classes of content it fetches.
    pub subscribe: Vec<String>,
    /// How patient it is with its links.
    pub profile: LinkProfile,
}

/// What the first node of a cluster is to be. What others are to be, their tokens say.
#[derive(Clone, Debug)]
pub struct InitSpec {
    /// The cluster's name.
    pub cluster: String,
    /// The node's name.
    pub name: NodeName,
    /// Its region.
    pub region: Region,
    /// What its issuing authority may sign for. Only one for everywhere lets nodes of further regions in.
    pub scope: Scope,
    /// Where it lives.
    pub place: NodePlace,
}

/// A node that was made.
#[derive(Clone, Debug)]
pub struct NodeMade {
    /// Its id.
    pub id: NodeId,
    /// Its configuration, for `covenant node run`.
    pub config: PathBuf,
    /// The root's key, on the first node: take it offline.
    pub root_key: PathBuf,
}

/// Why a node could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// There is a node already. Nothing was changed.
    #[error("{} holds a node already; choose another folder", .0.display())]
    Exists(PathBuf),
    /// The request makes no sense. Nothing was changed.
    #[error("{0}")]
    Bad(String),
    /// A file could not be written. What was written may be deleted.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The issuing node could not be reached or refused. The token may still be good: the text says.
    #[error("the node could not join: {0}")]
    Join(String),
}

/// Whether `dir` holds a node.
pub fn is_initialised(dir: &Path) -> bool {
    NodeFiles::new(dir).config().exists()
}

/// Makes a new cluster: its root, an issuing authority, and the first node, which is a hub and keeps the book.
///
/// # Errors
/// See [`MakeError`].
pub fn init(spec: &InitSpec, env: &Env) -> Result<NodeMade, MakeError> {
    let files = NodeFiles::new(&spec.place.dir);
    refuse_existing(&files, &spec.place.dir)?;
    let now = env.wall();
    let bad = |error: &dyn std::fmt::Display| MakeError::Bad(error.to_string());
    let subscribe = classes(&spec.place.subscribe)?;
    let root = RootAuthority::create(&spec.cluster, now).map_err(|error| bad(&error))?;
    let issuing_key = NodeKey::generate();
    let certificate = root.sign_issuing(&make_csr(&issuing_key), spec.scope, now).map_err(|error| bad(&error))?;
    let issuing = IssuingAuthority::assemble(issuing_key, certificate, root.certificate().to_vec());
    let issuing = issuing.map_err(|error| bad(&error))?;
    let key = NodeKey::generate();
    let grant = NodeGrant { name: spec.name.clone(), role: Role::Hub, region: spec.region };
    let certificate = issuing.sign_node(&make_csr(&key), &grant, now).map_err(|error| bad(&error))?;
    let cluster = ClusterSection {
        name: spec.cluster.clone(),
        seeds: Vec::new(),
        seeds_file: None,
        book_home: spec.name.clone(),
        profile: spec.place.profile,
        topology: Layout::Flat,
        tier: None,
        issuers: Vec::new(),
    };
    let config = config(&grant, &spec.place, cluster, subscribe);
    files.make_folders(true)?;
    files.write_root(&root.to_pem())?;
    files.write_issuing(&issuing)?;
    LedgerConfig::let_begin(&files.ledger()).map_err(|error| bad(&error))?;
    PlacementConfig::let_begin(&files.placement()).map_err(|error| bad(&error))?;
    write_node(&files, &key, &issuing.chain_for(certificate), &config)?;
    Ok(NodeMade { id: key.node_id(), config: files.config(), root_key: files.root_key() })
}

/// How long joining may take, over all addresses of the token.
const JOIN_WITHIN: Duration = Duration::from_secs(30);

/// Makes a node out of a token: its key is made here and never leaves, the issuing hub signs it.
///
/// # Errors
/// See [`MakeError`].
pub async fn join(place: &NodePlace, token: &str, env: &Env) -> Result<NodeMade, MakeError> {
    let files = NodeFiles::new(&place.dir);
    refuse_existing(&files, &place.dir)?;
    let token: JoinToken = token.parse().map_err(|error: TokenTextError| MakeError::Bad(error.to_string()))?;
    let subscribe = classes(&place.subscribe)?;
    let key = NodeKey::generate();
    // A folder that cannot be written must be found before the token is used up.
    files.make_folders(false)?;
    files.write_key(&key)?;
    let redeemed = tokio::time::timeout(JOIN_WITHIN, covenant_transport::join::join(&token, &key, env)).await;
    let answer = redeemed
        .map_err(|_| MakeError::Join(format!("no answer within {} s; create another token", JOIN_WITHIN.as_secs())))?
        .map_err(|error| MakeError::Join(error.to_string()))?;
    let issuer = |address: &SocketAddr| IssuerSection { id: token.issuer, address: *address };
    let cluster = ClusterSection {
        name: answer.cluster.clone(),
        seeds: answer.seeds.iter().map(|(_, _, address)| Seed::Address(*address)).take(SEEDS_MAX).collect(),
        seeds_file: None,
        book_home: answer.book_home.clone(),
        profile: place.profile,
        topology: Layout::Flat,
        tier: None,
        issuers: token.addresses.iter().map(issuer).collect(),
    };
    let config = config(&token.grant, place, cluster, subscribe);
    if !answer.roots.is_empty() {
        files.write_roots(&answer.roots)?;
    }
    write_node(&files, &key, &answer.chain, &config)?;
    Ok(NodeMade { id: key.node_id(), config: files.config(), root_key: PathBuf::new() })
}

/// Seeds that are written into a configuration.
const SEEDS_MAX: usize = 8;

/// A key without a certificate is a making that was cut short, and may be made again. With a certificate it is a node,
/// also where its configuration was moved elsewhere.
fn refuse_existing(files: &NodeFiles, dir: &Path) -> Result<(), MakeError> {
    if files.config().exists() || files.chain().exists() { Err(MakeError::Exists(dir.to_owned())) } else { Ok(()) }
}

fn config(grant: &NodeGrant, place: &NodePlace, cluster: ClusterSection, subscribe: Vec<Class>) -> NodeConfig {
    NodeConfig {
        node: NodeSection {
            name: grant.name.clone(),
            role: grant.role,
            region: grant.region,
            data: PathBuf::from("."),
            listen: place.listen,
            drain_deadline: Duration::from_secs(20),
        },
        cluster,
        control: ControlSection { socket: None, listen: place.control },
        metrics: MetricsSection { listen: place.metrics },
        content: ContentSection { subscribe, pinned: Vec::new() },
        ledger: LedgerSection { nations: None, listen: place.ledger },
        log: LogSection::default(),
    }
}

fn write_node(files: &NodeFiles, key: &NodeKey, chain: &[Vec<u8>], config: &NodeConfig) -> Result<(), MakeError> {
    let text = config.to_toml();
    // What would be refused at the start is refused now, before anything says that the node is made.
    NodeConfig::parse(&files.config(), &text).map_err(|error| MakeError::Bad(error.to_string()))?;
    files.write_key(key)?;
    files.write_chain(chain)?;
    files.write(&files.config(), text.as_bytes(), 0o644)?;
    Ok(())
}

fn classes(names: &[String]) -> Result<Vec<Class>, MakeError> {
    names.iter().map(|name| name.parse::<Class>().map_err(|error| MakeError::Bad(error.to_string()))).collect()
}
