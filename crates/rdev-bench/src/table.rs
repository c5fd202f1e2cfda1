//! Output: one table, and facts beside it.

use std::io::Write;

/// One figure of rdev beside another program's, from the same run.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) axis: String,
    pub(crate) rdev: String,
    pub(crate) peer: String,
    /// The judged figure: a ratio, a difference, or the figure itself.
    pub(crate) ratio: String,
    pub(crate) aim: &'static str,
    /// `None` for a comparison without an aim.
    pub(crate) met: Option<bool>,
}

/// All results.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    facts: Vec<String>,
}

impl Report {
    pub(crate) fn row(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(crate) fn fact(&mut self, fact: impl Into<String>) {
        self.facts.push(fact.into());
    }

    /// Measures an axis, which must leave a row: a missing one would go unnoticed.
    pub(crate) fn axis(
        &mut self,
        measure: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let before = self.rows.len();
        measure(self)?;
        anyhow::ensure!(self.rows.len() > before, "the axis has no row");
        Ok(())
    }

    fn cells(&self) -> Vec<[String; 6]> {
        let head = ["axis", "rdev", "beside", "ratio", "aim", "met"].map(str::to_owned);
        let rows = self.rows.iter().map(|row| {
            let met = match row.met {
                None => "-",
                Some(true) => "yes",
                Some(false) => "NO",
            };
            [&row.axis, &row.rdev, &row.peer, &row.ratio, row.aim, met].map(str::to_owned)
        });
        std::iter::once(head).chain(rows).collect()
    }

    pub(crate) fn print(&self) -> anyhow::Result<()> {
        let cells = self.cells();
        let widths = widths(&cells);
        let mut out = std::io::stdout().lock();
        writeln!(out)?;
        for (number, row) in cells.iter().enumerate() {
            writeln!(out, "{}", line(row, &widths, "  ").trim_end())?;
            if number == 0 {
                writeln!(out, "{}", widths.map(|width| "-".repeat(width)).join("  "))?;
            }
        }
        if !self.facts.is_empty() {
            writeln!(out)?;
        }
        for fact in &self.facts {
            writeln!(out, "- {fact}")?;
        }
        out.flush().map_err(Into::into)
    }

    /// Returns table and facts for a page.
    pub(crate) fn markdown(&self) -> String {
        let cells = self.cells();
        let widths = widths(&cells);
        let mut text = String::new();
        for (number, row) in cells.iter().enumerate() {
            text.push_str(&format!("| {} |\n", line(row, &widths, " | ")));
            if number == 0 {
                text.push_str(&format!("|-{}-|\n", widths.map(|width| "-".repeat(width)).join("-|-")));
            }
        }
        text.push('\n');
        text.extend(self.facts.iter().map(|fact| format!("- {fact}\n")));
        text
    }
}

fn widths(cells: &[[String; 6]]) -> [usize; 6] {
    std::array::from_fn(|column| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
}

fn line(row: &[String; 6], widths: &[usize; 6], between: &str) -> String {
    let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    cells.join(between)
}

/// Returns the cell of a peer; `-` when it is not measured.
pub(crate) fn beside(name: &str, value: Option<String>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{name} {value}"))
}

/// Formats a large number with three significant digits: `1.23M`, `456k`.
pub(crate) fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.2}M", v / 1e6),
        v if v >= 1e4 => format!("{:.0}k", v / 1e3),
        v if v >= 1e3 => format!("{:.1}k", v / 1e3),
        v => format!("{v:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_rows_and_the_facts() {
        let mut report = Report::default();
        let row = Row {
            axis: "lines/s".into(),
            rdev: "2".into(),
            peer: "pipe 4".into(),
            ratio: "0.50".into(),
            aim: ">= 0.5",
            met: Some(true),
        };
        let axis = report.axis(|report| {
            report.row(row);
            report.fact("a fact");
            Ok(())
        });
        axis.unwrap();
        let expected = "| axis    | rdev | beside | ratio | aim    | met |\n\
                        |---------|------|--------|-------|--------|-----|\n\
                        | lines/s | 2    | pipe 4 | 0.50  | >= 0.5 | yes |\n\n\
                        - a fact\n";
        assert_eq!(report.markdown(), expected);
        assert!(report.axis(|_| Ok(())).is_err());
    }
}
