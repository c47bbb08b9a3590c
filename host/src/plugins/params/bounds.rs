//! A bound on what a plugin's schema may cost. It is the plugin's word, and is evaluated before anything of the plugin runs,
//! so without one a few kilobytes of references that double each other would keep the host busy for ever.

use std::collections::HashMap;

use serde_json::Value;

/// Places of a schema, those behind references counted as often as they are referred to.
const MOST: u64 = 20_000;
/// What would make the meaning of a reference depend on more than the pointer in it.
const NOT_SUPPORTED: [&str; 5] = ["$dynamicRef", "$recursiveRef", "$anchor", "$dynamicAnchor", "$id"];

/// Fails with what is wrong with a schema that refers to itself, to elsewhere, or too often.
pub(super) fn check(schema: &Value) -> Result<(), String> {
    let mut weights = HashMap::from([("#", None)]);
    match weight(schema, schema, &mut weights)? {
        found if found > MOST => Err(format!("has more than {MOST} places, those behind each `$ref` included")),
        _ => Ok(()),
    }
}

/// `known`: of the targets of references; `None` while one is looked at.
fn weight<'s>(root: &'s Value, here: &'s Value, known: &mut HashMap<&'s str, Option<u64>>) -> Result<u64, String> {
    let mut sum = 1u64;
    match here {
        Value::Array(items) => {
            for item in items {
                sum = sum.saturating_add(weight(root, item, known)?);
            }
        }
        Value::Object(fields) => {
            for (key, inner) in fields {
                // The names of properties are the plugin's; only strings can be such a keyword's value.
                if NOT_SUPPORTED.contains(&key.as_str()) && inner.is_string() && !std::ptr::eq(here, root) {
                    return Err(format!("uses `{key}`, which is not supported here"));
                }
                let behind = match (key.as_str(), inner) {
                    ("$ref", Value::String(target)) => referred(root, target, known)?,
                    _ => weight(root, inner, known)?,
                };
                sum = sum.saturating_add(behind);
            }
        }
        _ => {}
    }
    Ok(sum)
}

fn referred<'s>(root: &'s Value, target: &'s str, known: &mut HashMap<&'s str, Option<u64>>) -> Result<u64, String> {
    match known.get(target) {
        Some(Some(weight)) => return Ok(*weight),
        Some(None) => return Err(format!("refers to itself by `$ref` {target:?}, which is not supported here")),
        None => {}
    }
    let inner = target
        .strip_prefix('#')
        .and_then(|pointer| root.pointer(pointer))
        .ok_or_else(|| format!("has the `$ref` {target:?}, which is no place within it: expected \"#/$defs/NAME\""))?;
    known.insert(target, None);
    let found = weight(root, inner, known)?;
    known.insert(target, Some(found));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_schema_may_refer_to() {
        let doubled = |levels: usize| {
            let mut definitions = serde_json::Map::new();
            for i in 0..levels {
                let next = json!({"$ref": format!("#/$defs/d{}", i + 1)});
                definitions.insert(format!("d{i}"), json!({"allOf": [next.clone(), next]}));
            }
            definitions.insert(format!("d{levels}"), json!({"type": "number"}));
            json!({"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": definitions})
        };
        let cases = [
            (json!({"type": "object", "properties": {"$ref": {"type": "string"}, "$id": {"type": "string"}}}), ""),
            (doubled(6), ""),
            (doubled(40), "has more than 20000 places"),
            (json!({"properties": {"x": {"$ref": "#/properties/x"}}}), "refers to itself by `$ref` \"#/properties/x\""),
            (json!({"properties": {"x": {"$ref": "#"}}}), "refers to itself"),
            (json!({"properties": {"x": {"$ref": "#/nowhere"}}}), "no place within it"),
            (json!({"properties": {"x": {"$ref": "http://example.org/x"}}}), "no place within it"),
            (json!({"properties": {"x": {"$dynamicRef": "#x"}}}), "uses `$dynamicRef`"),
        ];
        for (schema, expected) in cases {
            match (check(&schema), expected) {
                (Ok(()), "") => {}
                (Err(found), expected) if !expected.is_empty() => assert!(found.contains(expected), "{found}"),
                (found, expected) => panic!("{schema}: {found:?}, expected {expected:?}"),
            }
        }
    }
}
