//! Plain text tables, aligned by the width that characters take on a terminal.

use unicode_width::UnicodeWidthStr;

/// Columns of text: the first to the left, as names are read, all others to the right, as numbers are.
///
/// ```text
/// model  pairs  consistency
/// M1         –            –
/// M2       118        0.734
/// ```
#[derive(Clone, Debug)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(header: &[&str]) -> Table {
        Table { header: header.iter().map(|h| printable(h)).collect(), rows: Vec::new() }
    }

    /// Adds a row. Cells that are missing are empty; those beyond the header get a column without a name.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl AsRef<str>>) -> &mut Table {
        self.rows.push(cells.into_iter().map(|cell| printable(cell.as_ref())).collect());
        self
    }

    /// One line for the header and one for each row, no spaces at their ends.
    pub fn render(&self) -> String {
        let lines = || std::iter::once(&self.header).chain(&self.rows);
        let columns = lines().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| lines().filter_map(|line| line.get(column)).map(|cell| cell.width()).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for line in lines() {
            let start = text.len();
            for (column, width) in widths.iter().enumerate() {
                let cell = line.get(column).map_or("", String::as_str);
                let space = " ".repeat(width - cell.width());
                let gap = if column > 0 { "  " } else { "" };
                text.push_str(gap);
                match column {
                    0 => text.extend([cell, space.as_str()]),
                    _ => text.extend([space.as_str(), cell]),
                }
            }
            text.truncate(start + text[start..].trim_end().len());
            text.push('\n');
        }
        text
    }
}

/// A line break or another control character in a name would break the table.
fn printable(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_line_up_whatever_is_in_them() {
        let mut table = Table::new(&["model", "pairs", "accuracy"]);
        table.row(["M1", "–", "0.815 ± 0.010"]);
        table.row(["日本", "118", "0.8"]);
        table.row(["e\u{301}a\nb", "7", ""]);
        table.row(["short"]);
        let expected = "\
model  pairs       accuracy
M1         –  0.815 ± 0.010
日本     118            0.8
e\u{301}a b       7
short
";
        assert_eq!(table.render(), expected);
    }
}
