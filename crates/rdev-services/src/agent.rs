//! Reads along with Claude Code's stream of JSON lines, to know whether it came to a result, and if not, why.

use rdev_domain::{Ending, Outcome, Reason};
use rdev_runner::frame::{Body, End, Frame, Stream};
use serde::Deserialize;

/// A line longer than this is not looked at: results are short, file contents are not.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Longest message kept of an agent's error, in characters.
const MESSAGE_CHARS_MAX: usize = 2_000;

/// The lines that matter; every other key and type is passed over, since versions differ.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    Assistant {
        error: Option<String>,
    },
    Result {
        subtype: String,
        #[serde(default)]
        is_error: bool,
        result: Option<String>,
        #[serde(default)]
        errors: Vec<String>,
        api_error_status: Option<u16>,
    },
    #[serde(other)]
    Other,
}

/// What the agent has said of its own success so far.
#[derive(Debug, Default)]
pub(crate) struct AgentWatch {
    line: Vec<u8>,
    too_long: bool,
    /// The category that the agent itself gave its last error.
    error: Option<String>,
    result: Option<Verdict>,
}

#[derive(Debug)]
enum Verdict {
    Success,
    Error(Reason, String),
}

impl AgentWatch {
    /// Reads one frame.
    pub(crate) fn see(&mut self, frame: &Frame) {
        let Body::Output { stream: Stream::Stdout, end, bytes } = &frame.body else {
            return;
        };
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + piece.len() > LINE_BYTES_MAX {
                self.too_long = true;
                self.line.clear();
            } else if !self.too_long {
                self.line.extend_from_slice(piece);
            }
            if piece.ends_with(b"\n") || *end == End::Eof {
                self.line_done();
            }
        }
    }

    /// Corrects a command's end by what the agent said: exit code 0 alone is no success.
    pub(crate) fn judge(&self, outcome: Outcome) -> Outcome {
        let by_itself = matches!(outcome.ending, Ending::Completed | Ending::Failed(Reason::ExitCode));
        let (reason, message) = match (&self.result, outcome.ending) {
            (Some(Verdict::Error(reason, message)), _) if by_itself => (*reason, message.clone()),
            (None, Ending::Completed) => (Reason::NoResult, "the agent ended without a result".to_owned()),
            _ => return outcome,
        };
        Outcome { ending: Ending::Failed(reason), message: Some(message), ..outcome }
    }

    fn line_done(&mut self) {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.too_long) {
            return;
        }
        match serde_json::from_slice(&line) {
            Ok(Line::Assistant { error }) => self.error = error.or(self.error.take()),
            Ok(Line::Result { is_error: false, .. }) => self.result = Some(Verdict::Success),
            Ok(Line::Result { subtype, result, errors, api_error_status, .. }) => {
                let reason = reason(&subtype, self.error.as_deref(), api_error_status);
                let message = result.unwrap_or_else(|| errors.join("; "));
                let message = if message.is_empty() { subtype } else { message };
                let message = message.chars().take(MESSAGE_CHARS_MAX).collect();
                self.result = Some(Verdict::Error(reason, message));
            }
            // What is no JSON line, or one of another kind, says nothing of success.
            Ok(Line::Other) | Err(_) => {}
        }
    }
}

fn reason(subtype: &str, error: Option<&str>, status: Option<u16>) -> Reason {
    match (subtype, status, error) {
        ("error_max_turns", ..) => Reason::MaxTurns,
        (_, Some(401 | 403), _) => Reason::Auth,
        (_, Some(429), _) => Reason::Quota,
        (_, Some(500..), _) => Reason::ModelUnavailable,
        (_, None, Some("authentication_failed")) => Reason::Auth,
        (_, None, Some("rate_limit" | "billing_error")) => Reason::Quota,
        (_, None, Some("server_error" | "overloaded")) => Reason::ModelUnavailable,
        _ => Reason::AgentError,
    }
}
