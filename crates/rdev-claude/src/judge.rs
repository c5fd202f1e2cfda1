//! Reads along with the JSON lines, to know whether the agent came to a result, and if not, why.

use rdev_domain::{AgentVerdict, Failure, Reason, beginning};
use rdev_ports::AgentJudge;

use crate::cut::CutLine;
use crate::line::{Line, list, text, value};

/// Longest message kept of an agent's error, in characters.
const MESSAGE_CHARS_MAX: usize = 2_000;

/// Statement of the agent on its own success so far.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    line: CutLine,
    /// The category that the agent itself gave its last error.
    error: Option<String>,
    verdict: Option<AgentVerdict>,
}

impl AgentJudge for Judge {
    fn read(&mut self, bytes: &[u8]) -> usize {
        let mut ended = 0;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.push(piece);
            if piece.ends_with(b"\n") {
                self.line_done();
                ended += 1;
            }
        }
        ended
    }

    fn end(&mut self) {
        self.line_done();
    }

    fn verdict(&self) -> Option<&AgentVerdict> {
        self.verdict.as_ref()
    }
}

impl Judge {
    fn line_done(&mut self) {
        let bytes = self.line.take();
        let whole = String::from_utf8_lossy(&bytes);
        // What is no JSON line, or one of another kind, says nothing of success.
        let Some(line) = Line::read(&whole) else { return };
        match line.kind().as_deref() {
            Some("assistant") => self.error = text(line.error).or(self.error.take()),
            Some("result") => self.verdict = self.result(&line).or(self.verdict.take()),
            _ => {}
        }
    }

    /// Verdict of a result; `None` where the fields that decide are not of their types.
    fn result(&self, line: &Line<'_>) -> Option<AgentVerdict> {
        let subtype = text(line.subtype)?;
        let is_error = match line.is_error {
            None => false,
            is_error => value(is_error)?,
        };
        if !is_error {
            return Some(AgentVerdict::Success);
        }
        let reason = reason(&subtype, self.error.as_deref(), value(line.api_error_status));
        let errors = || {
            let errors = list(line.errors).unwrap_or_default();
            errors.into_iter().filter_map(|raw| text(Some(raw))).collect::<Vec<_>>().join("; ")
        };
        let message = text(line.result).unwrap_or_else(errors);
        let message = if message.is_empty() { subtype } else { message };
        let message = beginning(&message, MESSAGE_CHARS_MAX);
        Some(AgentVerdict::Failed(Failure::new(reason, message)))
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

    fn judged(transcript: &str) -> Option<AgentVerdict> {
        let mut judge = Judge::default();
        judge.read(transcript.as_bytes());
        judge.end();
        judge.verdict.take()
    }

    #[test]
    fn a_result_whose_deciding_fields_are_of_other_types_is_none() {
        let cases = [
            (r#"{"type":"result","subtype":"success"}"#, Some(AgentVerdict::Success)),
            (r#"{"type":"result","is_error":false}"#, None),
            (r#"{"type":"result","subtype":"success","is_error":"no"}"#, None),
            (
                r#"{"type":"result","subtype":"success","is_error":false,"errors":{},"usage":[]}"#,
                Some(AgentVerdict::Success),
            ),
        ];
        for (line, verdict) in cases {
            assert_eq!(judged(line), verdict, "{line}");
        }
    }

    #[test]
    fn the_last_result_decides_and_later_errors_need_one() {
        let (good, bad) = (
            r#"{"type":"result","subtype":"success","is_error":false}"#,
            r#"{"type":"result","subtype":"error_during_execution","is_error":true,"errors":["a","b"]}"#,
        );
        let failed = AgentVerdict::Failed(Failure::new(Reason::AgentError, "a; b"));
        assert_eq!(judged(&format!("{good}\n{bad}")), Some(failed));
        assert_eq!(judged(&format!("{bad}\n{good}\nno json\n")), Some(AgentVerdict::Success));
        assert_eq!(judged(r#"{"type":"assistant","error":"rate_limit"}"#), None);
    }

    #[test]
    fn an_error_has_its_reason_and_a_message_of_bounded_length() {
        let long = "é".repeat(2 * MESSAGE_CHARS_MAX);
        let line = format!(r#"{{"type":"result","subtype":"success","is_error":true,"result":"{long}"}}"#);
        let Some(AgentVerdict::Failed(failure)) = judged(&line) else { panic!("it failed") };
        assert_eq!(failure.message.chars().count(), MESSAGE_CHARS_MAX);
        let cases = [
            (r#""api_error_status":401"#, None, Reason::Auth),
            (r#""api_error_status":403"#, None, Reason::Auth),
            (r#""api_error_status":429"#, None, Reason::Quota),
            (r#""api_error_status":529"#, None, Reason::ModelUnavailable),
            (r#""api_error_status":400"#, Some("rate_limit"), Reason::AgentError),
            (r#""api_error_status":null"#, Some("authentication_failed"), Reason::Auth),
            (r#""api_error_status":"?""#, Some("billing_error"), Reason::Quota),
            (r#""x":1"#, Some("overloaded"), Reason::ModelUnavailable),
            (r#""x":1"#, None, Reason::AgentError),
        ];
        for (field, error, reason) in cases {
            let before = error.map(|error| format!("{{\"type\":\"assistant\",\"error\":\"{error}\"}}\n"));
            let line = format!(r#"{{"type":"result","subtype":"success","is_error":true,{field}}}"#);
            let Some(AgentVerdict::Failed(failure)) = judged(&(before.unwrap_or_default() + &line)) else {
                panic!("{field} failed")
            };
            assert_eq!((failure.reason, failure.message.as_str()), (reason, "success"), "{field} {error:?}");
        }
    }
}
