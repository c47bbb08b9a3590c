//! Rotary position frequencies: default, linear, llama3 and yarn, as transformers computes them.

use std::f64::consts::PI;

use serde_json::{Map, Value};

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
            (None, Some(v)) => v.as_f64().ok_or_else(|| Error::input(format!("field 'rope_theta' is {v}")))?,
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
            Some("llama3") => (llama3(&plain, &p)?, 1.0),
            Some("yarn") => yarn(&plain, &p, theta, max_positions)?,
            other => {
                return Err(Error::input(format!(
                    "unsupported rope type {} in '{name}'",
                    other.map_or("that is not a string".to_owned(), |o| format!("'{o}'"))
                ))
                .help("supported: default, linear, llama3, yarn"));
            }
        };
        let inverse_frequencies = frequencies.into_iter().map(|f| f as f32).collect();
        Ok(Rope { inverse_frequencies, attention_factor: attention_factor as f32 })
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
        let wrong = || Error::input(format!("field '{}.{field}' is {value}, expected a number", self.name));
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

/// Llama 3.1: low frequencies are divided by the factor, high ones kept, with a linear passage between.
fn llama3(plain: &[f64], p: &Parameters) -> Result<Vec<f64>> {
    let (factor, low, high) = (p.need("factor")?, p.need("low_freq_factor")?, p.need("high_freq_factor")?);
    let original = p.need("original_max_position_embeddings")?;
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
fn yarn(plain: &[f64], p: &Parameters, theta: f64, max_positions: usize) -> Result<(Vec<f64>, f64)> {
    let dim = 2.0 * plain.len() as f64;
    let original = p.get("original_max_position_embeddings")?.unwrap_or(max_positions as f64);
    let factor = p.get("factor")?.unwrap_or(max_positions as f64 / original);
    if !(factor > 0.0 && original > 0.0) {
        return Err(Error::input(format!("field '{}.factor' must be more than 0", p.name)));
    }
    let scale = |mscale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 };
    let attention = match (p.get("attention_factor")?, p.get("mscale")?, p.get("mscale_all_dim")?) {
        (Some(given), _, _) => given,
        (None, Some(m), Some(all)) if m != 0.0 && all != 0.0 => scale(m) / scale(all),
        _ => scale(1.0),
    };
    let correction = |rotations: f64| dim * (original / (rotations * 2.0 * PI)).ln() / (2.0 * theta.ln());
    let (mut low, mut high) =
        (correction(p.get("beta_fast")?.unwrap_or(32.0)), correction(p.get("beta_slow")?.unwrap_or(1.0)));
    if p.fields.get("truncate").and_then(Value::as_bool).unwrap_or(true) {
        (low, high) = (low.floor(), high.ceil());
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
