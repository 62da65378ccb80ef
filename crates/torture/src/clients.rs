//! Clients: each wants one thing at a time, and asks for it by the same id until it knows what came of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use covenant_history::{Account, Attempt, History, Outcome, Read, Span};
use covenant_types::TransferId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::line::{Answer, Line, Refusal};
use crate::lock;
use crate::plan::VOTERS;

/// Whose money moves. The first may owe; the second may not, so that some transfers are refused.
pub(crate) const ACCOUNTS: [&str; 8] =
    ["treasury", "communities", "reserve", "nation:KEN", "nation:TUV", "nation:FRA", "nation:JPN", "nation:BRA"];
/// How long a client waits for an answer before it asks somebody else. Shorter than what a desk gives the book now and then, so that
/// answers are lost.
const ANSWER_WITHIN: Duration = Duration::from_secs(6);
/// One in so many operations is a read.
const READS: f64 = 0.15;
/// One in so many outcomes that are not known is left so.
const GIVES_UP: f64 = 0.1;
/// One in so many acknowledged transfers is asked for once more.
const ASKS_AGAIN: f64 = 0.03;
/// The most cents of a transfer.
const CENTS_MAX: i64 = 1_000_000;
/// The shortest and the longest pause between two operations, in milliseconds, in a run of [`SHORT`].
const PAUSE_MS: std::ops::Range<u64> = 5..60;
/// In a longer run pauses are as many times longer: in the end the whole book is added up, which has its time too.
const SHORT: Duration = Duration::from_secs(180);
/// The pause after what came to nothing, in milliseconds.
const RETRY_MS: std::ops::Range<u64> = 20..300;

/// What all clients share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) history: Mutex<History>,
    began: Instant,
    sockets: [PathBuf; VOTERS],
    /// No new operation after this; what is not known may be asked for until the next.
    stop: Mutex<Option<Instant>>,
    pause_ms: std::ops::Range<u64>,
}

impl Shared {
    pub(crate) fn new(sockets: [PathBuf; VOTERS], lasts: Duration) -> Self {
        let times = (lasts.as_secs() / SHORT.as_secs()).max(1);
        let pause_ms = PAUSE_MS.start * times..PAUSE_MS.end * times;
        Self { history: Mutex::default(), began: Instant::now(), sockets, stop: Mutex::new(None), pause_ms }
    }

    /// Has clients begin nothing more, and end what they have begun within so long.
    pub(crate) fn stop(&self, within: Duration) {
        *lock(&self.stop) = Some(Instant::now() + within);
    }

    fn stopping(&self) -> Option<Instant> {
        *lock(&self.stop)
    }

    /// Microseconds since the history began.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(crate) fn lines(&self) -> [Line; VOTERS] {
        self.sockets.each_ref().map(|socket| Line::to(socket.clone()))
    }
}

/// One client.
pub(crate) struct Client {
    number: u32,
    luck: StdRng,
    lines: [Line; VOTERS],
    /// Whom it asks.
    node: usize,
    shared: Arc<Shared>,
}

/// A transfer that somebody wants.
#[derive(Clone, Debug)]
pub(crate) struct Want {
    pub(crate) id: TransferId,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    pub(crate) cents: i64,
}

impl Client {
    pub(crate) fn new(number: u32, seed: u64, shared: &Arc<Shared>) -> Self {
        let luck = StdRng::seed_from_u64(seed ^ (u64::from(number) << 40));
        let lines = shared.lines();
        Self { number, luck, lines, node: number as usize % VOTERS, shared: shared.clone() }
    }

    /// Works until all clients are told to stop.
    pub(crate) async fn run(mut self) {
        while self.shared.stopping().is_none() {
            if self.luck.random_bool(READS) {
                self.read().await;
            } else {
                let want = self.want();
                let known = self.until_known(&want).await;
                if known == Some(true) && self.luck.random_bool(ASKS_AGAIN) {
                    self.node = (self.node + 1) % VOTERS;
                    self.until_known(&want).await;
                }
            }
            self.pause(self.shared.pause_ms.clone()).await;
        }
    }

    async fn pause(&mut self, ms: std::ops::Range<u64>) {
        tokio::time::sleep(Duration::from_millis(self.luck.random_range(ms))).await;
    }

    fn want(&mut self) -> Want {
        let from = self.luck.random_range(0..ACCOUNTS.len());
        let to = (from + self.luck.random_range(1..ACCOUNTS.len())) % ACCOUNTS.len();
        let cents = self.luck.random_range(1..=CENTS_MAX);
        Want { id: TransferId(self.luck.random::<u128>() >> 1), from: ACCOUNTS[from], to: ACCOUNTS[to], cents }
    }

    /// Asks until the outcome is known, and says whether it was booked. `None` where it gave up.
    pub(crate) async fn until_known(&mut self, want: &Want) -> Option<bool> {
        loop {
            match self.attempt(want).await {
                Outcome::Booked { .. } => return Some(true),
                Outcome::Refused => return Some(false),
                Outcome::NotDone => {}
                Outcome::Unknown if self.luck.random_bool(GIVES_UP) => return None,
                Outcome::Unknown => {}
            }
            if self.shared.stopping().is_some_and(|end| end < Instant::now()) {
                return None;
            }
            self.node = self.luck.random_range(0..VOTERS);
            self.pause(RETRY_MS).await;
        }
    }

    async fn attempt(&mut self, want: &Want) -> Outcome {
        let body = json!({
            "id": want.id, "from": want.from, "to": want.to, "amount": money(want.cents.into()), "nation": null
        });
        let invoked = self.shared.now();
        let answer = self.lines[self.node].ask("POST", "/v1/ledger/transfer", Some(&body), ANSWER_WITHIN).await;
        let outcome = outcome(&answer);
        let span = Span { invoked, returned: self.shared.now() };
        let (from, to) = (account(want.from), account(want.to));
        let attempt = Attempt { client: self.number, span, id: want.id, from, to, amount: want.cents.into(), outcome };
        lock(&self.shared.history).attempts.push(attempt);
        outcome
    }

    async fn read(&mut self) {
        let invoked = self.shared.now();
        match self.lines[self.node].ask("GET", "/v1/ledger/balances", None, ANSWER_WITHIN).await {
            Answer::Yes(balances) if balances["as_of"]["linearizable"] == true => {
                let span = Span { invoked, returned: self.shared.now() };
                let balances = balances_of(&balances);
                lock(&self.shared.history).reads.push(Read { client: self.number, span, balances });
            }
            Answer::Yes(_) | Answer::No(_) | Answer::NotSent(_) | Answer::Lost(_) => {
                self.node = self.luck.random_range(0..VOTERS);
            }
        }
    }
}

/// What a client knows by an answer.
fn outcome(answer: &Answer) -> Outcome {
    match answer {
        Answer::Yes(done) => match (done["number"].as_u64(), done["booked"].as_bool()) {
            (Some(number), Some(fresh)) => Outcome::Booked { number, fresh },
            _ => Outcome::Unknown,
        },
        Answer::NotSent(_) => Outcome::NotDone,
        // Only what says so has booked nothing.
        Answer::No(Refusal { kind, message }) if message.contains("nothing was booked") => match kind.as_str() {
            "refused" | "usage" | "conflict" => Outcome::Refused,
            _ => Outcome::NotDone,
        },
        Answer::No(_) | Answer::Lost(_) => Outcome::Unknown,
    }
}

pub(crate) fn account(name: &str) -> Account {
    name.into()
}

/// Cents as people write them.
pub(crate) fn money(cents: i128) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    let cents = cents.unsigned_abs();
    format!("{sign}{}.{:02}", cents / 100, cents % 100)
}

/// What people write, as cents.
pub(crate) fn cents(text: &str) -> Option<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, part) = digits.split_once('.')?;
    if part.len() != 2 || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let whole: i128 = whole.parse().ok()?;
    Some(sign * (whole.checked_mul(100)?.checked_add(part.parse().ok()?)?))
}

/// The accounts of an answer.
pub(crate) fn balances_of(answer: &Value) -> BTreeMap<Account, i128> {
    let accounts = answer["accounts"].as_array().into_iter().flatten();
    let held = |row: &Value| Some((account(row["account"].as_str()?), cents(row["balance"].as_str()?)?));
    // Each was booked on before clients began: one that is not shown holds nothing, which is then found.
    ACCOUNTS.iter().map(|name| (account(name), 0)).chain(accounts.filter_map(held)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no(kind: &str, message: &str) -> Answer {
        Answer::No(Refusal { kind: kind.to_owned(), message: message.to_owned() })
    }

    #[test]
    fn only_what_says_that_nothing_was_booked_counts_as_not_booked() {
        let done = Answer::Yes(json!({"booked": false, "number": 7}));
        assert_eq!(outcome(&done), Outcome::Booked { number: 7, fresh: false });
        assert_eq!(outcome(&no("refused", "too little; nothing was booked")), Outcome::Refused);
        assert_eq!(outcome(&no("unreachable", "nothing was booked; try again")), Outcome::NotDone);
        assert_eq!(outcome(&no("refused", "the mailbox is full")), Outcome::Unknown);
        assert_eq!(outcome(&no("timeout", "it may have been booked")), Outcome::Unknown);
        assert_eq!(outcome(&Answer::Lost("no answer".to_owned())), Outcome::Unknown);
        assert_eq!(outcome(&Answer::NotSent("no such file".to_owned())), Outcome::NotDone);
    }

    #[test]
    fn money_is_read_as_it_is_written() {
        for amount in [0, 1, -1, 99, -12_345, 1_000_000_007] {
            assert_eq!(cents(&money(amount)), Some(amount));
        }
        for bad in ["", "1", "1.2", "1.234", "x.00", "1.-2", "--1.00"] {
            assert_eq!(cents(bad), None, "{bad:?}");
        }
    }
}
