//! Diagnosis of the embedded runtime for `rdev-api doctor`.

use std::path::Path;

use rdev_domain::ProjectId;
use rdev_ports::Diagnosis;

use crate::exec::Programs;

/// Programs that jobs use, and how to install each.
const PROGRAMS: [(&str, &str); 3] = [
    ("sh", "install a shell: POST …/shell runs its commands by sh -c"),
    ("git", "install git: POST …/git runs it"),
    ("claude", "npm install -g @anthropic-ai/claude-code: POST …/claude runs it"),
];

pub(crate) fn findings(programs: &Programs, projects: std::io::Result<Vec<ProjectId>>) -> Vec<Diagnosis> {
    let mut findings = vec![
        match projects {
            Ok(projects) => Diagnosis::good("projects", format!("{} workspaces", projects.len())),
            Err(error) => {
                Diagnosis::bad("projects", error.to_string(), "make RDEV_DATA_DIR/workspaces readable")
            }
        },
        match std::fs::metadata(&programs.runner) {
            Ok(_) => Diagnosis::good("runner", programs.runner.display().to_string()),
            Err(error) => {
                let seen = format!("{}: {error}", programs.runner.display());
                Diagnosis::bad("runner", seen, "restart rdev-api: the start writes the program")
            }
        },
    ];
    findings.extend(PROGRAMS.map(|(program, fix)| match on_path(programs, program) {
        Some(found) => Diagnosis::good(program, found),
        None => Diagnosis::warning(program, "not on the PATH of commands", fix),
    }));
    let seen = "jobs run as this user on this machine without isolation";
    findings.push(Diagnosis::warning(
        "isolation",
        seen,
        "use RDEV_RUNTIME=kubernetes for jobs of other people",
    ));
    findings
}

fn on_path(programs: &Programs, program: &str) -> Option<String> {
    let (_, path) = programs.env.iter().find(|(name, _)| name == "PATH")?;
    let folders = std::env::split_paths(path).map(|folder| folder.join(program));
    folders.into_iter().find(|file| Path::is_file(file)).map(|file| file.display().to_string())
}
