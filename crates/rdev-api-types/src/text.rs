//! Texts of the wire that have rules of their own.

/// Drops the space that a doc comment has after its slashes.
#[cfg(feature = "schema")]
pub(crate) fn unindented(doc: &str) -> String {
    let lines: Vec<&str> = doc.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    lines.join("\n").trim_end().to_owned()
}

/// Defines a text with a schema of its own, shared by every field that holds one. Reading accepts any text: the server
/// reports a text that breaks the rules together with the other fields that are not valid.
macro_rules! text {
    ($(#[doc = $doc:literal])+ $(#[derive($($extra:ident),+)])? $name:ident, $shape:expr) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        $(#[derive($($extra),+)])?
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        #[cfg(feature = "schema")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                let shape: fn(utoipa::openapi::ObjectBuilder) -> utoipa::openapi::ObjectBuilder = $shape;
                let text = utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .description(Some($crate::text::unindented(concat!($($doc, "\n"),+))));
                shape(text).into()
            }
        }

        #[cfg(feature = "schema")]
        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                std::borrow::Cow::Borrowed(stringify!($name))
            }
        }
    };
}
