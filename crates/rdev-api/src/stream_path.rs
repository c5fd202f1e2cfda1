//! Paths of event streams: the one place that knows where each stream is.

use axum::extract::Query;
use axum::http::Uri;
use percent_encoding::percent_decode_str;
use rdev_services::StreamRef;

use crate::error::quoted;

/// Query parameters of streams, of which `stream_id` alone names one.
const PARAMETERS: [&str; 7] = ["stream_id", "last_event_id", "since", "stderr", "types", "agent", "ticket"];

/// Returns the stream at a path.
///
/// # Errors
/// The description of what is accepted, where there is no stream at the path.
pub(crate) fn stream_at(uri: &Uri) -> Result<StreamRef, String> {
    const ACCEPTED: &str = "accepted is the path of an event stream, as in `stream_url` or `events_url`";
    let no_stream = || ACCEPTED.to_owned();
    let Query(parameters) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| no_stream())?;
    if let Some((unknown, _)) = parameters.iter().find(|(name, _)| !PARAMETERS.contains(&name.as_str())) {
        let unknown = quoted(unknown);
        return Err(format!("{unknown} is no parameter of a stream: accepted are {}", PARAMETERS.join(", ")));
    }
    let segments: Option<Vec<String>> = uri.path().strip_prefix('/').map(|path| {
        let decode = |part| percent_decode_str(part).decode_utf8_lossy().into_owned();
        path.split('/').map(decode).collect()
    });
    let segments = segments.ok_or_else(no_stream)?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let named = parameters.iter().find(|(name, _)| name == "stream_id").map(|(_, stream)| stream.as_str());
    let stream = match (&segments[..], named) {
        (["events"], None) => Some(StreamRef::All),
        (["projects", project, "events"], None) => project.parse().ok().map(StreamRef::Project),
        (&["projects", project, "events"], Some(stream))
        | (&["projects", project, "events", stream], None) => project
            .parse()
            .ok()
            .zip(stream.parse().ok())
            .map(|(project, stream)| StreamRef::Stream(project, stream)),
        (["queue", "tasks", id, "events"], _) => id.parse().ok().map(StreamRef::Task),
        (["operations", id, "events"], None) => id.parse().ok().map(StreamRef::Operation),
        _ => None,
    };
    stream.ok_or_else(no_stream)
}

/// Returns the path of a stream, in the one spelling that tickets are signed with.
pub(crate) fn path_of(stream: &StreamRef) -> String {
    match stream {
        StreamRef::All => "/events".to_owned(),
        StreamRef::Project(project) => format!("/projects/{project}/events"),
        StreamRef::Stream(project, stream) => format!("/projects/{project}/events?stream_id={stream}"),
        StreamRef::Task(id) => format!("/queue/tasks/{id}/events"),
        StreamRef::Operation(id) => format!("/operations/{id}/events"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> Result<StreamRef, String> {
        stream_at(&path.parse().unwrap())
    }

    #[test]
    fn every_stream_is_found_at_its_paths() {
        let task = format!("cmd-{}", "0".repeat(32));
        // As in its `stream_url`; the route itself checks the name.
        let named = at(&format!("/queue/tasks/{task}/events?stream_id={task}")).unwrap();
        assert_eq!(path_of(&named), format!("/queue/tasks/{task}/events"));
        for path in [
            "/events".to_owned(),
            "/projects/demo/events".to_owned(),
            "/projects/demo/events?stream_id=ci-7".to_owned(),
            format!("/queue/tasks/{task}/events"),
            format!("/operations/op-{}/events", "0".repeat(32)),
        ] {
            assert_eq!(path_of(&at(&path).unwrap()), path);
        }
        let named = at("/projects/demo/events?stream_id=a:b").unwrap();
        assert_eq!(at("/projects/demo/events/a:b").unwrap(), named);
        assert_eq!(at("/projects/demo/events/a%3Ab?stderr=output&last_event_id=3").unwrap(), named);
        assert_eq!(at("/projects/%64emo/events?stream_id=a%3Ab&ticket=x").unwrap(), named);
    }

    #[test]
    fn what_is_no_stream_is_refused_by_its_name() {
        for path in [
            "/",
            "/projects/demo",
            "/projects/DEMO/events",
            "/events/x",
            "/events?stream_id=x",
            "/queue/tasks/1/events",
        ] {
            assert!(at(path).unwrap_err().contains("events_url"), "{path}");
        }
        assert!(at("/events?streamId=x").unwrap_err().contains("\"streamId\""));
    }
}
