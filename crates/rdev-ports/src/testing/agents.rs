//! Contract of [`CodeAgent`]: promises that hold for every agent, tried on its recorded transcripts.

use rdev_domain::{AgentBlock, AgentEvent, AgentProvider, AgentRequest, AgentVerdict, Reason};

use crate::{AgentCapabilities, AgentInvocation, AgentJudge, CodeAgent};

/// Agent of a few words: the line `result` is its result, and `say TEXT` a message.
#[derive(Debug, Clone, Copy)]
pub struct FakeAgent;

/// Judge of [`FakeAgent`].
#[derive(Debug, Default)]
struct FakeJudge {
    line: Vec<u8>,
    verdict: Option<AgentVerdict>,
}

impl CodeAgent for FakeAgent {
    fn provider(&self) -> AgentProvider {
        AgentProvider::Claude
    }

    fn capabilities(&self) -> AgentCapabilities {
        AgentCapabilities { resume: false, model: false, max_turns: false }
    }

    fn invocation(&self, request: &AgentRequest) -> AgentInvocation {
        AgentInvocation {
            argv: vec!["agent".to_owned()],
            env: Vec::new(),
            stdin: request.prompt.clone().into_bytes(),
            interrupt_first: true,
        }
    }

    fn read_line(&self, line: &[u8]) -> Option<AgentEvent> {
        let first = match line {
            b"result" => AgentBlock::Result { text: None, is_error: false },
            line => {
                let text = std::str::from_utf8(line.strip_prefix(b"say ")?).ok()?.to_owned();
                AgentBlock::Message { text, is_error: false }
            }
        };
        Some(AgentEvent {
            provider: self.provider(),
            session_id: None,
            usage: None,
            cost_micro_usd: None,
            first,
            rest: Vec::new(),
        })
    }

    fn judge(&self) -> Box<dyn AgentJudge> {
        Box::<FakeJudge>::default()
    }
}

impl AgentJudge for FakeJudge {
    fn read(&mut self, bytes: &[u8]) -> usize {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.end();
            }
        }
        bytes.iter().filter(|byte| **byte == b'\n').count()
    }

    fn end(&mut self) {
        let line = std::mem::take(&mut self.line);
        if line.trim_ascii_end() == b"result" {
            self.verdict = Some(AgentVerdict::Success);
        }
    }

    fn verdict(&self) -> Option<&AgentVerdict> {
        self.verdict.as_ref()
    }
}

/// Standard output of a run of the real agent.
#[derive(Debug, Clone, Copy)]
pub struct Transcript<'a> {
    /// Name for messages of tests.
    pub name: &'a str,
    /// Standard output.
    pub bytes: &'a [u8],
}

impl<'a> Transcript<'a> {
    /// Returns the lines, each without its newline.
    pub fn lines(&self) -> impl Iterator<Item = &'a [u8]> {
        self.bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
    }
}

/// Tries every promise of [`CodeAgent`] that does not depend on what a transcript says.
///
/// # Panics
/// When the agent breaks one.
pub fn keeps_its_promises(agent: &dyn CodeAgent, transcripts: &[Transcript<'_>]) {
    passes_a_request_on(agent);
    for transcript in transcripts {
        reads_each_line_by_itself(agent, transcript);
        reads_no_broken_line(agent, transcript);
        judges_alike_however_it_is_cut(agent, transcript);
    }
    let without_output = agent.judge();
    assert_eq!(without_output.verdict(), None, "a run that has said nothing has no verdict");
}

/// Verdict on a whole transcript that comes in pieces of `step` bytes.
pub fn verdict(agent: &dyn CodeAgent, transcript: &[u8], step: usize) -> Option<AgentVerdict> {
    judged(&mut *agent.judge(), transcript, step)
}

/// Reason of a verdict: `Ok` for a success, `None` without a verdict.
pub fn reason(verdict: Option<&AgentVerdict>) -> Option<Result<(), Reason>> {
    verdict.map(|verdict| match verdict {
        AgentVerdict::Success => Ok(()),
        AgentVerdict::Failed(failure) => Err(failure.reason),
    })
}

fn judged(judge: &mut dyn AgentJudge, transcript: &[u8], step: usize) -> Option<AgentVerdict> {
    let ended: usize = transcript.chunks(step).map(|piece| judge.read(piece)).sum();
    let newlines = transcript.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(ended, newlines, "each newline ends a line");
    judge.end();
    judge.verdict().cloned()
}

fn passes_a_request_on(agent: &dyn CodeAgent) {
    let capabilities = agent.capabilities();
    let request = AgentRequest {
        prompt: "--a prompt\nof two lines".to_owned(),
        session_id: Some("session-7236".to_owned()),
        model: Some("model-7236".to_owned()),
        max_turns: Some(7236),
    };
    let invocation = agent.invocation(&request);
    assert!(!invocation.argv.is_empty(), "a program");
    assert!(
        !invocation.argv.iter().any(|word| word.contains(&request.prompt)),
        "the prompt is no argument: {:?}",
        invocation.argv
    );
    assert!(!invocation.stdin.is_empty(), "the prompt is on standard input");
    let passed = |wish: &str| invocation.argv.iter().any(|word| word == wish);
    for (wish, is_heeded) in [
        ("session-7236", capabilities.resume),
        ("model-7236", capabilities.model),
        ("7236", capabilities.max_turns),
    ] {
        assert_eq!(passed(wish), is_heeded, "{wish} in {:?}", invocation.argv);
    }
}

fn reads_each_line_by_itself(agent: &dyn CodeAgent, transcript: &Transcript<'_>) {
    let there: Vec<_> = transcript.lines().map(|line| agent.read_line(line)).collect();
    let lines: Vec<&[u8]> = transcript.lines().collect();
    let mut back: Vec<_> = lines.iter().rev().map(|line| agent.read_line(line)).collect();
    back.reverse();
    assert_eq!(there, back, "{}: a line depends on others", transcript.name);
    for event in there.iter().flatten() {
        assert_eq!(event.provider, agent.provider(), "{}", transcript.name);
    }
}

/// A line that is cut, that bytes were lost of, or that is none of the agent's at all must not end the process.
fn reads_no_broken_line(agent: &dyn CodeAgent, transcript: &Transcript<'_>) {
    for line in transcript.lines() {
        for cut in [0, 1, line.len() / 3, line.len() / 2, line.len() - 1] {
            assert_eq!(agent.read_line(&line[..cut]), None, "{}: a line cut at {cut}", transcript.name);
        }
        for nth in 0..line.len().min(64) {
            let mut broken = line.to_vec();
            let at = nth * line.len() / 64;
            broken[at.min(line.len() - 1)] = [b'"', 0xff, b'{', b'\\'][nth % 4];
            // It may be an event all the same: it must only be read.
            drop(agent.read_line(&broken));
        }
    }
    let foreign: [&[u8]; 5] = [b"", b" ", b"no event of an agent", b"\xff\xfe\x00", b"42"];
    for line in foreign {
        assert_eq!(agent.read_line(line), None, "{line:?}");
    }
}

fn judges_alike_however_it_is_cut(agent: &dyn CodeAgent, transcript: &Transcript<'_>) {
    let whole = verdict(agent, transcript.bytes, usize::MAX);
    for step in [1, 7, 4096] {
        assert_eq!(verdict(agent, transcript.bytes, step), whole, "{} in steps of {step}", transcript.name);
    }
    // The last line may lack its newline.
    let open = transcript.bytes.strip_suffix(b"\n").unwrap_or(transcript.bytes);
    assert_eq!(verdict(agent, open, 4096), whole, "{} without its last newline", transcript.name);
    // A run that is cut within its first line has told nothing.
    let first = transcript.lines().next().map_or(0, |line| line.len() / 2);
    assert_eq!(verdict(agent, &transcript.bytes[..first], 4096), None, "{} cut short", transcript.name);
}
