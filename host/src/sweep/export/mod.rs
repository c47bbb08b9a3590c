//! Job files for schedulers: each shard of a sweep is a task.

pub mod kubernetes;
pub mod slurm;

/// A shell word that means just this text.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | '=' | ':' | ',' | '@');
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A name of lower-case letters, digits and '-', at most 50 of them: what schedulers take.
fn job_name(name: &str) -> String {
    let mut plain = String::new();
    for c in name.to_lowercase().chars() {
        match c.is_ascii_alphanumeric() {
            true => plain.push(c),
            false if plain.ends_with('-') || plain.is_empty() => {}
            false => plain.push('-'),
        }
    }
    plain.truncate(50);
    let plain = plain.trim_matches('-');
    if plain.is_empty() { "sweep".to_owned() } else { plain.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_words_are_safe() {
        for (name, expected) in [("ablation", "ablation"), ("My Sweep_2", "my-sweep-2"), ("--", "sweep"), ("é1", "1")]
        {
            assert_eq!(job_name(name), expected);
        }
        for (text, expected) in
            [("a/b-1", "a/b-1"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("", "''"), ("$x", "'$x'")]
        {
            assert_eq!(quoted(text), expected);
        }
    }
}
