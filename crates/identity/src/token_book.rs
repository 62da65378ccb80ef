//! The tokens one hub has issued. Pure: the hub writes the book to disk before it answers.
//!
//! # Invariants
//! - No secret is in the book, only a hash of it: who reads the file admits nobody.
//! - A token is redeemed at most once.
//! - The book never grows beyond [`TOKENS_MAX`] entries.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use covenant_types::{NodeId, WallTime};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::key::random_bytes;
use crate::spiffe::is_cluster_name;
use crate::token::ADDRESSES_MAX;
use crate::{JoinToken, NodeGrant, TokenId};

/// The tokens of one issuing hub.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenBook {
    tokens: BTreeMap<TokenId, Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    secret_hash: [u8; 32],
    grant: NodeGrant,
    expires: WallTime,
    used: Option<WallTime>,
}

/// What every token of one hub has in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenIssuer {
    /// The cluster.
    pub cluster: String,
    /// The hub.
    pub id: NodeId,
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    /// The SHA-256 of the root certificate.
    pub root_fingerprint: [u8; 32],
}

/// The random part of a new token.
#[derive(Debug)]
pub struct TokenDraw {
    id: [u8; 16],
    secret: Secret,
}

struct Secret(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

impl TokenDraw {
    /// Draws from the operating system's randomness.
    pub fn random() -> Self {
        let mut draw = Self { id: [0; 16], secret: Secret(Zeroizing::new([0; 32])) };
        random_bytes(&mut draw.id);
        random_bytes(&mut *draw.secret.0);
        draw
    }
}

/// A token as the book shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokenView {
    /// Which.
    pub id: TokenId,
    /// What its bearer becomes.
    pub grant: NodeGrant,
    /// Until when it can be redeemed.
    pub expires: WallTime,
    /// What became of it.
    pub state: TokenState,
}

/// What became of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenState {
    /// It can be redeemed.
    Open,
    /// It has been redeemed.
    Used,
    /// Its time is over.
    Expired,
}

impl TokenBook {
    /// An empty book.
    pub fn new() -> Self {
        Self::default()
    }

    /// Issues a token that admits one node as `grant` until `now + lifetime`, at most [`TOKEN_LIFETIME_MAX`].
    ///
    /// # Errors
    /// The book is full, or the issuer's cluster or addresses cannot go into a token. The book is unchanged.
    pub fn issue(
        &mut self,
        issuer: &TokenIssuer,
        grant: NodeGrant,
        lifetime: Duration,
        draw: TokenDraw,
        now: WallTime,
    ) -> Result<JoinToken, IssueError> {
        if !is_cluster_name(&issuer.cluster)
            || !(1..=ADDRESSES_MAX).contains(&issuer.addresses.len())
            || issuer.addresses.iter().any(|address| address.port() == 0)
        {
            return Err(IssueError::BadIssuer);
        }
        self.expire(now);
        if self.tokens.len() >= TOKENS_MAX {
            return Err(IssueError::Full);
        }
        let expires = WallTime(now.0.saturating_add(lifetime.min(TOKEN_LIFETIME_MAX).as_secs()));
        let (id, secret) = (TokenId(draw.id), draw.secret.0);
        let entry = Entry { secret_hash: hash(&secret), grant: grant.clone(), expires, used: None };
        self.tokens.insert(id, entry);
        Ok(JoinToken {
            cluster: issuer.cluster.clone(),
            issuer: issuer.id,
            addresses: issuer.addresses.clone(),
            root_fingerprint: issuer.root_fingerprint,
            id,
            secret,
            grant,
            expires,
        })
    }

    /// Redeems a token, once, and returns what its bearer becomes. Make the book durable before acting on it.
    ///
    /// # Errors
    /// The token is unknown or its secret wrong, used, or expired. The book is unchanged.
    pub fn redeem(&mut self, id: TokenId, secret: &[u8; 32], now: WallTime) -> Result<NodeGrant, RedeemError> {
        let entry = self.tokens.get_mut(&id).ok_or(RedeemError::Unknown)?;
        if !bool::from(entry.secret_hash.ct_eq(&hash(secret))) {
            return Err(RedeemError::Unknown);
        }
        if entry.used.is_some() {
            return Err(RedeemError::Used);
        }
        if now >= entry.expires {
            return Err(RedeemError::Expired);
        }
        entry.used = Some(now);
        Ok(entry.grant.clone())
    }

    /// Takes a token back. Returns whether it was there.
    pub fn withdraw(&mut self, id: TokenId) -> bool {
        self.tokens.remove(&id).is_some()
    }

    /// Forgets tokens that expired more than a week ago. Returns how many.
    pub fn expire(&mut self, now: WallTime) -> usize {
        let before = self.tokens.len();
        self.tokens.retain(|_, entry| now.0 < entry.expires.0.saturating_add(REMEMBERED_FOR.as_secs()));
        before - self.tokens.len()
    }

    /// Every token, by id.
    pub fn list(&self, now: WallTime) -> Vec<TokenView> {
        let view = |(id, entry): (&TokenId, &Entry)| TokenView {
            id: *id,
            grant: entry.grant.clone(),
            expires: entry.expires,
            state: match entry.used {
                Some(_) => TokenState::Used,
                None if now >= entry.expires => TokenState::Expired,
                None => TokenState::Open,
            },
        };
        self.tokens.iter().map(view).collect()
    }
}

fn hash(secret: &[u8; 32]) -> [u8; 32] {
    blake3::derive_key("covenant 1 join token secret", secret)
}

/// The most tokens a book remembers.
pub const TOKENS_MAX: usize = 4096;
/// The longest a token can live.
pub const TOKEN_LIFETIME_MAX: Duration = Duration::from_hours(7 * 24);
/// How long an expired token is listed.
const REMEMBERED_FOR: Duration = Duration::from_hours(7 * 24);

/// Why no token was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The book is full. Withdraw tokens, or wait until old ones are forgotten.
    #[error("the book has {TOKENS_MAX} tokens already, withdraw some")]
    Full,
    /// The cluster's name or the addresses cannot go into a token.
    #[error("a token needs a cluster name and 1 to {ADDRESSES_MAX} addresses with a port")]
    BadIssuer,
}

/// Why a token was not redeemed. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedeemError {
    /// No such token here, or the secret is wrong. Which of the two is not said.
    #[error("no such token")]
    Unknown,
    /// It has been redeemed before.
    #[error("the token has been used")]
    Used,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::tests::sample;

    const NOW: WallTime = WallTime(1_700_000_000);
    const HOUR: Duration = Duration::from_hours(1);

    fn issued(book: &mut TokenBook) -> JoinToken {
        let issuer = TokenIssuer {
            cluster: "demo".into(),
            id: NodeId([7; 16]),
            addresses: sample().addresses,
            root_fingerprint: [9; 32],
        };
        book.issue(&issuer, sample().grant, HOUR, TokenDraw::random(), NOW).unwrap()
    }

    #[test]
    fn a_token_is_redeemed_once() {
        let mut book = TokenBook::new();
        let token = issued(&mut book);
        assert_eq!(book.redeem(token.id, &token.secret, NOW), Ok(token.grant));
        assert_eq!(book.redeem(token.id, &token.secret, NOW), Err(RedeemError::Used));
        assert_eq!(book.list(NOW)[0].state, TokenState::Used);
    }

    #[test]
    fn a_wrong_secret_and_an_unknown_token_look_alike_and_use_nothing_up() {
        let mut book = TokenBook::new();
        let token = issued(&mut book);
        assert_eq!(book.redeem(token.id, &[0; 32], NOW), Err(RedeemError::Unknown));
        assert_eq!(book.redeem(TokenId([0; 16]), &token.secret, NOW), Err(RedeemError::Unknown));
        assert!(book.redeem(token.id, &token.secret, NOW).is_ok());
    }

    #[test]
    fn a_token_expires_and_is_forgotten_a_week_later() {
        let mut book = TokenBook::new();
        let token = issued(&mut book);
        let end = token.expires;
        assert_eq!(book.redeem(token.id, &token.secret, end), Err(RedeemError::Expired));
        assert_eq!(book.list(end)[0].state, TokenState::Expired);
        assert_eq!(book.expire(end), 0);
        assert_eq!(book.expire(WallTime(end.0 + 7 * 24 * 3600)), 1);
    }

    #[test]
    fn a_withdrawn_token_admits_nobody() {
        let mut book = TokenBook::new();
        let token = issued(&mut book);
        assert!(book.withdraw(token.id));
        assert!(!book.withdraw(token.id));
        assert_eq!(book.redeem(token.id, &token.secret, NOW), Err(RedeemError::Unknown));
    }

    #[test]
    fn the_book_survives_its_file_and_has_no_secret_in_it() {
        let mut book = TokenBook::new();
        let token = issued(&mut book);
        let file = serde_json::to_string(&book).unwrap();
        let secret = serde_json::to_string(&token.secret.to_vec()).unwrap();
        assert!(!file.contains(secret.trim_matches(['[', ']'])), "{file}");
        assert_eq!(serde_json::from_str::<TokenBook>(&file).unwrap(), book);
    }

    #[test]
    fn the_book_has_a_bound_and_a_token_lives_a_week_at_most() {
        let mut book = TokenBook::new();
        let issuer = TokenIssuer {
            cluster: "demo".into(),
            id: NodeId([7; 16]),
            addresses: sample().addresses,
            root_fingerprint: [9; 32],
        };
        let mut issue = |now| book.issue(&issuer, sample().grant, Duration::MAX, TokenDraw::random(), now);
        for _ in 0..TOKENS_MAX {
            assert_eq!(issue(NOW).unwrap().expires.0, NOW.0 + TOKEN_LIFETIME_MAX.as_secs());
        }
        assert_eq!(issue(NOW), Err(IssueError::Full));
        assert!(issue(WallTime(NOW.0 + 15 * 24 * 3600)).is_ok(), "old ones are forgotten");
    }

    #[test]
    fn debug_shows_no_secret() {
        assert!(format!("{:?}", TokenDraw::random()).ends_with("secret: .. }"));
    }
}
