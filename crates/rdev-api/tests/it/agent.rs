//! The real `claude`, with a scripted model service.

use rdev_client::AgentForm;
use rdev_client::types::{
    Accepted, AgentEvent, AgentEventType, AgentProvider, Command, CommandType, CompleteEvent, ErrorBody,
    Event, Reason, Status,
};
use serde_json::json;

use crate::support::{Client, Events, Fixture, Item, Model, ReceivedExt, Runtime, on_every_runtime};

on_every_runtime! {
    a_prompt_is_answered,
    the_agent_uses_its_shell_and_writes_files_in_the_workspace,
    an_error_of_the_model_service_is_told_with_its_reason,
    a_model_service_that_cannot_be_reached_is_unavailable,
    a_cancel_while_it_streams_reaches_the_model_service,
    a_cancel_while_a_tool_runs_ends_the_tool,
    a_session_goes_on_where_it_was,
    a_prompt_may_be_long_and_begin_with_a_dash,
    turns_can_be_limited,
    an_agent_outlives_the_server,
    an_agents_lines_are_read_as_events_as_text_or_as_they_came,
}

/// Run of an agent, from its first line to its end.
struct Run {
    command: Command,
    lines: Vec<AgentEvent>,
    complete: CompleteEvent,
}

impl Run {
    fn result(&self) -> &AgentEvent {
        self.lines.iter().find(|line| line.kind == AgentEventType::Result).expect("a result among the events")
    }

    fn session(&self) -> &str {
        let init = self.lines.iter().find(|line| line.kind == AgentEventType::Init);
        init.and_then(|line| line.session_id.as_deref()).expect("the agent tells its session")
    }

    fn told(&self) -> (Status, Option<Reason>) {
        let Command { accepted, progress, .. } = &self.command;
        assert_eq!(self.complete.status, accepted.status);
        assert_eq!(self.complete.reason, progress.reason);
        assert_eq!(self.complete.message, progress.message);
        (accepted.status, progress.reason)
    }
}

async fn accept(client: &Client, body: &serde_json::Value) -> Accepted {
    let accepted = client.claude_in("demo", body).await;
    assert_eq!(accepted.kind, CommandType::Claude);
    accepted
}

async fn run(client: &Client, body: serde_json::Value) -> Run {
    let accepted = accept(client, &body).await;
    let mut events = client.follow(&accepted.stream_id, None).await;
    let mut lines = Vec::new();
    let complete = loop {
        match events.event().await.event {
            Event::Agent(line) => lines.push(line),
            Event::Complete(complete) => break complete,
            Event::Error(_) | Event::Status(_) | Event::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    };
    Run { command: client.command(&accepted.id).await, lines, complete }
}

async fn a_prompt_is_answered(on: Runtime) {
    let model = Model::start(on).await;
    let server = model.fixture().start().await;
    let run = run(&server.client(), json!({"prompt": "Say it.\n@stub text It is said."})).await;
    assert_eq!(run.told(), (Status::Completed, None));
    assert_eq!(run.command.progress.exit_code, Some(0));
    assert_eq!(run.result().text.as_deref(), Some("It is said."));
    assert!(run.result().usage.is_some() && run.result().cost_usd.is_some(), "{:?}", run.result());
    let kinds: Vec<AgentEventType> = run.lines.iter().map(|line| line.kind).collect();
    assert!(kinds.contains(&AgentEventType::Init) && kinds.contains(&AgentEventType::Message), "{kinds:?}");
    assert!(run.lines.iter().all(|line| line.provider == AgentProvider::Claude), "{:?}", run.lines);
    assert!(run.command.summary.starts_with("Say it."));
}

async fn the_agent_uses_its_shell_and_writes_files_in_the_workspace(on: Runtime) {
    let model = Model::start(on).await;
    let server = model.fixture().start().await;
    let workspace = server.client().run("pwd").await.0.remove(0);
    let prompt =
        format!("@stub bash pwd > where; echo hello\n@stub write {workspace}/written.txt one\\ntwo\\n");
    let run = run(&server.client(), json!({"prompt": prompt})).await;
    assert_eq!(run.told(), (Status::Completed, None));
    let tools: Vec<&str> = run.lines.iter().filter_map(|line| line.tool.as_deref()).collect();
    assert_eq!(tools, ["Bash", "Write"]);
    let of = |kind: AgentEventType| run.lines.iter().filter(|line| line.kind == kind).collect::<Vec<_>>();
    let (calls, results) = (of(AgentEventType::ToolUse), of(AgentEventType::ToolResult));
    assert!(calls[0].input.as_ref().is_some_and(|input| input.as_str().contains("echo hello")), "{calls:?}");
    assert_eq!((results[0].text.as_deref(), results[0].is_error), (Some("hello"), Some(false)));
    assert_eq!(calls[0].tool_use_id, results[0].tool_use_id);
    assert_eq!(server.file("where").await.unwrap().trim(), workspace);
    assert_eq!(server.file("written.txt").await.as_deref(), Some("one\ntwo\n"));
}

async fn an_error_of_the_model_service_is_told_with_its_reason(on: Runtime) {
    for (status, reason) in [
        (401, Reason::Auth),
        (429, Reason::Quota),
        (500, Reason::ModelUnavailable),
        (529, Reason::ModelUnavailable),
        (400, Reason::AgentError),
    ] {
        let model = Model::start(on).await;
        let server = model.fixture().start().await;
        let run = run(&server.client(), json!({"prompt": format!("@stub error {status}")})).await;
        assert_eq!(
            run.told(),
            (Status::Failed, Some(reason)),
            "{status}: {:?}",
            run.command.progress.message
        );
        let message = run.command.progress.message.as_deref().unwrap_or_default();
        let says = message.contains(&status.to_string());
        assert!(says, "{status}: {message:?}");
        assert_eq!(run.command.progress.exit_code, Some(1));
    }
}

async fn a_model_service_that_cannot_be_reached_is_unavailable(on: Runtime) {
    let model = Model::start(on).await;
    let server = model.fixture().for_commands("ANTHROPIC_BASE_URL", "http://127.0.0.1:9").start().await;
    let run = run(&server.client(), json!({"prompt": "hello"})).await;
    assert_eq!(
        run.told(),
        (Status::Failed, Some(Reason::ModelUnavailable)),
        "{:?}",
        run.command.progress.message
    );
}

async fn a_cancel_while_it_streams_reaches_the_model_service(on: Runtime) {
    let model = Model::start(on).await;
    let server = model.fixture().start().await;
    let client = server.client();
    let accepted = accept(&client, &json!({"prompt": "@stub slow 1000 0.1"})).await;
    model.saw("slow", "open").await;
    client.cancel(&accepted.id).await;
    let ended = client.ended(&accepted.id).await;
    assert_eq!((ended.accepted.status, ended.progress.reason), (Status::Cancelled, Some(Reason::Cancelled)));
    model.saw("slow", "client_gone").await;
    server.nothing_left().await;
}

async fn a_cancel_while_a_tool_runs_ends_the_tool(on: Runtime) {
    let model = Model::start(on).await;
    let server = model.fixture().start().await;
    let client = server.client();
    let accepted = accept(&client, &json!({"prompt": "@stub bash echo $$ > pid; sleep 300"})).await;
    server.file_written("pid").await;
    client.cancel(&accepted.id).await;
    assert_eq!(client.ended(&accepted.id).await.accepted.status, Status::Cancelled);
    assert!(!server.lives("pid").await);
    server.nothing_left().await;
}

async fn a_session_goes_on_where_it_was(on: Runtime) {
    let model = Model::start(on).await;
    let server = model.fixture().start().await;
    let client = server.client();
    let first = run(&client, json!({"prompt": "@stub text first"})).await;
    assert_eq!(first.told(), (Status::Completed, None));
    let session = first.session().to_owned();
    let second = run(&client, json!({"prompt": "@stub text second", "session_id": session})).await;
    assert_eq!(second.told(), (Status::Completed, None));
    assert_eq!(second.session(), session);
    let asked = model.asked().await;
    let messages: Vec<u32> =
        asked.iter().filter(|asked| asked.verb == "text").map(|asked| asked.messages).collect();
    assert!(messages.last() > messages.first(), "the second knows of the first: {messages:?}");

    let unknown = "00000000-0000-4000-8000-000000000000";
    let lost = run(&client, json!({"prompt": "@stub text third", "session_id": unknown})).await;
    assert_eq!(lost.told(), (Status::Failed, Some(Reason::AgentError)));
    assert!(lost.command.progress.message.as_deref().is_some_and(|message| message.contains(unknown)));
}

async fn a_prompt_may_be_long_and_begin_with_a_dash(on: Runtime) {
    let model = Model::start(on).await;
    let server = model.fixture().start().await;
    let client = server.client();
    let filler = "words and more words ".repeat(10_000);
    let long = run(&client, json!({"prompt": format!("--{filler}\n@stub text Read.")})).await;
    assert_eq!(long.told(), (Status::Completed, None), "{:?}", long.command.progress.message);
    assert_eq!(long.result().text.as_deref(), Some("Read."));
    assert_eq!(long.command.summary.chars().count(), 120);
}

async fn turns_can_be_limited(on: Runtime) {
    let model = Model::start(on).await;
    let server = model.fixture().start().await;
    let prompt = "@stub bash echo 1\n@stub bash echo 2\n@stub text never";
    let run = run(&server.client(), json!({"prompt": prompt, "max_turns": 1, "model": "haiku"})).await;
    assert_eq!(run.told(), (Status::Failed, Some(Reason::MaxTurns)), "{:?}", run.command.progress.message);
}

async fn an_agent_outlives_the_server(on: Runtime) {
    let model = Model::start(on).await;
    let mut server = model.fixture().start().await;
    let prompt = "@stub bash echo started >> started; until [ -e go ]; do sleep 0.05; done\n@stub text Over.";
    let accepted = accept(&server.client(), &json!({"prompt": prompt})).await;
    server.file_written("started").await;
    server.kill9().await;
    server.restart().await;
    server.touch("go").await;
    let ended = server.client().ended(&accepted.id).await;
    assert_eq!(
        (ended.accepted.status, ended.progress.reason),
        (Status::Completed, None),
        "{:?}",
        ended.progress.message
    );
    assert_eq!(server.file("started").await.as_deref(), Some("started\n"));
}

async fn an_agents_lines_are_read_as_events_as_text_or_as_they_came(on: Runtime) {
    let model = Model::start(on).await;
    let server = model.fixture().start().await;
    let client = server.client();
    let run = run(&client, json!({"prompt": "@stub text It is said."})).await;
    let stream = &run.command.accepted.stream_id;
    let read = async |query: &str| {
        let items = client.get(&format!("/projects/demo/events?{query}")).events().await.rest().await;
        items.into_iter().filter_map(numbered).collect::<Vec<_>>()
    };
    let events = read(&format!("stream_id={stream}")).await;
    let text = read(&format!("stream_id={stream}&agent=text")).await;
    let raw = read(&format!("stream_id={stream}&agent=raw")).await;
    let numbers = |told: &[(u64, Event)]| told.iter().map(|(seq, _)| *seq).collect::<Vec<_>>();
    assert_eq!(numbers(&events), numbers(&text));
    assert_eq!(numbers(&events), numbers(&raw));
    assert!(
        text.iter().any(|(_, told)| matches!(told, Event::Output(line) if line.line == "It is said.")),
        "{text:?}"
    );
    let line_of = |(_, told): &(u64, Event)| match told {
        Event::Output(line) | Event::Error(line) => Some(format!("{}\n", line.line)),
        _ => None,
    };
    let as_it_came: String = raw.iter().filter_map(line_of).collect();
    assert_eq!(as_it_came, client.output(&run.command.accepted.id).await);
    // In batches come the lines that are no events of the agent.
    let gathered = read(&format!("stream_id={stream}&batch=100")).await;
    let is_agents = |(_, told): &&(u64, Event)| matches!(told, Event::Agent(_));
    assert!(gathered.iter().filter(is_agents).eq(events.iter().filter(is_agents)), "{gathered:?}");
    let gathered = read(&format!("stream_id={stream}&agent=raw&batch=100")).await;
    let lines_of = |(_, told): &(u64, Event)| match told {
        Event::Lines(lines) => lines.parts.iter().flat_map(|part| part.lines.clone()).collect(),
        _ => Vec::new(),
    };
    let as_it_came: String = gathered.iter().flat_map(lines_of).map(|line| line + "\n").collect();
    assert_eq!(as_it_came, client.output(&run.command.accepted.id).await);
    // A stream that is resumed has the same events.
    let (after, _) = events[0];
    let rest = read(&format!("stream_id={stream}&last_event_id={after}&agent=events")).await;
    assert_eq!(format!("{rest:?}"), format!("{:?}", &events[1..]));

    // The project's stream has an agent's events beside the output of others, whatever that looks like.
    client.shell_on("like-an-agent", "echo '{\"type\":\"result\",\"subtype\":\"success\"}'").await;
    for (form, agents_lines) in [(AgentForm::Events, run.lines.len()), (AgentForm::Raw, 0)] {
        let subscription = client.api().project_events("demo").agent(form);
        let mut events = Events::connect(subscription, None).await;
        let (mut seen, mut ended) = (0, 0);
        while ended < 2 {
            match events.event().await.event {
                Event::Agent(line) => {
                    assert_eq!(&line.stream_id, stream);
                    seen += 1;
                }
                Event::Complete(_) => ended += 1,
                _ => {}
            }
        }
        assert_eq!(seen, agents_lines, "{form:?}");
    }

    let refused = client.get(&format!("/projects/demo/events/{stream}?agent=json")).send().await;
    let failure = refused.json::<ErrorBody>(422);
    assert!(format!("{failure:?}").contains("`events`, `text` and `raw`"), "{failure:?}");
}

/// Returns an event that has a number in its stream.
fn numbered(item: Item) -> Option<(u64, Event)> {
    match item {
        Item::Event(event) => event.seq().map(|seq| (seq, event.event)),
        Item::Retry(_) => None,
    }
}

#[tokio::test]
async fn a_missing_agent_is_told_as_such() {
    // A PATH on which there is no claude, but what the runner needs.
    let server = Fixture::new().with("PATH", "/nowhere").start().await;
    let client = server.client();
    let accepted = accept(&client, &json!({"prompt": "hello"})).await;
    let ended = client.ended(&accepted.id).await;
    assert_eq!((ended.accepted.status, ended.progress.reason), (Status::Failed, Some(Reason::SpawnFailed)));
    assert!(ended.progress.message.is_some());
}
