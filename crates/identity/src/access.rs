//! What operators may do: one table from verbs to the role that may use them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What an operator is trusted with. Every role may look; an admin may do everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OperatorRole {
    /// Looks.
    Viewer,
    /// Runs the cluster: trees, content, ledger, tokens, orderly stops.
    Operator,
    /// Breaks things on purpose.
    Chaos,
    /// Everything, and who else may do what.
    Admin,
}

impl OperatorRole {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Chaos, Self::Admin];

    /// The word used in certificates and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Chaos => "chaos",
            Self::Admin => "admin",
        }
    }

    /// Whether this role may use `verb`.
    pub fn may(self, verb: Verb) -> bool {
        let needed = verb.needs();
        self == Self::Admin || needed == Self::Viewer || needed == self
    }
}

/// Whether `role` may use `verb`.
pub fn allows(role: OperatorRole, verb: Verb) -> bool {
    role.may(verb)
}

impl fmt::Display for OperatorRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for OperatorRole {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| UnknownRole(text.chars().take(64).collect()))
    }
}

/// A word that names no operator role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown operator role {0:?}: use one of viewer, operator, chaos, admin")]
pub struct UnknownRole(String);

macro_rules! verbs {
    ($($(#[$doc:meta])* $variant:ident = $word:literal needs $role:ident),+ $(,)?) => {
        /// What can be asked of a node's control API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Verb {
            $($(#[$doc])* $variant),+
        }

        impl Verb {
            /// Every verb.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The words used in the audit log.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The role that may use it. Admins may as well, and everybody may use what a viewer may.
            pub fn needs(self) -> OperatorRole {
                match self { $(Self::$variant => OperatorRole::$role),+ }
            }
        }
    };
}

verbs! {
    /// Who is in the cluster.
    Members = "members" needs Viewer,
    /// How a node does.
    Status = "status" needs Viewer,
    /// A node's live tree.
    TreeShow = "tree show" needs Viewer,
    /// Where a path, a name or a group lives.
    Where = "where" needs Viewer,
    /// What went wrong.
    Incidents = "incidents" needs Viewer,
    /// What the nations have.
    Balances = "ledger balances" needs Viewer,
    /// What content a node has.
    ContentList = "content list" needs Viewer,
    /// What a change of a node's tree would do.
    TreePlan = "tree plan" needs Viewer,
    /// What crashed and why.
    Crashes = "crashes" needs Viewer,
    /// How long certificates last, and who is denied.
    CertStatus = "cert status" needs Viewer,
    /// What an actor shows of itself.
    ActorInspect = "actor inspect" needs Viewer,
    /// Which faults of the network a node holds on itself.
    FaultList = "fault list" needs Viewer,
    /// The messages of an actor as it handles them.
    ActorTrace = "actor trace" needs Operator,
    /// Lets an actor begin no message more.
    ActorSuspend = "actor suspend" needs Operator,
    /// Lets a suspended actor go on.
    ActorResume = "actor resume" needs Operator,
    /// Has an actor finish what waits for it and end.
    ActorDrain = "actor drain" needs Operator,
    /// Starts, stops and changes children of a tree.
    TreeChange = "tree change" needs Operator,
    /// Puts content in.
    ContentPublish = "content publish" needs Operator,
    /// Says what content a node keeps.
    ContentSubscribe = "content subscribe" needs Operator,
    /// Sets what nations owe.
    LedgerAssess = "ledger assess" needs Operator,
    /// Pays out what was assessed.
    LedgerDistribute = "ledger distribute" needs Operator,
    /// Moves money between two accounts.
    LedgerTransfer = "ledger transfer" needs Operator,
    /// Takes a copy of the whole ledger.
    LedgerBackup = "ledger backup" needs Operator,
    /// Opens allowances of devices, and writes them off.
    LedgerAllowance = "ledger allowance" needs Operator,
    /// Has a tower sign what it wants booked.
    LedgerIntend = "ledger intend" needs Operator,
    /// Decides on what only a person can settle.
    LedgerResolve = "ledger inbox resolve" needs Operator,
    /// Closes the books of years, for ever.
    LedgerClose = "ledger close" needs Admin,
    /// Gives nodes a vote on the ledger, and takes it.
    LedgerVoters = "ledger voters" needs Admin,
    /// Makes, lists and withdraws join tokens.
    TokenCreate = "token create" needs Operator,
    /// Has a node take nothing new, and takes that back.
    NodeDrain = "node drain" needs Operator,
    /// Puts a node to sleep and wakes it.
    NodeSleep = "node sleep" needs Operator,
    /// Stops a node in order.
    NodeStop = "node stop" needs Operator,
    /// Has a node's certificate renewed now.
    CertRotate = "cert rotate" needs Operator,
    /// Kills an actor.
    ActorKill = "actor kill" needs Chaos,
    /// Has a node hold a fault of the network on itself, or hold it longer.
    FaultSet = "fault set" needs Chaos,
    /// Ends such a fault before its time.
    FaultLift = "fault lift" needs Chaos,
    /// Kills a node.
    NodeKill = "node kill" needs Chaos,
    /// Makes an operator.
    OperatorCreate = "operator create" needs Admin,
    /// Denies a node or an operator.
    CertRevoke = "cert revoke" needs Admin,
    /// Gives up a node that does not come back.
    NodeRemove = "node remove" needs Admin,
    /// Gives up a node and lets a successor in under its name.
    NodeReplace = "node replace" needs Admin,
    /// Works with the certificate authority.
    Ca = "ca" needs Admin,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What people call an operator: 1 to 32 of `a-z`, `0-9`, `.`, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OperatorName(Arc<str>);

impl OperatorName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OperatorName {
    type Err = OperatorNameError;
    fn from_str(text: &str) -> Result<Self, OperatorNameError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
        let fits = (1..=32).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('.');
        if fits { Ok(Self(Arc::from(text))) } else { Err(OperatorNameError(text.chars().take(64).collect())) }
    }
}

impl TryFrom<String> for OperatorName {
    type Error = OperatorNameError;
    fn try_from(text: String) -> Result<Self, OperatorNameError> {
        text.parse()
    }
}

impl From<OperatorName> for String {
    fn from(name: OperatorName) -> Self {
        name.0.to_string()
    }
}

impl fmt::Display for OperatorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A text that cannot be an operator's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an operator's name: use 1 to 32 of a-z, 0-9, '.', '_' and '-', not beginning with '.'")]
pub struct OperatorNameError(String);

#[cfg(test)]
mod tests {
    use super::*;
    use OperatorRole::{Admin, Chaos, Operator, Viewer};

    #[test]
    fn each_role_may_do_what_the_table_says_and_nothing_else() {
        let table: &[(Verb, &[OperatorRole])] = &[
            (Verb::Members, &[Viewer, Operator, Chaos, Admin]),
            (Verb::Status, &[Viewer, Operator, Chaos, Admin]),
            (Verb::TreeShow, &[Viewer, Operator, Chaos, Admin]),
            (Verb::Where, &[Viewer, Operator, Chaos, Admin]),
            (Verb::Incidents, &[Viewer, Operator, Chaos, Admin]),
            (Verb::Balances, &[Viewer, Operator, Chaos, Admin]),
            (Verb::ContentList, &[Viewer, Operator, Chaos, Admin]),
            (Verb::TreePlan, &[Viewer, Operator, Chaos, Admin]),
            (Verb::Crashes, &[Viewer, Operator, Chaos, Admin]),
            (Verb::CertStatus, &[Viewer, Operator, Chaos, Admin]),
            (Verb::ActorInspect, &[Viewer, Operator, Chaos, Admin]),
            (Verb::FaultList, &[Viewer, Operator, Chaos, Admin]),
            (Verb::ActorTrace, &[Operator, Admin]),
            (Verb::ActorSuspend, &[Operator, Admin]),
            (Verb::ActorResume, &[Operator, Admin]),
            (Verb::ActorDrain, &[Operator, Admin]),
            (Verb::TreeChange, &[Operator, Admin]),
            (Verb::ContentPublish, &[Operator, Admin]),
            (Verb::ContentSubscribe, &[Operator, Admin]),
            (Verb::LedgerAssess, &[Operator, Admin]),
            (Verb::LedgerDistribute, &[Operator, Admin]),
            (Verb::LedgerTransfer, &[Operator, Admin]),
            (Verb::LedgerBackup, &[Operator, Admin]),
            (Verb::LedgerAllowance, &[Operator, Admin]),
            (Verb::LedgerIntend, &[Operator, Admin]),
            (Verb::LedgerResolve, &[Operator, Admin]),
            (Verb::LedgerClose, &[Admin]),
            (Verb::LedgerVoters, &[Admin]),
            (Verb::TokenCreate, &[Operator, Admin]),
            (Verb::NodeDrain, &[Operator, Admin]),
            (Verb::NodeSleep, &[Operator, Admin]),
            (Verb::NodeStop, &[Operator, Admin]),
            (Verb::CertRotate, &[Operator, Admin]),
            (Verb::ActorKill, &[Chaos, Admin]),
            (Verb::FaultSet, &[Chaos, Admin]),
            (Verb::FaultLift, &[Chaos, Admin]),
            (Verb::NodeKill, &[Chaos, Admin]),
            (Verb::OperatorCreate, &[Admin]),
            (Verb::CertRevoke, &[Admin]),
            (Verb::NodeRemove, &[Admin]),
            (Verb::NodeReplace, &[Admin]),
            (Verb::Ca, &[Admin]),
        ];
        assert_eq!(table.iter().map(|(verb, _)| *verb).collect::<Vec<_>>(), Verb::ALL, "the table has every verb");
        for (verb, may) in table {
            for role in OperatorRole::ALL {
                assert_eq!(allows(role, *verb), may.contains(&role), "{role} {verb}");
            }
        }
    }

    #[test]
    fn roles_and_names_are_read_strictly() {
        assert_eq!("chaos".parse(), Ok(Chaos));
        assert!("Chaos".parse::<OperatorRole>().is_err());
        for bad in ["", "Ada", "a/b", ".hidden", "a b", &"x".repeat(33)] {
            assert!(bad.parse::<OperatorName>().is_err(), "{bad:?}");
        }
    }
}
