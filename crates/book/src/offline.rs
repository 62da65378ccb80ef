//! What towers sign while nobody hears them: intents to spend from an allowance that was filled before.
//!
//! A device is a key. An allowance is an account that was filled for one device, and from which only its signed intents
//! spend. A device numbers its intents from 1 on, and each number is used once, for ever: a gap says that something is still
//! on its way, and two different intents with one number say that the key is in two places.

use std::fmt;
use std::str::FromStr;

use covenant_types::{TransferId, WallTime};
use ed25519_dalek::{Signature, VerifyingKey};

use crate::{AccountId, Period, Refusal, Tags};

/// What names a device: the first 16 bytes of the BLAKE3 of its public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub u128);

impl DeviceId {
    /// The device whose Ed25519 public key this is.
    pub fn of(key: &[u8; 32]) -> Self {
        let hash = blake3::hash(key);
        let half: [u8; 16] = hash.as_bytes()[..16].try_into().expect("16 of 32 bytes");
        Self(u128::from_be_bytes(half))
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for DeviceId {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let id = u128::from_str_radix(text, 16).map(Self).map_err(|_| DeviceError)?;
        // Each device has one name: no sign, no capitals, no zeros left out.
        if id.to_string() == text { Ok(id) } else { Err(DeviceError) }
    }
}

/// A text that names no device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a device is named by 32 lower-case hexadecimal digits")]
pub struct DeviceError;

/// An allowance that is to be opened and filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowanceOrder {
    /// The Ed25519 public key of the device.
    pub key: [u8; 32],
    /// The id of the transfer that fills it, made by the client.
    pub id: TransferId,
    /// The account that fills it, and that gets back what is left at its end.
    pub from: AccountId,
    /// How much, in minor units of the asset of `from`.
    pub amount: i128,
    /// The period it is booked in.
    pub period: Period,
}

/// What a device wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To pay from its allowance.
    Pay {
        /// Made by the device, not zero; the id of the transfer that it becomes.
        id: TransferId,
        /// The account that receives.
        to: AccountId,
        /// How much, in minor units.
        amount: i128,
        /// What for.
        tags: Tags,
        /// The period it is booked in.
        period: Period,
    },
    /// To end its allowance: this is its last intent, and what is left goes back.
    Close {
        /// The period in which what is left is booked back; a later one where that is closed.
        period: Period,
    },
}

/// What a device signs, as its canonical bytes: one wish under one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The device.
    pub device: DeviceId,
    /// Its number: the first is 1.
    pub sequence: u64,
    /// What is wanted.
    pub wish: Wish,
}

impl Intent {
    /// What tells it from any other intent.
    pub(crate) fn digest(&self) -> [u8; 16] {
        blake3::hash(&self.to_bytes()).as_bytes()[..16].try_into().expect("16 of 32 bytes")
    }
}

/// An intent and its device's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedIntent {
    /// What was signed.
    pub intent: Intent,
    /// Ed25519 over [`Intent::to_bytes`].
    pub signature: [u8; 64],
}

impl SignedIntent {
    /// Whether the owner of this key signed it. Strict: weak keys and malleable forms of a signature are refused.
    pub fn is_signed_by(&self, key: &[u8; 32]) -> bool {
        let signature = Signature::from_bytes(&self.signature);
        let key = VerifyingKey::from_bytes(key);
        key.is_ok_and(|key| key.verify_strict(&self.intent.to_bytes(), &signature).is_ok())
    }
}

/// Whether these bytes are a public key that can sign anything.
pub(crate) fn is_device_key(key: &[u8; 32]) -> bool {
    VerifyingKey::from_bytes(key).is_ok_and(|key| !key.is_weak())
}

/// What became of an intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntentState {
    /// It waits for those before it.
    Waiting,
    /// It is done.
    Applied {
        /// The number of the transfer that it became; `None` where an allowance was closed in which nothing was left.
        transfer: Option<u64>,
    },
    /// It was rejected, for ever.
    Rejected(Refusal),
    /// A person decides: this is the number of the entry of the inbox.
    Inbox(u64),
}

/// An intent that the book keeps, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptIntent {
    /// As it came.
    pub signed: SignedIntent,
    /// What became of it.
    pub state: IntentState,
}

/// Whether an allowance can be spent from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowanceState {
    /// It can.
    Open,
    /// Its device signed two different intents with this number: nothing is applied any more, and a person decides on each.
    Quarantined {
        /// The number.
        sequence: u64,
    },
    /// Its device closed it.
    Closed {
        /// What was left and went back, in minor units.
        returned: i128,
    },
    /// An operator gave it up.
    WrittenOff {
        /// What was left and went back, in minor units.
        returned: i128,
        /// Why.
        reason: String,
    },
}

impl AllowanceState {
    /// Whether what was left went back, so that nothing will ever be spent from it.
    pub fn has_ended(&self) -> bool {
        match self {
            Self::Open | Self::Quarantined { .. } => false,
            Self::Closed { .. } | Self::WrittenOff { .. } => true,
        }
    }
}

/// An allowance. What it holds stands in its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The public key of its device.
    pub key: [u8; 32],
    /// The account that filled it.
    pub home: AccountId,
    /// The number of the transfer that filled it first.
    pub funded: u64,
    /// Whether it can be spent from.
    pub state: AllowanceState,
    /// The number of the intent that is applied next.
    pub next: u64,
    /// How many intents wait for that one, at most [`WAITING_MAX`](crate::WAITING_MAX).
    pub waiting: u32,
    /// How many of its intents are in the inbox and not resolved.
    pub in_inbox: u32,
}

impl Allowance {
    /// Whose it is.
    pub fn device(&self) -> DeviceId {
        DeviceId::of(&self.key)
    }
}

/// Why an intent is in the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InboxReason {
    /// Its device signed another intent with the same number.
    Equivocation,
    /// Its device was quarantined before it could be applied.
    Quarantined,
    /// Its allowance had ended before.
    Ended,
    /// It could not be booked, and a person may know better.
    Refused(Refusal),
}

/// What a person decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is booked: from its allowance, or, where that has ended, from the account that had filled it.
    Book,
    /// It is rejected.
    Reject,
}

/// How an entry of the inbox was resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// What was decided.
    pub decision: Decision,
    /// Why.
    pub reason: String,
    /// When.
    pub at: WallTime,
    /// The transfer that it became.
    pub transfer: Option<u64>,
}

/// An intent that a person decides on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxEntry {
    /// Its number: the first is 1.
    pub number: u64,
    /// As it came.
    pub signed: SignedIntent,
    /// Why it is here.
    pub why: InboxReason,
    /// Since when.
    pub at: WallTime,
    /// How it was resolved, if it was.
    pub resolution: Option<Resolution>,
}
