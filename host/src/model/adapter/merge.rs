//! The adapter as part of the weights.

use super::super::decoder::Decoder;
use super::super::ops;
use super::module_name;
use crate::error::Result;

impl Decoder {
    /// A model without an adapter whose weights are `W + s·B·A`. It shares no memory with this one.
    pub fn merged(&self) -> Result<Decoder> {
        let mut data = Vec::new();
        let mut maps = std::collections::BTreeMap::new();
        if let Some(adapter) = &self.adapter {
            for layer in 0..self.config.num_layers {
                for module in 0..7 {
                    if let Some(lora) = adapter.get(layer, module) {
                        maps.insert(format!("{}.weight", module_name(layer, module)), lora);
                    }
                }
            }
        }
        for (name, tensor) in self.base_tensors() {
            data.push(match maps.get(&name) {
                Some(lora) => ops::within_pool(|| ops::lora_merge(&tensor, &lora.a, &lora.b, lora.scale))?,
                None => tensor.flatten_all()?.to_vec1()?,
            });
        }
        Decoder::build(self.config.clone(), data, self.device())
    }
}
