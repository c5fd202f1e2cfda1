//! Compares the deployed Role with the permissions that this crate uses, in both directions.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::{PolicyRule, Role};
use rdev_kube::PERMISSIONS;
use rdev_kube_double::Cluster;
use rdev_ports::{Pods, Severity, Stdin};
use serde::Deserialize;

use crate::support::{id, open, project, ready_pod, run, status};

fn role() -> Vec<PolicyRule> {
    const ACCESS: &str = include_str!("../../../../deployments/k8s/access/role.yaml");
    #[derive(Deserialize)]
    struct Kind {
        kind: String,
    }
    let mut documents = ACCESS.split("\n---\n");
    let role = documents.find(|text| serde_saphyr::from_str::<Kind>(text).unwrap().kind == "Role");
    serde_saphyr::from_str::<Role>(role.expect("a Role")).unwrap().rules.unwrap()
}

fn granted(rules: &[PolicyRule]) -> BTreeSet<(String, String)> {
    let of_rule = |rule: &PolicyRule| {
        let verbs = rule.verbs.clone();
        let resources = rule.resources.clone().unwrap_or_default();
        resources
            .into_iter()
            .flat_map(move |resource| verbs.clone().into_iter().map(move |verb| (resource.clone(), verb)))
    };
    rules.iter().flat_map(of_rule).collect()
}

#[test]
fn the_role_grants_what_is_named_and_nothing_else() {
    let named: BTreeSet<_> =
        PERMISSIONS.map(|(resource, verb)| (resource.to_owned(), verb.to_owned())).into();
    assert_eq!(granted(&role()), named);
}

#[tokio::test]
async fn with_the_role_everything_works_and_all_of_it_is_used() {
    let cluster = Cluster::start().await.unwrap();
    let pod = cluster.add_pod(project("demo")).unwrap();
    let kube = open(&cluster.kubeconfig_for(role()).unwrap()).await;
    let there = ready_pod(&kube).await;
    run(&kube, &there, &["true"], Stdin::None).await.1.unwrap();
    // A lookup of the pod itself follows a loss.
    kube.disruption(&there.pod_ref, &there.uid, rdev_ports::testing::START).await.unwrap();
    pod.delete(std::time::Duration::ZERO).unwrap();
    status(&kube, "demo", "gone Gone").await;

    let asked: BTreeSet<_> = cluster
        .requests()
        .into_iter()
        .filter(|request| request.resource.starts_with("pods"))
        .flat_map(|request| request.needs.into_iter().map(move |verb| (request.resource.clone(), verb)))
        .collect();
    assert_eq!(asked, granted(&role()));
}

#[tokio::test]
async fn an_examination_names_what_is_not_granted() {
    let cluster = Cluster::start().await.unwrap();
    cluster.add_pod(project("demo")).unwrap();
    let mut rules = role();
    rules.retain(|rule| rule.resources.as_deref() != Some(&["pods/exec".to_owned()]));
    let kube = open(&cluster.kubeconfig_for(rules).unwrap()).await;
    let findings = kube.diagnose().await;
    let bad: Vec<&str> = findings
        .iter()
        .filter(|finding| matches!(&finding.verdict, Severity::Bad(fix) if !fix.is_empty()))
        .map(|finding| finding.what.as_str())
        .collect();
    assert_eq!(bad, ["may get pods/exec", "may create pods/exec", "exec"], "{findings:?}");
    assert!(kube.project(&id("demo")).await.unwrap().is_some());
}
