//! Tables, for terminals and for Markdown.

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

/// A cell that ends neither its column nor its line.
pub(super) fn escaped(cell: &str) -> String {
    cell.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " ")
}
