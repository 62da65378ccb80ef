//! Lets foca draw from our random numbers. It asks for the trait of a later `rand` than ours.

use std::convert::Infallible;

use rand::RngCore;
use rand::rngs::StdRng;

/// The generator that foca draws from.
#[derive(Debug)]
pub struct Dice(StdRng);

impl Dice {
    /// Draws what `rng` draws.
    pub fn new(rng: StdRng) -> Self {
        Self(rng)
    }
}

impl rand_core::TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}
