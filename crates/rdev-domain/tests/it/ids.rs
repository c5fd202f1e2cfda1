//! Ids at the limits of the accepted syntax.

use std::str::FromStr;

use rdev_domain::{IdError, JobId, KeyId, ProjectId, StreamId, WorkerId, WorkerName};

/// Asserts that ids of this kind have 1 to `max` bytes, and that an error has the value, cut to 80 characters.
fn lengths<T: FromStr<Err = IdError>>(max: usize) {
    for length in [1, 2, max - 1, max] {
        assert!("a".repeat(length).parse::<T>().is_ok(), "{length}");
    }
    assert!("".parse::<T>().is_err());
    for length in [max + 1, max + 100] {
        let error = "a".repeat(length).parse::<T>().map(|_| ()).unwrap_err();
        assert_eq!(error.value, "a".repeat(length.min(80)));
    }
}

#[test]
fn each_kind_has_its_length() {
    lengths::<ProjectId>(63);
    lengths::<WorkerName>(63);
    lengths::<StreamId>(128);
    lengths::<WorkerId>(128);
    lengths::<KeyId>(64);
}

fn accepted<T: FromStr<Err = IdError> + ToString>(text: &str) -> bool {
    text.parse::<T>().is_ok_and(|id| id.to_string() == text)
}

#[test]
fn labels_are_letters_digits_and_dashes_inside() {
    for good in ["a", "0", "a-b", "9-z", "a--b"] {
        assert!(accepted::<ProjectId>(good) && accepted::<WorkerName>(good), "{good}");
    }
    for bad in ["-", "-a", "a-", "A", "aB", "a_b", "a.b", "a:b", "a/b", "a b", "ä", "@pool"] {
        assert!(!accepted::<ProjectId>(bad) && !accepted::<WorkerName>(bad), "{bad}");
    }
}

#[test]
fn tokens_begin_with_a_letter_or_digit_and_have_four_marks() {
    for good in ["a", "Z", "7", "a.b", "a_b", "a-b", "a:b", "A...", "1-_:."] {
        assert!(
            accepted::<StreamId>(good) && accepted::<WorkerId>(good) && accepted::<KeyId>(good),
            "{good}"
        );
    }
    for bad in [".a", "_a", "-a", ":a", "a/b", "a b", "a@b", "a\n", "é", "a,b"] {
        assert!(!accepted::<StreamId>(bad) && !accepted::<WorkerId>(bad) && !accepted::<KeyId>(bad), "{bad}");
    }
}

#[test]
fn a_job_id_is_its_prefix_and_32_hexadecimal_digits() {
    let digits = "0123456789abcdef0123456789abcdef";
    let good = format!("cmd-{digits}");
    let id: JobId = good.parse().unwrap();
    assert_eq!(id.as_str(), good);
    assert_eq!(StreamId::from(&id).as_str(), good);
    for bad in [
        digits.to_owned(),
        format!("cmd-{}", &digits[1..]),
        format!("cmd-{digits}0"),
        format!("cmd-{}g", &digits[1..]),
        format!("cmd-{}A", &digits[1..]),
        format!("cmd-{}-", &digits[1..]),
        format!("CMD-{digits}"),
    ] {
        assert!(bad.parse::<JobId>().is_err(), "{bad}");
    }
}

#[test]
fn an_error_names_the_kind_the_value_and_what_is_accepted() {
    let error = "A b".parse::<ProjectId>().unwrap_err().to_string();
    assert!(error.contains("project id \"A b\"") && error.contains("1 to 63"), "{error}");
}

#[test]
fn ids_are_texts_in_json() {
    let id: ProjectId = serde_json::from_str("\"demo\"").unwrap();
    assert_eq!(serde_json::to_string(&id).unwrap(), "\"demo\"");
    assert!(serde_json::from_str::<ProjectId>("\"De mo\"").is_err());
}
