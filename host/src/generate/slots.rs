//! Which rows of a key/value cache are taken.

use std::ops::Range;

/// Hands out runs of slots, the lowest that fit first.
#[derive(Debug, Default)]
pub struct Slots {
    /// Free runs within `0..end`, in order, never touching each other.
    free: Vec<Range<usize>>,
    end: usize,
}

impl Slots {
    /// One past the highest slot ever handed out: the size that the cache must have.
    pub fn end(&self) -> usize {
        self.end
    }

    pub fn take(&mut self, count: usize) -> Range<usize> {
        if let Some(i) = self.free.iter().position(|run| run.len() >= count) {
            let run = &mut self.free[i];
            let taken = run.start..run.start + count;
            run.start += count;
            if run.start == run.end {
                self.free.remove(i);
            }
            return taken;
        }
        // The last run may reach the end; then it is lengthened.
        let start = match self.free.last() {
            Some(last) if last.end == self.end => self.free.pop().map_or(self.end, |run| run.start),
            _ => self.end,
        };
        self.end = start + count;
        start..self.end
    }

    pub fn give_back(&mut self, run: Range<usize>) {
        if run.start == run.end {
            return;
        }
        let i = self.free.partition_point(|other| other.start < run.start);
        self.free.insert(i, run);
        if i + 1 < self.free.len() && self.free[i].end == self.free[i + 1].start {
            self.free[i].end = self.free.remove(i + 1).end;
        }
        if i > 0 && self.free[i - 1].end == self.free[i].start {
            self.free[i - 1].end = self.free.remove(i).end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_reused_and_joined() {
        let mut slots = Slots::default();
        let (a, b, c) = (slots.take(3), slots.take(4), slots.take(2));
        assert_eq!((&a, &b, &c, slots.end()), (&(0..3), &(3..7), &(7..9), 9));
        slots.give_back(a);
        assert_eq!(slots.take(2), 0..2);
        slots.give_back(b);
        assert_eq!(slots.take(5), 2..7);
        slots.give_back(c);
        assert_eq!(slots.take(6), 7..13);
        assert_eq!(slots.end(), 13);
        slots.give_back(2..7);
        slots.give_back(0..2);
        slots.give_back(7..13);
        assert_eq!(slots.take(13), 0..13);
        assert_eq!(slots.end(), 13);
    }
}
