//! Label and field selectors.

use k8s_openapi::api::core::v1::Pod;

/// Filter of a list or a watch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    pub(crate) namespace: Option<String>,
    labels: Vec<Requirement>,
    fields: Vec<Field>,
}

#[derive(Debug, Clone)]
enum Requirement {
    In(String, Vec<String>),
    /// Also true for an object without the label.
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
}

#[derive(Debug, Clone)]
struct Field {
    name: FieldName,
    value: String,
    equal: bool,
}

#[derive(Debug, Clone, Copy)]
enum FieldName {
    Name,
    Namespace,
    Phase,
    Node,
}

impl Selector {
    /// Parses selectors. The error is the message of the real server's 400.
    pub(crate) fn parse(
        namespace: Option<&str>,
        labels: Option<&str>,
        fields: Option<&str>,
    ) -> Result<Self, String> {
        Ok(Self {
            namespace: namespace.map(str::to_owned),
            labels: parse_labels(labels.unwrap_or_default())?,
            fields: parse_fields(fields.unwrap_or_default())?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Returns the one name that can match, if the selector names one.
    pub(crate) fn name(&self) -> Option<&str> {
        let name = |field: &&Field| matches!(field.name, FieldName::Name) && field.equal;
        self.fields.iter().find(name).map(|field| field.value.as_str())
    }

    pub(crate) fn matches(&self, pod: &Pod) -> bool {
        let here = self.namespace.is_none() || self.namespace == pod.metadata.namespace;
        here && self.labels.iter().all(|one| one.matches(pod))
            && self.fields.iter().all(|one| one.matches(pod))
    }
}

impl Requirement {
    fn matches(&self, pod: &Pod) -> bool {
        let value = |key: &String| pod.metadata.labels.as_ref().and_then(|labels| labels.get(key));
        match self {
            Self::In(key, values) => value(key).is_some_and(|value| values.contains(value)),
            Self::NotIn(key, values) => value(key).is_none_or(|value| !values.contains(value)),
            Self::Exists(key) => value(key).is_some(),
            Self::Missing(key) => value(key).is_none(),
        }
    }
}

impl Field {
    fn matches(&self, pod: &Pod) -> bool {
        let value = match self.name {
            FieldName::Name => pod.metadata.name.as_deref(),
            FieldName::Namespace => pod.metadata.namespace.as_deref(),
            FieldName::Phase => pod.status.as_ref().and_then(|status| status.phase.as_deref()),
            FieldName::Node => pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()),
        };
        (value.unwrap_or_default() == self.value) == self.equal
    }
}

fn parse_labels(text: &str) -> Result<Vec<Requirement>, String> {
    outside_parentheses(text).filter(|part| !part.is_empty()).map(parse_label).collect()
}

/// Splits at commas outside of value sets.
fn outside_parentheses(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    text.split(move |letter| {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        letter == ',' && depth == 0
    })
    .map(str::trim)
}

fn parse_label(part: &str) -> Result<Requirement, String> {
    let one = |key: &str, value: &str| Ok((label_key(key)?, vec![value.trim().to_owned()]));
    if let Some((key, value)) = part.split_once("!=") {
        return one(key, value).map(|(key, values)| Requirement::NotIn(key, values));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return one(key, value).map(|(key, values)| Requirement::In(key, values));
    }
    if let Some(values) = part.strip_suffix(')') {
        let (head, values) = values.split_once('(').ok_or_else(|| unparsable(part))?;
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        let head = head.trim_end();
        return match (head.strip_suffix(" notin"), head.strip_suffix(" in")) {
            (Some(key), _) => Ok(Requirement::NotIn(label_key(key)?, values)),
            (None, Some(key)) => Ok(Requirement::In(label_key(key)?, values)),
            (None, None) => Err(unparsable(part)),
        };
    }
    match part.strip_prefix('!') {
        Some(key) => Ok(Requirement::Missing(label_key(key)?)),
        None => Ok(Requirement::Exists(label_key(part)?)),
    }
}

fn label_key(text: &str) -> Result<String, String> {
    let key = text.trim();
    let known = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
    if key.is_empty() || !key.chars().all(known) { Err(unparsable(text)) } else { Ok(key.to_owned()) }
}

fn unparsable(part: &str) -> String {
    format!("unable to parse requirement: {part}")
}

fn parse_fields(text: &str) -> Result<Vec<Field>, String> {
    text.split(',').filter(|part| !part.is_empty()).map(parse_field).collect()
}

fn parse_field(part: &str) -> Result<Field, String> {
    let (name, value, equal) = if let Some((name, value)) = part.split_once("!=") {
        (name, value, false)
    } else if let Some((name, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (name, value, true)
    } else {
        return Err(format!("invalid field selector: \"{part}\""));
    };
    let name = match name {
        "metadata.name" => FieldName::Name,
        "metadata.namespace" => FieldName::Namespace,
        "status.phase" => FieldName::Phase,
        "spec.nodeName" => FieldName::Node,
        other => return Err(format!("field label not supported: {other}")),
    };
    Ok(Field { name, value: value.to_owned(), equal })
}
