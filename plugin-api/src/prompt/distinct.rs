//! Identical responses of a group are judged once.

use crate::consistency::first_identical;
use crate::types::{Groups, PluginError};

/// Which responses of a batch are judged, and which share another one's judgment: that of the first one in their
/// group with the same text and the same reason to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distinct {
    /// For each response, flat, the one that is judged in its place: itself or an earlier one.
    judged_as: Vec<usize>,
    /// The judged ones, flat, in order.
    responses: Vec<usize>,
}

impl Distinct {
    pub fn new(groups: &Groups) -> Self {
        let of_group = |g| first_identical(groups, g).into_iter().map(move |i| (g, i));
        let judged_as: Vec<usize> =
            (0..groups.len()).flat_map(of_group).map(|(g, i)| groups.response_range(g).start + i).collect();
        let responses = (0..judged_as.len()).filter(|&r| judged_as[r] == r).collect();
        Distinct { judged_as, responses }
    }

    /// The judged responses, flat, in order.
    pub fn responses(&self) -> &[usize] {
        &self.responses
    }

    /// The judged responses of group `g`, flat, in order.
    pub fn of_group(&self, groups: &Groups, g: usize) -> &[usize] {
        let range = groups.response_range(g);
        let at = |end: usize| self.responses.partition_point(|&r| r < end);
        &self.responses[at(range.start)..at(range.end)]
    }

    /// How many responses of group `g` share the judgment of `r`, itself included.
    pub fn copies(&self, groups: &Groups, g: usize, r: usize) -> usize {
        self.judged_as[groups.response_range(g)].iter().filter(|&&j| j == r).count()
    }

    /// From one value per judged response to one per response.
    pub fn spread<T: Clone>(&self, values: &[T]) -> Result<Vec<T>, PluginError> {
        let missing = || PluginError::new("a response was not judged");
        let value = |r: &usize| {
            let place = self.responses.binary_search(r).map_err(|_| missing())?;
            values.get(place).cloned().ok_or_else(missing)
        };
        self.judged_as.iter().map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit;

    #[test]
    fn copies_share_a_judgment_within_their_group() {
        let groups = testkit::groups(&[("x", &["a", "b", "a"]), ("y", &[]), ("z", &["a"])]);
        let distinct = Distinct::new(&groups);
        assert_eq!(distinct.responses(), [0, 1, 3]);
        assert_eq!((distinct.of_group(&groups, 0), distinct.of_group(&groups, 1)), (&[0, 1][..], &[][..]));
        assert_eq!(
            (distinct.copies(&groups, 0, 0), distinct.copies(&groups, 0, 1), distinct.copies(&groups, 2, 3)),
            (2, 1, 1)
        );
        assert_eq!(distinct.spread(&["A", "B", "C"]).unwrap(), ["A", "B", "A", "C"]);
        assert!(distinct.spread(&["A", "B"]).is_err());
    }
}
