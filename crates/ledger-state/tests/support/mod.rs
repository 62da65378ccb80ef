//! Commands of every kind, the same ones for the same seed, so that two processes can make them.

use covenant_book::{
    AccountId, AccountOrder, Action, Amount, Asset, Command, Limit, Movement, Nations, NewTransfer, Order, Period,
    Projects, Purpose, Tags,
};
use covenant_types::{TransferId, WallTime};

/// Draws numbers, the same ones for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `bound`, of the type that is wanted; none here is wanted too small for it.
    fn small<T: TryFrom<u64, Error: std::fmt::Debug>>(&mut self, bound: u64) -> T {
        T::try_from(self.below(bound)).unwrap()
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }
}

/// The first commands of every book here: tables, projects, and a few accounts.
fn first() -> Vec<Order> {
    let limits = [Limit::None, Limit::DebitsWithinCredits, Limit::CreditsWithinDebits];
    let account = |id: u64| AccountOrder { id: account(id), asset: Asset::USD, limit: limits[(id % 3) as usize] };
    vec![
        Order::AdoptNations { text: Nations::embedded().text().to_owned() },
        Order::AdoptProjects { text: Projects::embedded_text().to_owned() },
        Order::Open((0..ACCOUNTS).map(account).collect()),
    ]
}

const ACCOUNTS: u64 = 24;

/// Ids that lie far apart, as clients make them.
fn account(number: u64) -> AccountId {
    AccountId(u128::from(number + 1).wrapping_mul(0x1234_5678_9abc_def1_0fed_cba9_8765_4321) >> 2)
}

/// So many commands of this seed, encoded.
pub(crate) fn commands(seed: u64, count: usize) -> Vec<Vec<u8>> {
    let mut draw = Draw::new(seed);
    let mut ids = 0;
    let orders = first().into_iter().chain(std::iter::repeat_with(|| order(&mut draw, &mut ids)));
    let command = |(at, order): (u64, Order)| Command { at: WallTime(1000 + 7 * at), order };
    (0..).zip(orders).take(count).map(|pair| command(pair).to_bytes()).collect()
}

/// When a command was made. Bytes that are none have no time.
pub(crate) fn time_of(command: &[u8]) -> WallTime {
    Command::from_bytes(command).map_or(WallTime(0), |command| command.at)
}

fn order(draw: &mut Draw, ids: &mut u64) -> Order {
    let table = Nations::embedded().hash_bytes();
    match draw.below(40) {
        0 => Order::Expire { most: draw.small::<u32>(5) },
        1 => Order::Close { through: Period(1990 + draw.small::<u16>(4)) },
        2 => Order::Assess { year: Period(2020 + draw.small::<u16>(3)), table },
        3 => Order::Distribute {
            id: TransferId(u128::from(draw.below(6)) + 1),
            amount: Amount::cents(i128::from(draw.below(1_000_000))),
            period: Period(2026),
            table,
        },
        4 => Order::Open(vec![AccountOrder {
            id: account(ACCOUNTS + draw.below(20)),
            asset: Asset::USD,
            limit: Limit::None,
        }]),
        _ => {
            let whole = draw.below(8) == 0;
            Order::Transfer { transfers: (0..=draw.below(6)).map(|_| transfer(draw, ids)).collect(), whole }
        }
    }
}

fn transfer(draw: &mut Draw, ids: &mut u64) -> NewTransfer {
    let earlier = |draw: &mut Draw| TransferId(id(1 + draw.below(*ids + 1)));
    let action = match draw.below(12) {
        0 | 1 => Action::Pend { movement: movement(draw), expires_after: Some(draw.small::<u32>(100)) },
        2 => Action::Pend { movement: movement(draw), expires_after: None },
        3 => Action::PostPending { pending: earlier(draw), amount: None },
        4 => Action::PostPending { pending: earlier(draw), amount: Some(1 + i128::from(draw.below(60))) },
        5 => Action::VoidPending { pending: earlier(draw) },
        6 => Action::Correct { of: earlier(draw), amount: Some(1 + i128::from(draw.below(30))) },
        _ => Action::Post(movement(draw)),
    };
    // Some ids come again, with the same request or another.
    let again = *ids > 0 && draw.below(15) == 0;
    if !again {
        *ids += 1;
    }
    let number = if again { 1 + draw.below(*ids) } else { *ids };
    let period = Period(2024 + draw.small::<u16>(3));
    NewTransfer { id: TransferId(id(number)), action, period, linked: draw.below(10) == 0 }
}

fn id(number: u64) -> u128 {
    u128::from(number).wrapping_mul(0x0f1e_2d3c_4b5a_6978_8796_a5b4_c3d2_e1f1) >> 3 | 1 << 100
}

fn movement(draw: &mut Draw) -> Movement {
    let side = |draw: &mut Draw| match draw.below(10) {
        0 => Purpose::Treasury.account().unwrap_or(account(0)),
        1 => Purpose::Reserve.account().unwrap_or(account(0)),
        _ => account(draw.below(ACCOUNTS)),
    };
    let nation = Nations::embedded().iter().nth(draw.small(190)).map(|nation| nation.iso3);
    let tags = match draw.below(3) {
        0 => Tags { nation, ..Tags::default() },
        1 => Tags { nation, sector: "health".parse().ok(), project: None },
        _ => Tags::default(),
    };
    Movement { debit: side(draw), credit: side(draw), amount: 1 + i128::from(draw.below(90)), tags }
}
