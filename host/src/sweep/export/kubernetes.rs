//! A Kubernetes Job in indexed mode: one pod for each shard.

use serde_json::{Value, json};

use super::job_name;
use crate::sweep::EXIT_PERMANENT;

/// What goes into the manifest.
pub struct Kubernetes {
    pub name: String,
    pub image: String,
    /// The working folder in the container, where the volume is.
    pub folder: String,
    /// As the container sees it.
    pub config: String,
    /// Of `creamery sweep run`, behind the shard.
    pub arguments: Vec<String>,
    pub shards: usize,
    /// Pods at once.
    pub parallel: usize,
    /// The PersistentVolumeClaim with the config, the data, the store and the results.
    pub claim: Option<String>,
    /// Kubernetes quantities: "2", "8Gi".
    pub cpus: Option<String>,
    pub memory: Option<String>,
}

impl Kubernetes {
    /// A manifest of `batch/v1`, for Kubernetes 1.29 or later. A pod that fails for good fails its index; others are tried
    /// again, three times at most; a pod that the cluster takes away does not count.
    pub fn manifest(&self) -> Value {
        let name = job_name(&self.name);
        // Kubernetes counts from 0.
        let script =
            format!(r#"exec creamery sweep run "$0" --shard "$((JOB_COMPLETION_INDEX + 1))/{}" "$@""#, self.shards);
        let mut container = json!({
            "name": "creamery",
            "image": self.image,
            "workingDir": self.folder,
            "command": ["sh", "-c", script, self.config],
        });
        if !self.arguments.is_empty() {
            container["args"] = json!(self.arguments);
        }
        let limits: serde_json::Map<String, Value> = [("cpu", &self.cpus), ("memory", &self.memory)]
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), json!(value.as_ref()?))))
            .collect();
        if !limits.is_empty() {
            container["resources"] = json!({"requests": limits, "limits": limits});
        }
        let mut pod = json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 60});
        if let Some(claim) = &self.claim {
            container["volumeMounts"] = json!([{"name": "work", "mountPath": self.folder}]);
            pod["volumes"] = json!([{"name": "work", "persistentVolumeClaim": {"claimName": claim}}]);
        }
        pod["containers"] = json!([container]);
        let permanent: Vec<u8> = vec![2, 3, 4, 5, EXIT_PERMANENT];
        json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/name": "creamery"}},
            "spec": {
                "completionMode": "Indexed",
                "completions": self.shards,
                "parallelism": self.parallel,
                "backoffLimitPerIndex": 3,
                "podFailurePolicy": {"rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {"action": "FailIndex", "onExitCodes": {
                        "containerName": "creamery", "operator": "In", "values": permanent,
                    }},
                ]},
                "template": {"metadata": {"labels": {"app.kubernetes.io/name": "creamery"}}, "spec": pod},
            },
        })
    }
}
