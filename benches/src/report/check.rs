//! Compares ratios with the committed ones, to detect regressions.

use crate::results::{Ratio, Results, number};

/// By which share a ratio may be worse.
const TOLERANCE: f64 = 0.25;

/// Prints each ratio next to the committed one; false if one of them is too much worse.
pub fn check(committed: &Results, measured: &Results) -> bool {
    let mut fine = true;
    for (name, section) in &measured.sections {
        let before = committed.sections.get(name).map(|section| &section.ratios);
        for (what, now) in &section.ratios {
            let Some(before) = before.and_then(|ratios| ratios.get(what)) else {
                println!("new     {name}: {what}: {}", number(now.value));
                continue;
            };
            let worse = worse_by(*before, *now);
            let verdict = if worse > TOLERANCE { "WORSE" } else { "ok" };
            fine &= worse <= TOLERANCE;
            println!(
                "{verdict:<7} {name}: {what}: {} (committed: {})",
                number(now.value),
                number(before.value)
            );
        }
    }
    fine
}

/// By which share `now` is worse; negative if it is better.
fn worse_by(before: Ratio, now: Ratio) -> f64 {
    if now.more_is_better { before.value / now.value - 1.0 } else { now.value / before.value - 1.0 }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::results::Section;

    fn results(value: f64, more_is_better: bool) -> Results {
        let ratios = BTreeMap::from([("x".to_owned(), Ratio { value, more_is_better })]);
        let section = Section { ratios, ..Section::default() };
        Results { sections: BTreeMap::from([("rpc".to_owned(), section)]), ..Results::default() }
    }

    #[test]
    fn a_quarter_worse_is_too_much_and_better_never_is() {
        assert!(check(&results(10.0, true), &results(8.5, true)));
        assert!(!check(&results(10.0, true), &results(7.0, true)));
        assert!(check(&results(10.0, true), &results(100.0, true)));
        assert!(check(&results(1.2, false), &results(1.4, false)));
        assert!(!check(&results(1.2, false), &results(1.6, false)));
        assert!(check(&results(1.2, false), &results(0.1, false)));
    }

    #[test]
    fn a_ratio_that_was_not_committed_fails_no_check() {
        assert!(check(&Results::default(), &results(1.0, true)));
    }
}
