//! Readability of the document for people: short titles, and a whole stream as the example of a stream.

use utoipa::openapi::RefOr;
use utoipa::openapi::path::Operation;

/// Media type of event streams.
const EVENT_STREAM: &str = "text/event-stream";
/// Media type of event streams as lines of JSON.
const NDJSON: &str = "application/x-ndjson";
/// First line of a stream that is sent as lines of JSON.
const HEARTBEAT: &str =
    "{\"event\":\"heartbeat\",\"data\":{\"timestamp\":\"2026-01-24T20:00:00.460000Z\"}}\n";
/// Streams of a command and of an operation from their beginning to their end, as a server has sent them.
const COMMAND_STREAM: &str = include_str!("command_stream.txt");
const OPERATION_STREAM: &str = include_str!("operation_stream.txt");

/// Titles of operations whose id is none.
const TITLES: [(&str, &str); 12] = [
    ("get_pool", "Get pool totals"),
    ("health", "Check health"),
    ("metrics", "Get metrics"),
    ("openapi", "Get this document"),
    ("operation_events", "Follow operation"),
    ("project_events", "Follow project"),
    ("queue_stats", "Get queue totals"),
    ("ready", "Check readiness"),
    ("run_claude", "Run Claude Code"),
    ("run_shell", "Run shell line"),
    ("stream_events", "Follow stream"),
    ("task_events", "Follow task"),
];

/// Gives an operation a title, beside which a list of all operations is readable; the sentence that summed it up begins its
/// description.
pub(super) fn entitle(operation: &mut Operation) {
    let Some(title) = operation.operation_id.as_deref().map(title) else { return };
    let sentence = operation.summary.replace(title);
    let paragraphs: Vec<String> = [sentence, operation.description.take()].into_iter().flatten().collect();
    operation.description = (!paragraphs.is_empty()).then(|| paragraphs.join("\n\n"));
}

/// Returns the title of an operation: as listed, else the words of its id.
fn title(id: &str) -> String {
    if let Some((_, title)) = TITLES.iter().find(|(listed, _)| *listed == id) {
        return (*title).to_owned();
    }
    let words = id.replace('_', " ");
    let (first, rest) = words.split_at(words.chars().next().map_or(0, char::len_utf8));
    first.to_uppercase() + rest
}

/// Shows a whole stream as the example of each answer that is one. A POST that answers 202 lists that answer alone: programs
/// that are generated from the document expect one form of success.
pub(super) fn show_streams(operation: &mut Operation) {
    let responses = &mut operation.responses.responses;
    if responses.contains_key("202") && responses.remove("200").is_some() {
        let sentence = "With `Accept: text/event-stream`, or `application/x-ndjson`, the answer is the command's events, as `Follow \
                        stream` sends them, and `Location` names the command.";
        let before = operation.description.take().map(|before| before + "\n\n").unwrap_or_default();
        operation.description = Some(before + sentence);
    }
    let is_operation = operation.operation_id.as_deref() == Some("operation_events");
    let stream = if is_operation { OPERATION_STREAM } else { COMMAND_STREAM };
    for response in responses.values_mut() {
        let RefOr::T(response) = response else { continue };
        let Some(RefOr::T(content)) = response.content.get_mut(EVENT_STREAM) else { continue };
        content.example = Some(stream.into());
        if let Some(RefOr::T(content)) = response.content.get_mut(NDJSON) {
            content.example = Some(as_lines(stream).into());
        }
    }
}

/// Returns a stream of server-sent events as lines of JSON.
fn as_lines(stream: &str) -> String {
    let line = |block: &str| {
        let row = |name: &str| block.lines().find_map(|row| row.strip_prefix(name));
        let (name, data) = (row("event: ")?, row("data: ")?);
        let id = row("id: ").map(|id| format!("\"id\":\"{id}\",")).unwrap_or_default();
        Some(format!("{{{id}\"event\":\"{name}\",\"data\":{data}}}\n"))
    };
    stream.split("\n\n").filter_map(line).fold(HEARTBEAT.to_owned(), |lines, line| lines + &line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_also_shown_as_lines() {
        let lines =
            as_lines("retry: 1000\n\nevent: status\ndata: {}\n\nid: 1\nevent: output\ndata: {\"seq\":1}\n\n");
        let expected =
            "{\"event\":\"status\",\"data\":{}}\n{\"id\":\"1\",\"event\":\"output\",\"data\":{\"seq\":1}}\n";
        assert_eq!(lines.strip_prefix(HEARTBEAT), Some(expected));
    }

    #[test]
    fn a_title_is_listed_or_made_of_an_id() {
        assert_eq!(title("list_artefacts"), "List artefacts");
        assert_eq!(title("health"), "Check health");
    }
}
