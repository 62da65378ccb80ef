//! Join tokens: what lets one stranger in, once, as text.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use covenant_types::canonical::{CanonicalError, Reader, Writer};
use covenant_types::{NodeId, WallTime};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::NodeGrant;
use crate::spiffe::is_cluster_name;

/// What a joiner needs: where to go, whom to expect there, and the secret that admits it.
///
/// The text form is `covenant-join-1.` and base64url. It is a secret: take it from stdin or a file only its owner can read.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// The cluster.
    pub cluster: String,
    /// The only node that redeems it.
    pub issuer: NodeId,
    /// Where that node listens.
    pub addresses: Vec<SocketAddr>,
    /// The SHA-256 of the cluster's root certificate.
    pub root_fingerprint: [u8; 32],
    /// Which token this is.
    pub id: TokenId,
    /// What proves that the joiner has it.
    pub secret: Zeroizing<[u8; 32]>,
    /// What the joiner becomes.
    pub grant: NodeGrant,
    /// Until when it can be redeemed.
    pub expires: WallTime,
}

impl JoinToken {
    /// The text form.
    ///
    /// # Panics
    /// There are more addresses than [`ADDRESSES_MAX`], or the cluster's name is not one. A [`crate::TokenBook`] makes no
    /// such token.
    pub fn to_text(&self) -> Zeroizing<String> {
        assert!((1..=ADDRESSES_MAX).contains(&self.addresses.len()), "a token has 1 to 8 addresses");
        assert!(is_cluster_name(&self.cluster), "a token names a cluster");
        let mut writer = Writer::new(DOMAIN);
        writer.text(&self.cluster).u128(u128::from_be_bytes(self.issuer.0)).count(self.addresses.len());
        for address in &self.addresses {
            writer.text(&address.to_string());
        }
        writer.bytes(&self.root_fingerprint).u128(u128::from_be_bytes(self.id.0)).bytes(&*self.secret);
        writer.text(self.grant.role.as_str()).text(self.grant.region.as_str()).text(self.grant.name.as_str());
        writer.u64(self.expires.0);
        let bytes = Zeroizing::new(writer.finish());
        let body = Zeroizing::new(URL_SAFE_NO_PAD.encode(&*bytes));
        Zeroizing::new(format!("{PREFIX}{}", *body))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, TokenTextError> {
        let mut reader = Reader::new(bytes, DOMAIN)?;
        let cluster = reader.text()?.to_owned();
        if !is_cluster_name(&cluster) {
            return Err(TokenTextError::BadField("cluster"));
        }
        let issuer = NodeId(reader.u128()?.to_be_bytes());
        let count = reader.count(ADDRESS_BYTES_MIN)?;
        if !(1..=ADDRESSES_MAX).contains(&count) {
            return Err(TokenTextError::BadField("addresses"));
        }
        let mut addresses = Vec::with_capacity(count);
        for _ in 0..count {
            let text = reader.text()?;
            let address: SocketAddr = text.parse().map_err(|_| TokenTextError::BadField("address"))?;
            if address.to_string() != text || address.port() == 0 {
                return Err(TokenTextError::BadField("address"));
            }
            addresses.push(address);
        }
        let root_fingerprint = reader.bytes()?.try_into().map_err(|_| TokenTextError::BadField("root"))?;
        let id = TokenId(reader.u128()?.to_be_bytes());
        let secret = Zeroizing::new(reader.bytes()?.try_into().map_err(|_| TokenTextError::BadField("secret"))?);
        let role = reader.text()?.parse().map_err(|_| TokenTextError::BadField("role"))?;
        let region = reader.text()?.parse().map_err(|_| TokenTextError::BadField("region"))?;
        let name = reader.text()?.parse().map_err(|_| TokenTextError::BadField("name"))?;
        let expires = WallTime(reader.u64()?);
        reader.finish()?;
        let grant = NodeGrant { name, role, region };
        Ok(Self { cluster, issuer, addresses, root_fingerprint, id, secret, grant, expires })
    }
}

impl FromStr for JoinToken {
    type Err = TokenTextError;

    /// Accepts white space around the token, as a file or a paste has it, and nothing else that is not the token.
    fn from_str(text: &str) -> Result<Self, TokenTextError> {
        let text = text.trim();
        if text.len() > TEXT_BYTES_MAX {
            return Err(TokenTextError::TooLong);
        }
        let body = text.strip_prefix(PREFIX).ok_or(TokenTextError::NoPrefix)?;
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(body).map_err(|_| TokenTextError::Damaged)?);
        Self::from_bytes(&bytes)
    }
}

/// Everything but the secret.
impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("cluster", &self.cluster)
            .field("issuer", &self.issuer)
            .field("id", &self.id)
            .field("grant", &self.grant)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Which token: not a secret. Written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId(pub [u8; 16]);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&NodeId(self.0), f)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

impl FromStr for TokenId {
    type Err = TokenTextError;
    fn from_str(text: &str) -> Result<Self, TokenTextError> {
        text.parse().map(|NodeId(bytes)| Self(bytes)).map_err(|_| TokenTextError::BadField("id"))
    }
}

impl TryFrom<String> for TokenId {
    type Error = TokenTextError;
    fn try_from(text: String) -> Result<Self, TokenTextError> {
        text.parse()
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.to_string()
    }
}

/// A text that is not a token. The text is not repeated: it may be nearly one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenTextError {
    /// It does not begin as a token does.
    #[error("not a join token: it does not begin with covenant-join-1.")]
    NoPrefix,
    /// It is longer than a token can be.
    #[error("not a join token: it is too long")]
    TooLong,
    /// Part of it is missing or changed.
    #[error("the join token is damaged: copy it whole")]
    Damaged,
    /// A field has a value it cannot have.
    #[error("the join token is damaged or of another version: its {0} is not valid")]
    BadField(&'static str),
}

impl From<CanonicalError> for TokenTextError {
    fn from(_: CanonicalError) -> Self {
        Self::Damaged
    }
}

/// The most addresses a token may carry.
pub const ADDRESSES_MAX: usize = 8;

const PREFIX: &str = "covenant-join-1.";
const DOMAIN: &str = "covenant/join-token/1";
const TEXT_BYTES_MAX: usize = 2048;
/// A length and `0.0.0.0:1`.
const ADDRESS_BYTES_MIN: usize = 4 + 9;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use covenant_types::{NodeName, Region, Role};
    use proptest::prelude::*;

    pub(crate) fn sample() -> JoinToken {
        JoinToken {
            cluster: "demo".into(),
            issuer: NodeId([7; 16]),
            addresses: vec!["127.0.0.1:4000".parse().unwrap(), "[::1]:4000".parse().unwrap()],
            root_fingerprint: [9; 32],
            id: TokenId([1; 16]),
            secret: Zeroizing::new([0xab; 32]),
            grant: NodeGrant { name: NodeName::new("tower-1").unwrap(), role: Role::Tower, region: Region::Asia },
            expires: WallTime(1_800_000_000),
        }
    }

    #[test]
    fn a_token_survives_its_text_with_white_space_around_it() {
        let text = sample().to_text();
        assert!(text.starts_with("covenant-join-1."));
        assert_eq!(format!(" {}\n", *text).parse::<JoinToken>(), Ok(sample()));
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", sample());
        assert!(!shown.contains("171") && !shown.to_lowercase().contains("abab"), "{shown}");
    }

    #[test]
    fn a_cut_or_padded_token_is_refused() {
        let text = sample().to_text();
        for length in 0..text.len() {
            assert!(text[..length].parse::<JoinToken>().is_err(), "{length}");
        }
        for extra in ["A", "AAAA", "=", "==", "!", "\u{e9}"] {
            assert!(format!("{}{extra}", *text).parse::<JoinToken>().is_err(), "{extra}");
        }
        assert_eq!("x".repeat(5000).parse::<JoinToken>(), Err(TokenTextError::TooLong));
    }

    #[test]
    fn a_token_without_addresses_or_with_too_many_is_refused() {
        let mut writer = Writer::new(DOMAIN);
        writer.text("demo").u128(0).count(0);
        assert!(JoinToken::from_bytes(&writer.finish()).is_err());
        let mut writer = Writer::new(DOMAIN);
        writer.text("demo").u128(0).count(9);
        for _ in 0..9 {
            writer.text("127.0.0.1:4000");
        }
        assert_eq!(JoinToken::from_bytes(&writer.finish()), Err(TokenTextError::BadField("addresses")));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in ".{0,200}") {
            let _ = text.parse::<JoinToken>();
            let _ = format!("covenant-join-1.{text}").parse::<JoinToken>();
        }

        #[test]
        fn garbage_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = format!("covenant-join-1.{}", URL_SAFE_NO_PAD.encode(&bytes)).parse::<JoinToken>();
        }

        #[test]
        fn a_changed_token_is_refused_or_reads_back_as_what_it_says(at in 0usize..300, flip in 1u8..=255) {
            let text = sample().to_text();
            let mut bytes = URL_SAFE_NO_PAD.decode(&text[PREFIX.len()..]).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            let changed = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes));
            if let Ok(token) = changed.parse::<JoinToken>() {
                prop_assert_eq!(&*token.to_text(), &changed, "one text per token");
            }
        }
    }
}
