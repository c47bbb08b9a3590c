//! What a slot will be able to answer, told from the config and the files' heads alone.

use std::path::Path;

use super::Capabilities;
use super::frozen::{config_file, is_own_family};
use crate::config::SlotConfig;
use crate::model::is_adapter;

/// The abilities of a slot that is not opened; `initial` is the folder of M0. A model whose files are not here may be
/// able to do anything.
pub(crate) fn foreseen(slot: &SlotConfig, initial: &Path) -> Capabilities {
    let frozen = Capabilities { response_logps: false, ..Capabilities::ALL };
    match slot {
        SlotConfig::Program(_) => Capabilities { text_logps: false, choose: false, ..frozen },
        SlotConfig::Endpoint(slot) => Capabilities { text_logps: false, choose: slot.logprobs, ..frozen },
        SlotConfig::Gguf(_) => frozen,
        SlotConfig::Model(slot) => {
            let folder = &slot.model;
            match config_file(folder) {
                Ok(config) if !is_adapter(folder) && !is_own_family(&config) => frozen,
                _ => {
                    let tokenizer = |folder: &Path| std::fs::read(folder.join("tokenizer.json")).ok();
                    let others = tokenizer(folder).zip(tokenizer(initial)).is_some_and(|(a, b)| a != b);
                    if others { frozen } else { Capabilities::ALL }
                }
            }
        }
    }
}
