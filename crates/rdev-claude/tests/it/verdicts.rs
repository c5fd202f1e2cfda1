//! Verdicts on recorded runs, and on runs with lines of any size.

use rdev_claude::Claude;
use rdev_domain::{AgentVerdict, Reason};
use rdev_ports::testing::agents::{reason, verdict};

use crate::transcripts::named;

#[test]
fn recorded_runs_are_judged_as_they_ended() {
    let cases = [
        ("text-success", Some(Ok(()))),
        ("tool-bash-background", Some(Ok(()))),
        ("error-401-no-retries", Some(Err(Reason::Auth))),
        ("not-logged-in", Some(Err(Reason::Auth))),
        ("error-429-no-retries", Some(Err(Reason::Quota))),
        ("error-500-no-retries", Some(Err(Reason::ModelUnavailable))),
        ("error-connection-refused", Some(Err(Reason::ModelUnavailable))),
        ("max-turns", Some(Err(Reason::MaxTurns))),
        ("sigterm-while-streaming", None),
    ];
    for (name, expected) in cases {
        let transcript = named(&format!("2.1.329/{name}"));
        assert_eq!(reason(verdict(&Claude, &transcript, 4096).as_ref()), expected, "{name}");
    }
}

#[test]
fn an_error_keeps_the_agents_own_words() {
    let transcript = named("2.1.329/error-401-no-retries");
    let Some(AgentVerdict::Failed(failure)) = verdict(&Claude, &transcript, 1000) else {
        panic!("it failed")
    };
    assert!(failure.message.contains("401"), "{failure:?}");
}

#[test]
fn a_result_of_any_size_and_with_any_bytes_counts() {
    let result = |text: &[u8]| {
        let (before, after) = ("{\"type\":\"result\",\"result\":\"", "\",\"subtype\":\"success\"}\n");
        [before.as_bytes(), text, after.as_bytes()].concat()
    };
    let large = "x".repeat(5 * 1024 * 1024);
    let escapes = "\\\"\\\\\\u0041\\ud83d\\ude00\\n é".repeat(16 * 1024);
    let accents = "é".repeat(16 * 1024);
    for text in [large.as_bytes(), escapes.as_bytes(), b"a\xffb", accents.as_bytes(), b"\\ud83d"] {
        for step in [7, 4096, usize::MAX] {
            let judged = verdict(&Claude, &result(text), step);
            assert_eq!(judged, Some(AgentVerdict::Success), "{} bytes in {step}", text.len());
        }
    }
}

#[test]
fn what_is_no_json_or_too_long_is_passed_over() {
    let long = format!("{{\"type\":\"user\",\"x\":\"{}\"}}\n", "x".repeat(2 * 1024 * 1024));
    let text = format!("no json\n{long}{{\"is_error\":false,\"subtype\":\"success\",\"type\":\"result\"}}\n");
    assert_eq!(verdict(&Claude, text.as_bytes(), 60_000), Some(AgentVerdict::Success));
}
