//! The words about certificates that count no more, and about nodes that do not come back.

use covenant_cluster::MemberState;
use covenant_types::{NodeId, NodeName, WallTime};
use serde::{Deserialize, Serialize};

use super::TokenCreated;

/// `GET /v1/cert`: the certificates of all members, and who is denied.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CertStatus {
    /// The node that was asked.
    pub node: NodeName,
    /// Its date.
    pub now: WallTime,
    /// One line for each member, by id.
    pub members: Vec<MemberCertificate>,
    /// Everybody who is denied.
    pub denied: Vec<DeniedView>,
    /// How many can be denied.
    pub denied_max: usize,
}

/// A member's certificate, as its record says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MemberCertificate {
    /// The member.
    pub name: NodeName,
    /// Its id.
    pub id: NodeId,
    /// Where it is in this node's view.
    pub state: MemberState,
    /// The authority that signed it, by the hash of its key.
    pub issuer: NodeId,
    /// When it begins.
    pub begins: WallTime,
    /// When it is to be renewed: at half its life.
    pub renew_at: WallTime,
    /// When it ends.
    pub ends: WallTime,
    /// How it does.
    pub life: Life,
}

/// How a certificate does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// It has more than a third of its life left.
    Fresh,
    /// Two thirds of its life are over: it should have been renewed at half.
    Late,
    /// It has ended.
    Ended,
}

impl Life {
    /// How a certificate that counts from `begins` to `ends` does at `now`.
    pub fn at(now: WallTime, begins: WallTime, ends: WallTime) -> Self {
        let late = ends.0.saturating_sub(ends.0.saturating_sub(begins.0) / 3);
        match now.0 {
            now if now >= ends.0 => Self::Ended,
            now if now >= late => Self::Late,
            _ => Self::Fresh,
        }
    }

    /// The word used in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Late => "late",
            Self::Ended => "ended",
        }
    }
}

/// Somebody who is denied.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeniedView {
    /// The hash of the key: a node's id. None where an operator is denied by name.
    pub id: Option<NodeId>,
    /// The node's name where it is known, or the operator's.
    pub name: Option<String>,
    /// When.
    pub at: WallTime,
    /// Why.
    pub reason: String,
    /// Who had it done.
    pub by: String,
}

/// `POST /v1/cert/revoke`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// Who.
    pub who: Whom,
    /// Why, for everybody to read. At most 200 characters.
    pub reason: String,
    /// Only say what it would do.
    pub dry_run: bool,
}

/// Whose certificate is meant.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whom {
    /// A node, by its name or id; or an authority, by its id.
    Node(String),
    /// An operator, by name.
    Operator(String),
}

/// Whoever was denied, or what denying would do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Revoked {
    /// Who.
    pub who: String,
    /// What follows from it.
    pub consequences: Vec<String>,
    /// Whether it is done.
    pub revoked: bool,
}

/// `POST /v1/node/remove`: a node that does not come back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveNode {
    /// Its name or id.
    pub node: String,
    /// Also where it is not down.
    pub force: bool,
    /// Why. At most 200 characters.
    pub reason: String,
    /// Only say what it would do.
    pub dry_run: bool,
}

/// `POST /v1/node/replace`: the same, and a token for its successor.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplaceNode {
    /// Its name or id.
    pub node: String,
    /// Also where it is not down.
    pub force: bool,
    /// Why. At most 200 characters.
    pub reason: String,
    /// Seconds until the token ends.
    pub ttl_s: u64,
    /// Only say what it would do.
    pub dry_run: bool,
}

/// A node that is to have a successor, or what that would do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeReplaced {
    /// The name that passes on.
    pub node: NodeName,
    /// The id that is denied.
    pub id: NodeId,
    /// What follows from it.
    pub consequences: Vec<String>,
    /// For `covenant join` on the successor's machine; none where it was only asked.
    pub token: Option<TokenCreated>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_late_when_two_thirds_of_its_life_are_over() {
        let at = |now| Life::at(WallTime(now), WallTime(100), WallTime(400));
        assert_eq!(
            [at(0), at(299), at(300), at(399), at(400)],
            [Life::Fresh, Life::Fresh, Life::Late, Life::Late, Life::Ended]
        );
    }
}
