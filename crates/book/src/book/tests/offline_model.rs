//! What devices signed, in any order, twice, forged and late: the same rules once more, as naively as can be.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::offline::Device;
use super::*;

const FILLED: i128 = 100;

/// What became of an intent, without numbers of transfers and entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Waiting,
    Applied,
    Rejected,
    Inbox,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Open,
    Quarantined,
    Ended,
}

/// One device, and all that was ever kept of it, in the order of arrival.
struct Naive {
    standing: Standing,
    left: i128,
    paid: i128,
    /// What a person paid from home after the end.
    from_home: i128,
    kept: Vec<(Intent, Fate)>,
}

impl Naive {
    fn new() -> Self {
        Self { standing: Standing::Open, left: FILLED, paid: 0, from_home: 0, kept: Vec::new() }
    }

    /// The lowest number that nothing was settled under.
    fn next(&self) -> u64 {
        let settled = |sequence: u64| {
            self.kept.iter().any(|(intent, fate)| intent.sequence == sequence && *fate != Fate::Waiting)
        };
        (1..).find(|sequence| !settled(*sequence)).unwrap()
    }

    fn come(&mut self, intent: Intent) -> Fate {
        if let Some((_, fate)) = self.kept.iter().find(|(kept, _)| *kept == intent) {
            return *fate;
        }
        let twice = self.kept.iter().any(|(kept, _)| kept.sequence == intent.sequence);
        if twice && self.standing == Standing::Open {
            self.stop(Standing::Quarantined);
        }
        if self.standing != Standing::Open {
            self.kept.push((intent, Fate::Inbox));
            return Fate::Inbox;
        }
        self.kept.push((intent, Fate::Waiting));
        let mut answer = Fate::Waiting;
        while self.standing == Standing::Open {
            let next = self.next();
            let waits = |(kept, fate): &(Intent, Fate)| kept.sequence == next && *fate == Fate::Waiting;
            let Some(at) = self.kept.iter().position(waits) else { break };
            let fate = self.settle(self.kept[at].0);
            self.kept[at].1 = fate;
            if self.standing == Standing::Ended {
                self.stop(Standing::Ended);
            }
            if self.kept[at].0 == intent {
                answer = fate;
            }
        }
        answer
    }

    fn settle(&mut self, intent: Intent) -> Fate {
        match intent.wish {
            Wish::Close { .. } => {
                self.standing = Standing::Ended;
                self.left = 0;
                Fate::Applied
            }
            Wish::Pay { to: AccountId(99), .. } => Fate::Inbox,
            Wish::Pay { amount, .. } if amount > self.left => Fate::Rejected,
            Wish::Pay { amount, .. } => {
                self.left -= amount;
                self.paid += amount;
                Fate::Applied
            }
        }
    }

    fn stop(&mut self, standing: Standing) {
        self.standing = standing;
        for (_, fate) in &mut self.kept {
            if *fate == Fate::Waiting {
                *fate = Fate::Inbox;
            }
        }
    }

    fn write_off(&mut self) {
        if self.standing != Standing::Ended {
            self.stop(Standing::Ended);
            self.left = 0;
        }
    }

    /// Whether a person's decision is taken.
    fn decide(&mut self, intent: Intent, book: bool) -> bool {
        let at = self.kept.iter().position(|(kept, _)| *kept == intent).unwrap();
        if !book {
            self.kept[at].1 = Fate::Rejected;
            return true;
        }
        let Wish::Pay { to, amount, .. } = intent.wish else { return false };
        let ended = self.standing == Standing::Ended;
        if to == AccountId(99) || !ended && amount > self.left {
            return false;
        }
        if ended {
            self.from_home += amount;
        } else {
            self.left -= amount;
        }
        self.paid += amount;
        self.kept[at].1 = Fate::Applied;
        true
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Of a device, with a number: to pay so much, to pay nobody, or to close.
    Come(Vec<(u8, u64, Option<i128>, bool)>),
    WriteOff(u8),
    /// The entry, by its place in the list.
    Decide(usize, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wish = prop_oneof![12 => (1..60i128).prop_map(Some), 1 => Just(None)];
    let intent = (0..2u8, 1..9u64, wish, proptest::bool::weighted(0.05));
    let step = prop_oneof![
        12 => proptest::collection::vec(intent, 1..4).prop_map(Step::Come),
        1 => (0..2u8).prop_map(Step::WriteOff),
        3 => (0..8usize, any::<bool>()).prop_map(|(entry, book)| Step::Decide(entry, book)),
    ];
    proptest::collection::vec(step, 1..24)
}

fn fate(state: &IntentState) -> Fate {
    match state {
        IntentState::Waiting => Fate::Waiting,
        IntentState::Applied { .. } => Fate::Applied,
        IntentState::Rejected(_) => Fate::Rejected,
        IntentState::Inbox(_) => Fate::Inbox,
    }
}

fn signed(device: &Device, sequence: u64, pays: Option<i128>, nobody: bool) -> SignedIntent {
    // Small amounts, so that two intents with one number are sometimes the same.
    let Some(amount) = pays.map(|amount| amount - amount % 7 + 1) else { return device.close(sequence) };
    let pay = device.pay(sequence, amount);
    match pay.intent.wish {
        Wish::Pay { id, amount, tags, period, .. } if nobody => {
            let wish = Wish::Pay { id: TransferId(id.0 | 1 << 100), to: AccountId(99), amount, tags, period };
            device.sign(Intent { wish, ..pay.intent })
        }
        Wish::Pay { .. } | Wish::Close { .. } => pay,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    #[test]
    fn the_book_does_with_intents_what_the_model_does(steps in steps()) {
        let devices = [Device::new(1), Device::new(2)];
        let (mut desk, mut models) = (desk(), BTreeMap::new());
        for (number, device) in devices.iter().enumerate() {
            desk.apply(Order::OpenAllowance(device.allowance(number as u128 + 1, FILLED)));
            models.insert(device.id(), Naive::new());
        }
        for step in steps {
            match step {
                Step::Come(batch) => {
                    let batch: Vec<SignedIntent> = batch.into_iter()
                        .map(|(device, sequence, pays, nobody)| signed(&devices[usize::from(device)], sequence, pays, nobody))
                        .collect();
                    let Outcome::Intents(answers) = desk.apply(Order::Intents(batch.clone())) else {
                        return Err(TestCaseError::fail("no answers"));
                    };
                    for (signed, answer) in batch.iter().zip(answers) {
                        let model = models.get_mut(&signed.intent.device).unwrap();
                        prop_assert_eq!(fate(&answer.unwrap()), model.come(signed.intent), "{:?}", signed.intent);
                    }
                }
                Step::WriteOff(device) => {
                    let device = devices[usize::from(device)].id();
                    desk.apply(Order::WriteOff { device, reason: "lost".to_owned(), period: YEAR });
                    models.get_mut(&device).unwrap().write_off();
                }
                Step::Decide(place, book) => {
                    let inbox = desk.book.inbox(0, 100).unwrap();
                    let Some(entry) = inbox.get(place) else { continue };
                    let decision = if book { Decision::Book } else { Decision::Reject };
                    let order = Order::Resolve { entry: entry.number, decision, reason: "so".to_owned(), period: YEAR };
                    let taken = matches!(desk.apply(order), Outcome::Resolved { again: false, .. });
                    let intent = entry.signed.intent;
                    prop_assert_eq!(taken, models.get_mut(&intent.device).unwrap().decide(intent, book));
                }
            }
            let (mut paid, mut home) = (0, 0);
            for device in &devices {
                let model = &models[&device.id()];
                for (intent, expected) in &model.kept {
                    let state = desk.book.intent_state(intent).unwrap().unwrap();
                    prop_assert_eq!(fate(&state), *expected, "{:?}", intent);
                }
                let left = desk.book.account(device.account()).unwrap().unwrap().balances.posted();
                prop_assert_eq!(left, model.left);
                prop_assert!(model.paid - model.from_home <= FILLED, "never more than the allowance");
                paid += model.paid;
                home -= model.paid + model.left;
            }
            prop_assert_eq!((desk.posted(2), desk.posted(1)), (paid, home));
        }
        prop_assert_eq!(desk.book.check().unwrap().problems, Vec::<String>::new());
    }
}
