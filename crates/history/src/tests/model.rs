//! A ledger that keeps its word, in memory, and clients that lose sight of their requests.

use std::collections::BTreeMap;

use covenant_types::TransferId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::record::{Account, Attempt, Booked, History, Outcome, Read, Replica, Span};

pub(super) const ACCOUNTS: [&str; 4] = ["treasury", "reserve", "nation:KEN", "communities"];
const CLIENTS: usize = 6;

/// What a client waits for.
#[derive(Clone)]
enum Doing {
    Nothing,
    /// A try, with when it takes effect, if it does.
    Trying {
        invoked: u64,
        want: Want,
        effect: Option<u64>,
        told: Option<Outcome>,
    },
    Reading {
        invoked: u64,
        seen: Option<BTreeMap<Account, i128>>,
    },
}

#[derive(Clone)]
struct Want {
    id: TransferId,
    from: Account,
    to: Account,
    amount: i128,
}

struct Model {
    luck: StdRng,
    now: u64,
    next_id: u128,
    history: History,
    held: BTreeMap<Account, i128>,
    numbers: BTreeMap<TransferId, u64>,
    /// Requests that still take effect, though nobody waits for them.
    adrift: Vec<(u64, Want)>,
    /// Transfers whose outcome is unknown or that were not done, by client.
    again: Vec<Option<Want>>,
    doing: Vec<Doing>,
}

/// A history of about `steps` steps that a ledger can have.
pub(super) fn good(seed: u64, steps: usize) -> History {
    let names = ACCOUNTS.map(Account::from);
    let mut model = Model {
        luck: StdRng::seed_from_u64(seed),
        now: 0,
        next_id: 1,
        history: History { opening: [(names[0].clone(), 1000)].into(), ..History::default() },
        held: names.iter().map(|name| (name.clone(), 0)).collect(),
        numbers: BTreeMap::new(),
        adrift: Vec::new(),
        again: vec![None; CLIENTS],
        doing: vec![Doing::Nothing; CLIENTS],
    };
    model.held.insert(names[0].clone(), 1000);
    for _ in 0..steps {
        model.now += model.luck.random_range(0..3);
        model.drift();
        let client = model.luck.random_range(0..CLIENTS);
        model.step(client);
    }
    model.end()
}

impl Model {
    fn step(&mut self, client: usize) {
        let doing = std::mem::replace(&mut self.doing[client], Doing::Nothing);
        self.doing[client] = match doing {
            Doing::Nothing => self.begin(client),
            Doing::Trying { invoked, want, effect: Some(at), told: None } if self.now >= at => {
                let told = Some(self.book(&want));
                Doing::Trying { invoked, want, effect: None, told }
            }
            Doing::Trying { invoked, want, effect, told } => self.answer(client, invoked, want, effect, told),
            Doing::Reading { invoked, seen: None } => Doing::Reading { invoked, seen: Some(self.held.clone()) },
            Doing::Reading { invoked, seen: Some(balances) } => {
                let span = Span { invoked, returned: self.now };
                self.history.reads.push(Read { client: u32::try_from(client).unwrap(), span, balances });
                Doing::Nothing
            }
        };
    }

    fn begin(&mut self, client: usize) -> Doing {
        let invoked = self.now;
        if self.luck.random_bool(0.3) {
            return Doing::Reading { invoked, seen: None };
        }
        let again = self.again[client].take().filter(|_| self.luck.random_bool(0.8));
        let want = again.unwrap_or_else(|| self.want());
        let effect = self.luck.random_bool(0.9).then(|| self.now + self.luck.random_range(0..6));
        Doing::Trying { invoked, want, effect, told: None }
    }

    fn want(&mut self) -> Want {
        let id = TransferId(self.next_id);
        self.next_id += 1;
        let from = self.luck.random_range(0..ACCOUNTS.len());
        let to = (from + self.luck.random_range(1..ACCOUNTS.len())) % ACCOUNTS.len();
        // No two move the same amount: a state is recognised by its balances.
        let amount = (1 << 20) + id.0 as i128;
        Want { id, from: ACCOUNTS[from].into(), to: ACCOUNTS[to].into(), amount }
    }

    /// What the ledger does with a request whenever it arrives.
    fn book(&mut self, want: &Want) -> Outcome {
        if let Some(number) = self.numbers.get(&want.id) {
            return Outcome::Booked { number: *number, fresh: false };
        }
        // One account has rules.
        if want.from.as_ref() == "communities" && self.held[&want.from] < want.amount {
            return Outcome::Refused;
        }
        let number = self.history.book.len() as u64 * 3 + 1;
        let Want { id, from, to, amount } = want.clone();
        *self.held.get_mut(&from).unwrap() -= amount;
        *self.held.get_mut(&to).unwrap() += amount;
        self.history.book.push(Booked { number, id, from, to, amount });
        self.numbers.insert(want.id, number);
        Outcome::Booked { number, fresh: true }
    }

    fn answer(&mut self, client: usize, invoked: u64, want: Want, effect: Option<u64>, told: Option<Outcome>) -> Doing {
        let outcome = match told {
            Some(told) if self.luck.random_bool(0.8) => told,
            Some(_) => Outcome::Unknown,
            // It is still under way, and may arrive long after.
            None if effect.is_some() => {
                let later = self.now + self.luck.random_range(0..30);
                self.adrift.push((later, want.clone()));
                Outcome::Unknown
            }
            None if self.luck.random_bool(0.5) => Outcome::NotDone,
            None => Outcome::Unknown,
        };
        // Some ask once more although they know.
        let ask_again = match outcome {
            Outcome::Unknown | Outcome::NotDone => true,
            Outcome::Booked { .. } | Outcome::Refused => self.luck.random_bool(0.1),
        };
        if ask_again {
            self.again[client] = Some(want.clone());
        }
        self.attempt(client, invoked, want, outcome);
        Doing::Nothing
    }

    fn attempt(&mut self, client: usize, invoked: u64, want: Want, outcome: Outcome) {
        let Want { id, from, to, amount } = want;
        let span = Span { invoked, returned: self.now };
        self.history.attempts.push(Attempt {
            client: u32::try_from(client).unwrap(),
            span,
            id,
            from,
            to,
            amount,
            outcome,
        });
    }

    fn drift(&mut self) {
        let (due, later) = std::mem::take(&mut self.adrift).into_iter().partition(|(at, _)| *at <= self.now);
        self.adrift = later;
        let due: Vec<(u64, Want)> = due;
        for (_, want) in due {
            let _nobody_hears = self.book(&want);
        }
    }

    fn end(mut self) -> History {
        for client in 0..CLIENTS {
            if let Doing::Trying { invoked, want, .. } = self.doing[client].clone() {
                self.attempt(client, invoked, want, Outcome::Unknown);
            }
        }
        for node in ["hub-africa", "hub-asia", "hub-europe"] {
            self.history.replicas.push(Replica {
                node: node.into(),
                position: self.now,
                state: "same".to_owned(),
                balances: self.held.clone(),
                problems: Vec::new(),
            });
        }
        self.history
    }
}
