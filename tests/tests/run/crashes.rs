//! Kills and failing disks: the short form of `cargo crash`.

use std::path::Path;

use creamery_tests::crash::{self, Crash, Fault};

#[test]
fn killed_runs_and_failing_disks_cost_no_byte() {
    let program = Path::new(env!("CARGO_BIN_EXE_creamery-under-test"));
    let folder = tempfile::tempdir().unwrap();
    let (component, disk) = (crash::component(program, folder.path()), crash::failing_disk(folder.path()));
    let mut crash = Crash::new(program, &component, 1);
    crash.kill(8, None);
    crash.kill(4, Some((Fault::Slow(2000), &disk)));
    crash.fail(2, &disk);
    let report = crash.report();
    assert!(report.failures.is_empty(), "{report:#?}");
    assert_eq!(report.kills, 12, "{report:#?}");
    assert!(report.most_stages_repeated <= 1, "{report:#?}");
    // Else the faults are no faults.
    assert!(report.faults.values().map(|(met, _)| met).sum::<usize>() > 0, "{report:#?}");
}
