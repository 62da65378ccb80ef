//! The words about authorities and certificates.

use covenant_cluster::MemberState;
use covenant_identity::{RotationPhase, Scope};
use covenant_types::{NodeName, Region, WallTime};
use serde::{Deserialize, Serialize};

/// `GET /v1/ca`: the roots a node trusts, its issuing authority, and what the members show of theirs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaView {
    /// The node that answers.
    pub node: NodeName,
    /// The cluster.
    pub cluster: String,
    /// How many statements led to these roots.
    pub version: u64,
    /// Where the replacement of a root stands.
    pub phase: RotationPhase,
    /// The roots it trusts; the one to be certified under first.
    pub roots: Vec<RootView>,
    /// Roots that are retired: believed for what they vouched for before.
    pub retired: Vec<RootView>,
    /// The statements so far, for whoever signs the next; empty before the first.
    pub statements: Vec<u8>,
    /// The node's own issuing authority.
    pub issuing: Option<IssuingView>,
    /// All members.
    pub members: Vec<CaMember>,
}

/// A root.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootView {
    /// SHA-256 of its certificate, in hexadecimal digits.
    pub fingerprint: String,
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// When it ends, or since when it is retired.
    pub until: WallTime,
}

/// An issuing authority.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuingView {
    /// What it may sign for.
    pub scope: Scope,
    /// When it ends.
    pub ends: WallTime,
    /// Whether the root to be certified under signed it.
    pub under_first_root: bool,
}

/// What a member shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaMember {
    /// The member.
    pub name: NodeName,
    /// Where it is in the view of the node that answers.
    pub state: MemberState,
    /// Whether it trusts the same roots.
    pub same_roots: bool,
    /// Whether its certificate is under the root to be certified under.
    pub under_first_root: bool,
    /// What it may sign for.
    pub issues: Option<Scope>,
    /// When its certificate ends.
    pub certificate_ends: WallTime,
}

/// The answer to `POST /v1/ca/request`: what a root has to sign.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityRequested {
    /// The hub.
    pub node: NodeName,
    /// Its region.
    pub region: Region,
    /// The signing request, DER. The key stays on the hub.
    pub csr: Vec<u8>,
}

/// `POST /v1/ca/install`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstallAuthority {
    /// The certificate that was signed on request, DER.
    pub certificate: Vec<u8>,
    /// The root's that signed it, DER.
    pub root: Vec<u8>,
}

/// An issuing authority that is in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityInstalled {
    /// The hub.
    pub node: NodeName,
    /// What it may sign for.
    pub scope: Scope,
    /// When it ends.
    pub ends: WallTime,
    /// When the certificate ends that the hub gave itself.
    pub certificate_ends: WallTime,
}

/// `POST /v1/ca/roots`: the next step of a rotation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdoptRoots {
    /// The statement of this step, after those before it.
    pub statements: Vec<u8>,
    /// Members that are not reachable need not have the step before.
    pub force: bool,
    /// Say what would follow, and do nothing.
    pub dry_run: bool,
}

/// What a step of a rotation does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootsAdopted {
    /// The node that was asked.
    pub node: NodeName,
    /// The phase after it.
    pub phase: RotationPhase,
    /// The version after it.
    pub version: u64,
    /// What follows, in sentences.
    pub consequences: Vec<String>,
    /// Members that lack the step before.
    pub lacking: Vec<Lack>,
    /// False where it was a dry run.
    pub adopted: bool,
}

/// What a member lacks before the next step of a rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lack {
    /// The member.
    pub name: NodeName,
    /// Where it is.
    pub state: MemberState,
    /// What it lacks.
    pub why: String,
}

/// The answer to `POST /v1/cert/rotate`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateRotated {
    /// The node.
    pub node: NodeName,
    /// Who signed the fresh certificate.
    pub by: String,
    /// When it ends.
    pub ends: WallTime,
}
