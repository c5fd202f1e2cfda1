//! Values that several requests and answers share, each with its rules and its limits.

use serde::{Deserialize, Deserializer, Serialize};

use crate::number::whole_number;

/// Entries of a page where a request names no `limit`.
pub const PAGE_DEFAULT: u32 = 50;
/// Most entries of a page.
pub const PAGE_MAX: u32 = 200;

text! {
    /// Moment in UTC, as RFC 3339. Answers and events always have six digits of a second, so that their texts sort by time.
    Timestamp, |schema| {
        let format = utoipa::openapi::KnownFormat::DateTime;
        schema.format(Some(utoipa::openapi::SchemaFormat::KnownFormat(format)))
    }
}

text! {
    /// Name of a stream of events, unique in its project.
    StreamName, |schema| schema.pattern(Some(StreamName::PATTERN)).examples(["ci-7"])
}

impl StreamName {
    /// Names that are accepted: 1 to 128 letters, digits, `.`, `_`, `:` and `-`, beginning with a letter or digit.
    pub const PATTERN: &'static str = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$";
}

text! {
    /// Name of an environment variable.
    #[derive(PartialOrd, Ord)]
    VariableName, |schema| schema.pattern(Some(VariableName::PATTERN))
}

impl VariableName {
    /// Names that are accepted: 1 to 200 letters, digits and `_`, not beginning with a digit.
    pub const PATTERN: &'static str = "^[A-Za-z_][A-Za-z0-9_]{0,199}$";
}

text! {
    /// Value of an environment variable.
    VariableValue, |schema| {
        schema.max_length(Some(VariableValue::BYTES_MAX)).pattern(Some(VariableValue::PATTERN))
    }
}

impl VariableValue {
    /// Longest value, in bytes: the kernel takes no longer argument.
    pub const BYTES_MAX: usize = 131_071;
    /// Values that are accepted: without a NUL byte.
    pub const PATTERN: &'static str = "^[^\\u0000]*$";
}

/// Time limit in seconds, 1 to 604,800 (7 days).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct TimeoutSeconds(pub u64);

impl TimeoutSeconds {
    /// Shortest limit.
    pub const MIN: u64 = 1;
    /// Longest limit: 7 days.
    pub const MAX: u64 = 604_800;
}

impl From<u64> for TimeoutSeconds {
    fn from(seconds: u64) -> Self {
        Self(seconds)
    }
}

/// Accepts any whole number: the server reports one out of range together with the other fields that are not valid.
impl<'de> Deserialize<'de> for TimeoutSeconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        whole_number(deserializer).map(Self)
    }
}

#[cfg(feature = "schema")]
impl utoipa::PartialSchema for TimeoutSeconds {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::{KnownFormat, ObjectBuilder, SchemaFormat, schema::Type};
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .description(Some("Time limit in seconds, 1 to 604,800 (7 days)."))
            .minimum(Some(Self::MIN))
            .maximum(Some(Self::MAX))
            .into()
    }
}

#[cfg(feature = "schema")]
impl utoipa::ToSchema for TimeoutSeconds {
    fn name() -> std::borrow::Cow<'static, str> {
        std::borrow::Cow::Borrowed("TimeoutSeconds")
    }
}
