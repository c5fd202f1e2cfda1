//! Parts of the OpenAPI document beyond the handlers' own annotations: its frame, the security schemes, and the error
//! responses that every route shares.

mod examples;
mod readable;

use axum::http::Method;
use rdev_api_types::{
    Accepted, AgentEvent, CompleteEvent, Data, ErrorBody, ErrorCode, GapEvent, HeartbeatEvent,
    IdempotencyKeyHeader, LinesEvent, OutputEvent, ProjectGapEvent, StatusEvent, StepEvent, StreamItem,
    Ticket,
};
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::schema::{Array, Schema};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ContentBuilder, Header, HeaderBuilder, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder,
};
use utoipa::{IntoParams, OpenApi};

pub(crate) use self::examples::Examples;
use self::examples::{JSON, by_name};
use crate::access::Access;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "rdev API",
        description = include_str!("openapi/introduction.md"),
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "This server")),
    tags(
        (name = "projects", description = "Projects, in whose pods commands run"),
        (name = "operations", description = "Operations on projects, step by step"),
        (name = "commands", description = "Commands, their history and their output"),
        (name = "events", description = "Server-sent events, resumable with Last-Event-ID"),
        (name = "queue", description = "Build, test and deploy work for the pool"),
        (name = "workers", description = "The workers of the pool"),
        (name = "system", description = "Health, and this document"),
    ),
    components(schemas(ErrorBody, Data<Accepted>, OutputEvent, LinesEvent, AgentEvent, StatusEvent, StepEvent, CompleteEvent, GapEvent, ProjectGapEvent, HeartbeatEvent, StreamItem, Ticket))
)]
struct Frame;

/// Returns the document without its paths.
pub(crate) fn frame() -> utoipa::openapi::OpenApi {
    let mut frame = Frame::openapi();
    let components = frame.components.get_or_insert_default();
    let bearer =
        HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("rdev_<id>_<secret>").build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let header =
        ApiKeyValue::with_description("X-API-Key", "The same key, for clients that cannot set Bearer");
    components.add_security_scheme("api_key", SecurityScheme::ApiKey(ApiKey::Header(header)));
    let query = ApiKeyValue::with_description("ticket", "From POST /events/ticket");
    components.add_security_scheme("ticket", SecurityScheme::ApiKey(ApiKey::Query(query)));
    frame
}

/// Has envelopes refer to their resources: written out in each, one resource becomes several types of a generated client.
pub(crate) fn refer_from_envelopes(document: &mut utoipa::openapi::OpenApi) {
    let Some(components) = &mut document.components else { return };
    let names: Vec<String> = components.schemas.keys().cloned().collect();
    for (name, schema) in &mut components.schemas {
        let (resource, is_list) = match (name.strip_prefix("Data_"), name.strip_prefix("List_")) {
            (Some(resource), _) => (resource, false),
            (_, Some(resource)) => (resource, true),
            _ => continue,
        };
        let is_there = names.iter().any(|known| known == resource);
        let (true, RefOr::T(Schema::Object(envelope))) = (is_there, schema) else { continue };
        let reference = Ref::from_schema_name(resource);
        let data = if is_list { Array::new(reference).into() } else { reference.into() };
        envelope.properties.insert("data".to_owned(), data);
    }
}

const GATED: [(&str, ErrorCode, &str); 3] = [
    ("401", ErrorCode::Unauthorized, "No key, or one that is not accepted"),
    ("403", ErrorCode::ScopeRequired, "The key does not have the scope"),
    (
        "429",
        ErrorCode::RateLimited,
        "Too many requests with this key, or too many open event streams (`TOO_MANY_STREAMS`); Retry-After says when to come back",
    ),
];
const BODY: [(&str, ErrorCode, &str); 4] = [
    (
        "400",
        ErrorCode::InvalidBody,
        "The body or the query cannot be read, or has an unknown field or parameter",
    ),
    ("408", ErrorCode::BodyTimeout, "The body did not arrive in time"),
    ("413", ErrorCode::BodyTooLarge, "The body is larger than 4 MiB"),
    ("415", ErrorCode::UnsupportedMediaType, "The body is not application/json"),
];
const READING: (&str, ErrorCode, &str) = (
    "400",
    ErrorCode::InvalidQuery,
    "The path or the query cannot be read, or the query has an unknown parameter",
);
const IDEMPOTENT: [(&str, ErrorCode, &str); 2] = [
    ("409", ErrorCode::IdempotencyKeyReused, "The idempotency key was used for another request"),
    ("422", ErrorCode::ValidationFailed, "The idempotency key is not valid"),
];
const QUERY: (&str, ErrorCode, &str) = ("422", ErrorCode::ValidationFailed, "A parameter is not valid");
const ANY: [(&str, ErrorCode, &str); 2] = [
    ("500", ErrorCode::Internal, "Defect of the server; its log names the cause by the request id"),
    (
        "503",
        ErrorCode::Unavailable,
        "A system that the server needs is down; Retry-After says when to try again",
    ),
];

/// Adds to an operation its security, the parameters and responses that every operation of its kind has, and its examples.
pub(crate) fn complete(method: &Method, operation: &mut Operation, access: Access, examples: &Examples) {
    readable::entitle(operation);
    readable::show_streams(operation);
    let is_post = method == Method::POST;
    if is_post {
        let key = IdempotencyKeyHeader::into_params(|| None);
        operation.parameters.get_or_insert_default().extend(key.into_iter().map(RefOr::T));
    }
    let takes = |wanted: &dyn Fn(&Parameter) -> bool| {
        let parameters = operation.parameters.iter().flatten();
        parameters.filter_map(known).any(wanted)
    };
    let queries = takes(&|parameter| parameter.parameter_in == ParameterIn::Query);
    let mut add = |(status, code, description): &(&str, ErrorCode, &str)| {
        let responses = &mut operation.responses.responses;
        responses
            .entry((*status).to_owned())
            .or_insert_with(|| RefOr::T(failure(status, *code, description)));
    };
    if access == Access::Public {
        ANY[..1].iter().for_each(&mut add);
    } else {
        GATED.iter().for_each(&mut add);
        ANY.iter().for_each(&mut add);
        operation.security = Some(security(access));
    }
    if operation.request_body.is_some() {
        BODY.iter().for_each(&mut add);
    }
    add(&READING);
    if is_post {
        IDEMPOTENT.iter().for_each(&mut add);
        with_replay(operation);
    } else if queries {
        add(&QUERY);
    }
    examples.show_in(operation);
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            if access != Access::Public && status == "429" {
                with_rate(response);
            }
            with_request_id(response);
        }
    }
}

fn failure(status: &str, code: ErrorCode, description: &str) -> Response {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("ErrorBody")))
        .examples_from_iter([by_name(code.as_str())])
        .build();
    let mut response = ResponseBuilder::new().description(description).content(JSON, content).build();
    if matches!(status, "429" | "503") {
        let seconds = ObjectBuilder::new().schema_type(utoipa::openapi::Type::Integer).build();
        let header = HeaderBuilder::new().schema(Some(seconds)).description(Some("Seconds to wait")).build();
        response.headers.insert("Retry-After".to_owned(), RefOr::T(header));
    }
    response
}

/// Adds to the answers that a repetition gets the header that tells a repetition.
fn with_replay(operation: &mut Operation) {
    let header = text_header("`true` on the answer to a repetition");
    for (status, response) in &mut operation.responses.responses {
        if let (true, RefOr::T(response)) = (status.starts_with('2'), response)
            && response.content.contains_key(JSON)
        {
            response.headers.insert("Idempotent-Replayed".to_owned(), RefOr::T(header.clone()));
        }
    }
}

/// Adds the headers that tell a key's rate.
fn with_rate(response: &mut Response) {
    for (name, description) in [
        (
            "RateLimit",
            "What the key has left, as `\"key\";r=59;t=1`: requests it may make at once, seconds until it has its whole quota again; of a refused request, until it may come back",
        ),
        ("RateLimit-Policy", "Rate of the key, as `\"key\";q=60;w=6`: requests at most, in so many seconds"),
    ] {
        response.headers.insert(name.to_owned(), RefOr::T(text_header(description)));
    }
}

fn text_header(description: &str) -> Header {
    let text = ObjectBuilder::new().schema_type(utoipa::openapi::Type::String).build();
    HeaderBuilder::new().schema(Some(text)).description(Some(description)).build()
}

fn with_request_id(response: &mut Response) {
    let header = text_header("Id of the request: the caller's own, or a new one");
    response.headers.insert("X-Request-Id".to_owned(), RefOr::T(header));
}

fn security(access: Access) -> Vec<SecurityRequirement> {
    let none: [&str; 0] = [];
    let mut ways = vec![SecurityRequirement::new("bearer", none), SecurityRequirement::new("api_key", none)];
    if matches!(access, Access::Stream(_)) {
        ways.push(SecurityRequirement::new("ticket", none));
    }
    ways
}

/// Returns a parameter that stands in the operation itself, as those of all operations here do.
fn known(parameter: &RefOr<Parameter>) -> Option<&Parameter> {
    match parameter {
        RefOr::T(parameter) => Some(parameter),
        RefOr::Ref(_) => None,
    }
}

/// Returns the names of the query parameters that an operation takes.
pub(crate) fn query_names(operation: &Operation, access: Access) -> Vec<String> {
    let documented = operation.parameters.iter().flatten();
    let in_query = documented
        .filter_map(known)
        .filter(|parameter| parameter.parameter_in == ParameterIn::Query)
        .map(|parameter| parameter.name.clone());
    let ticket = (matches!(access, Access::Stream(_))).then(|| "ticket".to_owned());
    in_query.chain(ticket).collect()
}
