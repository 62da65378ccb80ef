//! The same rules once more, as naively as can be: everything in maps, and a copy of all of it before each chain.

use std::collections::BTreeMap;

use covenant_types::TransferId;
use proptest::prelude::*;

use super::*;

/// A transfer that was booked: what, how much, from where to where, and what became of it.
#[derive(Clone)]
struct Done {
    id: u128,
    waits: bool,
    moved: bool,
    correctable: bool,
    expires: Option<u64>,
    movement: Movement,
    resolved: bool,
    corrected: i128,
}

#[derive(Clone, Default)]
struct Model {
    /// Pending and posted debits, pending and posted credits.
    accounts: BTreeMap<u128, [i128; 4]>,
    done: Vec<Done>,
    answers: BTreeMap<u128, (NewTransfer, Result<u64, String>)>,
    /// What moved in a year, less what was corrected in it.
    moved: BTreeMap<u16, i128>,
    at: u64,
    closed: u16,
}

fn is_euro(id: u128) -> bool {
    id == 5
}

impl Model {
    fn new() -> Self {
        Self { accounts: (1..=5).map(|id| (id, [0; 4])).collect(), ..Self::default() }
    }

    fn batch(&mut self, transfers: &[NewTransfer], whole: bool) -> Vec<Result<u64, String>> {
        let (mut answers, mut chain) = (Vec::new(), Vec::new());
        for (at, transfer) in transfers.iter().enumerate() {
            chain.push(*transfer);
            let last = at + 1 == transfers.len();
            if last || !whole && !transfer.linked {
                answers.extend(self.chain(&chain, !whole && transfer.linked));
                chain.clear();
            }
        }
        answers
    }

    fn chain(&mut self, chain: &[NewTransfer], open: bool) -> Vec<Result<u64, String>> {
        let before = self.clone();
        let mut answers = Vec::new();
        let mut failed = None;
        for (at, transfer) in chain.iter().enumerate() {
            let is_open = open && at + 1 == chain.len();
            let answer = self.known(transfer).unwrap_or_else(|| {
                let result = if is_open { Err("ChainOpen".to_owned()) } else { self.one(transfer) };
                if result.is_ok() {
                    self.answers.insert(transfer.id.0, (*transfer, result.clone()));
                }
                result
            });
            if let Err(refusal) = &answer {
                failed = Some((at, refusal.clone()));
                break;
            }
            answers.push(answer);
        }
        let Some((culprit, refusal)) = failed else { return answers };
        *self = before;
        let mut refused = Vec::new();
        for (at, transfer) in chain.iter().enumerate() {
            refused.push(self.known(transfer).unwrap_or_else(|| {
                let refusal = if at == culprit { refusal.clone() } else { "ChainBroken".to_owned() };
                if transfer.id.0 != 0 {
                    self.answers.insert(transfer.id.0, (*transfer, Err(refusal.clone())));
                }
                Err(refusal)
            }));
        }
        refused
    }

    fn known(&self, transfer: &NewTransfer) -> Option<Result<u64, String>> {
        let (request, answer) = self.answers.get(&transfer.id.0)?;
        let same = request.action == transfer.action && request.period == transfer.period;
        Some(if same { answer.clone() } else { Err("IdUsed".to_owned()) })
    }

    fn one(&mut self, new: &NewTransfer) -> Result<u64, String> {
        let no = |what: &str| Err(what.to_owned());
        if new.id.0 == 0 {
            return no("IdZero");
        }
        let sign = |amount: i128| match amount.signum() {
            0 => Err("AmountZero".to_owned()),
            -1 => Err("AmountNegative".to_owned()),
            _ => Ok(()),
        };
        let period = || match new.period.0 {
            year if !(1900..=2200).contains(&year) => Err("BadPeriod".to_owned()),
            year if year <= self.closed => Err("PeriodClosed".to_owned()),
            _ => Ok(()),
        };
        let find = |id: TransferId| {
            let at = self.done.iter().position(|done| done.id == id.0);
            at.ok_or_else(|| "UnknownTransfer".to_owned())
        };
        let waiting = |id: TransferId| {
            let at = find(id)?;
            match &self.done[at] {
                done if !done.waits => Err("NotPending".to_owned()),
                done if done.resolved => Err("AlreadyResolved".to_owned()),
                _ => Ok(at),
            }
        };
        let mut done = Done {
            id: new.id.0,
            waits: false,
            moved: true,
            correctable: true,
            expires: None,
            movement: movement(0, 0, 0),
            resolved: false,
            corrected: 0,
        };
        match new.action {
            Action::Post(movement) | Action::Pend { movement, .. } => {
                sign(movement.amount)?;
                if movement.debit == movement.credit {
                    return no("SameAccount");
                }
                period()?;
                let ids = [movement.debit.0, movement.credit.0];
                if ids.iter().any(|id| !self.accounts.contains_key(id)) {
                    return no("UnknownAccount");
                }
                if is_euro(ids[0]) != is_euro(ids[1]) {
                    return no("AssetsDiffer");
                }
                done.movement = movement;
                if let Action::Pend { expires_after, .. } = new.action {
                    done.waits = true;
                    done.moved = false;
                    done.correctable = false;
                    done.expires = expires_after.map(|seconds| self.at + u64::from(seconds));
                }
                self.change(&done, 0, new.period, 1)?;
            }
            Action::PostPending { pending, amount } => {
                amount.map_or(Ok(()), sign)?;
                period()?;
                let at = waiting(pending)?;
                let before = self.done[at].clone();
                if before.expires.is_some_and(|expires| expires <= self.at) {
                    return no("Expired");
                }
                let amount = amount.unwrap_or(before.movement.amount);
                if amount > before.movement.amount {
                    return no("MoreThanLeft");
                }
                done.movement = Movement { amount, ..before.movement };
                self.change(&done, before.movement.amount, new.period, 1)?;
                self.done[at].resolved = true;
            }
            Action::VoidPending { pending } => {
                let at = waiting(pending)?;
                self.release(at, new.id.0);
                return Ok(self.done.len() as u64 - 1);
            }
            Action::Correct { of, amount } => {
                amount.map_or(Ok(()), sign)?;
                period()?;
                let at = find(of)?;
                let before = self.done[at].clone();
                if !before.correctable {
                    return no("NotCorrectable");
                }
                let left = before.movement.amount - before.corrected;
                let amount = amount.unwrap_or(left);
                if amount > left || left == 0 {
                    return no("MoreThanLeft");
                }
                let Movement { debit, credit, tags, .. } = before.movement;
                done.movement = Movement { debit: credit, credit: debit, amount, tags };
                done.correctable = false;
                self.change(&done, 0, new.period, -1)?;
                self.done[at].corrected += amount;
            }
        }
        self.done.push(done);
        Ok(self.done.len() as u64 - 1)
    }

    fn change(&mut self, done: &Done, released: i128, period: Period, direction: i128) -> Result<(), String> {
        let overflow = || "Overflow".to_owned();
        let mut accounts = self.accounts.clone();
        for (id, side) in [(done.movement.debit.0, 0), (done.movement.credit.0, 2)] {
            let balances = accounts.get_mut(&id).unwrap();
            balances[side] -= released;
            let posted = usize::from(done.moved);
            balances[side + posted] = balances[side + posted].checked_add(done.movement.amount).ok_or_else(overflow)?;
            balances[side].checked_add(balances[side + 1]).ok_or_else(overflow)?;
            if id == 3 && balances[0] + balances[1] > balances[3] {
                return Err("Short".to_owned());
            }
            if id == 4 && balances[2] + balances[3] > balances[1] {
                return Err("Over".to_owned());
            }
        }
        if done.moved {
            let moved = self.moved.entry(period.0).or_default();
            *moved = moved.checked_add(direction * done.movement.amount).ok_or("TotalOverflow".to_owned())?;
        }
        self.accounts = accounts;
        Ok(())
    }

    fn release(&mut self, at: usize, id: u128) {
        let Movement { debit, credit, amount, .. } = self.done[at].movement;
        self.accounts.get_mut(&debit.0).unwrap()[0] -= amount;
        self.accounts.get_mut(&credit.0).unwrap()[2] -= amount;
        self.done[at].resolved = true;
        let end = Done { id, waits: false, moved: false, correctable: false, ..self.done[at].clone() };
        self.done.push(end);
    }

    fn expire(&mut self, most: usize) -> usize {
        let over = |done: &&(usize, Done)| done.1.waits && !done.1.resolved;
        let numbered: Vec<(usize, Done)> = self.done.iter().cloned().enumerate().collect();
        let mut ended: Vec<(u64, usize)> = numbered
            .iter()
            .filter(over)
            .filter_map(|(at, done)| done.expires.filter(|expires| *expires <= self.at).map(|expires| (expires, *at)))
            .collect();
        ended.sort_unstable();
        ended.truncate(most);
        for (_, at) in &ended {
            self.release(*at, u128::MAX);
        }
        ended.len()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Batch(Vec<NewTransfer>, bool),
    Expire(u32),
    Close(u16),
}

fn new_transfer() -> impl Strategy<Value = NewTransfer> {
    let id = || 0..40u128;
    let amount = prop_oneof![20 => 1..60i128, 1 => Just(0), 1 => Just(-3), 1 => Just(i128::MAX - 100)];
    let account = || prop_oneof![12 => 1..5u128, 1 => 5..7u128];
    let movement = (account(), account(), amount).prop_map(|(debit, credit, amount)| movement(debit, credit, amount));
    let part = || prop_oneof![Just(None), (0..50i128).prop_map(Some)];
    let action = prop_oneof![
        4 => movement.clone().prop_map(Action::Post),
        3 => (movement, prop_oneof![Just(None), (0..50u32).prop_map(Some)])
            .prop_map(|(movement, expires_after)| Action::Pend { movement, expires_after }),
        3 => (id(), part()).prop_map(|(id, amount)| Action::PostPending { pending: TransferId(id), amount }),
        1 => id().prop_map(|id| Action::VoidPending { pending: TransferId(id) }),
        2 => (id(), part()).prop_map(|(id, amount)| Action::Correct { of: TransferId(id), amount }),
    ];
    let period = prop_oneof![20 => Just(2026), 1 => Just(2025), 1 => Just(7)];
    (id(), action, period, proptest::bool::weighted(0.2)).prop_map(|(id, action, period, linked)| NewTransfer {
        id: TransferId(id),
        action,
        period: Period(period),
        linked,
    })
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let step = prop_oneof![
        8 => (proptest::collection::vec(new_transfer(), 1..6), proptest::bool::weighted(0.2))
            .prop_map(|(transfers, whole)| Step::Batch(transfers, whole)),
        2 => (0..4u32).prop_map(Step::Expire),
        1 => (2020..2026u16).prop_map(Step::Close),
    ];
    proptest::collection::vec((0..200u64, step), 1..60)
}

/// The name of a refusal, without what it says of the case.
fn kind(refusal: &Refusal) -> String {
    format!("{refusal:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn the_book_does_what_the_model_does(steps in steps()) {
        let (mut desk, mut model, mut twin) = (desk(), Model::new(), super::desk());
        model.at = 1000;
        let mut history = vec![(desk.book.head().position, model.accounts.clone())];
        for (at, step) in steps {
            desk.at = at + 1000;
            twin.at = desk.at;
            model.at = model.at.max(desk.at);
            let order = match &step {
                Step::Batch(transfers, whole) => Order::Transfer { transfers: transfers.clone(), whole: *whole },
                Step::Expire(most) => Order::Expire { most: *most },
                Step::Close(through) => Order::Close { through: Period(*through) },
            };
            let outcome = desk.apply(order.clone());
            match (&step, &outcome) {
                (Step::Batch(transfers, whole), Outcome::Answers(answers)) => {
                    let ours: Vec<_> = answers.iter().map(|answer| answer.result.as_ref().map_err(kind).copied()).collect();
                    prop_assert_eq!(ours, model.batch(transfers, *whole));
                }
                (Step::Expire(most), Outcome::Expired { ended, .. }) => {
                    prop_assert_eq!(*ended as usize, model.expire(*most as usize));
                }
                (Step::Close(through), Outcome::Closed) => model.closed = *through,
                (Step::Close(through), Outcome::Refused(_)) => prop_assert!(*through < model.closed),
                (_, other) => prop_assert!(false, "{:?}", other),
            }
            prop_assert_eq!(twin.apply(order), outcome);
            prop_assert_eq!(twin.book.state_hash(), desk.book.state_hash());
            let all = desk.balances();
            let ours: Vec<[i128; 4]> = all.iter()
                .map(|b| [b.debits_pending, b.debits_posted, b.credits_pending, b.credits_posted]).collect();
            prop_assert_eq!(ours, model.accounts.values().copied().collect::<Vec<_>>());
            history.push((desk.book.head().position, model.accounts.clone()));
        }
        prop_assert_eq!(desk.book.check().unwrap().problems, Vec::<String>::new());
        prop_assert_eq!(Book::open(desk.book.store().clone()).unwrap().state_hash(), desk.book.state_hash());
        for (position, accounts) in history {
            for (id, was) in accounts {
                let told = desk.book.balances_at(AccountId(id), Point::Position(position)).unwrap().unwrap();
                prop_assert_eq!([told.debits_pending, told.debits_posted, told.credits_pending, told.credits_posted], was);
            }
        }
    }
}
