//! The roots a node trusts, and how they come to be others: statements, each signed by a root that was trusted before it.
//!
//! # Intuition
//! A root is replaced in steps, so that nobody is ever cut off. First all trust two roots (`prepare`), then all are certified
//! under the new one (`switch`), then nobody trusts the old one (`finish`). Each step is a statement that says what holds
//! from now on, whole. It travels from node to node; whoever was away reads the last few of them in order.
//!
//! Invariants:
//! - A set of roots is replaced only by one of a higher version that a root in it signed.
//! - Of two rotations prepared at once all keep the same one, in whatever order they hear of them.
//! - The first root is the one to be certified under. There are one or two.
//! - What a root signed before it was retired is still believed where signatures are old, and nowhere else.

use std::fmt;

use covenant_types::WallTime;
use covenant_types::canonical::{CanonicalError, Reader, Writer};
use serde::{Deserialize, Serialize};

use crate::authority::fingerprint;
use crate::chain::verify_chain;
use crate::key::verify;
use crate::scope::{Scope, parse_authority_uri};
use crate::spiffe::is_cluster_name;
use crate::x509::{CertificateError, DER_BYTES_MAX, parse_certificate};
use crate::{AuthorityError, ChainError, PeerIdentity, RootAuthority};

/// Where the replacement of a root stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RotationPhase {
    /// One root is trusted.
    Settled,
    /// Two are trusted; all are certified under the old one.
    Prepared,
    /// Two are trusted; all are to be certified under the new one.
    Switched,
}

impl RotationPhase {
    /// The word used in output and in statements.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Prepared => "prepared",
            Self::Switched => "switched",
        }
    }

    fn roots(self) -> usize {
        match self {
            Self::Settled => 1,
            Self::Prepared | Self::Switched => 2,
        }
    }
}

impl fmt::Display for RotationPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A root that is trusted no more, except for what it vouched for before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetiredRoot {
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// What was signed later is not believed.
    pub until: WallTime,
}

/// The roots a node trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedRoots {
    cluster: String,
    set: RootSet,
    /// The last statements, oldest first, for those who missed them.
    history: Vec<Vec<u8>>,
}

/// What one statement says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RootSet {
    version: u64,
    phase: RotationPhase,
    /// DER; the one to be certified under first.
    roots: Vec<Vec<u8>>,
    retired: Vec<RetiredRoot>,
    /// Newer roots, certified by older ones, DER: for those who trust an older one only.
    crossed: Vec<Vec<u8>>,
}

/// What became of statements that were heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// They say something new, which holds now.
    New,
    /// They say nothing new.
    Known,
    /// They are newer, but no root that is trusted here signed them; or they contradict what was said before.
    Refused(&'static str),
}

impl TrustedRoots {
    /// The trust in one root, DER, before any statement.
    ///
    /// # Errors
    /// It is not a root of `cluster`.
    pub fn of(cluster: &str, root: Vec<u8>) -> Result<Self, RootsError> {
        let set = RootSet {
            version: 0,
            phase: RotationPhase::Settled,
            roots: vec![root],
            retired: Vec::new(),
            crossed: Vec::new(),
        };
        set.check(cluster)?;
        Ok(Self { cluster: cluster.to_owned(), set, history: Vec::new() })
    }

    /// Reads back what [`to_bytes`](Self::to_bytes) gave a file of this node. Its first root is the anchor of nothing: the file
    /// is believed as the node's key is.
    ///
    /// # Errors
    /// It is damaged, or of another cluster.
    pub fn from_own_file(cluster: &str, bytes: &[u8]) -> Result<Self, RootsError> {
        let history = parse_history(bytes)?;
        let last = history.last().ok_or(RootsError::Malformed("it has no statement"))?;
        let (set, _) = parse_statement(last, cluster)?;
        if !set.roots.iter().any(|root| is_statement_of(root, last)) {
            return Err(RootsError::Malformed("none of its roots signed it"));
        }
        Ok(Self { cluster: cluster.to_owned(), set, history })
    }

    /// The statements that led here, oldest first, for files and for other nodes. Empty before the first statement.
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.history.is_empty() {
            return Vec::new();
        }
        let mut writer = Writer::new(HISTORY_DOMAIN);
        writer.count(self.history.len());
        for statement in &self.history {
            writer.bytes(statement);
        }
        writer.finish()
    }

    /// Takes in statements that somebody sent. Anybody may pass them on: each is believed for its signature.
    ///
    /// # Errors
    /// The bytes are malformed. Nothing changed.
    pub fn adopt(&mut self, bytes: &[u8]) -> Result<Adoption, RootsError> {
        let mut changed = false;
        let mut unproven = false;
        for statement in parse_history(bytes)? {
            let (set, _) = parse_statement(&statement, &self.cluster)?;
            if set.version <= self.set.version {
                if set.version == self.set.version && set != self.set {
                    match self.outranks(&set, &statement) {
                        None => return Ok(Adoption::Refused("two statements have one version")),
                        Some(false) => {}
                        Some(true) => {
                            changed = true;
                            self.set = set;
                            self.history.pop();
                            self.history.push(statement);
                        }
                    }
                }
                continue;
            }
            if !self.set.roots.iter().any(|root| is_statement_of(root, &statement)) {
                unproven = true;
                continue;
            }
            unproven = false;
            changed = true;
            self.set = set;
            self.history.push(statement);
            if self.history.len() > HISTORY_MAX {
                self.history.remove(0);
            }
        }
        Ok(match (changed, unproven) {
            (true, _) => Adoption::New,
            (false, true) => Adoption::Refused("no root that is trusted here signed it"),
            (false, false) => Adoption::Known,
        })
    }

    /// Of two rotations that were prepared at once, by the same root, one is taken back everywhere: that to the new root with
    /// the greater certificate. Nobody but an issuing hub can be certified under it yet, and that hub has to be certified anew.
    /// `None` where the two are something else.
    fn outranks(&self, offered: &RootSet, statement: &[u8]) -> Option<bool> {
        let [(old, ours), (also_old, theirs)] = [self.set.prepared()?, offered.prepared()?];
        (old == also_old && is_statement_of(old, statement)).then_some(theirs < ours)
    }

    /// The cluster.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// How many statements led here; 0 is none.
    pub fn version(&self) -> u64 {
        self.set.version
    }

    /// Where the replacement of a root stands.
    pub fn phase(&self) -> RotationPhase {
        self.set.phase
    }

    /// The roots that are trusted, DER; the one to be certified under first.
    pub fn roots(&self) -> &[Vec<u8>] {
        &self.set.roots
    }

    /// Roots that were trusted before, newest last.
    pub fn retired(&self) -> &[RetiredRoot] {
        &self.set.retired
    }

    /// The root, trusted or retired, that `chain` (DER) leads to.
    pub fn root_of(&self, chain: &[Vec<u8>]) -> Option<&[u8]> {
        let signed: Vec<_> = chain.iter().filter_map(|der| parse_certificate(der).ok()).collect();
        let retired = self.set.retired.iter().map(|retired| &retired.certificate);
        let mut known = self.set.roots.iter().chain(retired);
        let leads = |root: &&Vec<u8>| {
            let key = parse_certificate(root).map(|root| root.public_key);
            key.is_ok_and(|key| signed.iter().any(|below| below.public_key != key && below.is_signed_by(&key)))
        };
        known.find(leads).map(Vec::as_slice)
    }

    /// What to present beside one's own chain to somebody who may have missed a rotation: newer roots certified by older ones,
    /// and the roots themselves, DER.
    pub fn bridge(&self) -> impl Iterator<Item = &Vec<u8>> {
        let retired = self.set.retired.iter().map(|retired| &retired.certificate);
        self.set.crossed.iter().chain(&self.set.roots).chain(retired)
    }

    /// The first eight bytes of the hash of all this: nodes that show the same trust the same.
    pub fn digest(&self) -> u64 {
        let hash = blake3::hash(&self.set.body(&self.cluster));
        u64::from_be_bytes(hash.as_bytes()[..8].try_into().expect("eight of 32 bytes"))
    }

    /// Checks a chain, DER, as of `at`. Roots that are retired count for what they vouched for before they were.
    ///
    /// # Errors
    /// It is not believed.
    pub fn verify_chain<C: AsRef<[u8]>>(&self, chain: &[C], at: WallTime) -> Result<PeerIdentity, ChainError> {
        let refused = match verify_chain(chain, &self.set.roots, &self.cluster, at) {
            Err(refused @ ChainError::UnknownRoot) => refused,
            other => return other,
        };
        let retired: Vec<_> = self.set.retired.iter().filter(|root| at <= root.until).collect();
        let retired: Vec<&[u8]> = retired.iter().map(|root| root.certificate.as_slice()).collect();
        verify_chain(chain, &retired, &self.cluster, at).map_err(|_| refused)
    }

    /// The trust in whatever root with this fingerprint is found in `certificates`, DER, or in `statements`, and what those
    /// say: how a joiner, who knows a fingerprint only, comes to trust.
    ///
    /// # Errors
    /// There is no such root, or the statements are malformed.
    pub fn pinned(
        cluster: &str,
        print: &[u8; 32],
        certificates: &[Vec<u8>],
        statements: &[u8],
    ) -> Result<Self, RootsError> {
        let mut candidates = certificates.to_vec();
        for statement in if statements.is_empty() { Vec::new() } else { parse_history(statements)? } {
            let (set, _) = parse_statement(&statement, cluster)?;
            candidates.extend(set.roots);
        }
        let root = candidates.into_iter().find(|der| fingerprint(der) == *print).ok_or(RootsError::NoSuchRoot)?;
        let mut trusted = Self::of(cluster, root)?;
        if !statements.is_empty()
            && let Adoption::Refused(why) = trusted.adopt(statements)?
        {
            return Err(RootsError::Malformed(why));
        }
        Ok(trusted)
    }

    /// The statement that all shall trust `new` beside `old`.
    ///
    /// # Errors
    /// A rotation is under way, or `old` is not the root.
    pub fn prepare(&self, old: &RootAuthority, new: &RootAuthority, now: WallTime) -> Result<Vec<u8>, RootsError> {
        self.require(RotationPhase::Settled)?;
        self.require_first(old)?;
        let mut set = self.next(RotationPhase::Prepared);
        set.roots.push(new.certificate().to_vec());
        set.crossed.push(old.cross_sign(new, now)?);
        keep_last(&mut set.crossed, CROSSED_MAX);
        self.signed(&set, old)
    }

    /// The statement that all shall be certified under `new`.
    ///
    /// # Errors
    /// It was not prepared, or `new` is not the root it was prepared for.
    pub fn switch(&self, new: &RootAuthority) -> Result<Vec<u8>, RootsError> {
        self.require(RotationPhase::Prepared)?;
        let mut set = self.next(RotationPhase::Switched);
        set.roots.reverse();
        if set.roots[0] != new.certificate() {
            return Err(RootsError::OtherRoot);
        }
        self.signed(&set, new)
    }

    /// The statement that the old root is trusted no more. With `forget` not even for what it vouched for before: say that
    /// where its key may be in other hands.
    ///
    /// # Errors
    /// It was not switched, or `new` is not the root it was switched to.
    pub fn finish(&self, new: &RootAuthority, forget: bool, now: WallTime) -> Result<Vec<u8>, RootsError> {
        self.require(RotationPhase::Switched)?;
        self.require_first(new)?;
        let mut set = self.next(RotationPhase::Settled);
        let old = set.roots.remove(1);
        if forget {
            set.crossed.clear();
            set.retired.clear();
        } else {
            set.retired.push(RetiredRoot { certificate: old, until: now });
            keep_last(&mut set.retired, RETIRED_MAX);
        }
        self.signed(&set, new)
    }

    /// The statement that the new root of a rotation that was prepared shall not be trusted after all.
    ///
    /// # Errors
    /// There is nothing to take back, or `old` is not the root.
    pub fn cancel(&self, old: &RootAuthority) -> Result<Vec<u8>, RootsError> {
        self.require(RotationPhase::Prepared)?;
        self.require_first(old)?;
        let mut set = self.next(RotationPhase::Settled);
        set.roots.truncate(1);
        set.crossed.pop();
        self.signed(&set, old)
    }

    fn require(&self, phase: RotationPhase) -> Result<(), RootsError> {
        if self.set.phase == phase {
            Ok(())
        } else {
            Err(RootsError::OtherPhase { wanted: phase, found: self.set.phase })
        }
    }

    fn require_first(&self, root: &RootAuthority) -> Result<(), RootsError> {
        if self.set.roots[0] == root.certificate() { Ok(()) } else { Err(RootsError::OtherRoot) }
    }

    fn next(&self, phase: RotationPhase) -> RootSet {
        RootSet { version: self.set.version + 1, phase, ..self.set.clone() }
    }

    fn signed(&self, set: &RootSet, root: &RootAuthority) -> Result<Vec<u8>, RootsError> {
        set.check(&self.cluster)?;
        let mut statement = set.body(&self.cluster);
        let signature = root.sign_message(&statement);
        statement.extend_from_slice(&signature);
        let mut writer = Writer::new(HISTORY_DOMAIN);
        let missed = self.history.len().min(HISTORY_MAX - 1);
        let before = &self.history[self.history.len() - missed..];
        writer.count(before.len() + 1);
        before.iter().chain([&statement]).for_each(|statement| {
            writer.bytes(statement);
        });
        Ok(writer.finish())
    }
}

impl RootSet {
    /// The root that is trusted and the one that is to be, where a rotation is prepared and no more.
    fn prepared(&self) -> Option<(&[u8], &[u8])> {
        match (self.phase, self.roots.as_slice()) {
            (RotationPhase::Prepared, [old, new]) => Some((old, new)),
            _ => None,
        }
    }

    fn body(&self, cluster: &str) -> Vec<u8> {
        let mut writer = Writer::new(STATEMENT_DOMAIN);
        writer.text(cluster).u64(self.version).text(self.phase.as_str()).count(self.roots.len());
        for root in &self.roots {
            writer.bytes(root);
        }
        writer.count(self.retired.len());
        for retired in &self.retired {
            writer.bytes(&retired.certificate).u64(retired.until.0);
        }
        writer.count(self.crossed.len());
        for crossed in &self.crossed {
            writer.bytes(crossed);
        }
        writer.finish()
    }

    /// That it has as many roots as its phase, and that all are authorities for everywhere of `cluster`.
    fn check(&self, cluster: &str) -> Result<(), RootsError> {
        let is_root = |der: &Vec<u8>| -> Result<(), RootsError> {
            let parsed = parse_certificate(der)?;
            let named = parse_authority_uri(&parsed.uri) == Some((cluster, Scope::Everywhere));
            if named && parsed.is_authority { Ok(()) } else { Err(RootsError::Malformed("not a root of this cluster")) }
        };
        if !is_cluster_name(cluster) || self.roots.len() != self.phase.roots() {
            return Err(RootsError::Malformed("the number of roots does not fit its phase"));
        }
        let retired = self.retired.iter().map(|retired| &retired.certificate);
        self.roots.iter().chain(retired).chain(&self.crossed).try_for_each(is_root)
    }
}

fn keep_last<T>(list: &mut Vec<T>, most: usize) {
    let surplus = list.len().saturating_sub(most);
    list.drain(..surplus);
}

fn is_statement_of(root: &[u8], statement: &[u8]) -> bool {
    let Some((body, signature)) = statement.split_last_chunk::<SIGNATURE_BYTES>() else { return false };
    parse_certificate(root).is_ok_and(|root| verify(&root.public_key, body, signature))
}

fn parse_history(bytes: &[u8]) -> Result<Vec<Vec<u8>>, RootsError> {
    if bytes.len() > HISTORY_BYTES_MAX {
        return Err(RootsError::Malformed("it is too long"));
    }
    let mut reader = Reader::new(bytes, HISTORY_DOMAIN)?;
    let count = reader.count(4)?;
    if count > HISTORY_MAX {
        return Err(RootsError::Malformed("it has too many statements"));
    }
    let mut history = Vec::with_capacity(count);
    for _ in 0..count {
        history.push(reader.bytes()?.to_vec());
    }
    reader.finish()?;
    Ok(history)
}

/// What a statement says, and its signature, which is not checked.
fn parse_statement(statement: &[u8], cluster: &str) -> Result<(RootSet, [u8; SIGNATURE_BYTES]), RootsError> {
    let (body, signature) =
        statement.split_last_chunk::<SIGNATURE_BYTES>().ok_or(RootsError::Malformed("it is cut short"))?;
    let mut reader = Reader::new(body, STATEMENT_DOMAIN)?;
    if reader.text()? != cluster {
        return Err(RootsError::Malformed("it is of another cluster"));
    }
    let version = reader.u64()?;
    let phase = match reader.text()? {
        "settled" => RotationPhase::Settled,
        "prepared" => RotationPhase::Prepared,
        "switched" => RotationPhase::Switched,
        _ => return Err(RootsError::Malformed("its phase is unknown")),
    };
    let roots = certificates(&mut reader, phase.roots())?;
    let count = bounded(reader.count(12)?, RETIRED_MAX)?;
    let mut retired = Vec::with_capacity(count);
    for _ in 0..count {
        let certificate = certificate(&mut reader)?;
        retired.push(RetiredRoot { certificate, until: WallTime(reader.u64()?) });
    }
    let crossed = certificates(&mut reader, CROSSED_MAX)?;
    reader.finish()?;
    let set = RootSet { version, phase, roots, retired, crossed };
    set.check(cluster)?;
    Ok((set, *signature))
}

fn certificates(reader: &mut Reader<'_>, most: usize) -> Result<Vec<Vec<u8>>, RootsError> {
    let count = bounded(reader.count(4)?, most)?;
    (0..count).map(|_| certificate(reader)).collect()
}

fn certificate(reader: &mut Reader<'_>) -> Result<Vec<u8>, RootsError> {
    let der = reader.bytes()?;
    if der.len() > DER_BYTES_MAX { Err(RootsError::Malformed("a certificate is too long")) } else { Ok(der.to_vec()) }
}

fn bounded(count: usize, most: usize) -> Result<usize, RootsError> {
    if count > most { Err(RootsError::Malformed("it has too many certificates")) } else { Ok(count) }
}

const STATEMENT_DOMAIN: &str = "covenant/roots/1";
const HISTORY_DOMAIN: &str = "covenant/root-history/1";
const SIGNATURE_BYTES: usize = 64;
/// The most statements that travel together: those of two rotations. Who missed more joins again.
const HISTORY_MAX: usize = 6;
/// The longest history.
pub const HISTORY_BYTES_MAX: usize = 48 * 1024;
/// The most retired roots whose old signatures are believed.
const RETIRED_MAX: usize = 2;
/// The most roots certified by their predecessors.
const CROSSED_MAX: usize = 2;

/// Why roots or a statement about them cannot be used. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// It is not what it should be.
    #[error("not a statement about this cluster's roots: {0}")]
    Malformed(&'static str),
    /// It is not written as we write it.
    #[error("not a statement about roots: {0}")]
    Canonical(#[from] CanonicalError),
    /// A certificate in it cannot be read.
    #[error("a root's certificate: {0}")]
    Certificate(#[from] CertificateError),
    /// The new root could not be certified.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The rotation is not where this step begins.
    #[error("the rotation is {found}, and this step needs it {wanted}")]
    OtherPhase {
        /// Where it should be.
        wanted: RotationPhase,
        /// Where it is.
        found: RotationPhase,
    },
    /// The key is of another root than this step needs.
    #[error("this is the key of another root than this step needs")]
    OtherRoot,
    /// No root with the pinned fingerprint was shown.
    #[error("the cluster's root is another one than the token names")]
    NoSuchRoot,
}
