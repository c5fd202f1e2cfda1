//! `rdev-api doctor`: a diagnosis of everything that rdev needs, in plain lines with a fix for each fault.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use rdev_domain::causes;
use rdev_ports::{Diagnosis, Severity};

use crate::config::{Config, Runtime, UnknownVariable};
use crate::process::Inherited;
use crate::{keys, wire};

/// Diagnoses, and prints the findings. The exit code is 0 when rdev can work.
///
/// # Errors
/// When standard output takes no bytes.
#[tokio::main]
pub(crate) async fn run(config: &Config, inherited: Inherited) -> anyhow::Result<ExitCode> {
    let mut findings = wire::diagnose_database(&config.store).await;
    findings.push(master_key(config));
    findings.extend(UnknownVariable::all().into_iter().map(|UnknownVariable { name, nearest }| {
        Diagnosis::warning(
            "settings",
            format!("{name} is none"),
            format!("the most similar one is {nearest}"),
        )
    }));
    match wire::diagnose_runtime(config, inherited).await {
        Ok(more) => findings.extend(more),
        Err(error) => {
            let fix = "see docs/configuration.md: RDEV_RUNTIME, KUBECONFIG, RDEV_DATA_DIR";
            findings.push(Diagnosis::bad("runtime", causes(&error), fix));
        }
    }
    print(&findings).context("standard output")?;
    let works = findings.iter().all(|finding| !matches!(finding.verdict, Severity::Bad(_)));
    Ok(if works { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn master_key(config: &Config) -> Diagnosis {
    const WHAT: &str = "master key";
    let file = config.store.data_dir.join("master.key");
    match (config.keys.master_key(), config.runtime.kind()) {
        (Some(_), _) => Diagnosis::good(WHAT, "given as RDEV_MASTER_KEY or in a file"),
        (None, Runtime::Kubernetes) => Diagnosis::bad(WHAT, keys::MASTER_KEY_NEEDED, keys::MASTER_KEY_FIX),
        (None, Runtime::Local) if file.exists() => match keys::master_key(None, &file) {
            Ok(_) => Diagnosis::good(WHAT, format!("in {}", file.display())),
            Err(error) => Diagnosis::bad(WHAT, causes(&error), "restore the file from a backup"),
        },
        (None, Runtime::Local) => {
            let seen = format!("{} is not there yet", file.display());
            Diagnosis::warning(WHAT, seen, "the first start of rdev-api makes it")
        }
    }
}

fn print(findings: &[Diagnosis]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for Diagnosis { what, seen, verdict } in findings {
        match verdict {
            Severity::Good => writeln!(out, "ok    {what}: {seen}")?,
            Severity::Warning(fix) => writeln!(out, "warn  {what}: {seen}\n      fix: {fix}")?,
            Severity::Bad(fix) => writeln!(out, "FAIL  {what}: {seen}\n      fix: {fix}")?,
        }
    }
    let count = |wanted: fn(&Severity) -> bool| findings.iter().filter(|f| wanted(&f.verdict)).count();
    let (bad, warnings) =
        (count(|v| matches!(v, Severity::Bad(_))), count(|v| matches!(v, Severity::Warning(_))));
    writeln!(out, "{} looked at, {bad} failed, {warnings} warnings", findings.len())
}
