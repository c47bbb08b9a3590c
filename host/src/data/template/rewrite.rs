//! A template's source, made ready: what minijinja's own reader takes otherwise than Jinja's.
//!
//! * Line ends become `\n`, as Python reads a file and Jinja a template.
//! * `{% generation %}` marks the assistant's tokens for transformers' training masks and prints nothing. It becomes a
//!   `with` block: a scope of its own, and the whitespace rules of its tags stay.
//! * String literals with escapes are written out as Python means them: `'\/'` keeps its backslash, `'\x41'` is `A`.

/// Code that a tag may hold, in bytes and without its string literals. How deep an expression nests follows from it,
/// and with that the stack that reading it takes.
const MAX_CODE: usize = 1 << 14;

/// The source that minijinja is given. Fails on a tag that nobody writes by hand.
pub fn rewrite(source: &str) -> Result<String, String> {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::with_capacity(source.len());
    let mut rest = source.as_str();
    while let Some(start) = rest.find("{{").into_iter().chain(rest.find("{%")).chain(rest.find("{#")).min() {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let length = match &rest[..2] {
            "{#" => rest.find("#}").map_or(rest.len(), |end| end + 2),
            "{{" => code(rest, "}}"),
            _ => code(rest, "%}"),
        };
        let (tag, after) = rest.split_at(length);
        rest = after;
        match word(tag) {
            "raw" => {
                let length = end_of_raw(rest);
                out.push_str(tag);
                out.push_str(&rest[..length]);
                rest = &rest[length..];
            }
            "generation" => out.push_str(&tag.replace("generation", "with")),
            "endgeneration" => out.push_str(&tag.replace("endgeneration", "endwith")),
            _ if tag.starts_with("{#") => out.push_str(tag),
            _ if literals(tag, &mut out) > MAX_CODE => {
                return Err(format!("a tag has more than {MAX_CODE} bytes of code"));
            }
            _ => {}
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// The length of a tag up to and with its `end`, which does not count within string literals.
fn code(tag: &str, end: &str) -> usize {
    let bytes = tag.as_bytes();
    let (mut at, mut depth) = (2, 0usize);
    while at < bytes.len() {
        match bytes[at] {
            b'\'' | b'"' => at += literal(&tag[at..]),
            _ if depth == 0 && tag[at..].starts_with(end) => return at + end.len(),
            // `}}` may end two dictionaries.
            b'{' => (at, depth) = (at + 1, depth + 1),
            b'}' => (at, depth) = (at + 1, depth.saturating_sub(1)),
            _ => at += tag[at..].chars().next().map_or(1, char::len_utf8),
        }
    }
    tag.len()
}

/// The length of the string literal that `text` starts with, quotes included; all of it where it does not end.
fn literal(text: &str) -> usize {
    let quote = text.as_bytes()[0];
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if byte == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The only word of a `{% word %}` tag; empty for any other tag.
fn word(tag: &str) -> &str {
    let inner = tag.strip_prefix("{%").and_then(|t| t.strip_suffix("%}")).unwrap_or("");
    inner.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']).trim()
}

/// Where the `{% endraw %}` tag that ends a raw block begins.
fn end_of_raw(text: &str) -> usize {
    let mut from = 0;
    while let Some(start) = text[from..].find("{%") {
        let start = from + start;
        let Some(end) = text[start..].find("%}") else { break };
        if word(&text[start..start + end + 2]) == "endraw" {
            return start;
        }
        from = start + 2;
    }
    text.len()
}

/// Copies a tag, with the escapes of its string literals in the few forms that both readers know. Gives the length of
/// the tag without its literals.
fn literals(tag: &str, out: &mut String) -> usize {
    let (mut rest, mut length) = (tag, 0);
    while let Some(start) = rest.find(['\'', '"']) {
        out.push_str(&rest[..start]);
        length += start;
        let (text, after) = rest[start..].split_at(literal(&rest[start..]));
        rest = after;
        if text.contains('\\') { unescaped(text, out) } else { out.push_str(text) }
    }
    out.push_str(rest);
    length + rest.len()
}

fn unescaped(literal: &str, out: &mut String) {
    let mut chars = literal.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let Some(kind) = chars.next() else {
            out.push('\\');
            break;
        };
        let digits = match kind {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            '0'..='7' => {
                let more = chars.as_str().chars().take(2).take_while(|c| ('0'..='7').contains(c)).count();
                let digits = std::iter::once(kind).chain(chars.by_ref().take(more));
                let code = digits.fold(0, |sum, d| sum * 8 + d.to_digit(8).unwrap_or(0));
                character(code, out);
                continue;
            }
            '\n' => continue,
            '\\' | '\'' | '"' | 'n' | 'r' | 't' => {
                out.extend(['\\', kind]);
                continue;
            }
            'a' | 'b' | 'f' | 'v' => {
                character(
                    match kind {
                        'a' => 7,
                        'b' => 8,
                        'f' => 12,
                        _ => 11,
                    },
                    out,
                );
                continue;
            }
            // Python leaves an escape that it does not know as it stands.
            other => {
                out.extend(['\\', '\\', other]);
                continue;
            }
        };
        let hex: String = chars.as_str().chars().take(digits).collect();
        match u32::from_str_radix(&hex, 16) {
            // Halves of a surrogate pair are left to minijinja, which joins them.
            Ok(code) if hex.len() == digits && char::from_u32(code).is_some() => {
                chars = chars.as_str()[digits..].chars();
                character(code, out);
            }
            _ => out.extend(['\\', kind]),
        }
    }
}

/// A character within a literal.
fn character(code: u32, out: &mut String) {
    match char::from_u32(code) {
        Some('\n') => out.push_str("\\n"),
        Some('\r') => out.push_str("\\r"),
        Some(c @ ('\'' | '"' | '\\')) => out.extend(['\\', c]),
        Some(c) => out.push(c),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tags_and_escapes_change() {
        for (source, expected) in [
            ("a\r\nb\rc", "a\nb\nc"),
            ("{%- generation -%}x{%   endgeneration +%}", "{%- with -%}x{%   endwith +%}"),
            ("{{ '{% generation %}' }}", "{{ '{% generation %}' }}"),
            (
                "{# {% generation %} #}{% raw %}{% generation %}{{ '\\/' }}{% endraw %}{{ '\\/' }}",
                "{# {% generation %} #}{% raw %}{% generation %}{{ '\\/' }}{% endraw %}{{ '\\\\/' }}",
            ),
            (r"{{ '\x41\u00e9\101\U0001F680\q\n\'' ~ {'a': {}} }}", r"{{ 'AéA🚀\\q\n\'' ~ {'a': {}} }}"),
            ("{{ 'unclosed", "{{ 'unclosed"),
            ("{% generation", "{% generation"),
            ("\\/ {{ a", "\\/ {{ a"),
        ] {
            assert_eq!(rewrite(source).unwrap(), expected, "{source}");
        }
    }
}
