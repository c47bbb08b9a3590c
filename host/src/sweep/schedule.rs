//! Which run is next: one that has least to wait for from those that work now.

use super::plan::Plan;

/// The runs that have not started.
pub(super) struct Queue<'p> {
    plan: &'p Plan,
    /// By number in the plan, in its order.
    waiting: Vec<usize>,
    /// By artifact: it is in the store, as far as is known.
    made: Vec<bool>,
    /// By artifact: how many of the runs that work now will need it.
    claimed: Vec<usize>,
}

impl<'p> Queue<'p> {
    pub(super) fn new(plan: &'p Plan, waiting: Vec<usize>) -> Queue<'p> {
        Queue { plan, waiting, made: plan.made.clone(), claimed: vec![0; plan.made.len()] }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes the run that shares least work with those that work now; of equals the first. So the first runs to start
    /// are of different groups, and each makes what its group has in common.
    pub(super) fn next(&mut self) -> Option<usize> {
        let mut best: Option<(f64, usize)> = None;
        for (at, run) in self.waiting.iter().enumerate() {
            let waits = self.waits(*run);
            if best.is_none_or(|(least, _)| waits < least) {
                best = Some((waits, at));
            }
            if waits == 0.0 {
                break;
            }
        }
        let run = self.waiting.remove(best?.1);
        self.plan.runs[run].needs.iter().for_each(|artifact| self.claimed[*artifact] += 1);
        Some(run)
    }

    /// Puts back a run that has ended without being done.
    pub(super) fn put_back(&mut self, run: usize) {
        let at = self.waiting.partition_point(|other| *other < run);
        self.waiting.insert(at, run);
    }

    /// A run has ended; what it needs is made if it is done.
    pub(super) fn ended(&mut self, run: usize, done: bool) {
        self.release(run);
        if done {
            self.plan.runs[run].needs.iter().for_each(|artifact| self.made[*artifact] = true);
        }
    }

    fn release(&mut self, run: usize) {
        self.plan.runs[run].needs.iter().for_each(|artifact| self.claimed[*artifact] -= 1);
    }

    /// Seconds of what others will have to make first; where nothing was measured an artifact counts as one.
    fn waits(&self, run: usize) -> f64 {
        let needs = self.plan.runs[run].needs.iter();
        let shared = needs.filter(|artifact| self.claimed[**artifact] > 0 && !self.made[**artifact]);
        shared.map(|artifact| self.plan.seconds[*artifact].unwrap_or(1.0).max(1e-6)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SweepRun;
    use crate::sweep::PlannedRun;

    /// Two groups of runs: 0 and 1 share artifact 0, 2 and 3 artifact 1.
    fn plan() -> Plan {
        let run = |arm: usize, needs: [usize; 2]| PlannedRun {
            run: SweepRun { arm, seed: 0 },
            name: String::new(),
            needs: needs.to_vec(),
            fingerprint: String::new(),
        };
        Plan {
            name: String::new(),
            arms: 4,
            seeds: 1,
            runs: vec![run(0, [0, 2]), run(1, [0, 3]), run(2, [1, 4]), run(3, [1, 5])],
            stages: Vec::new(),
            seconds: vec![Some(5.0), Some(1.0), None, None, None, None],
            made: vec![false; 6],
        }
    }

    #[test]
    fn groups_start_first_and_those_who_wait_least_follow() {
        let plan = plan();
        let mut queue = Queue::new(&plan, vec![0, 1, 2, 3]);
        assert_eq!([queue.next(), queue.next()], [Some(0), Some(2)]);
        // The second group's common part is shorter.
        assert_eq!(queue.next(), Some(3));
        queue.ended(3, false);
        queue.put_back(3);
        queue.ended(0, true);
        assert_eq!([queue.next(), queue.next(), queue.next()], [Some(1), Some(3), None]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn what_a_failed_run_should_have_made_is_still_to_make() {
        let plan = plan();
        let mut queue = Queue::new(&plan, vec![0, 1]);
        queue.next();
        queue.ended(0, false);
        assert_eq!(queue.waits(1), 0.0, "nobody makes it now");
        assert_eq!(queue.made, [false; 6]);
    }
}
