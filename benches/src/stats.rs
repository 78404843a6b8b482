//! Summaries of repeated measurements: the median and the quartiles. Absolute times are as noisy as the
//! machine, so a single time is never reported.

use serde::{Deserialize, Serialize};

/// The median of several runs, and their spread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The lower quartile.
    pub low: f64,
    /// The upper quartile.
    pub high: f64,
    /// The number of runs.
    pub runs: usize,
}

impl Spread {
    /// The spread of values; zeros for an empty slice.
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share| quantile(&sorted, share);
        Self { median: at(0.5), low: at(0.25), high: at(0.75), runs: sorted.len() }
    }

    /// The spread of a single value.
    pub fn once(value: f64) -> Self {
        Self { median: value, low: value, high: value, runs: 1 }
    }
}

/// The value that a share of the sorted values does not exceed, interpolated.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = share.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    let part = place - place.floor();
    sorted[below] * (1.0 - part) + sorted[above] * part
}

/// The ratio run by run, so that a drifting speed of the machine has no influence.
pub fn ratios(above: &[f64], below: &[f64]) -> Spread {
    let ratios: Vec<f64> = above
        .iter()
        .zip(below)
        .filter(|(_, below)| **below > 0.0)
        .map(|(above, below)| above / below)
        .collect();
    Spread::of(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_of_a_known_row() {
        let spread = Spread::of(&[5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!(spread, Spread { median: 3.0, low: 2.0, high: 4.0, runs: 5 });
        assert!(Spread::of(&[]).median.abs() < f64::EPSILON);
    }

    #[test]
    fn a_drifting_machine_does_not_show_in_the_ratio() {
        let ratio = ratios(&[10.0, 20.0, 40.0], &[1.0, 2.0, 4.0]);
        assert_eq!((ratio.low, ratio.median, ratio.high), (10.0, 10.0, 10.0));
    }
}
