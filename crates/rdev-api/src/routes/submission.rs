//! Submission of a command: it is stored, and answered with its location, or with its events.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use mediatype::{MediaType, Name, names};
use rdev_domain::{Principal, ProjectId};
use rdev_services::{Commands, Events, SubmitCommand};
use utoipa::IntoResponses;

use crate::envelope::{Data, replayed};
use crate::error::{ApiError, ErrorBody};
use crate::extract::liked;
use crate::routes::commands::Accepted;
use crate::sse::payload::ServerSentEvent;
use crate::sse::{Opening, Streams};

const JSON: MediaType<'static> = MediaType::new(names::APPLICATION, names::JSON);
const EVENT_STREAM: MediaType<'static> = MediaType::new(names::TEXT, Name::new_unchecked("event-stream"));

/// Submission of commands, shared by all kinds of them.
#[derive(Clone)]
pub(crate) struct Submission {
    commands: Commands,
    events: Events,
    streams: Streams,
}

/// Form of the response that the caller prefers.
pub(crate) enum ReplyAs {
    /// The accepted command, at once.
    Accepted,
    /// The command's events, as `Accept: text/event-stream` asks.
    Events(Opening),
}

impl<S: Send + Sync> FromRequestParts<S> for ReplyAs
where
    Streams: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let events = liked(&parts.headers, &[JSON, EVENT_STREAM]) == Some(&EVENT_STREAM);
        if !events {
            return Ok(Self::Accepted);
        }
        Opening::from_request_parts(parts, state).await.map(Self::Events)
    }
}

impl Submission {
    pub(crate) fn new(commands: Commands, events: Events, streams: Streams) -> Self {
        Self { commands, events, streams }
    }

    /// Stores the command, and replies in the preferred form.
    pub(super) async fn submit(
        &self,
        caller: &Principal,
        project: &ProjectId,
        submit: SubmitCommand,
        reply_as: ReplyAs,
    ) -> Result<Response, ApiError> {
        let (command, asked) = self.commands.submit(caller, project, submit).await?;
        let location = [(header::LOCATION, format!("/projects/{project}/commands/{}", command.id))];
        let reply = match reply_as {
            ReplyAs::Accepted => (StatusCode::ACCEPTED, Data::new(Accepted::from(&command))).into_response(),
            ReplyAs::Events(opening) => {
                let follow = self.events.follow_job(&command, None).await?;
                self.streams.command(opening, follow, None)
            }
        };
        Ok((replayed(asked), location, reply).into_response())
    }
}

/// Responses to a submission, for the document.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its description is used")]
pub(super) enum SubmitResponses {
    /// Stored, and here are its events: the answer to `Accept: text/event-stream`
    #[response(status = 200, content_type = "text/event-stream")]
    Events(ServerSentEvent),
    /// Stored: it will run
    #[response(status = 202, headers(("Location" = String, description = "Where the command is read"), ("Idempotent-Replayed" = Option<String>, description = "`true` on the answer to a repetition")))]
    Accepted(Data<Accepted>),
    /// There is no such project
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The stream's name is taken, or the idempotency key was used for another request
    #[response(status = 409)]
    Conflict(ErrorBody),
    /// Fields are not valid: `details` names each
    #[response(status = 422)]
    Invalid(ErrorBody),
}
