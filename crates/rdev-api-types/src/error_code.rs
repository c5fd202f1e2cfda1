//! Codes of failures.

closed_set! {
    /// Stable code of a failure, for programs.
    ErrorCode {
        /// The request is not HTTP that the server can read.
        InvalidRequest = "INVALID_REQUEST",
        /// The path and query are too long.
        UriTooLong = "URI_TOO_LONG",
        /// The headers are too large.
        HeadTooLarge = "HEAD_TOO_LARGE",
        /// Another version of HTTP than 1.0 and 1.1.
        HttpVersionNotSupported = "HTTP_VERSION_NOT_SUPPORTED",
        /// The headers did not arrive in time.
        HeadTimeout = "HEAD_TIMEOUT",
        /// The path is not valid UTF-8.
        InvalidPath = "INVALID_PATH",
        /// The query cannot be read, or has an unknown parameter.
        InvalidQuery = "INVALID_QUERY",
        /// The body cannot be read, or has an unknown field.
        InvalidBody = "INVALID_BODY",
        /// The body did not arrive in time.
        BodyTimeout = "BODY_TIMEOUT",
        /// The body is too large.
        BodyTooLarge = "BODY_TOO_LARGE",
        /// The body is not JSON, or it is encoded.
        UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE",
        /// A value is not valid: `details` names each.
        ValidationFailed = "VALIDATION_FAILED",
        /// No key, or one that is not accepted.
        Unauthorized = "UNAUTHORIZED",
        /// The key does not have the scope.
        ScopeRequired = "SCOPE_REQUIRED",
        /// Too many requests with this key.
        RateLimited = "RATE_LIMITED",
        /// Too many open event streams with this key.
        TooManyStreams = "TOO_MANY_STREAMS",
        /// There is no such path.
        RouteNotFound = "ROUTE_NOT_FOUND",
        /// The path does not take this method.
        MethodNotAllowed = "METHOD_NOT_ALLOWED",
        /// There is no such project.
        ProjectNotFound = "PROJECT_NOT_FOUND",
        /// There is no such command.
        CommandNotFound = "COMMAND_NOT_FOUND",
        /// There is no such task.
        TaskNotFound = "TASK_NOT_FOUND",
        /// There is no such stream.
        StreamNotFound = "STREAM_NOT_FOUND",
        /// There is no such worker.
        WorkerNotFound = "WORKER_NOT_FOUND",
        /// There is no such file of the task.
        ArtefactNotFound = "ARTEFACT_NOT_FOUND",
        /// There is no such operation.
        OperationNotFound = "OPERATION_NOT_FOUND",
        /// The project has, or had, a stream of that name.
        StreamIdTaken = "STREAM_ID_TAKEN",
        /// The idempotency key was used for another request.
        IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED",
        /// The task has not ended.
        TaskNotEnded = "TASK_NOT_ENDED",
        /// The command has ended.
        CommandEnded = "COMMAND_ENDED",
        /// A project of that name exists.
        ProjectExists = "PROJECT_EXISTS",
        /// The project is being deleted.
        ProjectDeleting = "PROJECT_DELETING",
        /// The runtime finds its projects, and makes and removes none.
        ProjectsAreFound = "PROJECTS_ARE_FOUND",
        /// Something else has the name that the operation needs.
        NameTaken = "NAME_TAKEN",
        /// Another operation of the project has not ended.
        OperationInProgress = "OPERATION_IN_PROGRESS",
        /// Only an operation that has ended without success can be retried.
        OperationNotRetryable = "OPERATION_NOT_RETRYABLE",
        /// A system that the server needs is down: try again later.
        Unavailable = "UNAVAILABLE",
        /// Defect of the server.
        Internal = "INTERNAL",
    }
}
