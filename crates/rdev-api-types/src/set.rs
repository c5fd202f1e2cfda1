//! Closed sets: enums whose values are names on the wire.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Error of parsing a name that is not in a closed set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownValue {
    /// Name of the set's type.
    pub set: &'static str,
}

impl fmt::Display for UnknownValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no value of {}", self.set)
    }
}

impl std::error::Error for UnknownValue {}

/// Value of a closed set in a request, as its caller wrote it.
///
/// The server reads any text here and reports an unknown one together with the other fields that are not valid.
/// A client makes it from the enum with `into()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AsWritten<T> {
    /// Value of the set.
    Known(T),
    /// Text that names no value of the set.
    Other(String),
}

impl<T: Copy> AsWritten<T> {
    /// Returns the value, `None` for a text that names none.
    pub fn known(&self) -> Option<T> {
        match self {
            Self::Known(value) => Some(*value),
            Self::Other(_) => None,
        }
    }
}

impl<T: fmt::Display> fmt::Display for AsWritten<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(value) => value.fmt(f),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl<T> From<T> for AsWritten<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

impl<T: Serialize> Serialize for AsWritten<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Known(value) => value.serialize(serializer),
            Self::Other(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de, T: FromStr> Deserialize<'de> for AsWritten<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(text.parse().map_or(Self::Other(text), Self::Known))
    }
}

/// Defines an enum of names: its values with their documentation, and `Unknown` for what a newer server may send.
macro_rules! closed_set {
    (
        $(#[doc = $about:literal])+
        $name:ident { $($(#[doc = $doc:literal])+ $value:ident = $text:literal,)+ }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[doc = $doc])+ $value,)+
            /// Value that this version does not know, read from a newer server's answer; never written by a server.
            Unknown,
        }

        impl $name {
            /// Every value that this version knows.
            pub const ALL: &'static [Self] = &[$(Self::$value),+];

            /// Returns the name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                    Self::Unknown => "unknown",
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::UnknownValue;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$value),)+
                    _ => Err($crate::UnknownValue { set: stringify!($name) }),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                Ok(text.parse().unwrap_or(Self::Unknown))
            }
        }

        #[cfg(feature = "schema")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                let about = concat!($($about, "\n",)+ $("\n- `", $text, "`:", $($doc,)+)+);
                utoipa::openapi::schema::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .description(Some($crate::text::unindented(about)))
                    .enum_values(Some([$($text),+]))
                    .into()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Status, TaskType};

    #[test]
    fn a_value_of_a_newer_server_is_read_as_unknown() {
        assert_eq!(serde_json::from_str::<Status>("\"running\"").unwrap(), Status::Running);
        assert_eq!(serde_json::from_str::<Status>("\"archived\"").unwrap(), Status::Unknown);
        assert!(serde_json::from_str::<Status>("5").is_err());
    }

    #[test]
    fn every_name_is_read_back_and_unknown_is_none() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse(), Ok(*status));
        }
        assert_eq!("unknown".parse::<Status>(), Err(UnknownValue { set: "Status" }));
    }

    #[test]
    fn a_request_keeps_what_its_caller_wrote() {
        let known: AsWritten<TaskType> = serde_json::from_str("\"test\"").unwrap();
        assert_eq!(known, TaskType::Test.into());
        let other: AsWritten<TaskType> = serde_json::from_str("\"tset\"").unwrap();
        assert_eq!((other.known(), other.to_string()), (None, "tset".to_owned()));
        assert_eq!(serde_json::to_string(&other).unwrap(), "\"tset\"");
    }
}
