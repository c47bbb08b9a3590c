//! Text of models, plugins and files, made harmless for a terminal.

use unicode_width::UnicodeWidthChar;

/// Marks that may stand on one character.
const MAX_MARKS: usize = 2;

/// One line in which nothing moves the cursor, changes colours or order, or hides: control characters become `^[`, other
/// invisible ones `<202E>`, a tab is a space. Marks beyond two on a character go.
pub fn clean(text: &str) -> String {
    let (mut cleaned, mut marks) = (String::with_capacity(text.len()), 0);
    for c in text.chars() {
        match c {
            '\t' => cleaned.push(' '),
            '\0'..'\x20' | '\x7f' => cleaned.extend(['^', char::from(c as u8 ^ 0x40)]),
            _ if invisible(c) => cleaned.push_str(&format!("<{:04X}>", c as u32)),
            _ if c.width() == Some(0) => {
                marks += 1;
                // One without a character to stand on would join what is left of the text.
                if cleaned.is_empty() {
                    cleaned.push(' ');
                }
                if marks <= MAX_MARKS {
                    cleaned.push(c);
                }
                continue;
            }
            _ => cleaned.push(c),
        }
        marks = 0;
    }
    cleaned
}

/// The same with ASCII alone: every other character is a question mark.
pub fn ascii(text: &str) -> String {
    clean(text).chars().map(|c| if c.is_ascii() { c } else { ascii_of(c) }).collect()
}

/// What stands for a character of ours where only ASCII can be shown.
pub fn ascii_of(c: char) -> char {
    match c {
        '─' | '–' | '—' | '╌' => '-',
        '━' => '=',
        '│' => '|',
        '┌' | '┐' | '└' | '┘' | '├' | '┤' | '┬' | '┴' | '┼' | '±' => '+',
        '•' => '*',
        '→' => '>',
        '←' => '<',
        '↑' => '^',
        '↓' => 'v',
        '…' => '~',
        '·' => '-',
        _ => '?',
    }
}

/// Controls beyond ASCII, what changes the direction of text, joins or separates without being seen, and tags.
fn invisible(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Cleaned text cut into lines of at most `width` cells, at spaces where there are any. A line break of the text starts
/// a new line.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for part in text.split('\n') {
        let part = clean(part.strip_suffix('\r').unwrap_or(part));
        let (mut line, mut cells, mut space) = (String::new(), 0, None);
        for c in part.chars() {
            let wide = c.width().unwrap_or(0);
            if cells + wide > width.max(2) {
                let rest = match space.take() {
                    Some(at) => line.split_off(at),
                    None => String::new(),
                };
                lines.push(line.trim_end().to_owned());
                line = rest.trim_start().to_owned();
                cells = line.chars().filter_map(char::width).sum();
            }
            line.push(c);
            cells += wide;
            if c == ' ' {
                space = Some(line.len());
            }
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// As much of a cleaned text as `width` cells hold; what is cut ends in "…".
pub fn fit(text: &str, width: usize) -> String {
    let cells = |c: char| c.width().unwrap_or(0);
    if text.chars().map(cells).sum::<usize>() <= width {
        return text.to_owned();
    }
    let (mut short, mut used) = (String::new(), 0);
    for c in text.chars() {
        if used + cells(c) + 1 > width {
            break;
        }
        short.push(c);
        used += cells(c);
    }
    if width > 0 {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_acts_on_a_terminal_is_left() {
        let cases = [
            ("plain täxt 日本 🎉", "plain täxt 日本 🎉"),
            ("\x1b[2J\x1b]0;title\x07", "^[[2J^[]0;title^G"),
            ("a\r\nb\tc\x7f\0", "a^M^Jb c^?^@"),
            ("\u{9b}31m", "<009B>31m"),
            ("\u{202e}evil\u{2066}", "<202E>evil<2066>"),
            ("a\u{200d}b\u{feff}\u{e0041}\u{2028}", "a<200D>b<FEFF><E0041><2028>"),
            ("e\u{301}\u{302}\u{303}\u{304}x", "e\u{301}\u{302}x"),
            ("\u{301}", " \u{301}"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(clean(text), expected, "{text:?}");
        }
        let all: String = (0..=0x10ffff).filter_map(char::from_u32).collect();
        assert!(clean(&all).chars().all(|c| !c.is_control()));
        assert!(ascii(&all).chars().all(|c| c.is_ascii() && !c.is_control()));
    }

    #[test]
    fn lines_are_cut_by_cells() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("a\n\nb\r\n", 8), ["a", "", "b", ""]);
        assert_eq!(wrap("日本語日本語", 5), ["日本", "語日", "本語"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("日本", 0), ["日", "本"]);
        assert_eq!(fit("日本語", 6), "日本語");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!((fit("ab", 1), fit("ab", 0)), ("…".to_owned(), String::new()));
    }
}
