//! A Slurm job array: one task for each shard.

use std::path::PathBuf;

use super::{job_name, quoted};

/// What goes into the script.
pub struct Slurm {
    pub name: String,
    /// Where the command is given, so that relative paths mean the same.
    pub folder: PathBuf,
    pub program: PathBuf,
    /// Of `creamery sweep run`, behind the shard.
    pub arguments: Vec<String>,
    pub config: PathBuf,
    pub shards: usize,
    /// Options of sbatch: `--time=2:00:00`.
    pub directives: Vec<String>,
}

impl Slurm {
    /// A batch script for `sbatch`. A task that fails for good keeps its exit code; one that may do better is queued again,
    /// three times at most.
    pub fn script(&self) -> String {
        let path = |path: &PathBuf| quoted(&path.to_string_lossy());
        let shards = self.shards;
        let mut directives = vec![format!("--job-name={}", job_name(&self.name)), format!("--array=1-{shards}")];
        directives.extend(["--requeue", "--open-mode=append", "--signal=B:TERM@60"].map(str::to_owned));
        directives.extend(self.directives.iter().cloned());
        let directives: String = directives.iter().map(|directive| format!("#SBATCH {directive}\n")).collect();
        let arguments: String = self.arguments.iter().map(|argument| format!(" {}", quoted(argument))).collect();
        format!(
            r#"#!/bin/bash
{directives}
set -u
cd -- {folder}

{program} sweep run {config} --shard "$SLURM_ARRAY_TASK_ID/{shards}"{arguments} &
run=$!
# Slurm's warning before the time is up: the runs end, and lose nothing.
trap 'kill -TERM "$run"' TERM
wait "$run"
code=$?
if kill -0 "$run" 2>/dev/null; then
    wait "$run"
    code=$?
fi

# 75 may do better later: no memory, a full disk, a node that went away. 42 will not.
if [ "$code" -eq {temporary} ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt 3 ] && command -v scontrol >/dev/null; then
    scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
fi
exit "$code"
"#,
            folder = path(&self.folder),
            program = path(&self.program),
            config = path(&self.config),
            temporary = crate::sweep::EXIT_TEMPORARY,
        )
    }
}
