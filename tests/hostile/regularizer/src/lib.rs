//! A regularizer that breaks the contract in the way its parameter `mode` says. It expects at least one pair.

use creamery_plugin::objective::c_mix;
use creamery_plugin::{
    Column, Dropped, Labels, Metric, ObjectiveBatch, ObjectiveValue, PluginError, Records, Regularizer, export_plugin,
};

pub struct Hostile {
    mode: String,
}

impl Regularizer for Hostile {
    fn new(params: &str) -> Result<Self, PluginError> {
        let params: serde_json::Value =
            serde_json::from_str(params).map_err(|e| PluginError::new(format!("bad parameters: {e}")))?;
        Ok(Hostile { mode: params["mode"].as_str().unwrap_or("good").to_owned() })
    }

    fn label(&self, records: &Records) -> Result<Labels, PluginError> {
        let count = records.pairs.len();
        let metric = |name: &str, value| Metric { name: name.to_owned(), value };
        let mut labels = Labels {
            consistency: vec![0.75; count],
            weights: vec![1.0; count],
            dropped: vec![],
            metrics: vec![metric("consistency", 0.75)],
        };
        match self.mode.as_str() {
            "few" => labels.consistency.truncate(count - 1),
            "few-weights" => labels.weights.clear(),
            "over" => labels.consistency[0] = 1.5,
            "nan" => labels.consistency[0] = f64::NAN,
            "negative-weight" => labels.weights[0] = -1.0,
            "no-such-pair" => labels.dropped.push(Dropped { index: 1000, reason: "because".to_owned() }),
            "nan-metric" => labels.metrics.push(metric("tau", f64::NAN)),
            "metric-twice" => labels.metrics.push(metric("consistency", 0.5)),
            "panic" => panic!("cannot label"),
            _ => {}
        }
        Ok(labels)
    }

    fn objective(&self, batch: &ObjectiveBatch) -> Result<ObjectiveValue, PluginError> {
        let mut value = c_mix(batch);
        match self.mode.as_str() {
            "nan-gradient" => value.d_rejected[0] = f64::NAN,
            "infinite-loss" => value.loss[0] = f64::INFINITY,
            "few-gradients" => value.d_chosen.clear(),
            "wrong-gradient" => value.d_rejected.iter_mut().for_each(|d| *d *= 0.5),
            // Right only where every weight is 1.
            "forgets-weight" => {
                let pairs = value.d_chosen.iter_mut().zip(&batch.weight);
                pairs.filter(|(_, weight)| **weight > 0.0).for_each(|(d, weight)| *d /= weight);
            }
            "no-objective" => return Err(PluginError::new("there is no objective")),
            // Its own objective: twice the C-mix.
            "double" => [&mut value.loss, &mut value.d_chosen, &mut value.d_rejected]
                .into_iter()
                .for_each(|list| list.iter_mut().for_each(|x| *x *= 2.0)),
            _ => {}
        }
        Ok(value)
    }

    fn columns(&self, records: &Records, labels: &Labels) -> Result<Vec<Column>, PluginError> {
        let column = |name: &str, of: &dyn Fn(usize) -> f64| Column {
            name: name.to_owned(),
            values: (0..records.pairs.len()).map(of).collect(),
        };
        let score = |r: u32| records.scores.scores[r as usize].value().unwrap_or(0.25);
        let target = column("target", &|i| labels.consistency[i] + 0.1 * score(records.pairs[i].chosen));
        let other = column("Ziel — 目标", &|i| labels.weights[i] - 0.1 * score(records.pairs[i].rejected));
        match self.mode.as_str() {
            "columns" => Ok(vec![target, other]),
            "few-values" => Ok(vec![Column { values: Vec::new(), ..target }]),
            "infinite-value" => Ok(vec![column("target", &|_| f64::INFINITY)]),
            "unnamed-column" => Ok(vec![target, column("", &|_| 1.0)]),
            "column-twice" => Ok(vec![target.clone(), target]),
            "many-columns" => Ok((0..65).map(|i| column(&format!("c{i}"), &|_| 1.0)).collect()),
            "panic-in-columns" => panic!("the roof fell"),
            _ => Ok(Vec::new()),
        }
    }

    fn objective_columns(&self, batch: &ObjectiveBatch, columns: &[Column]) -> Result<ObjectiveValue, PluginError> {
        let mut value = self.objective(batch)?;
        for (k, column) in columns.iter().enumerate() {
            for (i, x) in column.values.iter().enumerate() {
                value.loss[i] += x * (k + 1) as f64;
                value.d_chosen[i] -= x * column.name.len() as f64;
            }
        }
        if self.mode == "nan-with-columns" {
            value.loss[0] = f64::NAN;
        }
        Ok(value)
    }
}

export_plugin! {
    kind: regularizer,
    type: Hostile,
    name: "hostile-regularizer",
    summary: "Breaks the contract.",
    schema: r#"{ "type": "object", "properties": { "mode": { "type": "string", "default": "good" } } }"#,
}
