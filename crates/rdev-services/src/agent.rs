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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Judges exit `code` after a recorded run, which came in pieces of `step` bytes.
    fn judged(recording: &str, code: i32, step: usize) -> Outcome {
        let mut watch = AgentWatch::default();
        for piece in recording.as_bytes().chunks(step) {
            let end = if piece.ends_with(b"\n") { End::Newline } else { End::Partial };
            let bytes = bytes::Bytes::copy_from_slice(piece);
            let body = Body::Output { stream: Stream::Stdout, end, bytes };
            watch.see(&Frame { first_seq: 1, count: 1, time_us: 0, body });
        }
        let ending = if code == 0 { Ending::Completed } else { Ending::Failed(Reason::ExitCode) };
        watch.judge(Outcome { ending, exit_code: Some(code), message: None, duration: Duration::ZERO })
    }

    #[test]
    fn recorded_runs_end_as_they_did() {
        let failed = |reason| Ending::Failed(reason);
        let cases = [
            (include_str!("../tests/data/text-success.jsonl"), 0, Ending::Completed),
            (include_str!("../tests/data/tool-bash-background.jsonl"), 0, Ending::Completed),
            (include_str!("../tests/data/error-401-no-retries.jsonl"), 1, failed(Reason::Auth)),
            (include_str!("../tests/data/not-logged-in.jsonl"), 1, failed(Reason::Auth)),
            (include_str!("../tests/data/error-429-no-retries.jsonl"), 1, failed(Reason::Quota)),
            (include_str!("../tests/data/error-500-no-retries.jsonl"), 1, failed(Reason::ModelUnavailable)),
            (
                include_str!("../tests/data/error-connection-refused.jsonl"),
                1,
                failed(Reason::ModelUnavailable),
            ),
            (include_str!("../tests/data/max-turns.jsonl"), 1, failed(Reason::MaxTurns)),
            (include_str!("../tests/data/sigterm-while-streaming.jsonl"), 143, failed(Reason::ExitCode)),
            // Exit code 0 without a result line is no success.
            (include_str!("../tests/data/sigterm-while-streaming.jsonl"), 0, failed(Reason::NoResult)),
        ];
        for (recording, code, ending) in cases {
            for step in [7, 4096, usize::MAX >> 1] {
                assert_eq!(judged(recording, code, step).ending, ending, "{}", &recording[..80]);
            }
        }
    }

    #[test]
    fn an_error_keeps_the_agents_own_words() {
        let outcome = judged(include_str!("../tests/data/error-401-no-retries.jsonl"), 1, 1000);
        assert!(outcome.message.unwrap().contains("401"));
    }

    #[test]
    fn what_is_no_json_or_too_long_is_passed_over() {
        let long = format!("{{\"type\":\"user\",\"x\":\"{}\"}}\n", "x".repeat(2 * LINE_BYTES_MAX));
        let text =
            format!("no json\n{long}{{\"is_error\":false,\"subtype\":\"success\",\"type\":\"result\"}}\n");
        assert_eq!(judged(&text, 0, 60_000).ending, Ending::Completed);
    }
}
