//! The settings of an adapter, and which linear maps they mean: as peft reads them.

use regex::Regex;
use serde::Serialize;

use super::super::config::ModelConfig;
use super::{MODULES, module_name, module_shapes};
use crate::error::{Error, Result};

/// The settings of an adapter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoraConfig {
    /// The rank.
    pub r: usize,
    /// The adapter's part counts α / r times.
    pub alpha: f64,
    /// Probability with which an element of the adapter's input is left out in training.
    pub dropout: f64,
    /// α / √r in place of α / r (arXiv 2312.03732).
    pub rslora: bool,
    pub target_modules: TargetModules,
    /// Only these layers, from 0; `None` is all.
    pub layers: Option<Vec<usize>>,
    /// Other ranks for maps whose name ends with the pattern, a regular expression; the first that fits counts.
    pub rank_pattern: Vec<(String, usize)>,
    /// Other α, likewise.
    pub alpha_pattern: Vec<(String, f64)>,
}

/// Which linear maps are adapted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum TargetModules {
    /// All but the head.
    AllLinear,
    /// Those whose name is one of these, or ends with one after a dot: `q_proj`.
    Names(Vec<String>),
    /// Those whose whole name this matches: `.*\.(q|v)_proj`.
    Regex(String),
}

impl Default for LoraConfig {
    fn default() -> Self {
        LoraConfig {
            r: 8,
            alpha: 16.0,
            dropout: 0.0,
            rslora: false,
            target_modules: TargetModules::AllLinear,
            layers: None,
            rank_pattern: Vec::new(),
            alpha_pattern: Vec::new(),
        }
    }
}

/// Ranks above this are a broken file.
const MAX_RANK: usize = 1 << 16;

/// Rank and scale of an adapted map.
type Target = Option<(usize, f64)>;

impl LoraConfig {
    /// Fails on numbers out of range.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::input(what));
        let ranks = self.rank_pattern.iter().map(|(pattern, r)| (format!("rank_pattern.{pattern}"), *r));
        for (name, r) in std::iter::once(("r".to_owned(), self.r)).chain(ranks) {
            if !(1..=MAX_RANK).contains(&r) {
                return wrong(format!("'{name}' is {r}, expected a rank from 1 to {MAX_RANK}"));
            }
        }
        let alphas = self.alpha_pattern.iter().map(|(pattern, alpha)| (format!("alpha_pattern.{pattern}"), *alpha));
        for (name, alpha) in std::iter::once(("lora_alpha".to_owned(), self.alpha)).chain(alphas) {
            if !(alpha.is_finite() && (alpha as f32).is_finite()) {
                return wrong(format!("'{name}' is {alpha}, expected a finite number"));
            }
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return wrong(format!("'lora_dropout' is {}, expected a number of at least 0 and below 1", self.dropout));
        }
        Ok(())
    }

    /// For each layer, rank and scale of each linear map that is adapted.
    pub(super) fn targets(&self, base: &ModelConfig) -> Result<Vec<[Target; 7]>> {
        let matcher = Matcher::of(&self.target_modules)?;
        for name in ["lm_head", "model.embed_tokens"] {
            if matcher.matches(name) && matcher != Matcher::All {
                return Err(unsupported(&format!(
                    "'target_modules' names {name}; only the linear maps inside the layers can have adapters"
                )));
            }
        }
        if let Some(layer) = self.layers.iter().flatten().find(|layer| **layer >= base.num_layers) {
            return Err(Error::input(format!(
                "'layers_to_transform' names layer {layer}, the base has layers 0 to {}",
                base.num_layers - 1
            ))
            .help("the adapter was made for another base"));
        }
        let ranks = compiled(&self.rank_pattern, "rank_pattern")?;
        let alphas = compiled(&self.alpha_pattern, "alpha_pattern")?;
        let mut all = Vec::with_capacity(base.num_layers);
        for layer in 0..base.num_layers {
            let mut maps = [None; 7];
            for (at, map) in maps.iter_mut().enumerate() {
                let name = module_name(layer, at);
                if matcher.matches(&name) && self.layers.as_ref().is_none_or(|layers| layers.contains(&layer)) {
                    let r = first(&ranks, &name).unwrap_or(self.r);
                    let alpha = first(&alphas, &name).unwrap_or(self.alpha);
                    let divisor = if self.rslora { (r as f64).sqrt() } else { r as f64 };
                    *map = Some((r, alpha / divisor));
                }
            }
            all.push(maps);
        }
        if all.iter().flatten().all(Option::is_none) {
            return Err(Error::input("'target_modules' matches no linear map of the model").help(known_names()));
        }
        Ok(all)
    }

    /// Fails if one of the names matches nothing: peft lets that pass, but it is a slip. Also on a rank that makes an
    /// adapter larger than what it adapts.
    pub(super) fn check_names(&self, base: &ModelConfig) -> Result<()> {
        if let TargetModules::Names(names) = &self.target_modules {
            let matches = |name: &String, module: &str| Matcher::Names(std::slice::from_ref(name)).matches(module);
            let modules: Vec<String> =
                (0..base.num_layers).flat_map(|layer| (0..7).map(move |at| module_name(layer, at))).collect();
            let others = ["lm_head", "model.embed_tokens"];
            for name in names {
                if !modules.iter().map(String::as_str).chain(others).any(|module| matches(name, module)) {
                    return Err(Error::input(format!("target module '{name}' is no linear map of the model"))
                        .help(known_names()));
                }
            }
        }
        for (maps, (at, (outputs, inputs))) in
            self.targets(base)?.iter().flat_map(|maps| maps.iter().zip(module_shapes(base).into_iter().enumerate()))
        {
            if let Some((r, _)) = maps
                && *r > outputs.min(inputs)
            {
                return Err(Error::input(format!(
                    "rank {r} is more than {} has: its weight is [{outputs}, {inputs}]",
                    MODULES[at]
                )));
            }
        }
        Ok(())
    }
}

pub(super) fn unsupported(what: &str) -> Error {
    Error::input(format!("unsupported adapter: {what}"))
}

fn known_names() -> String {
    let names: Vec<&str> = MODULES.iter().map(|name| name.rsplit('.').next().unwrap_or(name)).collect();
    format!("the linear maps are {}; \"all-linear\" means all of them", names.join(", "))
}

enum Matcher<'a> {
    All,
    Names(&'a [String]),
    Regex(Regex),
}

impl PartialEq for Matcher<'_> {
    fn eq(&self, other: &Self) -> bool {
        matches!((self, other), (Matcher::All, Matcher::All))
    }
}

impl<'a> Matcher<'a> {
    fn of(targets: &'a TargetModules) -> Result<Self> {
        Ok(match targets {
            TargetModules::AllLinear => Matcher::All,
            TargetModules::Names(names) => Matcher::Names(names),
            TargetModules::Regex(pattern) => Matcher::Regex(regex("target_modules", &format!("^(?:{pattern})$"))?),
        })
    }

    fn matches(&self, module: &str) -> bool {
        match self {
            Matcher::All => true,
            Matcher::Names(names) => names.iter().any(|name| {
                module.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }),
            Matcher::Regex(regex) => regex.is_match(module),
        }
    }
}

fn regex(field: &str, pattern: &str) -> Result<Regex> {
    Regex::new(pattern)
        .map_err(|e| unsupported(&format!("'{field}' is not a regular expression that can be used: {e}")))
}

fn compiled<T: Copy>(patterns: &[(String, T)], field: &str) -> Result<Vec<(Regex, T)>> {
    patterns.iter().map(|(key, value)| Ok((regex(field, &format!(r"^(?:(?:.*\.)?(?:{key}))$"))?, *value))).collect()
}

fn first<T: Copy>(patterns: &[(Regex, T)], name: &str) -> Option<T> {
    patterns.iter().find(|(regex, _)| regex.is_match(name)).map(|(_, value)| *value)
}
