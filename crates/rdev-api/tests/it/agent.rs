//! The real `claude`, with a scripted model service.

use serde_json::json;

use crate::support::{
    Accepted, AgentLine, Client, Command, Data, Failure, Fixture, Item, Model, Runtime, Told,
    told_on_every_runtime,
};

told_on_every_runtime! {
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

/// What an agent's run came to.
struct Run {
    command: Command,
    lines: Vec<AgentLine>,
    complete: crate::support::Complete,
}

impl Run {
    fn result(&self) -> &AgentLine {
        self.lines.iter().find(|line| line.kind == "result").expect("a result among the events")
    }

    fn session(&self) -> &str {
        let init = self.lines.iter().find(|line| line.kind == "init");
        init.and_then(|line| line.session_id.as_deref()).expect("the agent tells its session")
    }

    fn told(&self) -> (&str, Option<&str>) {
        assert_eq!(self.complete.status, self.command.status);
        assert_eq!(self.complete.reason, self.command.reason);
        assert_eq!(self.complete.message, self.command.message);
        (&self.command.status, self.command.reason.as_deref())
    }
}

async fn accept(client: &Client, body: &serde_json::Value) -> Accepted {
    let accepted = client.post("/projects/demo/claude", body).send().await.json::<Data<Accepted>>(202).data;
    assert_eq!(accepted.kind, "claude");
    accepted
}

async fn run(client: &Client, body: serde_json::Value) -> Run {
    let accepted = accept(client, &body).await;
    let mut events = client.follow(&accepted.stream_id, None).await;
    let mut lines = Vec::new();
    let complete = loop {
        match events.event().await.told {
            Told::Agent(line) => lines.push(*line),
            Told::Complete(complete) => break complete,
            Told::Error(_) | Told::Status(_) | Told::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    };
    Run { command: client.command(&accepted.id).await, lines, complete }
}

async fn a_prompt_is_answered(on: Runtime) {
    let model = Model::start(on).await;
    let server = model.fixture().start().await;
    let run = run(&server.client(), json!({"prompt": "Say it.\n@stub text It is said."})).await;
    assert_eq!(run.told(), ("completed", None));
    assert_eq!(run.command.exit_code, Some(0));
    assert_eq!(run.result().text.as_deref(), Some("It is said."));
    assert!(run.result().usage.is_some() && run.result().cost_usd.is_some(), "{:?}", run.result());
    let kinds: Vec<&str> = run.lines.iter().map(|line| line.kind.as_str()).collect();
    assert!(kinds.contains(&"init") && kinds.contains(&"message"), "{kinds:?}");
    assert!(run.lines.iter().all(|line| line.provider == "claude"), "{:?}", run.lines);
    assert!(run.command.summary.starts_with("Say it."));
}

async fn the_agent_uses_its_shell_and_writes_files_in_the_workspace(on: Runtime) {
    let model = Model::start(on).await;
    let server = model.fixture().start().await;
    let workspace = server.client().run("pwd").await.0.remove(0);
    let prompt =
        format!("@stub bash pwd > where; echo hello\n@stub write {workspace}/written.txt one\\ntwo\\n");
    let run = run(&server.client(), json!({"prompt": prompt})).await;
    assert_eq!(run.told(), ("completed", None));
    let tools: Vec<&str> = run.lines.iter().filter_map(|line| line.tool.as_deref()).collect();
    assert_eq!(tools, ["Bash", "Write"]);
    let of = |kind: &str| run.lines.iter().filter(|line| line.kind == kind).collect::<Vec<_>>();
    let (calls, results) = (of("tool_use"), of("tool_result"));
    assert!(calls[0].input.as_ref().is_some_and(|input| input.get().contains("echo hello")), "{calls:?}");
    assert_eq!((results[0].text.as_deref(), results[0].is_error), (Some("hello"), Some(false)));
    assert_eq!(calls[0].tool_use_id, results[0].tool_use_id);
    assert_eq!(server.file("where").await.unwrap().trim(), workspace);
    assert_eq!(server.file("written.txt").await.as_deref(), Some("one\ntwo\n"));
}

async fn an_error_of_the_model_service_is_told_with_its_reason(on: Runtime) {
    for (status, reason) in [
        (401, "auth"),
        (429, "quota"),
        (500, "model_unavailable"),
        (529, "model_unavailable"),
        (400, "agent_error"),
    ] {
        let model = Model::start(on).await;
        let server = model.fixture().start().await;
        let run = run(&server.client(), json!({"prompt": format!("@stub error {status}")})).await;
        assert_eq!(run.told(), ("failed", Some(reason)), "{status}: {:?}", run.command.message);
        let message = run.command.message.as_deref().unwrap_or_default();
        let says = message.contains(&status.to_string());
        assert!(says, "{status}: {message:?}");
        assert_eq!(run.command.exit_code, Some(1));
    }
}

async fn a_model_service_that_cannot_be_reached_is_unavailable(on: Runtime) {
    let model = Model::start(on).await;
    let server = model.fixture().for_commands("ANTHROPIC_BASE_URL", "http://127.0.0.1:9").start().await;
    let run = run(&server.client(), json!({"prompt": "hello"})).await;
    assert_eq!(run.told(), ("failed", Some("model_unavailable")), "{:?}", run.command.message);
}

async fn a_cancel_while_it_streams_reaches_the_model_service(on: Runtime) {
    let model = Model::start(on).await;
    let server = model.fixture().start().await;
    let client = server.client();
    let accepted = accept(&client, &json!({"prompt": "@stub slow 1000 0.1"})).await;
    model.saw("slow", "open").await;
    client.cancel(&accepted.id).await;
    let ended = client.ended(&accepted.id).await;
    assert_eq!((ended.status.as_str(), ended.reason.as_deref()), ("cancelled", Some("cancelled")));
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
    assert_eq!(client.ended(&accepted.id).await.status, "cancelled");
    assert!(!server.lives("pid").await);
    server.nothing_left().await;
}

async fn a_session_goes_on_where_it_was(on: Runtime) {
    let model = Model::start(on).await;
    let server = model.fixture().start().await;
    let client = server.client();
    let first = run(&client, json!({"prompt": "@stub text first"})).await;
    assert_eq!(first.told(), ("completed", None));
    let session = first.session().to_owned();
    let second = run(&client, json!({"prompt": "@stub text second", "session_id": session})).await;
    assert_eq!(second.told(), ("completed", None));
    assert_eq!(second.session(), session);
    let asked = model.asked().await;
    let messages: Vec<u32> =
        asked.iter().filter(|asked| asked.verb == "text").map(|asked| asked.messages).collect();
    assert!(messages.last() > messages.first(), "the second knows of the first: {messages:?}");

    let unknown = "00000000-0000-4000-8000-000000000000";
    let lost = run(&client, json!({"prompt": "@stub text third", "session_id": unknown})).await;
    assert_eq!(lost.told(), ("failed", Some("agent_error")));
    assert!(lost.command.message.as_deref().is_some_and(|message| message.contains(unknown)));
}

async fn a_prompt_may_be_long_and_begin_with_a_dash(on: Runtime) {
    let model = Model::start(on).await;
    let server = model.fixture().start().await;
    let client = server.client();
    let filler = "words and more words ".repeat(10_000);
    let long = run(&client, json!({"prompt": format!("--{filler}\n@stub text Read.")})).await;
    assert_eq!(long.told(), ("completed", None), "{:?}", long.command.message);
    assert_eq!(long.result().text.as_deref(), Some("Read."));
    assert_eq!(long.command.summary.chars().count(), 120);
}

async fn turns_can_be_limited(on: Runtime) {
    let model = Model::start(on).await;
    let server = model.fixture().start().await;
    let prompt = "@stub bash echo 1\n@stub bash echo 2\n@stub text never";
    let run = run(&server.client(), json!({"prompt": prompt, "max_turns": 1, "model": "haiku"})).await;
    assert_eq!(run.told(), ("failed", Some("max_turns")), "{:?}", run.command.message);
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
    assert_eq!((ended.status.as_str(), ended.reason), ("completed", None), "{:?}", ended.message);
    assert_eq!(server.file("started").await.as_deref(), Some("started\n"));
}

async fn an_agents_lines_are_read_as_events_as_text_or_as_they_came(on: Runtime) {
    let model = Model::start(on).await;
    let server = model.fixture().start().await;
    let client = server.client();
    let run = run(&client, json!({"prompt": "@stub text It is said."})).await;
    let stream = &run.command.stream_id;
    let read = async |query: &str| {
        let items = client.get(&format!("/projects/demo/events?{query}")).events().await.rest().await;
        items.into_iter().filter_map(numbered).collect::<Vec<_>>()
    };
    let events = read(&format!("stream_id={stream}")).await;
    let text = read(&format!("stream_id={stream}&agent=text")).await;
    let raw = read(&format!("stream_id={stream}&agent=raw")).await;
    let numbers = |told: &[(u64, Told)]| told.iter().map(|(seq, _)| *seq).collect::<Vec<_>>();
    assert_eq!(numbers(&events), numbers(&text));
    assert_eq!(numbers(&events), numbers(&raw));
    assert!(
        text.iter().any(|(_, told)| matches!(told, Told::Output(line) if line.line == "It is said.")),
        "{text:?}"
    );
    let line_of = |(_, told): &(u64, Told)| match told {
        Told::Output(line) | Told::Error(line) => Some(format!("{}\n", line.line)),
        _ => None,
    };
    let as_it_came: String = raw.iter().filter_map(line_of).collect();
    assert_eq!(as_it_came, client.output(&run.command.id).await);
    // A stream that is resumed has the same events.
    let (after, _) = events[0];
    let rest = read(&format!("stream_id={stream}&last_event_id={after}&agent=events")).await;
    assert_eq!(format!("{rest:?}"), format!("{:?}", &events[1..]));

    // The project's stream has an agent's events beside the output of others, whatever that looks like.
    client.shell_on("like-an-agent", "echo '{\"type\":\"result\",\"subtype\":\"success\"}'").await;
    for (query, agents_lines) in [("agent=events", run.lines.len()), ("agent=raw", 0)] {
        let mut events = client.get(&format!("/projects/demo/events?{query}")).events().await;
        let (mut seen, mut ended) = (0, 0);
        while ended < 2 {
            match events.event().await.told {
                Told::Agent(line) => {
                    assert_eq!(&line.stream_id, stream);
                    seen += 1;
                }
                Told::Complete(_) => ended += 1,
                _ => {}
            }
        }
        assert_eq!(seen, agents_lines, "{query}");
    }

    let refused = client.get(&format!("/projects/demo/events/{stream}?agent=json")).send().await;
    let failure = refused.json::<Failure>(422);
    assert!(format!("{failure:?}").contains("`events`, `text` and `raw`"), "{failure:?}");
}

/// What has a number in its stream.
fn numbered(item: Item) -> Option<(u64, Told)> {
    match item {
        Item::Event(event) => event.seq().map(|seq| (seq, event.told)),
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
    assert_eq!((ended.status.as_str(), ended.reason.as_deref()), ("failed", Some("spawn_failed")));
    assert!(ended.message.is_some());
}
