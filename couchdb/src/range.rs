//! Which part of a sorted list of names is wanted, and which one follows it.

/// A part of a list of names, in the order of their bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Range {
    /// The name where it begins, whether there is such a name or not; `None` for the first one.
    pub start: Option<String>,
    /// Whether the name at the start belongs to it.
    pub include_start: bool,
    /// At most so many names; `None` for all that follow.
    pub limit: Option<usize>,
}

impl Range {
    /// Cuts names, of which there may be one more than the range holds. If something follows, the last name is where the
    /// next range begins.
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
