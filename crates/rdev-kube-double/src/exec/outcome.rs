//! End of an exec, as the status channel reports it.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, Status, StatusCause, StatusDetails};

use crate::http::answers::Failure;

/// Base of exit codes for a death by signal, as shells and container runtimes report it.
const SIGNAL_BASE: i32 = 128;

pub(super) fn ended(argv: &[String], status: ExitStatus) -> Status {
    let code = status.code().or_else(|| Some(SIGNAL_BASE + status.signal()?)).unwrap_or(SIGNAL_BASE);
    if code == 0 {
        let status = Some("Success".to_owned());
        return Status { metadata: ListMeta::default(), status, ..Status::default() };
    }
    let cause = StatusCause {
        reason: Some("ExitCode".to_owned()),
        message: Some(code.to_string()),
        ..StatusCause::default()
    };
    let message = format!(
        "command terminated with non-zero exit code: error executing command [{}], exit code {code}",
        argv.join(" ")
    );
    Status {
        metadata: ListMeta::default(),
        status: Some("Failure".to_owned()),
        message: Some(message),
        reason: Some("NonZeroExitCode".to_owned()),
        details: Some(StatusDetails { causes: Some(vec![cause]), ..StatusDetails::default() }),
        code: None,
    }
}

/// Returns the failure to start a program in a running container. It has no exit code.
pub(super) fn not_started(argv: &[String], container_id: &str, error: &io::Error) -> Failure {
    let program = argv.first().map(String::as_str).unwrap_or_default();
    let why = match error.kind() {
        io::ErrorKind::NotFound if program.contains('/') => {
            format!("stat {program}: no such file or directory")
        }
        io::ErrorKind::NotFound => "executable file not found in $PATH".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    Failure::internal(&format!(
        "error executing command in container: failed to exec in container: failed to start exec \
         \"{container_id}\": OCI runtime exec failed: exec failed: unable to start container process: exec: \
         \"{program}\": {why}: unknown"
    ))
}
