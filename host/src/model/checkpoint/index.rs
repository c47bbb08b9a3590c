//! Which files hold the weights: one, or the shards that an index names.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::{INDEX, SINGLE, Weights};
use crate::data::strict_json;
use crate::error::{Error, Result};

/// An index of half a million tensors is smaller.
const MAX_INDEX: u64 = 64 << 20;

/// Opens the folder's weights; true if they are in shards. As in transformers, a single file comes before an index.
pub(super) fn open(dir: &Path) -> Result<(Vec<Weights>, bool)> {
    let single = dir.join(SINGLE);
    if single.exists() {
        return Ok((vec![Weights::open(single)?], false));
    }
    let index = dir.join(INDEX);
    if !index.exists() {
        let error = Error::input(format!("no weights: the folder has neither {SINGLE} nor {INDEX}")).file(dir);
        let torch = ["pytorch_model.bin", "pytorch_model.bin.index.json"].iter().any(|name| dir.join(name).exists());
        return Err(error.help(if torch {
            "pytorch_model.bin is not read, since opening one can run code: load it with transformers and save it again"
        } else {
            "a checkpoint is a Hugging Face folder with config.json and safetensors weights"
        }));
    }
    let json = strict_json::read_file(&index, MAX_INDEX)?;
    let files = shards(&json).map_err(|e| e.file(&index))?;
    let mut open = Vec::with_capacity(files.len());
    for (shard, tensors) in files {
        let path = dir.join(shard);
        if !path.exists() {
            return Err(Error::input(format!("names the shard '{shard}', which is not in the folder"))
                .file(&index)
                .help("copy or download the missing file"));
        }
        let file = Weights::open(path)?;
        if let Some(tensor) = tensors.iter().find(|t| file.shape(t).is_none()) {
            return Err(
                Error::input(format!("tensor '{tensor}' is missing; {INDEX} says it is here")).file(file.path())
            );
        }
        if let Some(tensor) = file.names().find(|name| !name.ends_with("rotary_emb.inv_freq") && !listed(&json, name)) {
            return Err(Error::input(format!("tensor '{tensor}' is not listed in {INDEX}"))
                .file(file.path())
                .help("the shard and the index belong to different checkpoints"));
        }
        open.push(file);
    }
    Ok((open, true))
}

fn listed(index: &Value, tensor: &str) -> bool {
    index["weight_map"].get(tensor).is_some()
}

/// The shards' file names and their tensors.
fn shards(json: &Value) -> Result<BTreeMap<&str, Vec<&str>>> {
    let map = json.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| Error::input("field 'weight_map' is missing or not an object"))?;
    let mut shards: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (tensor, shard) in map {
        // A name alone, so that no index reaches outside its folder.
        let shard = shard.as_str().filter(|s| s.ends_with(".safetensors") && !s.contains(['/', '\\', ':', '\0']));
        let shard = shard.ok_or_else(|| {
            let found = map[tensor].to_string();
            Error::input(format!(
                "the file of tensor '{tensor}' is {found:.80}, expected the name of a .safetensors file beside the index"
            ))
        })?;
        shards.entry(shard).or_default().push(tensor);
    }
    if shards.is_empty() {
        return Err(Error::input("field 'weight_map' names no tensor"));
    }
    Ok(shards)
}
