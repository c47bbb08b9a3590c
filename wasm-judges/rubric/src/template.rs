//! A judging prompt with named places.
//!
//! Places are filled in one pass over the template, so text that is put in is never read again: a response that
//! says "{{ prompt }}" stays as it is.

use creamery_plugin::PluginError;

#[derive(Debug)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Prompt,
    Response,
}

impl Template {
    /// Reads a template with the places `{{ prompt }}` and `{{ response }}`; spaces inside the braces are free.
    /// It must have `{{ response }}`. Other names in double braces, and braces without an end, are errors.
    pub fn new(template: &str) -> Result<Self, PluginError> {
        let bad = |what: String| PluginError::new(format!("parameter 'prompt' {what}"));
        let (mut parts, mut rest) = (Vec::new(), template);
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, after)) = after.split_once("}}") else {
                return Err(bad("opens '{{' without closing it by '}}'".into()));
            };
            parts.push(Part::Text(before.into()));
            parts.push(match name.trim() {
                "prompt" => Part::Prompt,
                "response" => Part::Response,
                other => return Err(bad(format!("has the place '{other}': known are 'prompt' and 'response'"))),
            });
            rest = after;
        }
        parts.push(Part::Text(rest.into()));
        if !parts.iter().any(|p| matches!(p, Part::Response)) {
            return Err(bad("has no '{{ response }}', so every response would get the same judgment".into()));
        }
        Ok(Template { parts })
    }

    pub fn fill(&self, prompt: &str, response: &str) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.as_str(),
                Part::Prompt => prompt,
                Part::Response => response,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_every_place_once() {
        let cases = [
            ("{{ prompt }} → {{response}}", "P → R"),
            ("{{  response  }}{{ response }}.", "RR."),
            ("a } b }} c { {{ response }}", "a } b }} c { R"),
        ];
        for (template, expected) in cases {
            assert_eq!(Template::new(template).unwrap().fill("P", "R"), expected);
        }
    }

    #[test]
    fn text_that_is_put_in_is_not_read_again() {
        let template = Template::new("[{{ prompt }}|{{ response }}]").unwrap();
        let filled = template.fill("{{ response }}", "{{ prompt }} {{ x }} {{");
        assert_eq!(filled, "[{{ response }}|{{ prompt }} {{ x }} {{]");
    }

    #[test]
    fn refuses_templates_that_cannot_work() {
        for (template, expected) in [
            ("{{ prompt }}", "no '{{ response }}'"),
            ("{{ response }} {{ answer }}", "the place 'answer'"),
            ("{{ response }} {{ prompt", "without closing"),
            ("", "no '{{ response }}'"),
        ] {
            let error = Template::new(template).unwrap_err().message;
            assert!(error.contains(expected), "{template}: {error}");
        }
    }
}
