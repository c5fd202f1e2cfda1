//! Permissions: the rules behind a token.

use k8s_openapi::api::rbac::v1::PolicyRule;

/// Permissions of the holder of a token.
#[derive(Debug, Clone, Default)]
pub struct Access {
    everything: bool,
    grants: Vec<Grant>,
}

#[derive(Debug, Clone)]
struct Grant {
    /// `None` for a cluster role: every namespace.
    namespace: Option<String>,
    rules: Vec<PolicyRule>,
}

impl Access {
    /// Returns the permissions of an administrator.
    pub fn everything() -> Self {
        Self { everything: true, grants: Vec::new() }
    }

    /// Returns no permissions, as a start.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Adds the rules of a role bound in a namespace.
    #[must_use]
    pub fn role(mut self, namespace: &str, rules: Vec<PolicyRule>) -> Self {
        self.grants.push(Grant { namespace: Some(namespace.to_owned()), rules });
        self
    }

    /// Adds the rules of a cluster role.
    #[must_use]
    pub fn cluster_role(mut self, rules: Vec<PolicyRule>) -> Self {
        self.grants.push(Grant { namespace: None, rules });
        self
    }

    pub(crate) fn allows(&self, asked: &AccessRequest<'_>) -> bool {
        let fits = |grant: &Grant| {
            let here = grant.namespace.is_none() || grant.namespace.as_deref() == asked.namespace;
            here && grant.rules.iter().any(|rule| asked.is_in(rule))
        };
        self.everything || self.grants.iter().any(fits)
    }
}

impl From<Vec<PolicyRule>> for Access {
    /// The rules hold in every namespace.
    fn from(rules: Vec<PolicyRule>) -> Self {
        Self::nothing().cluster_role(rules)
    }
}

/// Returns one rule: `rule("", &["pods"], &["get", "list"])`.
pub fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        ..PolicyRule::default()
    }
}

/// Attributes of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AccessRequest<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    /// With its subresource: `pods/exec`.
    pub(crate) resource: &'a str,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) name: Option<&'a str>,
}

impl AccessRequest<'_> {
    fn is_in(&self, rule: &PolicyRule) -> bool {
        let one_of = |list: &Option<Vec<String>>, wanted: &str| {
            list.iter().flatten().any(|entry| entry == "*" || entry == wanted)
        };
        let any_parent = self.resource.split_once('/').map(|(_, below)| format!("*/{below}"));
        let resource = one_of(&rule.resources, self.resource)
            || any_parent.is_some_and(|pattern| one_of(&rule.resources, &pattern));
        let name = match rule.resource_names.as_deref() {
            None | Some([]) => true,
            Some(names) => self.name.is_some_and(|name| names.iter().any(|one| one == name)),
        };
        let verb = rule.verbs.iter().any(|verb| verb == "*" || verb == self.verb);
        verb && one_of(&rule.api_groups, self.group) && resource && name
    }

    /// Returns the message of the real server for a forbidden request.
    pub(crate) fn refusal(&self, user: &str) -> String {
        let named = self.name.map(|name| format!(" \"{name}\"")).unwrap_or_default();
        let parent = self.resource.split('/').next().unwrap_or_default();
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let pod_folder = match self.namespace {
            Some(namespace) => format!("in the namespace \"{namespace}\""),
            None => "at the cluster scope".to_owned(),
        };
        format!(
            "{parent}{group}{named} is forbidden: User \"{user}\" cannot {} resource \"{}\" in API group \"{}\" {pod_folder}",
            self.verb, self.resource, self.group,
        )
    }
}
