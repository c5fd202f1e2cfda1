//! Whole numbers as JSON has them: `5.0` is as much an integer as `5`.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::{Error, Visitor};

/// Largest magnitude of a fractional notation that stands for exactly one whole number.
const EXACT_MAX: f64 = 9e15;

/// Reads a whole number, in whichever notation.
///
/// # Errors
/// Names the number where it has a fraction or does not fit.
pub(crate) fn whole_number<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i128>,
{
    deserializer.deserialize_any(Whole(PhantomData))
}

/// Reads a whole number or null.
///
/// # Errors
/// As [`whole_number`].
pub(crate) fn whole_number_or_null<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i128>,
{
    deserializer.deserialize_option(WholeOrNull(PhantomData))
}

struct Whole<T>(PhantomData<T>);

impl<T: TryFrom<i128>> Whole<T> {
    fn fit<E: Error>(whole: Option<i128>, number: impl fmt::Display) -> Result<T, E> {
        let fits = whole.and_then(|whole| T::try_from(whole).ok());
        fits.ok_or_else(|| E::custom(format_args!("{number} is not a whole number that fits here")))
    }
}

impl<T: TryFrom<i128>> Visitor<'_> for Whole<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        Self::fit(Some(number.into()), number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        Self::fit(Some(number.into()), number)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        let is_whole = number.fract() == 0.0 && number.abs() < EXACT_MAX;
        Self::fit(is_whole.then_some(number as i128), format_args!("{number:?}"))
    }
}

struct WholeOrNull<T>(PhantomData<T>);

impl<'de, T: TryFrom<i128>> Visitor<'de> for WholeOrNull<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, or null")
    }

    fn visit_none<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        whole_number(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Numbers {
        #[serde(default, deserialize_with = "super::whole_number")]
        a: i32,
        #[serde(default, deserialize_with = "super::whole_number_or_null")]
        b: Option<u64>,
    }

    fn read(text: &str) -> Result<(i32, Option<u64>), String> {
        serde_json::from_str::<Numbers>(text)
            .map(|numbers| (numbers.a, numbers.b))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn both_notations_are_the_same_number() {
        assert_eq!(read(r#"{"a": -1.0, "b": 5e0}"#), Ok((-1, Some(5))));
        assert_eq!(read(r#"{"a": 7, "b": 18446744073709551615}"#), Ok((7, Some(u64::MAX))));
        assert_eq!(read(r#"{"b": null}"#), Ok((0, None)));
        assert_eq!(read("{}"), Ok((0, None)));
    }

    #[test]
    fn what_is_no_whole_number_that_fits_is_named() {
        for (text, named) in [
            (r#"{"a": 1.5}"#, "1.5 is not a whole number"),
            (r#"{"a": 1e300}"#, "1e300 is not a whole number"),
            (r#"{"a": 2147483648}"#, "2147483648 is not"),
            (r#"{"b": -5}"#, "-5 is not"),
            (r#"{"b": "5"}"#, "expected a whole number"),
            (r#"{"a": null}"#, "expected a whole number"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
