//! `rdev-api migrate`: migrates the database's schema, or lists what is pending.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;

use crate::config::StoreConfig;
use crate::wire;

/// Migrates the schema. With `check` only lists pending migrations: the exit code is then 1 when there are any.
///
/// # Errors
/// When the database cannot be used, or standard output takes no bytes.
#[tokio::main]
pub(crate) async fn run(config: &StoreConfig, check: bool) -> anyhow::Result<ExitCode> {
    let pending = wire::pending_migrations(config).await?;
    if !check {
        wire::migrate(config).await?;
    }
    let (done, code) = match (pending.is_empty(), check) {
        (true, _) => ("the schema is up to date", ExitCode::SUCCESS),
        (false, true) => ("pending", ExitCode::FAILURE),
        (false, false) => ("migrated", ExitCode::SUCCESS),
    };
    print(done, &pending).context("standard output")?;
    Ok(code)
}

fn print(done: &str, migrations: &[String]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match migrations {
        [] => writeln!(out, "{done}"),
        migrations => migrations.iter().try_for_each(|migration| writeln!(out, "{done}: {migration}")),
    }
}
