//! Kills runs at random moments, and lets their disks fail: `cargo crash [KILLS] [FAULTS] [SEED]`, by default 200 kills
//! and 20 faults of each kind. Exit code 1 if anything was lost.

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use creamery_tests::crash::{self, Crash, Fault};

    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // The program that is killed is this one.
    if arguments.first().is_some_and(|a| a == "run" || a == "plugin") {
        return creamery::cli::main();
    }
    let number = |i: usize, default: usize| match arguments.get(i).map(|text| text.parse()) {
        None => Some(default),
        Some(number) => number.ok(),
    };
    let (Some(kills), Some(faults), Some(seed)) = (number(0, 200), number(1, 20), number(2, 0)) else {
        eprintln!("error: expected numbers: KILLS FAULTS SEED");
        return std::process::ExitCode::from(2);
    };
    let program = std::env::current_exe().expect("this program's path");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let component = crash::component(&program, folder.path());
    let disk = crash::failing_disk(folder.path());
    let mut crash = Crash::new(&program, &component, seed as u64);
    crash.kill(kills * 3 / 4, None);
    crash.kill(kills - kills * 3 / 4, Some((Fault::Slow(3000), &disk)));
    crash.fail(faults, &disk);

    let report = crash.report();
    println!("{} kills in {} runs of {:.1} s", report.kills, report.runs, report.run_seconds);
    for (stage, kills) in &report.kills_by_stage {
        println!("  {kills:4} in {stage}");
    }
    for (fault, (met, missed)) in &report.faults {
        println!("{met} runs met a disk that is {fault}, {missed} were done before");
    }
    println!(
        "work done again: {:.2} s a kill, of at most {} stage",
        report.repeated_seconds / report.kills.max(1) as f64,
        report.most_stages_repeated
    );
    println!("{} artifacts lost, bytes that differ or errors", report.failures.len());
    report.failures.iter().for_each(|failure| println!("  {failure}"));
    std::process::ExitCode::from(u8::from(!report.failures.is_empty()))
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("error: this works on Linux only");
    std::process::exit(2);
}
