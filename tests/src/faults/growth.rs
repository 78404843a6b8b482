//! Detects growth: compares the median of the last quarter of the samples with that of the first.
//!
//! Medians, because a burst of load or a fault moves single samples by more than a leak does in an hour.

use serde::Serialize;

/// The first fifth of the samples is ignored: pools and caches fill then.
const WARM_UP: usize = 5;
/// The compared parts are each a quarter of the remaining samples.
const PARTS: usize = 4;
/// Minimum number of samples in a part.
const LEAST: usize = 2;

/// A measured value over time.
#[derive(Debug, Clone, Serialize)]
pub struct Growth {
    /// The median of the first quarter of the samples, without the warm-up.
    pub first: f64,
    /// The median of the last quarter.
    pub last: f64,
    /// The maximum, without the warm-up.
    pub greatest: f64,
    /// How far the last median may exceed the first.
    pub allowed: f64,
}

impl Growth {
    /// Computes the growth from equally spaced samples; `None` for fewer than nine.
    pub fn of(samples: &[f64], allowed: f64) -> Option<Self> {
        let samples = samples.get(samples.len() / WARM_UP..)?;
        let part = samples.len() / PARTS;
        let first = samples.get(..part).filter(|first| first.len() >= LEAST)?;
        let last = samples.get(samples.len() - part..)?;
        let greatest = samples.iter().copied().fold(f64::MIN, f64::max);
        Some(Self { first: median(first)?, last: median(last)?, greatest, allowed })
    }

    /// The difference between the last and the first median.
    pub fn rise(&self) -> f64 {
        self.last - self.first
    }

    /// Whether the rise is within the limit.
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
