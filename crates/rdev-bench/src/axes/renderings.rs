//! Lines per second in the other renderings of a stream, beside the same command through a plain pipe into a file.

use std::ops::ControlFlow;
use std::time::Instant;

use super::run::Client;
use crate::servers::Rdev;
use crate::sse::Counter;
use crate::stats::median;
use crate::table::{Report, Row, short};

/// Form of a stream that a client asks for.
struct Rendering {
    name: &'static str,
    accept: &'static str,
    query: &'static str,
}

const RENDERINGS: [Rendering; 3] = [
    Rendering { name: "JSON lines", accept: "application/x-ndjson", query: "" },
    Rendering { name: "batch=1000", accept: "text/event-stream", query: "?batch=1000" },
    Rendering { name: "JSON lines, batch=1000", accept: "application/x-ndjson", query: "?batch=1000" },
];

/// Command with the number of its lines and its last one, and what a pipe carries of them a second.
pub(super) struct Piped<'a> {
    pub(super) name: &'static str,
    pub(super) command: &'a str,
    pub(super) lines: u64,
    pub(super) last: &'a str,
    pub(super) pipe: f64,
}

/// Measures each rendering so many times.
pub(super) async fn measure(
    rdev: &Rdev,
    piped: &Piped<'_>,
    rounds: u32,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut client = Client::new(rdev).await?;
    for Rendering { name, accept, query } in RENDERINGS {
        let (mut rates, mut bytes) = (Vec::new(), 0);
        for _ in 0..rounds {
            let mut counter = if query.is_empty() { Counter::new() } else { Counter::of_batches() };
            let began = Instant::now();
            let see = |bytes: &[u8]| {
                counter.push(bytes);
                ControlFlow::Continue(())
            };
            client.events_as((accept, query), piped.command, see).await?;
            rates.push(piped.lines as f64 / began.elapsed().as_secs_f64());
            anyhow::ensure!(
                counter.is_complete() && counter.numbers.in_order(),
                "{name}: {:?}",
                counter.numbers
            );
            // The complete event has a number as well.
            anyhow::ensure!(counter.numbers.count == piped.lines + 1, "{name}: {:?}", counter.numbers);
            anyhow::ensure!(counter.last_line() == Some(piped.last), "{name}: {:?}", counter.last_line());
            bytes = counter.bytes;
        }
        let rate = median(&rates);
        report.row(Row {
            axis: format!("lines/s, {}, {name} ({:.0} MB)", piped.name, bytes as f64 / 1e6),
            rdev: short(rate),
            peer: format!("pipe {}", short(piped.pipe)),
            ratio: format!("{:.2}", rate / piped.pipe),
            aim: ">= 0.5",
            met: Some(rate >= 0.5 * piped.pipe),
        });
    }
    Ok(())
}
