//! Runs that are killed at random moments, or whose disk fails, and what is left of them: nothing may be lost, no byte
//! may differ, and no more than the stage at work may be done again.

mod faults;
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

pub use faults::Fault;
pub use world::{Results, World};

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Programs killed before they were done.
    pub kills: usize,
    /// Kills by what was at work: a stage, or "between stages".
    pub kills_by_stage: BTreeMap<String, usize>,
    /// Runs that were killed, once or more often, and then let through.
    pub runs: usize,
    /// Programs whose disk failed, by fault: how many ended in an error, and how many did not meet it.
    pub faults: BTreeMap<&'static str, (usize, usize)>,
    /// Work of the killed that was done again, and the work of one whole run, in seconds.
    pub repeated_seconds: f64,
    pub run_seconds: f64,
    /// Stages at work when one program was killed: the most.
    pub most_stages_repeated: usize,
    /// What went wrong; empty in a world where all is well.
    pub failures: Vec<String>,
}

/// The harness for one program.
pub struct Crash<'a> {
    program: &'a Path,
    component: &'a Path,
    random: Random,
    expected: Results,
    report: Report,
}

impl<'a> Crash<'a> {
    /// One run without any harm is what all others are held against. `component` is the regularizer `cream`, built.
    pub fn new(program: &'a Path, component: &'a Path, seed: u64) -> Self {
        let world = World::new(program, component);
        let start = Instant::now();
        assert!(world.command().status().expect("the program starts").success(), "the run without harm fails");
        let report = Report { run_seconds: start.elapsed().as_secs_f64(), ..Report::default() };
        Crash { program, component, random: Random(seed), expected: world.results(), report }
    }

    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Kills programs at random moments until `kills` have died, on a disk that is as slow as `slow` says, with
    /// `library` between it and the program.
    pub fn kill(&mut self, kills: usize, slow: Option<(Fault, &Path)>) {
        let end = self.report.kills + kills;
        while self.report.kills < end {
            let world = World::new(self.program, self.component);
            self.report.runs += 1;
            // A few kills each, so that a run is also killed while it continues.
            for _ in 0..1 + self.random.below(5) {
                if self.report.kills == end {
                    break;
                }
                let mut command = world.command();
                if let Some((fault, library)) = slow {
                    fault.on(&mut command, library);
                }
                let moment = self.random.share() * self.report.run_seconds;
                let child = command.spawn().expect("the program starts");
                if !self.kill_after(&world, child, Duration::from_secs_f64(moment)) {
                    break;
                }
            }
            self.finish(&world, "after kills");
        }
    }

    /// Runs programs on a disk that fails at a random moment, `times` for each kind of failure, and then lets them go on
    /// on a good one.
    pub fn fail(&mut self, times: usize, library: &Path) {
        // What a run writes, about: the checkpoints of three models in store and run folder.
        const BYTES: usize = 40 << 20;
        const CHANGES: usize = 900;
        for _ in 0..times {
            let full = Fault::Full(self.random.below(BYTES) as u64);
            let read_only = Fault::ReadOnly(self.random.below(CHANGES) as u64);
            for (name, fault) in [("full", full), ("read-only", read_only)] {
                let world = World::new(self.program, self.component);
                let status = fault.on(&mut world.command(), library).status().expect("the program starts");
                let counts = self.report.faults.entry(name).or_default();
                match status.code() {
                    Some(0) => counts.1 += 1,
                    Some(6) => counts.0 += 1,
                    other => self.report.failures.push(format!("{fault:?}: exit code {other:?}, expected 6 or 0")),
                }
                self.look_at(&world, &format!("{fault:?}"));
                self.finish(&world, &format!("{fault:?}"));
            }
        }
    }

    /// False if the program was done before.
    fn kill_after(&mut self, world: &World, mut child: Child, moment: Duration) -> bool {
        let before = world.finished();
        std::thread::sleep(moment);
        if let Some(status) = child.try_wait().expect("a child") {
            if !status.success() {
                self.report.failures.push(format!("a run that was to be killed ended by itself: {status}"));
            }
            return false;
        }
        child.kill().expect("a child");
        child.wait().expect("a child");
        self.report.kills += 1;
        let at_work = world.in_the_making();
        self.report.most_stages_repeated = self.report.most_stages_repeated.max(at_work.len());
        self.report.repeated_seconds += at_work.iter().map(|(_, seconds)| seconds).sum::<f64>();
        let stage = at_work.first().map_or("between stages", |(stage, _)| stage);
        *self.report.kills_by_stage.entry(stage.to_owned()).or_default() += 1;
        self.look_at(world, &format!("killed after {moment:?} in {stage}"));
        self.kept(world, &before, "when it was killed");
        true
    }

    /// Artifacts of `before` are there and were not made again.
    fn kept(&mut self, world: &World, before: &BTreeMap<String, std::time::SystemTime>, when: &str) {
        let now = world.finished();
        for (name, time) in before {
            match now.get(name) {
                Some(found) if found == time => {}
                Some(_) => self.report.failures.push(format!("{name} was made again {when}")),
                None => self.report.failures.push(format!("{name} was lost {when}")),
            }
        }
    }

    /// What lies under a final name is whole.
    fn look_at(&mut self, world: &World, when: &str) {
        for name in world.torn() {
            self.report.failures.push(format!("{when}: {name} is half-written"));
        }
    }

    /// Lets the run go on to its end.
    fn finish(&mut self, world: &World, when: &str) {
        let before = world.finished();
        let status = world.command().status().expect("the program starts");
        if !status.success() {
            self.report.failures.push(format!("{when}: the run does not go on: {status}"));
            return;
        }
        self.kept(world, &before, &format!("in the end, {when}"));
        for name in self.expected.differences(&world.results()) {
            self.report.failures.push(format!("{when}: {name} differs"));
        }
    }
}

/// Builds what lets disks fail, into a folder. Linux only.
pub fn failing_disk(folder: &Path) -> std::path::PathBuf {
    faults::library(folder)
}

/// Builds the regularizer `cream` as a component, into a folder.
pub fn component(program: &Path, folder: &Path) -> std::path::PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/cream");
    let built = folder.join("cream.wasm");
    let mut command = std::process::Command::new(program);
    command.args(["plugin", "build"]).arg(source).arg("--out").arg(&built);
    let ran = crate::run(&mut command);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    built
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, n: usize) -> usize {
        (self.share() * n as f64) as usize
    }
}
