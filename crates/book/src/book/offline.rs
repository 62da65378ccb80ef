//! Allowances, intents and the inbox: what is asked about them, and whether they hold together.

use std::collections::BTreeMap;

use super::Book;
use super::check::Checked;
use super::intents::account_of;
use super::queries::decoded;
use crate::offline::{
    Allowance, AllowanceState, DeviceId, InboxEntry, Intent, IntentState, KeptIntent, SignedIntent, Wish,
};
use crate::records::{BookError, Entries, Key, Offline};
use crate::store::{Store, Table};

impl<S: Store> Book<S> {
    /// The allowance of a device.
    ///
    /// # Errors
    /// The store failed or is damaged. So for every question below.
    pub fn allowance(&self, device: DeviceId) -> Result<Option<Allowance>, BookError<S::Error>> {
        self.read(Table::Offline, Key::offline(Offline::Allowance(device)))
    }

    /// At most `most` allowances, and [`PAGE_MAX`](crate::PAGE_MAX), from the device `from` on.
    ///
    /// # Errors
    /// The store failed or is damaged.
    pub fn allowances(&self, from: DeviceId, most: usize) -> Result<Vec<Allowance>, BookError<S::Error>> {
        let last = Key::offline(Offline::Allowance(DeviceId(u128::MAX)));
        let rows = self.rows(Table::Offline, Key::offline(Offline::Allowance(from)), last.as_bytes(), most)?;
        rows.into_iter().map(|(_, value)| decoded(Table::Offline, &value)).collect()
    }

    /// What became of exactly this intent; `None` where the book does not keep it.
    ///
    /// # Errors
    /// The store failed or is damaged.
    pub fn intent_state(&self, intent: &Intent) -> Result<Option<IntentState>, BookError<S::Error>> {
        let Intent { device, sequence, .. } = *intent;
        for place in [Offline::Intent(device, sequence), Offline::Other(device, sequence, intent.digest())] {
            let kept: Option<KeptIntent> = self.read(Table::Offline, Key::offline(place))?;
            if let Some(kept) = kept.filter(|kept| kept.signed.intent == *intent) {
                return Ok(Some(kept.state));
            }
        }
        Ok(None)
    }

    /// The first intents that came with each number: at most `most`, and [`PAGE_MAX`](crate::PAGE_MAX), from the number `from` on.
    ///
    /// # Errors
    /// The store failed or is damaged.
    pub fn intents(&self, device: DeviceId, from: u64, most: usize) -> Result<Vec<KeptIntent>, BookError<S::Error>> {
        let last = Key::offline(Offline::Intent(device, u64::MAX));
        let rows = self.rows(Table::Offline, Key::offline(Offline::Intent(device, from)), last.as_bytes(), most)?;
        rows.into_iter().map(|(_, value)| decoded(Table::Offline, &value)).collect()
    }

    /// Entries of the inbox that nobody has resolved: at most `most`, and [`PAGE_MAX`](crate::PAGE_MAX), from the number `from` on.
    ///
    /// # Errors
    /// The store failed or is damaged.
    pub fn inbox(&self, from: u64, most: usize) -> Result<Vec<InboxEntry>, BookError<S::Error>> {
        let last = Key::offline(Offline::Unresolved(u64::MAX));
        let rows = self.rows(Table::Offline, Key::offline(Offline::Unresolved(from)), last.as_bytes(), most)?;
        let damaged =
            || BookError::Damaged { table: Table::Offline, what: "an entry of the inbox is missing".to_owned() };
        let entry = |(key, _): (Vec<u8>, Vec<u8>)| {
            let number = key.last_chunk().copied().map(u64::from_be_bytes).ok_or_else(damaged)?;
            self.inbox_entry(number)?.ok_or_else(damaged)
        };
        rows.into_iter().map(entry).collect()
    }

    /// An entry of the inbox, resolved or not.
    ///
    /// # Errors
    /// The store failed or is damaged.
    pub fn inbox_entry(&self, number: u64) -> Result<Option<InboxEntry>, BookError<S::Error>> {
        self.read(Table::Offline, Key::offline(Offline::Entry(number)))
    }

    /// Compares what is kept of devices with itself and with the transfers, and verifies every signature.
    pub(super) fn check_offline(&self, checked: &mut Checked) -> Result<(), BookError<S::Error>> {
        let mut counted: BTreeMap<DeviceId, Counted> = BTreeMap::new();
        let (mut entries, mut unresolved) = (0, 0);
        self.each_row(Table::Offline, |key, value| {
            match key.first() {
                Some(1) => {
                    let allowance: Allowance = decoded(Table::Offline, value)?;
                    self.check_allowance(&allowance, checked)?;
                    let device = allowance.device();
                    counted.entry(device).or_default().allowance = Some(allowance);
                }
                Some(2 | 3) => {
                    let kept: KeptIntent = decoded(Table::Offline, value)?;
                    let of = counted.entry(kept.signed.intent.device).or_default();
                    of.count(&kept, key.first() == Some(&2));
                    if !of.has_signed(&kept.signed) {
                        checked.problem(format!("{} was not signed by its device", told(&kept.signed)));
                    }
                    self.check_intent(&kept, of.allowance.as_ref(), checked)?;
                }
                Some(4) => {
                    let entry: InboxEntry = decoded(Table::Offline, value)?;
                    entries += 1;
                    if entry.number != entries {
                        checked.problem(format!("the entry {} of the inbox is not where it should be", entry.number));
                    }
                    let listed = Key::offline(Offline::Unresolved(entry.number));
                    let listed = self.store.value(Table::Offline, listed.as_bytes()).map_err(BookError::Store)?;
                    if listed.is_some() == entry.resolution.is_some() {
                        checked.problem(format!("the entry {} of the inbox is listed wrongly", entry.number));
                    }
                    unresolved += u64::from(entry.resolution.is_none());
                }
                Some(5) => unresolved = unresolved.wrapping_sub(1),
                _ => {
                    let Entries { last } = decoded(Table::Offline, value)?;
                    if last != entries {
                        checked.problem(format!("the inbox has {entries} entries and should have {last}"));
                    }
                }
            }
            Ok(())
        })?;
        if unresolved != 0 {
            checked.problem("the list of what waits in the inbox has too many or too few lines".to_owned());
        }
        for (device, counted) in counted {
            if let Some(problem) = counted.problem() {
                checked.problem(format!("of the device {device} {problem}"));
            }
        }
        Ok(())
    }

    fn check_allowance(&self, allowance: &Allowance, checked: &mut Checked) -> Result<(), BookError<S::Error>> {
        let device = allowance.device();
        match self.account(account_of(device))? {
            None => checked.problem(format!("the allowance of {device} has no account")),
            Some(account) if allowance.state.has_ended() && account.balances.posted() != 0 => {
                checked.problem(format!("the allowance of {device} has ended and is not empty"));
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Whether an intent that was applied stands in the book as it was signed.
    fn check_intent(
        &self,
        kept: &KeptIntent,
        allowance: Option<&Allowance>,
        checked: &mut Checked,
    ) -> Result<(), BookError<S::Error>> {
        match &kept.state {
            IntentState::Applied { transfer: Some(number) } => {
                let booked = self.transfer(*number)?;
                let matches = booked.is_some_and(|booked| match kept.signed.intent.wish {
                    Wish::Close { .. } => allowance.is_some_and(|allowance| booked.movement.credit == allowance.home),
                    Wish::Pay { id, to, amount, tags, .. } => {
                        let moved = booked.movement;
                        (booked.id, moved.credit, moved.amount, moved.tags) == (id, to, amount, tags)
                    }
                });
                if !matches {
                    checked.problem(format!("{} is not what the transfer {number} booked", told(&kept.signed)));
                }
            }
            IntentState::Inbox(number) => {
                let entry = self.inbox_entry(*number)?;
                if !entry.is_some_and(|entry| entry.signed == kept.signed && entry.resolution.is_none()) {
                    checked.problem(format!("{} is not in the inbox", told(&kept.signed)));
                }
            }
            IntentState::Waiting | IntentState::Applied { transfer: None } | IntentState::Rejected(_) => {}
        }
        Ok(())
    }
}

/// What is counted of one device.
#[derive(Default)]
struct Counted {
    allowance: Option<Allowance>,
    waiting: u32,
    in_inbox: u32,
    /// How many numbers below the next one were used.
    below: u64,
}

impl Counted {
    fn count(&mut self, kept: &KeptIntent, is_first: bool) {
        let next = self.allowance.as_ref().map_or(0, |allowance| allowance.next);
        self.waiting += u32::from(kept.state == IntentState::Waiting);
        self.in_inbox += u32::from(matches!(kept.state, IntentState::Inbox(_)));
        self.below += u64::from(is_first && kept.signed.intent.sequence < next);
    }

    fn has_signed(&self, signed: &SignedIntent) -> bool {
        self.allowance.as_ref().is_some_and(|allowance| signed.is_signed_by(&allowance.key))
    }

    fn problem(&self) -> Option<&'static str> {
        let Some(allowance) = &self.allowance else { return Some("there are intents and no allowance") };
        if allowance.waiting != self.waiting || self.waiting > 0 && allowance.state != AllowanceState::Open {
            return Some("other intents wait than should");
        }
        if allowance.in_inbox != self.in_inbox {
            return Some("other intents are in the inbox than should be");
        }
        (allowance.next != self.below + 1).then_some("a number was passed over")
    }
}

fn told(signed: &SignedIntent) -> String {
    format!("the intent {} of {}", signed.intent.sequence, signed.intent.device)
}
