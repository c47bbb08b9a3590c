//! The run that is killed: the quickstart's model on a small part of its data, with everything that writes to disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const CONFIG: &str = r#"
name = "crash"
device = "cpu"
out = "out"
store = "store"
[model]
path = "QUICKSTART/model"
max-length = 64
[data]
prompts = "prompts.jsonl"
sft = "sft.jsonl"
eval = "eval.jsonl"
[sft]
epochs = 1
batch-size = 8
save-steps = 1
[rounds]
count = 2
prompts-per-round = 20
[sample]
n = 4
temperature = 1.0
top-p = 1.0
max-new-tokens = 10
[judge.params]
score = "mean-likelihood"
[regularizer]
plugin = "cream.wasm" # its compiled code is cached on disk
[train]
learning-rate = 1e-4
batch-size = 4
save-steps = 2
save-total-limit = 1
[ema]
decay = 0.5
[[viewpoints]]
name = "current"
model = "current"
[[viewpoints]]
name = "average"
model = "ema"
[eval]
samples = 2
"#;

/// Files of a run folder that may differ between runs: seconds, wall times, and what is going on.
const OF_THE_MOMENT: [&str; 3] = ["timings.json", "tensorboard", "progress"];

/// A folder with config and data, where a run has not begun.
pub struct World {
    folder: TempDir,
    program: PathBuf,
}

/// What must be the same, however often a run was killed: the run folder's files and the artifacts' checksums.
#[derive(PartialEq, Eq)]
pub struct Results(pub BTreeMap<String, Vec<u8>>);

impl World {
    /// `component` is the built regularizer.
    pub fn new(program: &Path, component: &Path) -> World {
        let world = World { folder: tempfile::tempdir().expect("a temporary folder"), program: program.to_owned() };
        let quickstart = fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart"));
        let quickstart = quickstart.expect("the quickstart");
        for (name, rows) in [("prompts.jsonl", 40), ("sft.jsonl", 32), ("eval.jsonl", 10)] {
            let text = fs::read_to_string(quickstart.join(name)).expect("the quickstart's data");
            let lines: Vec<&str> = text.lines().take(rows).collect();
            fs::write(world.path(name), lines.join("\n") + "\n").expect("room for the data");
        }
        fs::copy(component, world.path("cream.wasm")).expect("the component");
        let config = CONFIG.replace("QUICKSTART", &quickstart.display().to_string());
        fs::write(world.path("run.toml"), config).expect("room for the config");
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `creamery run`, which says nothing.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("run").arg(self.path("run.toml")).arg("--quiet");
        command.env("CREAMERY_CACHE", self.path("cache"));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Every file that a run ends with. Panics over what a finished run may not leave.
    pub fn results(&self) -> Results {
        let mut results = BTreeMap::new();
        for (name, path) in files(&self.path("out")) {
            assert!(!name.contains(".tmp"), "the run folder holds a leftover: {name}");
            if !OF_THE_MOMENT.iter().any(|part| name.starts_with(part)) {
                let mut bytes = fs::read(path).expect("a file of the run");
                if name == "config.resolved.toml" {
                    let here = self.folder.path().display().to_string();
                    bytes = String::from_utf8_lossy(&bytes).replace(&here, "HERE").into_bytes();
                }
                results.insert(format!("out/{name}"), bytes);
            }
        }
        for (name, path) in files(&self.path("store")) {
            let manifest = name.ends_with("/artifact.json");
            let known = manifest || name.split('/').count() > 2 || name == ".lock" || name.starts_with("runs/");
            let leftover = ["tmp/", "working/", "damaged/"].iter().any(|place| name.starts_with(place));
            assert!(known && !leftover, "the store holds a leftover: {name}");
            if manifest {
                let manifest: Value = serde_json::from_slice(&fs::read(path).expect("a manifest")).expect("JSON");
                results.insert(format!("store/{name}"), manifest["files"].to_string().into_bytes());
            }
        }
        Results(results)
    }

    /// The finished artifacts, with the time of their making: whoever makes one again changes it.
    pub fn finished(&self) -> BTreeMap<String, std::time::SystemTime> {
        let artifacts = files(&self.path("store")).into_iter().filter(|(name, _)| name.ends_with("/artifact.json"));
        artifacts
            .filter(|(name, _)| !name.starts_with("tmp/") && !name.starts_with("working/"))
            .map(|(name, path)| (name, fs::metadata(path).and_then(|m| m.modified()).expect("a time")))
            .collect()
    }

    /// The stages in the making, with the seconds that they have taken.
    pub fn in_the_making(&self) -> Vec<(String, f64)> {
        let folders = fs::read_dir(self.path("store/tmp")).into_iter().flatten().flatten();
        folders
            .filter(|entry| entry.path().is_dir())
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                // The lock file is as old as the work.
                let lock = entry.path().with_extension("lock");
                let seconds = fs::metadata(lock).ok()?.modified().ok()?.elapsed().ok()?.as_secs_f64();
                let parts: Vec<&str> = name.rsplitn(4, '-').collect();
                Some((parts.last()?.to_string(), seconds))
            })
            .collect()
    }

    /// Half-written files of the run folder: JSON that cannot be read.
    pub fn torn(&self) -> Vec<String> {
        let whole = |name: &str, path: &Path| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let json = |text: &str| serde_json::from_str::<Value>(text).is_ok();
            match name.rsplit('.').next() {
                Some("json") => json(&text),
                Some("jsonl") => text.lines().all(json) && text.ends_with('\n'),
                _ => true,
            }
        };
        let files = files(&self.path("out")).into_iter();
        let files = files.filter(|(name, _)| !name.contains(".tmp") && !name.starts_with("progress"));
        files.filter(|(name, path)| !whole(name, path)).map(|(name, _)| name).collect()
    }
}

impl Results {
    /// What differs, by name.
    pub fn differences(&self, other: &Results) -> Vec<String> {
        let names: std::collections::BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        names.into_iter().filter(|name| self.0.get(*name) != other.0.get(*name)).cloned().collect()
    }
}

/// Every file under a folder, by its path in it.
fn files(folder: &Path) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(here) = open.pop() {
        for path in fs::read_dir(&here).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                open.push(path);
            } else if let Ok(name) = path.strip_prefix(folder) {
                found.insert(name.to_string_lossy().into_owned(), path.clone());
            }
        }
    }
    found
}
