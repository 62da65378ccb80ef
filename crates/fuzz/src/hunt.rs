//! The loop: break an input, run the target on it, look at what happened.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::{Mutator, Target};

/// Inputs that are kept because they led somewhere new.
const POOL_MAX: usize = 2048;
/// How often an input is made shorter, at most, once it was found to do harm.
const SHORTENINGS_MAX: usize = 2000;

/// What a target may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Memory, whatever the input.
    pub bytes: u64,
    /// Memory for each byte of the input on top of that.
    pub bytes_per_byte: u64,
    /// Time.
    pub time: Duration,
    /// The longest input.
    pub input: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        // serde reserves up to a MiB on the word of a length, at each of two depths.
        Self { bytes: 4 << 20, bytes_per_byte: 128, time: Duration::from_secs(5), input: 8 << 10 }
    }
}

/// When a hunt ends by itself.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// After so many inputs: the same everywhere.
    After(u64),
    /// After so long.
    Within(Duration),
}

/// What a hunt did.
#[derive(Debug)]
pub struct Hunted {
    /// How many inputs were tried.
    pub tried: u64,
    /// How many of them led somewhere new.
    pub new: usize,
    /// What went wrong first. The hunt ends with it.
    pub finding: Option<Finding>,
}

/// An input that does harm.
#[derive(Debug)]
pub struct Finding {
    /// What it does.
    pub trouble: Trouble,
    /// The input, made as short as it would go.
    pub input: Vec<u8>,
    /// Where it was written to.
    pub file: PathBuf,
}

/// The harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The target panicked, with this message and at this place.
    Panicked(String),
    /// It held so many bytes at once, more than the input justifies.
    Greedy(u64),
    /// It took so long.
    Slow(Duration),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Panicked(message) => write!(f, "panicked: {message}"),
            Self::Greedy(bytes) => write!(f, "held {bytes} bytes at once"),
            Self::Slow(took) => write!(f, "took {} ms", took.as_millis()),
        }
    }
}

/// Runs a target on one input. On success returns what tells its way through the code from others.
///
/// # Errors
/// The harm it did.
pub fn try_one(target: &Target, input: &[u8], bounds: &Bounds) -> Result<(u64, u32), Trouble> {
    quietly();
    let began = Instant::now();
    let mut panicked = false;
    HUNTING.set(true);
    let used = allocation_counter::measure(|| {
        panicked = catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err();
    });
    HUNTING.set(false);
    let took = began.elapsed();
    if panicked {
        return Err(Trouble::Panicked(MESSAGE.take().unwrap_or_default()));
    }
    if used.bytes_max > bounds.bytes + bounds.bytes_per_byte * input.len() as u64 {
        return Err(Trouble::Greedy(used.bytes_max));
    }
    if took > bounds.time {
        return Err(Trouble::Slow(took));
    }
    // Bytes in powers of two: a text that is one longer is nothing new.
    Ok((used.count_total, used.bytes_total.checked_ilog2().unwrap_or(0)))
}

/// Hunts until `stop` or the first finding, which is written into `folder`.
///
/// # Errors
/// A file in `folder` cannot be written, or there is nothing to begin with.
pub fn hunt(
    target: &Target,
    begin_with: Vec<Vec<u8>>,
    seed: u64,
    stop: Stop,
    bounds: &Bounds,
    folder: &Path,
) -> io::Result<Hunted> {
    if begin_with.is_empty() {
        return Err(io::Error::other(format!("{} has no inputs to begin with", target.name)));
    }
    std::fs::create_dir_all(folder)?;
    let under_way = UnderWay::open(folder, target)?;
    let longest = begin_with.iter().map(Vec::len).max().unwrap_or(0);
    let mut mutator = Mutator::new(seed, &begin_with, bounds.input.max(longest * 2));
    let (mut pool, mut seen) = (begin_with.clone(), HashSet::new());
    let mut honest = begin_with.into_iter();
    let (began, mut tried, mut new) = (Instant::now(), 0, 0);
    loop {
        let ended = match stop {
            Stop::After(count) => tried >= count,
            Stop::Within(time) => began.elapsed() >= time,
        };
        if ended {
            under_way.remove();
            return Ok(Hunted { tried, new, finding: None });
        }
        let input = honest.next().unwrap_or_else(|| mutator.next(&pool));
        under_way.note(&input)?;
        tried += 1;
        match try_one(target, &input, bounds) {
            Ok(way) => {
                if seen.insert(way) {
                    new += 1;
                    if pool.len() < POOL_MAX {
                        pool.push(input);
                    } else {
                        let place = mutator.below(pool.len());
                        pool[place] = input;
                    }
                }
            }
            Err(trouble) => {
                let (input, trouble) = shorten(target, input, trouble, bounds);
                let file = folder.join(format!("{}-{}", target.name, name_of(&input)));
                std::fs::write(&file, &input)?;
                under_way.remove();
                return Ok(Hunted { tried, new, finding: Some(Finding { trouble, input, file }) });
            }
        }
    }
}

/// Takes away from the input what the harm does not need.
fn shorten(target: &Target, mut input: Vec<u8>, mut trouble: Trouble, bounds: &Bounds) -> (Vec<u8>, Trouble) {
    if matches!(trouble, Trouble::Slow(_)) {
        return (input, trouble); // each try is as slow again
    }
    let mut tries = 0;
    let mut piece = input.len().div_ceil(2);
    while piece > 0 && tries < SHORTENINGS_MAX {
        let mut at = 0;
        while at < input.len() && tries < SHORTENINGS_MAX {
            let mut shorter = input.clone();
            drop(shorter.drain(at..(at + piece).min(input.len())));
            tries += 1;
            match try_one(target, &shorter, bounds) {
                Err(same) if std::mem::discriminant(&same) == std::mem::discriminant(&trouble) => {
                    (input, trouble) = (shorter, same);
                }
                Err(_) | Ok(_) => at += piece,
            }
        }
        piece /= 2;
    }
    (input, trouble)
}

/// The file that holds the input under way, for a process that does not live to tell.
struct UnderWay {
    file: File,
    path: PathBuf,
}

impl UnderWay {
    fn open(folder: &Path, target: &Target) -> io::Result<Self> {
        let path = folder.join(format!("{}.under-way", target.name));
        let file = File::create(&path)?;
        Ok(Self { file, path })
    }

    fn note(&self, input: &[u8]) -> io::Result<()> {
        self.file.set_len(input.len() as u64)?;
        self.file.write_all_at(input, 0)
    }

    fn remove(self) {
        // It is in the way of nobody if it stays.
        let _stays = std::fs::remove_file(self.path);
    }
}

thread_local! {
    static MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
    static HUNTING: Cell<bool> = const { Cell::new(false) };
}

/// Panics of a target are findings, told once: not noise.
fn quietly() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if HUNTING.get() {
                MESSAGE.set(Some(info.to_string().replace('\n', ": ")));
            } else {
                before(info);
            }
        }));
    });
}

fn name_of(input: &[u8]) -> String {
    let hash = input
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}
