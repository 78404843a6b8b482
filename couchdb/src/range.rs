//! A page of a sorted list of names, and the start of the next page.

/// A range of names, sorted by their bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Range {
    /// The name at which the range starts, whether it exists or not. `None` for the first name.
    pub start: Option<String>,
    /// Whether the range includes the start.
    pub include_start: bool,
    /// The maximum number of names. `None` for no limit.
    pub limit: Option<usize>,
}

impl Range {
    /// Cuts `names`, which may contain one name more than the range. If it does, the last remaining name is
    /// the start of the next range.
    pub(crate) fn cut(&self, mut names: Vec<String>) -> (Vec<String>, Option<String>) {
        match self.limit {
            Some(limit) if names.len() > limit => {
                names.truncate(limit);
                let next = names.last().cloned();
                (names, next)
            }
            _ => (names, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_followed_by_another_only_if_something_follows() {
        let names = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
        let cut = |count: usize, limit| Range { limit, ..Range::default() }.cut(names(count));
        assert_eq!(cut(2, Some(2)), (names(2), None));
        assert_eq!(cut(3, Some(2)), (names(2), Some("1".to_owned())));
        assert_eq!(cut(3, None), (names(3), None));
    }
}
