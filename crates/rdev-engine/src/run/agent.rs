//! Reads along with Claude Code's stream of JSON lines, to know whether it came to a result, and if not, why.

use std::time::Duration;

use rdev_domain::{Ending, Outcome, Reason};
use rdev_runner::frame::{Body, End, Frame, Stream};
use serde::Deserialize;
use tokio::time::Instant;

/// A line that is longer, with its texts cut short, is not looked at.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Beginning of each text in a line that is looked at: results and file contents may have any size.
const TEXT_BYTES_MAX: usize = 16 * 1024;
/// An agent that says nothing for so long after its result does not end by itself.
const HUNG_AFTER: Duration = Duration::from_secs(10);
/// Longest message kept of an agent's error, in characters.
const MESSAGE_CHARS_MAX: usize = 2_000;

/// The lines that matter; every other key and type is passed over, since versions differ.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said {
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
    line: Line,
    /// When it said its last line.
    spoke: Option<Instant>,
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
            self.line.push(piece);
            if piece.ends_with(b"\n") {
                self.line_done();
            }
        }
        // Its last piece may be empty: the line was shown while it was still.
        if *end == End::Eof {
            self.line_done();
        }
    }

    /// Until when it may be silent: it has come to its result. `None`: it is still at work.
    pub(crate) fn silent_until(&self) -> Option<Instant> {
        self.result.as_ref().and(self.spoke).map(|spoke| spoke + HUNG_AFTER)
    }

    /// The end of an agent that was stopped, though nobody asked for that, since it did not end after its result.
    pub(crate) fn hung(&self, outcome: Outcome) -> Outcome {
        let message = format!("it came to a result, and did not end in {} s after it", HUNG_AFTER.as_secs());
        match &self.result {
            Some(_) => {
                Outcome { ending: Ending::Failed(Reason::HungAfterResult), message: Some(message), ..outcome }
            }
            None => outcome,
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
        self.spoke = Some(Instant::now());
        let line = std::mem::take(&mut self.line).bytes;
        match serde_json::from_str(&String::from_utf8_lossy(&line)) {
            Ok(Said::Assistant { error }) => self.error = error.or(self.error.take()),
            Ok(Said::Result { is_error: false, .. }) => self.result = Some(Verdict::Success),
            Ok(Said::Result { subtype, result, errors, api_error_status, .. }) => {
                let reason = reason(&subtype, self.error.as_deref(), api_error_status);
                let message = result.unwrap_or_else(|| errors.join("; "));
                let message = if message.is_empty() { subtype } else { message };
                let message = message.chars().take(MESSAGE_CHARS_MAX).collect();
                self.result = Some(Verdict::Error(reason, message));
            }
            // What is no JSON line, or one of another kind, says nothing of success.
            Ok(Said::Other) | Err(_) => {}
        }
    }
}

/// A line as it comes, with the texts in it cut short, so that it needs little room and is JSON as before.
#[derive(Debug, Default)]
struct Line {
    bytes: Vec<u8>,
    text: Option<Text>,
    too_long: bool,
}

/// A text of JSON, between its quotes.
#[derive(Debug, Default)]
struct Text {
    length: usize,
    /// Bytes that are still to come of an escape.
    escape: u8,
    /// The rest of it is passed over.
    is_cut: bool,
}

impl Line {
    fn push(&mut self, piece: &[u8]) {
        for &byte in piece {
            let keep = match &mut self.text {
                None => {
                    self.text = (byte == b'"').then(Text::default);
                    true
                }
                Some(text) if byte == b'"' && text.escape == 0 => {
                    self.text = None;
                    true
                }
                Some(text) => text.keeps(byte),
            };
            if keep && !self.too_long {
                self.bytes.push(byte);
            }
        }
        if self.bytes.len() > LINE_BYTES_MAX {
            (self.too_long, self.bytes) = (true, Vec::new());
        }
    }
}

impl Text {
    fn keeps(&mut self, byte: u8) -> bool {
        self.length = self.length.saturating_add(1);
        match (self.escape, byte) {
            (0, b'\\') => self.escape = 1,
            // Between two escapes it may be one character that is cut, so it is not cut there.
            (0, _) => self.is_cut |= self.length > TEXT_BYTES_MAX,
            (1, b'u') => self.escape = 4,
            // `uXXXX`: one digit after the other.
            (left, _) => self.escape = left - 1,
        }
        !self.is_cut
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
    use super::*;

    /// Judges exit `code` after a recorded run, which came in pieces of `step` bytes.
    fn judged(recording: &str, code: i32, step: usize) -> Outcome {
        judged_bytes(recording.as_bytes(), code, step)
    }

    fn judged_bytes(recording: &[u8], code: i32, step: usize) -> Outcome {
        let mut watch = AgentWatch::default();
        for piece in recording.chunks(step) {
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
            (include_str!("../../tests/data/text-success.jsonl"), 0, Ending::Completed),
            (include_str!("../../tests/data/tool-bash-background.jsonl"), 0, Ending::Completed),
            (include_str!("../../tests/data/error-401-no-retries.jsonl"), 1, failed(Reason::Auth)),
            (include_str!("../../tests/data/not-logged-in.jsonl"), 1, failed(Reason::Auth)),
            (include_str!("../../tests/data/error-429-no-retries.jsonl"), 1, failed(Reason::Quota)),
            (
                include_str!("../../tests/data/error-500-no-retries.jsonl"),
                1,
                failed(Reason::ModelUnavailable),
            ),
            (
                include_str!("../../tests/data/error-connection-refused.jsonl"),
                1,
                failed(Reason::ModelUnavailable),
            ),
            (include_str!("../../tests/data/max-turns.jsonl"), 1, failed(Reason::MaxTurns)),
            (include_str!("../../tests/data/sigterm-while-streaming.jsonl"), 143, failed(Reason::ExitCode)),
            // Exit code 0 without a result line is no success.
            (include_str!("../../tests/data/sigterm-while-streaming.jsonl"), 0, failed(Reason::NoResult)),
        ];
        for (recording, code, ending) in cases {
            for step in [7, 4096, usize::MAX >> 1] {
                assert_eq!(judged(recording, code, step).ending, ending, "{}", &recording[..80]);
            }
        }
    }

    #[test]
    fn a_result_that_was_shown_before_its_line_ended_counts() {
        let mut watch = AgentWatch::default();
        let result = r#"{"type":"result","subtype":"success","is_error":false}"#;
        for (end, text) in [(End::Partial, result), (End::Eof, "")] {
            let bytes = bytes::Bytes::from_static(text.as_bytes());
            let body = Body::Output { stream: Stream::Stdout, end, bytes };
            watch.see(&Frame { first_seq: 1, count: 1, time_us: 0, body });
        }
        let outcome = Outcome {
            ending: Ending::Completed,
            exit_code: Some(0),
            message: None,
            duration: Duration::ZERO,
        };
        assert_eq!(watch.judge(outcome).ending, Ending::Completed);
    }

    #[test]
    fn an_error_keeps_the_agents_own_words() {
        let outcome = judged(include_str!("../../tests/data/error-401-no-retries.jsonl"), 1, 1000);
        assert!(outcome.message.unwrap().contains("401"));
    }

    #[test]
    fn a_result_of_any_size_and_with_any_bytes_counts() {
        let result = |text: &[u8]| {
            let (before, after) = ("{\"type\":\"result\",\"result\":\"", "\",\"subtype\":\"success\"}\n");
            [before.as_bytes(), text, after.as_bytes()].concat()
        };
        let large = "x".repeat(5 * LINE_BYTES_MAX);
        let escapes = "\\\"\\\\\\u0041\\ud83d\\ude00\\n é".repeat(TEXT_BYTES_MAX);
        for text in [large.as_bytes(), escapes.as_bytes(), b"a\xffb", "é".repeat(TEXT_BYTES_MAX).as_bytes()]
        {
            for step in [7, 4096, usize::MAX >> 1] {
                let outcome = judged_bytes(&result(text), 0, step);
                assert_eq!(outcome.ending, Ending::Completed, "{} bytes in {step}", text.len());
            }
        }
    }

    #[test]
    fn what_is_no_json_or_too_long_is_passed_over() {
        let long = format!("{{\"type\":\"user\",\"x\":\"{}\"}}\n", "x".repeat(2 * LINE_BYTES_MAX));
        let text =
            format!("no json\n{long}{{\"is_error\":false,\"subtype\":\"success\",\"type\":\"result\"}}\n");
        assert_eq!(judged(&text, 0, 60_000).ending, Ending::Completed);
    }
}
