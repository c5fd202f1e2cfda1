//! Options of every measurement, and its end: the table on the terminal, and in docs/benchmarks.md.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};

use crate::card::Card;
use crate::postgres::Server;
use crate::table::Report;

/// Page of the committed tables, from the project's folder.
const PAGE: &str = "docs/benchmarks.md";

/// Options of every measurement.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// An empty folder for all output and data
    #[arg(long)]
    pub(crate) folder: PathBuf,
    /// URL of a Postgres server, on which databases are made
    #[arg(long)]
    postgres: String,
    /// Small sizes
    #[arg(long, conflicts_with = "smoke")]
    small: bool,
    /// The smallest sizes, which test the benchmark itself
    #[arg(long)]
    smoke: bool,
    /// The measured commit, for the card
    #[arg(long)]
    commit: String,
    /// The date (UTC), for the card
    #[arg(long)]
    date: String,
    /// Writes the table into docs/benchmarks.md; for complete runs of full size
    #[arg(long, conflicts_with_all = ["small", "smoke"])]
    write: bool,
}

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Full,
    Small,
    Smoke,
}

impl Size {
    /// Returns one of three values: that of the full size, of the small one, or of the smoke test.
    pub(crate) fn of<T>(self, [full, small, smoke]: [T; 3]) -> T {
        match self {
            Self::Full => full,
            Self::Small => small,
            Self::Smoke => smoke,
        }
    }
}

impl Common {
    pub(crate) fn size(&self) -> Size {
        match (self.small, self.smoke) {
            (_, true) => Size::Smoke,
            (true, _) => Size::Small,
            _ => Size::Full,
        }
    }

    /// Returns the Postgres server.
    pub(crate) fn server(&self) -> Server {
        Server(self.postgres.clone())
    }

    /// Begins a run: checks the Postgres server and prints the card. `section` is the run's part of the page, `only` the axes
    /// that were asked for; all are measured where it is empty.
    ///
    /// Fails when the table of this run must not be written.
    pub(crate) fn begin<A>(
        &self,
        section: &'static str,
        runtime: &Runtime,
        only: Vec<A>,
    ) -> anyhow::Result<Run<A>> {
        let postgres = runtime.block_on(self.server().check())?;
        anyhow::ensure!(
            !self.write || only.is_empty(),
            "--write takes no --only: the table would lose the other axes"
        );
        let card = Card::new(&self.folder, &self.commit, &self.date, postgres)?;
        card.print()?;
        Ok(Run { card, section, only, write: self.write })
    }
}

/// A run that has begun.
#[derive(Debug)]
pub(crate) struct Run<A> {
    card: Card,
    section: &'static str,
    only: Vec<A>,
    write: bool,
}

impl<A: Copy + Debug> Run<A> {
    /// Measures the chosen ones of all axes, up to the first that fails. Prints the table, and writes it to the page when all
    /// was measured.
    pub(crate) fn measure(
        &self,
        all: &[A],
        axis: impl Fn(A, &mut Report) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut report = Report::default();
        let chosen = if self.only.is_empty() { all } else { &self.only };
        let measured = chosen.iter().try_for_each(|chosen| {
            let measured = report.axis(|report| axis(*chosen, report));
            measured.with_context(|| format!("the axis {chosen:?}"))
        });
        report.print()?;
        measured?;
        if self.write {
            let table = format!("{}\n{}", self.card.markdown(), report.markdown());
            write(Path::new(PAGE), self.section, &table)?;
        }
        Ok(())
    }
}

/// Returns the runtime of a load generator: one thread.
pub(crate) fn one_thread() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().map_err(Into::into)
}

/// Returns the runtime of a program that works as rdev does: a thread a processor.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build().map_err(Into::into)
}

fn write(page: &Path, section: &str, table: &str) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(page).with_context(|| page.display().to_string())?;
    let text = replace(&text, section, table).with_context(|| page.display().to_string())?;
    std::fs::write(page, text).map_err(Into::into)
}

/// Replaces the text between the markers of a section.
fn replace(text: &str, section: &str, table: &str) -> anyhow::Result<String> {
    let [begin, end] = ["begin", "end"].map(|word| format!("<!-- {word} {section} -->\n"));
    let (before, rest) = text.split_once(&begin).with_context(|| format!("no marker {begin:?}"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("no marker {end:?}"))?;
    Ok(format!("{before}{begin}\n{table}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::replace;

    #[test]
    fn a_section_is_replaced_and_its_neighbours_are_not() {
        let page = "# Page\n<!-- begin a -->\nold\n<!-- end a -->\n<!-- begin b -->\n<!-- end b -->\nend\n";
        let once = replace(page, "a", "new").unwrap();
        assert_eq!(
            once,
            "# Page\n<!-- begin a -->\n\nnew\n<!-- end a -->\n<!-- begin b -->\n<!-- end b -->\nend\n"
        );
        assert_eq!(replace(&once, "a", "new").unwrap(), once);
        assert!(replace(page, "c", "new").is_err());
    }
}
