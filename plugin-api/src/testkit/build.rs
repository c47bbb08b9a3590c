//! Builders for groups, scores, pairs and records.

use crate::types::*;

/// Groups of one user message and complete responses each. The ids are "p0", "p1", …
pub fn groups(rows: &[(&str, &[&str])]) -> Groups {
    let mut groups = Groups::default();
    for (i, (prompt, responses)) in rows.iter().enumerate() {
        let message = Message { role: "user".into(), content: (*prompt).into() };
        groups.push(format!("p{i}"), vec![message], responses.iter().map(|text| complete(text)).collect());
    }
    groups
}

/// A response that ended by itself, with one token per byte.
pub fn complete(text: &str) -> Response {
    Response { text: text.into(), tokens: text.len() as u32, finish: Finish::Stop }
}

/// A response that the token limit cut off, with one token per byte.
pub fn cut_off(text: &str) -> Response {
    Response { finish: Finish::Length, ..complete(text) }
}

/// Scores by viewpoint; `None` abstains, with the reason "no score".
pub fn scores(rows: &[(&str, &[Option<f64>])]) -> Scores {
    let score = |v: &Option<f64>| v.map_or_else(|| Score::Abstain("no score".into()), Score::Value);
    Scores {
        viewpoints: rows.iter().map(|(name, _)| (*name).into()).collect(),
        scores: rows.iter().flat_map(|(_, values)| values.iter().map(score)).collect(),
    }
}

/// Sources of responses: the names of the models, "current" first, and each response's number among them.
pub fn sources(names: &[&str], responses: &[u32]) -> Sources {
    Sources { names: names.iter().map(|name| (*name).into()).collect(), responses: responses.into() }
}

/// A column of pairs.
pub fn column(name: &str, values: &[f64]) -> Column {
    Column { name: name.into(), values: values.into() }
}

/// A pair of weight 1.
pub fn pair(group: u32, chosen: u32, rejected: u32) -> Pair {
    Pair { group, chosen, rejected, weight: 1.0 }
}

/// Records of round 1 without ranks and history.
pub fn records(groups: Groups, scores: Scores, pairs: Vec<Pair>) -> Records {
    Records { round: 1, groups, scores, pairs, ..Records::default() }
}

/// The defaults that a parameter schema states, as one JSON object. Checks on the way that the schema refuses
/// unknown parameters and that every parameter has a description; the error names the one that lacks something.
pub fn schema_defaults(schema: &str) -> Result<String, PluginError> {
    let schema: serde_json::Value =
        serde_json::from_str(schema).map_err(|e| PluginError::new(format!("schema: {e}")))?;
    if schema["additionalProperties"] != false {
        return Err(PluginError::new("the schema lacks \"additionalProperties\": false"));
    }
    let properties =
        schema["properties"].as_object().ok_or_else(|| PluginError::new("the schema has no properties"))?;
    let mut defaults = serde_json::Map::new();
    for (name, property) in properties {
        if property["description"].as_str().is_none_or(str::is_empty) {
            return Err(PluginError::new(format!("parameter '{name}' has no description")));
        }
        let default =
            property.get("default").ok_or_else(|| PluginError::new(format!("parameter '{name}': no default")))?;
        defaults.insert(name.clone(), default.clone());
    }
    Ok(serde_json::Value::Object(defaults).to_string())
}
