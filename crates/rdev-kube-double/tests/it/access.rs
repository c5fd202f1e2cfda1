//! Tokens and their permissions.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{AttachParams, ListParams, PostParams};
use kube::{Api, Error};
use rdev_kube_double::{Access, Cluster, Config, ExecVerbs, NewPod, rule};

use crate::{client, soon};

#[tokio::test]
async fn without_a_valid_token_every_request_is_refused() {
    let cluster = Cluster::start().await.unwrap();
    let pods = Api::<Pod>::default_namespaced(client(&cluster.kubeconfig_with("wrong").unwrap()).await);
    let Err(Error::Api(status)) = pods.list(&ListParams::default()).await else { panic!("no error") };
    assert_eq!((status.code, status.reason.as_str()), (401, "Unauthorized"));
    let request = cluster.requests().pop().unwrap();
    assert!(request.is("list", "pods") && request.user.is_none());
}

#[tokio::test]
async fn a_role_allows_what_it_says_where_it_is_bound() {
    let cluster = Cluster::start().await.unwrap();
    cluster.add_pod(NewPod::new("a", "a-0")).unwrap();
    let token = cluster.token_for(Access::nothing().role("a", vec![rule("", &["pods"], &["get", "list"])]));
    let client = client(&cluster.kubeconfig_with(&token).unwrap()).await;
    let pods = |namespace| Api::<Pod>::namespaced(client.clone(), namespace);
    assert_eq!(pods("a").list(&ListParams::default()).await.unwrap().items.len(), 1);
    let Err(Error::Api(status)) = pods("b").get("b-0").await else { panic!("no error") };
    let user = cluster.requests().pop().unwrap().user.unwrap();
    assert_eq!(status.code, 403);
    assert_eq!(
        status.message,
        format!(
            "pods \"b-0\" is forbidden: User \"{user}\" cannot get resource \"pods\" in API group \"\" in the \
             namespace \"b\""
        )
    );
    let Err(Error::Api(status)) = Api::<Pod>::all(client.clone()).list(&ListParams::default()).await else {
        panic!("no error")
    };
    assert!(status.message.ends_with("at the cluster scope"));
    assert!(cluster.set_access(&token, Access::everything()));
    assert!(pods("b").get_opt("b-0").await.unwrap().is_none());
}

#[tokio::test]
async fn a_review_agrees_with_the_request() {
    let cluster = Cluster::start().await.unwrap();
    let rules = vec![rule("", &["pods"], &["get"]), rule("", &["pods/exec"], &["create"])];
    let client = client(&cluster.kubeconfig_for(rules).unwrap()).await;
    let reviews = Api::<SelfSubjectAccessReview>::all(client);
    for (verb, resource, below, wanted) in [
        ("get", "pods", None, true),
        ("list", "pods", None, false),
        ("create", "pods", Some("exec"), true),
        ("get", "pods", Some("exec"), false),
    ] {
        let attributes = ResourceAttributes {
            verb: Some(verb.to_owned()),
            resource: Some(resource.to_owned()),
            subresource: below.map(str::to_owned),
            namespace: Some("a".to_owned()),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        let answer = reviews.create(&PostParams::default(), &review).await.unwrap();
        assert_eq!(answer.status.unwrap().allowed, wanted, "{verb} {resource} {below:?}");
    }
}

#[tokio::test]
async fn exec_needs_one_verb_of_old_and_two_of_new_servers() {
    for (verbs, needed) in [(ExecVerbs::Old, vec!["get"]), (ExecVerbs::New, vec!["get", "create"])] {
        let config = Config { exec_verbs: verbs, ..Config::default() };
        let cluster = Cluster::start_with(config).await.unwrap();
        cluster.add_pod(NewPod::new("default", "demo")).unwrap();
        let token = cluster.token_for(vec![rule("", &["pods/exec"], &["get"])]);
        let client = client(&cluster.kubeconfig_with(&token).unwrap()).await;
        let pods = Api::<Pod>::default_namespaced(client);
        let exec = async || soon(pods.exec("demo", ["true"], &AttachParams::default())).await;
        assert_eq!(exec().await.is_ok(), verbs == ExecVerbs::Old);
        assert!(cluster.set_access(&token, vec![rule("", &["pods/exec"], &["get", "create"])]));
        assert!(exec().await.is_ok());
        let request = cluster.request(|request| request.is("get", "pods/exec")).await.unwrap();
        assert_eq!(
            (request.needs, request.command),
            (needed.iter().map(ToString::to_string).collect(), vec!["true".to_owned()])
        );
    }
}
