//! What a template may name.

use minijinja::value::Value;

use crate::types::{Groups, Message};

/// Named values for a template. Later values take the place of earlier ones of the same name.
#[derive(Clone, Debug, Default)]
pub struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    /// `id`, `prompt`, `messages` and `responses` of group `g`.
    pub fn group(groups: &Groups, g: usize) -> Self {
        let responses = groups.response_range(g).map(|r| groups.responses[r].text.as_str());
        Fields::default()
            .text("id", &groups.ids[g])
            .conversation("prompt", "messages", groups.prompt(g))
            .texts("responses", responses)
    }

    /// A conversation under two names: as one text, and as a list of messages.
    pub fn conversation(self, text: &'static str, list: &'static str, messages: &[Message]) -> Self {
        let message = |m: &Message| Value::from_pairs([("role", m.role.as_str()), ("content", m.content.as_str())]);
        let values: Vec<Value> = messages.iter().map(message).collect();
        self.text(text, &conversation(messages)).set(list, Value::from(values))
    }

    pub fn text(self, name: &'static str, text: &str) -> Self {
        self.set(name, Value::from(text))
    }

    pub fn texts<'a>(self, name: &'static str, texts: impl Iterator<Item = &'a str>) -> Self {
        self.set(name, Value::from(texts.map(Value::from).collect::<Vec<_>>()))
    }

    /// A number; whole ones are shown without ".0".
    pub fn number(self, name: &'static str, number: f64) -> Self {
        let whole = number == number.trunc() && number.abs() < 1e15;
        self.set(name, if whole { Value::from(number as i64) } else { Value::from(number) })
    }

    fn set(mut self, name: &'static str, value: Value) -> Self {
        self.0.retain(|(n, _)| *n != name);
        self.0.push((name, value));
        self
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(name, _)| *name)
    }

    /// The fields of both, those of `other` in case of doubt.
    pub fn and(self, other: &Fields) -> Self {
        other.0.iter().fold(self, |fields, (name, value)| fields.set(name, value.clone()))
    }

    /// The text of the field `name`, if it has one.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| *n == name).and_then(|(_, value)| value.as_str())
    }

    pub(super) fn value(&self) -> Value {
        Value::from_pairs(self.0.iter().cloned())
    }
}

/// A conversation as one text: a single message as it is, several each under its role in brackets, with an empty line
/// between them.
pub fn conversation(messages: &[Message]) -> String {
    match messages {
        [message] => message.content.clone(),
        _ => messages.iter().map(|m| format!("[{}]\n{}", m.role, m.content)).collect::<Vec<_>>().join("\n\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_messages_keep_their_roles() {
        assert_eq!(conversation(&[Message::user("hi")]), "hi");
        assert_eq!(
            conversation(&[Message::new("system", "Be kind."), Message::user("hi")]),
            "[system]\nBe kind.\n\n[user]\nhi"
        );
    }
}
