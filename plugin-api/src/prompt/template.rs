//! The templates of a prompt: checked when they are read, rendered often.

use std::collections::BTreeSet;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};

use super::fields::Fields;
use crate::types::{Groups, Message, PluginError};

/// What one rendering may cost: about one for each step, and one for each 64 bytes (see minijinja's `set_fuel`).
const FUEL: u64 = 1_000_000;

/// A judging prompt: the template of a user message and perhaps of a system message.
#[derive(Debug)]
pub struct Prompt {
    environment: Environment<'static>,
    /// The parameters that hold the templates, in the order of the messages, with the role of each.
    messages: Vec<(&'static str, &'static str)>,
    /// The fields that a template names.
    used: BTreeSet<String>,
}

impl Prompt {
    /// Reads the parameters `prompt` and `system`; an empty `system` stands for no system message.
    ///
    /// `own` holds the judge's fields besides those of a group, with made-up values for a trial. At least one template
    /// must use each of `required`.
    ///
    /// The error names the parameter and the line: a template that cannot be read, a name that is no field, a value
    /// that is not there in the trial, a field of `required` that is never used.
    pub fn new(prompt: &str, system: &str, own: Fields, required: &[&'static str]) -> Result<Self, PluginError> {
        Self::named(("prompt", prompt), ("system", system), own, required)
    }

    /// The same for parameters of other names: each with its text.
    pub fn named(
        prompt: (&'static str, &str),
        system: (&'static str, &str),
        own: Fields,
        required: &[&'static str],
    ) -> Result<Self, PluginError> {
        let mut made = Prompt { environment: environment()?, messages: Vec::new(), used: BTreeSet::new() };
        let trials = trials().map(|fields| fields.and(&own));
        if !system.1.is_empty() {
            made.add(system, "system", &trials[0])?;
        }
        made.add(prompt, "user", &trials[0])?;
        // A prompt for conversations of several messages may fail on a single one, and the other way round.
        let (fields, messages) = match (made.messages(&trials[0]), made.messages(&trials[1])) {
            (Ok(messages), _) => (&trials[0], messages),
            (Err(_), Ok(messages)) => (&trials[1], messages),
            (Err(error), Err(_)) => return Err(error),
        };
        for name in required {
            // Names within a slice are not seen in the template, so what matters is looked at: does the text change?
            let other = fields.clone().text(name, &"another text ".repeat(100));
            if !made.used.contains(*name) && made.messages(&other)? == messages {
                return Err(PluginError::new(format!(
                    "parameter '{}' never uses '{{{{ {name} }}}}', so the judge would not see what it is to judge",
                    prompt.0
                )));
            }
        }
        Ok(made)
    }

    /// The messages for these fields: all that were there in the trial, and those of a group.
    ///
    /// Fails on a value that these fields do not have, and on a text that is empty; the error names the field `id`.
    pub fn messages(&self, fields: &Fields) -> Result<Vec<Message>, PluginError> {
        let value = fields.value();
        let mut messages = Vec::with_capacity(self.messages.len());
        for (parameter, role) in &self.messages {
            let rendered = self.environment.get_template(parameter).and_then(|t| t.render(&value));
            let content = rendered.map_err(|e| describe(parameter, &e, fields))?;
            if content.trim().is_empty() {
                let id = fields.get("id").unwrap_or_default();
                return Err(PluginError::new(format!("parameter '{parameter}' gives an empty text for prompt '{id}'")));
            }
            messages.push(Message::new(*role, content));
        }
        Ok(messages)
    }

    fn add(
        &mut self,
        (parameter, text): (&'static str, &str),
        role: &'static str,
        known: &Fields,
    ) -> Result<(), PluginError> {
        let unreadable = |e: Error| describe(parameter, &e, known);
        self.environment.add_template_owned(parameter, text.to_owned()).map_err(unreadable)?;
        let names = self.environment.get_template(parameter).map_err(unreadable)?.undeclared_variables(false);
        // A set of the standard library has no order.
        let names: BTreeSet<String> = names.into_iter().collect();
        let globals: BTreeSet<&str> = self.environment.globals().map(|(name, _)| name).collect();
        let fields: BTreeSet<&str> = known.names().collect();
        for name in names {
            if fields.contains(name.as_str()) {
                self.used.insert(name);
            } else if !globals.contains(name.as_str()) {
                let at = text.lines().position(|line| has_word(line, &name)).map_or(1, |line| line + 1);
                let known = fields.into_iter().collect::<Vec<_>>().join(", ");
                return Err(PluginError::new(format!(
                    "parameter '{parameter}', line {at}: there is no field '{name}'; there are {known}"
                )));
            }
        }
        self.messages.push((parameter, role));
        Ok(())
    }
}

fn environment() -> Result<Environment<'static>, PluginError> {
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    let syntax = syntax.map_err(|e| PluginError::new(format!("the syntax of templates: {e}")))?;
    let mut environment = Environment::new();
    environment.set_syntax(syntax);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.remove_global("debug");
    environment.set_fuel(Some(FUEL));
    Ok(environment)
}

/// The fields of two made-up groups: one message, and several.
fn trials() -> [Fields; 2] {
    let group = |prompt: Vec<Message>| {
        let response = |text: &str| crate::testkit::complete(text);
        let mut groups = Groups::default();
        groups.push("id", prompt, vec![response("one response"), response("another response")]);
        Fields::group(&groups, 0)
    };
    let question = || Message::user("a question");
    let conversation =
        vec![Message::new("system", "an instruction"), question(), Message::assistant("an answer"), question()];
    [group(vec![question()]), group(conversation)]
}

fn describe(parameter: &str, e: &Error, fields: &Fields) -> PluginError {
    let line = e.line().map_or(String::new(), |line| format!(", line {line}"));
    let what = match (e.kind(), e.detail()) {
        (ErrorKind::OutOfFuel, _) => "it takes too many steps or makes too much text".to_owned(),
        (ErrorKind::UndefinedError, None) => {
            let id = fields.get("id").unwrap_or_default();
            format!(
                "it uses a value that prompt '{id}' does not have; write `{{% if x is defined %}}` for what may be missing"
            )
        }
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    PluginError::new(format!("parameter '{parameter}'{line}: {what}"))
}

/// Whether `word` stands in the line, not as a part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|w| w == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(text: &str) -> Result<Prompt, PluginError> {
        Prompt::new(text, "", Fields::default().text("response", "R").number("scale_max", 5.0), &["response"])
    }

    fn rendered(template: &str, response: &str) -> String {
        let mut groups = Groups::default();
        groups.push("p", vec![Message::user("P")], Vec::new());
        let fields = Fields::group(&groups, 0).text("response", response).number("scale_max", 5.0);
        prompt(template).unwrap().messages(&fields).unwrap().remove(0).content
    }

    #[test]
    fn fills_and_changes_nothing_else() {
        for (template, expected) in [
            ("{{ prompt }} → {{response}}\n", "P → <R>\n"),
            ("a } b }} c { {{ response }}", "a } b }} c { <R>"),
            ("{{ response }} of {{ scale_max }}", "<R> of 5"),
            ("{% for m in messages %}\n{{ m.role }}: {{ m.content }}\n{% endfor %}\n{{ response }}", "user: P\n<R>"),
            ("{% if responses %}others{% else %}none{% endif %} {{ response }}", "none <R>"),
            ("{# a note #}{{ response | upper | trim }}", "<R>"),
            ("{% for i in range(2) %}{{ i }}{% endfor %}{{ response }}", "01<R>"),
            ("{{ response[:2] }}", "<R"),
            ("  {{ response }}\n\n", "  <R>\n\n"),
        ] {
            assert_eq!(rendered(template, "<R>"), expected, "{template}");
        }
    }

    #[test]
    fn text_that_is_put_in_is_not_read_again() {
        for hostile in ["{{ prompt }}", "{% for x in range(9999) %}", "{{", "{# ", "<b> & \" '", "%}"] {
            assert_eq!(rendered("[{{ response }}]", hostile), format!("[{hostile}]"));
        }
    }

    #[test]
    fn refuses_templates_that_cannot_work() {
        for (template, expected) in [
            ("{{ prompt }}", "parameter 'prompt' never uses '{{ response }}'"),
            ("", "empty text"),
            (
                "{{ response }}\n{{ answer }}",
                "parameter 'prompt', line 2: there is no field 'answer'; there are id, messages, prompt, response, responses, scale_max",
            ),
            ("{{ response }} {% if false %}{{ x }}{% endif %}", "line 1: there is no field 'x'"),
            ("{{ response }}\n\n{{ prompt", "parameter 'prompt', line 3: syntax error"),
            ("{{ response | shout }}", "unknown filter"),
            ("{{ response }}\n{{ messages[0].text }}", "parameter 'prompt', line 2: it uses a value"),
            ("{{ response }}{% include 'other' %}", "other"),
            ("{{ response }}{{ debug() }}", "there is no field 'debug'"),
            (
                "{% for i in range(9999) %}{% for j in range(9999) %}{{ response }}{% endfor %}{% endfor %}",
                "too many steps",
            ),
            ("{{ response[9:] }}", "empty text"),
        ] {
            let error = prompt(template).unwrap_err().message;
            assert!(error.contains(expected), "{template}: {error}");
        }
    }

    #[test]
    fn a_prompt_for_conversations_is_accepted_and_fails_where_it_does_not_fit() {
        let prompt = prompt("{{ messages[1].content }}: {{ response }}").unwrap();
        let mut groups = Groups::default();
        groups.push("one", vec![Message::user("P")], Vec::new());
        groups.push("two", vec![Message::new("system", "S"), Message::user("P")], Vec::new());
        let messages = |g| prompt.messages(&Fields::group(&groups, g).text("response", "R"));
        let error = messages(0).unwrap_err().message;
        assert!(error.contains("parameter 'prompt', line 1") && error.contains("'one'"), "{error}");
        assert_eq!(messages(1).unwrap(), [Message::user("P: R")]);
    }

    #[test]
    fn a_system_message_is_a_template_too() {
        let own = Fields::default().text("response", "R");
        let prompt = Prompt::new("{{ prompt }}", "Rate {{ response }}.", own.clone(), &["response"]).unwrap();
        let fields = trials()[0].clone().text("response", "R");
        assert_eq!(prompt.messages(&fields).unwrap(), [Message::new("system", "Rate R."), Message::user("a question")]);
        let error = Prompt::new("{{ response }}", "{{ y }}", own, &[]).unwrap_err().message;
        assert!(error.starts_with("parameter 'system', line 1: there is no field 'y'"), "{error}");
    }
}
