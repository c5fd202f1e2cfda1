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

    pub(crate) fn print(&self) -> anyhow::Result<()> {
        let head = ["axis", "rdev", "floor or peer", "ratio", "aim", "met"].map(str::to_owned);
        let mut cells = vec![head];
        cells.extend(self.rows.iter().map(|row| {
            let met = match row.met {
                None => "-",
                Some(true) => "yes",
                Some(false) => "NO",
            };
            [&row.axis, &row.rdev, &row.peer, &row.ratio, row.aim, met].map(str::to_owned)
        }));
        let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 6] = std::array::from_fn(width);
        let mut out = std::io::stdout().lock();
        writeln!(out)?;
        for (number, row) in cells.iter().enumerate() {
            let line: Vec<String> =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(out, "{}", line.join("  ").trim_end())?;
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
