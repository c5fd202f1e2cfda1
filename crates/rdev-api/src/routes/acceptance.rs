//! Accepting a command: it is stored, and answered with where to look, or with its events.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use mediatype::{MediaType, Name, names};
use rdev_api_types::{Accepted, Data, ErrorBody, ServerSentEvent};
use rdev_domain::{Principal, ProjectId};
use rdev_services::{Commands, Events, SubmitCommand};
use utoipa::IntoResponses;

use crate::app::AppState;
use crate::envelope::{data, replayed};
use crate::error::ApiError;
use crate::extract::liked;
use crate::routes::commands::accepted;
use crate::sse::agent::AgentForm;
use crate::sse::{Opening, Streams};

const JSON: MediaType<'static> = MediaType::new(names::APPLICATION, names::JSON);
const EVENT_STREAM: MediaType<'static> = MediaType::new(names::TEXT, Name::new_unchecked("event-stream"));

/// Parts of a request that accept a command.
#[derive(Clone)]
pub(crate) struct Acceptance {
    commands: Commands,
    events: Events,
    streams: Streams,
}

impl FromRef<AppState> for Acceptance {
    fn from_ref(state: &AppState) -> Self {
        Self {
            commands: state.0.commands.clone(),
            events: state.0.events.clone(),
            streams: state.0.streams.clone(),
        }
    }
}

/// How a caller wants to be answered.
pub(crate) enum Answer {
    /// At once, with where to look.
    Accepted,
    /// With the command's events, as `Accept: text/event-stream` asks.
    Events(Opening),
}

impl<S: Send + Sync> FromRequestParts<S> for Answer
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

impl Acceptance {
    /// Stores the command, and answers as was asked for.
    pub(super) async fn answer(
        &self,
        caller: &Principal,
        project: &ProjectId,
        submit: SubmitCommand,
        answer: Answer,
    ) -> Result<Response, ApiError> {
        let (command, asked) = self.commands.submit(caller, project, submit).await?;
        let location = [(header::LOCATION, format!("/projects/{project}/commands/{}", command.id))];
        let answer = match answer {
            Answer::Accepted => (StatusCode::ACCEPTED, data(accepted(&command))).into_response(),
            Answer::Events(opening) => {
                let follow = self.events.follow_job(&command, None).await?;
                self.streams.command(opening, follow, None, AgentForm::default())
            }
        };
        Ok((replayed(asked), location, answer).into_response())
    }
}

/// Answers to a request that has a command accepted, for the document.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its description is used")]
pub(super) enum AcceptAnswers {
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
