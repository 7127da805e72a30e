//! Tables, for terminals and for Markdown.

/// Columns of a terminal.
pub(super) const COLUMNS: usize = 80;

/// A table; every row has a cell for each head.
pub(super) struct Table {
    pub(super) heads: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    /// Aligned columns, each at most as wide as `widths` says; what is longer ends in `…`. The last one
    /// is as long as it is.
    pub(super) fn text(&self, widths: &[usize]) -> String {
        let heads: Vec<String> = self.heads.iter().map(|head| head.to_uppercase()).collect();
        let rows: Vec<&Vec<String>> = std::iter::once(&heads).chain(&self.rows).collect();
        let mut widths = widths.to_vec();
        for (column, width) in widths.iter_mut().enumerate() {
            let longest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
            *width = longest.min(*width);
        }
        let lines = rows.iter().map(|row| {
            let cells = row.iter().enumerate().map(|(column, cell)| match widths.get(column) {
                Some(width) => format!("{:<width$}", fitted(cell, *width)),
                None => cell.clone(),
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Two aligned columns, the first at most as wide as said, both together no wider than `columns`. What is longer
    /// goes on in the next line: nothing is cut.
    pub(super) fn folded(&self, first: usize, columns: usize) -> String {
        let heads: Vec<String> = self.heads.iter().map(|head| head.to_uppercase()).collect();
        let rows: Vec<&Vec<String>> = std::iter::once(&heads).chain(&self.rows).collect();
        let longest = rows.iter().map(|row| row[0].chars().count()).max().unwrap_or_default();
        let width = longest.min(first);
        let mut lines = Vec::new();
        for row in rows {
            let (left, right) = (folded(&row[0], width), folded(&row[1], columns - width - 2));
            for place in 0..left.len().max(right.len()) {
                let cell = |lines: &[String]| lines.get(place).cloned().unwrap_or_default();
                lines.push(format!("{:<width$}  {}", cell(&left), cell(&right)).trim_end().to_owned());
            }
        }
        lines.join("\n")
    }

    pub(super) fn markdown(&self) -> String {
        let line = |cells: &mut dyn Iterator<Item = String>| format!("| {} |", cells.collect::<Vec<_>>().join(" | "));
        let head = line(&mut self.heads.iter().map(|head| (*head).to_owned()));
        let rule = line(&mut self.heads.iter().map(|_| "---".to_owned()));
        let rows = self.rows.iter().map(|row| line(&mut row.iter().map(|cell| escaped(cell))));
        [head, rule].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
    }
}

fn fitted(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    cell.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// A text in lines of so many columns, broken at spaces, and within words that are longer.
fn folded(text: &str, columns: usize) -> Vec<String> {
    let lines = wrapped(text, columns, "").into_iter().flat_map(|line| {
        let chars: Vec<char> = line.chars().collect();
        chars.chunks(columns.max(1)).map(|chunk| chunk.iter().collect()).collect::<Vec<String>>()
    });
    lines.collect()
}

/// A text in lines of so many columns, broken at spaces; a word that is longer stays whole.
pub(super) fn wrapped(text: &str, columns: usize, indent: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("{indent}{word}")),
        }
    }
    lines
}

/// A cell that ends neither its column nor its line.
pub(super) fn escaped(cell: &str) -> String {
    cell.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_broken_at_spaces_and_loses_nothing() {
        assert_eq!(wrapped("a bb cccccccc dd e", 6, "  "), ["  a bb", "  cccccccc", "  dd e"]);
        assert!(wrapped(" ", 6, "  ").is_empty());
    }

    #[test]
    fn a_folded_table_keeps_its_columns_and_loses_nothing() {
        let row = |step: &str, outcome: &str| vec![step.to_owned(), outcome.to_owned()];
        let rows = vec![row("rule of all testers", "does not match"), row("a", "decides"), row("12345678901234", "b")];
        let text = "STEP        OUTCOME\nrule of     does not\nall         match\ntesters\na           decides\n\
                    1234567890  b\n1234";
        assert_eq!(Table { heads: vec!["step", "outcome"], rows }.folded(10, 20), text);
    }

    #[test]
    fn a_name_is_never_cut() {
        let row = |name: &str| vec![name.to_owned(), "a long owner".to_owned(), "1".to_owned()];
        let table = Table { heads: vec!["name", "owner", "uses"], rows: vec![row("t"), row("checkout-with-a-name")] };
        let text = "NAME                  OWNER   USES\nt                     a long…  1\n\
                    checkout-with-a-name  a long…  1";
        assert_eq!(table.text(&[usize::MAX, 7]), text.replace("OWNER   USES", "OWNER    USES"));
    }
}
