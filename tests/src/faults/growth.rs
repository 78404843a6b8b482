//! Whether something grows: the median of the last quarter of the samples beside that of the first.
//!
//! Medians, since a burst of load or a fault moves single samples by more than a leak would in an hour.

use serde::Serialize;

/// Of the samples the first fifth is left out: pools and caches fill then.
const WARM_UP: usize = 5;
/// The parts whose medians are compared are a quarter of what counts.
const PARTS: usize = 4;
/// Fewer in a part say nothing.
const LEAST: usize = 2;

/// A figure over time.
#[derive(Debug, Clone, Serialize)]
pub struct Growth {
    /// The median of the first quarter of the samples that count.
    pub first: f64,
    /// The median of the last quarter.
    pub last: f64,
    /// The greatest of all that count.
    pub greatest: f64,
    /// How much more the last may be than the first.
    pub allowed: f64,
}

impl Growth {
    /// From samples taken at equal distances; nothing for fewer than nine.
    pub fn of(samples: &[f64], allowed: f64) -> Option<Self> {
        let samples = samples.get(samples.len() / WARM_UP..)?;
        let part = samples.len() / PARTS;
        let first = samples.get(..part).filter(|first| first.len() >= LEAST)?;
        let last = samples.get(samples.len() - part..)?;
        let greatest = samples.iter().copied().fold(f64::MIN, f64::max);
        Some(Self { first: median(first)?, last: median(last)?, greatest, allowed })
    }

    /// By how much it rose.
    pub fn rise(&self) -> f64 {
        self.last - self.first
    }

    /// Whether it stayed flat.
    pub fn is_flat(&self) -> bool {
        self.rise() <= self.allowed
    }
}

fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn numbers(count: u32, of: impl Fn(u32) -> f64) -> Vec<f64> {
        (0..count).map(of).collect()
    }

    #[test]
    fn a_steady_rise_is_growth_and_ups_and_downs_are_none() {
        let growth = Growth::of(&numbers(100, |index| 50.0 + f64::from(index)), 10.0).unwrap();
        assert!((growth.rise() - 60.0).abs() < 0.001 && !growth.is_flat(), "{growth:?}");
        let wild = numbers(100, |index| if index % 2 == 0 { 10.0 } else { 90.0 });
        assert!(Growth::of(&wild, 10.0).unwrap().is_flat());
        let spike = numbers(100, |index| if index > 95 { 9_000.0 } else { 20.0 });
        assert!(Growth::of(&spike, 0.5).unwrap().is_flat(), "a burst at the end is no leak");
        let warming = numbers(100, |index| f64::from(index.min(20)));
        assert!(Growth::of(&warming, 0.5).unwrap().is_flat());
        assert!(Growth::of(&numbers(8, f64::from), 1.0).is_none());
    }
}
