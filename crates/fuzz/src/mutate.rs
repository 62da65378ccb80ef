//! How an input is broken.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Numbers at which code goes wrong.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];
/// The most changes to one input.
const CHANGES_MAX: usize = 6;
/// The most bytes one change takes, puts in or moves.
const PIECE_MAX: usize = 64;
/// The most words taken from the inputs that a hunt begins with.
const WORDS_MAX: usize = 512;

/// Breaks inputs, the same way for the same seed.
#[derive(Debug)]
pub struct Mutator {
    rng: StdRng,
    words: Vec<Vec<u8>>,
    bytes_max: usize,
}

impl Mutator {
    /// A mutator that knows the words of `inputs` and makes nothing longer than `bytes_max`.
    pub fn new(seed: u64, inputs: &[Vec<u8>], bytes_max: usize) -> Self {
        let mut words: Vec<Vec<u8>> = inputs.iter().flat_map(|input| words_of(input)).collect();
        words.sort();
        words.dedup();
        words.truncate(WORDS_MAX);
        Self { rng: StdRng::seed_from_u64(seed), words, bytes_max }
    }

    /// A broken form of one of `pool`, which is not empty.
    pub fn next(&mut self, pool: &[Vec<u8>]) -> Vec<u8> {
        let mut input = pool[self.below(pool.len())].clone();
        for _ in 0..=self.below(CHANGES_MAX) {
            self.change(&mut input, pool);
        }
        input.truncate(self.bytes_max);
        input
    }

    /// A number below `bound`, or zero.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { self.rng.random_range(0..bound) }
    }

    fn change(&mut self, input: &mut Vec<u8>, pool: &[Vec<u8>]) {
        let at = self.below(input.len());
        match self.rng.random_range(0..14) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.rng.random_range(0..8);
                }
            }
            1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = self.rng.random();
                }
            }
            2 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = byte.wrapping_add(self.rng.random_range(0..3)).wrapping_sub(1);
                }
            }
            3 => drop(input.drain(self.piece(input.len()))),
            4 => {
                let copy = input[self.piece(input.len())].to_vec();
                put_in(input, at, copy);
            }
            5 => {
                let length = self.below(PIECE_MAX);
                let noise = (0..length).map(|_| self.rng.random()).collect();
                put_in(input, at, noise);
            }
            6 => input.truncate(at),
            7 => self.write_edge(input, at),
            8 => self.change_length(input),
            9 => {
                let other = &pool[self.below(pool.len())];
                let (head, tail) = (at, self.below(other.len()));
                input.truncate(head);
                input.extend_from_slice(&other[tail..]);
            }
            10 => {
                let other = &pool[self.below(pool.len())];
                let piece = other[self.piece(other.len())].to_vec();
                put_in(input, at, piece);
            }
            11 => {
                if let Some(word) = self.words.choose(&mut self.rng).cloned() {
                    put_in(input, at, word);
                }
            }
            12 => self.change_number(input),
            _ => self.repeat(input, at),
        }
    }

    fn piece(&mut self, length: usize) -> std::ops::Range<usize> {
        let from = self.below(length);
        from..(from + self.below(PIECE_MAX)).min(length)
    }

    /// Writes a number of the edges, or one beside it, over one, two, four or eight bytes.
    fn write_edge(&mut self, input: &mut [u8], at: usize) {
        let number = EDGES[self.below(EDGES.len())].wrapping_add(self.rng.random_range(0..3)).wrapping_sub(1);
        let width = [1, 2, 4, 8][self.below(4)];
        let (little, big) = (number.to_le_bytes(), number.to_be_bytes());
        let bytes = if self.rng.random() { &little[..width] } else { &big[8 - width..] };
        for (place, byte) in input.iter_mut().skip(at).zip(bytes) {
            *place = *byte;
        }
    }

    /// Finds what looks like a length, and makes it a lie.
    fn change_length(&mut self, input: &mut [u8]) {
        let length = input.len();
        let mut places = Vec::new();
        for at in 0..length {
            let rest = length - at;
            if usize::from(input[at]) > 0 && usize::from(input[at]) < rest {
                places.push((at, 1));
            }
            if let Some(two) = input[at..].first_chunk::<2>()
                && (1..rest).contains(&usize::from(u16::from_be_bytes(*two)))
            {
                places.push((at, 2));
            }
            if let Some(four) = input[at..].first_chunk::<4>()
                && (1..rest).contains(&(u32::from_be_bytes(*four) as usize))
            {
                places.push((at, 4));
                places.push((at, 4)); // wide ones are seldom anything else
            }
        }
        let Some(&(at, width)) = places.choose(&mut self.rng) else { return };
        let field = &mut input[at..at + width];
        let was = field.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let lies = [was + 1, was - 1, 0, u64::MAX, (length - at) as u64, was * 2];
        let lie = lies[self.below(lies.len())].to_be_bytes();
        input[at..at + width].copy_from_slice(&lie[8 - width..]);
    }

    /// Writes another number over one that stands there in digits.
    fn change_number(&mut self, input: &mut Vec<u8>) {
        let starts: Vec<usize> = (0..input.len())
            .filter(|at| input[*at].is_ascii_digit() && (*at == 0 || !input[at - 1].is_ascii_digit()))
            .collect();
        let Some(&start) = starts.choose(&mut self.rng) else { return };
        let end = input[start..].iter().position(|byte| !byte.is_ascii_digit()).map_or(input.len(), |end| start + end);
        let number = match self.rng.random_range(0..4) {
            0 => format!("-{}", EDGES[self.below(EDGES.len())]),
            1 => "9".repeat(self.rng.random_range(1..60)),
            _ => EDGES[self.below(EDGES.len())].to_string(),
        };
        input.splice(start..end, number.into_bytes());
    }

    /// One piece many times: nesting and long lists.
    fn repeat(&mut self, input: &mut Vec<u8>, at: usize) {
        let piece = input[self.piece(input.len())].to_vec();
        let times = self.rng.random_range(2..64);
        if piece.len() * times + input.len() <= self.bytes_max {
            put_in(input, at, piece.repeat(times));
        }
    }
}

fn put_in(input: &mut Vec<u8>, at: usize, piece: Vec<u8>) {
    input.splice(at..at, piece);
}

/// Runs of letters and what joins them: keys, values, domains.
fn words_of(input: &[u8]) -> Vec<Vec<u8>> {
    input
        .split(|byte| !byte.is_ascii_alphanumeric() && !b"-_./:".contains(byte))
        .filter(|word| (2..=40).contains(&word.len()))
        .map(<[u8]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_makes_the_same_inputs() {
        let pool = vec![b"covenant/test/1 length 17".to_vec(), vec![0, 0, 0, 3, 1, 2, 3]];
        let made = |seed| {
            let mut mutator = Mutator::new(seed, &pool, 1000);
            (0..500).map(|_| mutator.next(&pool)).collect::<Vec<_>>()
        };
        assert_eq!(made(7), made(7));
        assert_ne!(made(7), made(8));
    }

    #[test]
    fn nothing_is_longer_than_the_bound_and_even_nothing_can_be_broken() {
        let pool = vec![Vec::new(), vec![1; 90]];
        let mut mutator = Mutator::new(1, &pool, 100);
        assert!((0..2000).all(|_| mutator.next(&pool).len() <= 100));
    }

    #[test]
    fn lengths_become_lies() {
        let honest = vec![vec![0, 0, 0, 3, 1, 2, 3]];
        let mut mutator = Mutator::new(3, &honest, 100);
        let lie = [0xff, 0xff, 0xff, 0xff];
        assert!((0..5000).any(|_| mutator.next(&honest).starts_with(&lie)));
    }
}
