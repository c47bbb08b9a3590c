//! Rotary position frequencies: default, linear, llama3 and yarn, as transformers computes them.

use std::f64::consts::PI;

use serde_json::{Map, Value};

use super::config::shown;
use crate::error::{Error, Result};

/// Inverse frequencies of each pair of a head's dimensions, and the factor on cosine and sine.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// `[head_dim / 2]`
    pub inverse_frequencies: Vec<f32>,
    pub attention_factor: f32,
}

impl Rope {
    /// Reads `rope_parameters`, or `rope_theta` with `rope_scaling`.
    pub(crate) fn from_config(config: &Map<String, Value>, head_dim: usize, max_positions: usize) -> Result<Self> {
        let present = |name: &str| config.get(name).filter(|v| !v.is_null());
        let (name, object) = match (present("rope_parameters"), present("rope_scaling")) {
            // Each version of transformers would take another one.
            (Some(new), Some(old)) if new != old => {
                return Err(Error::input("'rope_parameters' and 'rope_scaling' are both given, and differ")
                    .help("take out the one that does not belong to the model"));
            }
            (Some(v), _) => ("rope_parameters", Some(v)),
            (None, v) => ("rope_scaling", v),
        };
        let empty = Map::new();
        let fields = match object {
            None => &empty,
            Some(v) => v.as_object().ok_or_else(|| Error::input(format!("field '{name}' must be an object")))?,
        };
        if let Some((layer_type, _)) = fields.iter().find(|(_, v)| v.is_object()) {
            return Err(Error::input(format!("unsupported '{name}' for each layer type ('{layer_type}')")));
        }
        let p = Parameters { name, fields };
        let theta = match (p.get("rope_theta")?, present("rope_theta")) {
            (Some(theta), _) => theta,
            (None, Some(v)) => v
                .as_f64()
                .ok_or_else(|| Error::input(format!("field 'rope_theta' is {}, expected a number", shown(v))))?,
            (None, None) => 10_000.0,
        };
        if !(theta > 0.0 && theta.is_finite()) {
            return Err(Error::input(format!("rope_theta is {theta}, expected a positive number")));
        }
        let partial = p.get("partial_rotary_factor")?.unwrap_or(1.0);
        if partial != 1.0 {
            return Err(Error::input(format!("unsupported partial_rotary_factor {partial} in '{name}', expected 1")));
        }
        let plain: Vec<f64> = (0..head_dim / 2).map(|i| theta.powf(-2.0 * i as f64 / head_dim as f64)).collect();
        let kind = fields.get("rope_type").or_else(|| fields.get("type")).filter(|v| !v.is_null());
        let (frequencies, attention_factor) = match kind.map_or(Some("default"), Value::as_str) {
            Some("default") => (plain, 1.0),
            Some("linear") => {
                let factor = p.need("factor")?;
                (plain.iter().map(|f| f / factor).collect(), 1.0)
            }
            Some("llama3") => (llama3(&plain, &p, original(config, &p, max_positions)?)?, 1.0),
            Some("yarn") => yarn(&plain, &p, theta, max_positions, original(config, &p, max_positions)?)?,
            other => {
                return Err(Error::input(format!(
                    "unsupported rope type {} in '{name}'",
                    other.map_or("that is not a string".to_owned(), |o| format!("'{o}'"))
                ))
                .help("supported: default, linear, llama3, yarn"));
            }
        };
        let inverse_frequencies: Vec<f32> = frequencies.into_iter().map(|f| f as f32).collect();
        let attention_factor = attention_factor as f32;
        if !inverse_frequencies.iter().chain([&attention_factor]).all(|f| f.is_finite() && *f >= 0.0) {
            return Err(Error::input(format!("the numbers in '{name}' give no frequencies that could be used")));
        }
        Ok(Rope { inverse_frequencies, attention_factor })
    }

    /// Cosines and sines of positions `0..positions`, each `[positions, head_dim / 2]`.
    pub(crate) fn table(&self, positions: usize) -> (Vec<f32>, Vec<f32>) {
        let angles = (0..positions).flat_map(|p| self.inverse_frequencies.iter().map(move |f| p as f32 * f));
        angles.map(|a| (a.cos() * self.attention_factor, a.sin() * self.attention_factor)).unzip()
    }
}

struct Parameters<'a> {
    name: &'a str,
    fields: &'a Map<String, Value>,
}

impl Parameters<'_> {
    fn get(&self, field: &str) -> Result<Option<f64>> {
        let Some(value) = self.fields.get(field).filter(|v| !v.is_null()) else { return Ok(None) };
        let number = value.as_f64().filter(|n| n.is_finite());
        let wrong = || Error::input(format!("field '{}.{field}' is {}, expected a number", self.name, shown(value)));
        number.map(Some).ok_or_else(wrong)
    }

    fn need(&self, field: &str) -> Result<f64> {
        match self.get(field)? {
            Some(n) if n > 0.0 => Ok(n),
            Some(n) => Err(Error::input(format!("field '{}.{field}' is {n}, expected more than 0", self.name))),
            None => Err(Error::input(format!("field '{}.{field}' is missing", self.name))),
        }
    }
}

/// The length that the model was first trained with, as transformers finds it: beside the object of parameters,
/// within it, or else the maximum length.
fn original(config: &Map<String, Value>, p: &Parameters, max_positions: usize) -> Result<f64> {
    const FIELD: &str = "original_max_position_embeddings";
    let within = p.get(FIELD)?;
    let beside = match config.get(FIELD).filter(|v| !v.is_null()) {
        None => None,
        Some(v) => Some(
            v.as_f64().ok_or_else(|| Error::input(format!("field '{FIELD}' is {}, expected a number", shown(v))))?,
        ),
    };
    let found = match (beside, within) {
        (Some(a), Some(b)) if a != b => {
            return Err(Error::input(format!("field '{FIELD}' is {a}, but '{}.{FIELD}' is {b}", p.name)));
        }
        (a, b) => a.or(b).unwrap_or(max_positions as f64),
    };
    if found > 0.0 { Ok(found) } else { Err(Error::input(format!("field '{FIELD}' is {found}, expected more than 0"))) }
}

/// Llama 3.1: low frequencies are divided by the factor, high ones kept, with a linear passage between.
fn llama3(plain: &[f64], p: &Parameters, original: f64) -> Result<Vec<f64>> {
    let (factor, low, high) = (p.need("factor")?, p.need("low_freq_factor")?, p.need("high_freq_factor")?);
    let one = |f: &f64| {
        let wavelength = 2.0 * PI / f;
        if wavelength > original / low {
            f / factor
        } else if wavelength < original / high {
            *f
        } else {
            let smooth = (original / wavelength - low) / (high - low);
            (1.0 - smooth) * f / factor + smooth * f
        }
    };
    Ok(plain.iter().map(one).collect())
}

/// YaRN (arXiv 2309.00071): interpolated low frequencies, kept high ones, and a factor on the attention.
fn yarn(plain: &[f64], p: &Parameters, theta: f64, max_positions: usize, original: f64) -> Result<(Vec<f64>, f64)> {
    let dim = 2.0 * plain.len() as f64;
    // As in transformers, null stands for the ratio of the two lengths; an absent factor is an error.
    let factor = match p.fields.get("factor") {
        Some(Value::Null) => max_positions as f64 / original,
        _ => p.need("factor")?,
    };
    let scale = |mscale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 };
    let attention = match (p.get("attention_factor")?, p.get("mscale")?, p.get("mscale_all_dim")?) {
        (Some(given), _, _) => given,
        (None, Some(m), Some(all)) if m != 0.0 && all != 0.0 => scale(m) / scale(all),
        _ => scale(1.0),
    };
    let correction = |rotations: f64| dim * (original / (rotations * 2.0 * PI)).ln() / (2.0 * theta.ln());
    // Zero stands for the default, as in transformers.
    let beta =
        |field: &str, default: f64| -> Result<f64> { Ok(p.get(field)?.filter(|b| *b != 0.0).unwrap_or(default)) };
    let (mut low, mut high) = (correction(beta("beta_fast", 32.0)?), correction(beta("beta_slow", 1.0)?));
    match p.fields.get("truncate").unwrap_or(&Value::Bool(true)) {
        Value::Bool(true) => (low, high) = (low.floor(), high.ceil()),
        Value::Bool(false) | Value::Null => {}
        other => {
            return Err(Error::input(format!(
                "field '{}.truncate' is {}, expected true or false",
                p.name,
                shown(other)
            )));
        }
    }
    (low, high) = (low.max(0.0), high.min(dim - 1.0));
    if low == high {
        high += 0.001;
    }
    let one = |(i, f): (usize, &f64)| {
        let interpolated = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
        f / factor * interpolated + f * (1.0 - interpolated)
    };
    Ok((plain.iter().enumerate().map(one).collect(), attention))
}
