//! Job files: those for Slurm run in a made-up job, and the manifest fits the API's schema.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::*;

/// One arm, two seeds, as short as a run can be; in a folder whose name needs quoting.
fn quick(world: &World) -> PathBuf {
    let folder = world.path("it's a \"$HOME\" folder");
    fs::create_dir(&folder).unwrap();
    let config = base().replace("path = \"model\"", "path = \"../model\"").replace("sft = \"sft.jsonl\"\n", "");
    let config = config.replace("[sft]\nepochs = 1\nbatch-size = 16\n", "");
    let config = config.replace("prompts = \"", "prompts = \"../").replace("eval = \"", "eval = \"../");
    fs::write(folder.join("my sweep.toml"), config + "[sweep]\nout = \"out\"\nseeds = [1, 2]\n").unwrap();
    folder
}

/// A program of this name that does what `script` says.
fn program(folder: &Path, name: &str, script: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn with_path(command: &mut Command, folder: &Path) {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&paths));
    command.env("PATH", std::env::join_paths(all).unwrap());
}

#[test]
fn a_slurm_script_runs_its_shards() {
    let world = World::new();
    let folder = quick(&world);
    let exports = ["export", "slurm", "my sweep.toml", "--shards", "2", "--out", "job.sh", "--cpus", "4"];
    let mut export = world.sweep(&exports);
    export.args([
        "--time",
        "1:00:00",
        "--directive=--gres=gpu:1",
        "--jobs",
        "1",
        "--set",
        "rounds.prompts-per-round=10",
    ]);
    let ran = creamery_tests::run(export.current_dir(&folder));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("start it with: sbatch job.sh"), "{}", ran.stdout);
    let script = fs::read_to_string(folder.join("job.sh")).unwrap();
    let directives: Vec<&str> = script.lines().filter_map(|line| line.strip_prefix("#SBATCH ")).collect();
    assert_eq!(
        directives,
        [
            "--job-name=small",
            "--array=1-2",
            "--requeue",
            "--open-mode=append",
            "--signal=B:TERM@60",
            "--cpus-per-task=4",
            "--time=1:00:00",
            "--gres=gpu:1"
        ]
    );
    let checked = Command::new("bash").arg("-n").arg(folder.join("job.sh")).status().unwrap();
    assert!(checked.success());

    // What sbatch would do, in another folder than the one that it was written in.
    let task = |number: &str| {
        let mut task = Command::new("bash");
        task.arg(folder.join("job.sh")).current_dir(std::env::temp_dir()).env("SLURM_ARRAY_TASK_ID", number);
        task.env("SLURM_ARRAY_JOB_ID", "77").env_remove("SLURM_RESTART_COUNT");
        let tools = world.path("tools");
        fs::create_dir_all(&tools).unwrap();
        program(&tools, "scontrol", &format!("echo \"$@\" >> '{}'", world.path("requeued").display()));
        with_path(&mut task, &tools);
        task
    };
    for number in ["1", "2"] {
        let ran = creamery_tests::run(&mut task(number));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert!(folder.join(format!("out/runs/base-seed{number}/summary.json")).is_file());
        assert!(number == "2" || !folder.join("out/runs/base-seed2").exists(), "a shard runs its own alone");
    }
    // A failure for good keeps its exit code.
    let text = fs::read_to_string(folder.join("my sweep.toml")).unwrap();
    fs::write(folder.join("my sweep.toml"), text.replace("batch-size = 2", "batch-size = 500")).unwrap();
    assert_eq!(creamery_tests::run(&mut task("1")).code, Some(42));
    assert!(!world.path("requeued").exists());
    // One that may do better is queued again: the run ends by a signal, like the one that Slurm sends before the time is
    // up.
    fs::write(folder.join("my sweep.toml"), text.replace("seeds = [1, 2]", "seeds = [5, 6]")).unwrap();
    let mut stopped = task("1").stderr(Stdio::null()).spawn().unwrap();
    while held_lock(&folder.join("store")).is_none() {
        assert!(stopped.try_wait().unwrap().is_none(), "it ended too early");
        std::thread::sleep(Duration::from_millis(1));
    }
    signal(&stopped, "TERM");
    assert_eq!(stopped.wait().unwrap().code(), Some(75));
    assert_eq!(fs::read_to_string(world.path("requeued")).unwrap(), "requeue 77_1\n");
}

#[test]
fn a_kubernetes_manifest_fits_the_schema_and_starts_its_shard() {
    let world = World::new();
    let folder = quick(&world);
    let schema = fs::read_to_string(creamery_tests::fixture("kubernetes/job.schema.json")).unwrap();
    let schema = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    let manifest = |more: &[&str]| -> Value {
        let arguments = ["export", "kubernetes", "my sweep.toml", "--shards", "2", "--image", "creamery:1"];
        let ran = creamery_tests::run(world.sweep(&arguments).args(more).current_dir(&folder));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let more =
        ["--claim", "work", "--memory", "8Gi", "--cpus", "4", "--parallel", "1", "--keep-going", "--set", "seed=7"];
    for more in [&more[..], &[]] {
        let job = manifest(more);
        let errors: Vec<String> = schema.iter_errors(&job).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert_eq!(errors, [""; 0], "{job:#}");
    }
    // The schema is no sieve.
    let mut wrong = manifest(&[]);
    wrong["spec"]["completionMode"] = json!("NonIndexed");
    assert!(!schema.is_valid(&wrong));

    let job = manifest(&more);
    let spec = &job["spec"];
    assert_eq!((&spec["completions"], &spec["parallelism"]), (&json!(2), &json!(1)));
    assert_eq!(spec["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"], json!([2, 3, 4, 5, 42]));
    let container = &spec["template"]["spec"]["containers"][0];
    assert_eq!(container["resources"]["limits"], json!({"cpu": "4", "memory": "8Gi"}));
    // What the pod of index 1 starts.
    let tools = world.path("tools");
    fs::create_dir(&tools).unwrap();
    program(&tools, "creamery", "printf '%s\\n' \"$@\"");
    let words = |key: &str| -> Vec<String> { serde_json::from_value(container[key].clone()).unwrap() };
    let command = words("command");
    let mut pod = Command::new(&command[0]);
    pod.args(&command[1..]).args(words("args")).env("JOB_COMPLETION_INDEX", "1");
    with_path(&mut pod, &tools);
    let ran = creamery_tests::run(&mut pod);
    let started: Vec<&str> = ran.stdout.lines().collect();
    let expected = ["sweep", "run", "my sweep.toml", "--shard", "2/2", "--set", "seed=7", "--keep-going"];
    assert_eq!(started, expected, "{}", ran.stderr);

    let ran = world.sweeps(2, &["export", "slurm", "it's a \"$HOME\" folder/my sweep.toml", "--shards", "3"]);
    assert!(ran.stderr.contains("3 shards of a sweep of 2 runs"), "{}", ran.stderr);
}
