//! Diagnosis of the cluster for `rdev-api doctor`.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;
use rdev_domain::{ProjectStatus, Timestamp};
use rdev_ports::{Clock, Diagnosis, Readiness};
use tokio::time::{Instant, timeout};

use crate::cluster::{ANSWER_TIMEOUT, CallError};
use crate::exec::{ExecError, ExecTarget};
use crate::pod::PodView;
use crate::{Kube, PERMISSIONS};

/// Seconds for which a silent exec is tested. Execs of rdev are never silent for longer than 10 s.
const SILENT_SECONDS: u64 = 25;
const RUNNER_SPEAKS_EVERY: Duration = Duration::from_secs(10);
/// Longest time for the probe of a pod.
const PROBE_AWAITED: Duration = Duration::from_secs(20);
/// Largest tolerated difference of clocks; leases and the times of events suffer beyond it.
const SKEW_MAX: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 4096;
const FIX_CREDENTIALS: &str = "see the token of the service account, or the kubeconfig: rdev reads them again every minute while \
                               it is not let in";

/// Tells whether a project's pod reaches the API server, which the default-deny policy of its namespace
/// forbids.
const REACH: &str = r#"
command -v bash >/dev/null && command -v timeout >/dev/null || { echo unknown; exit 0; }
timeout 3 bash -c 'exec 3<>"/dev/tcp/$KUBERNETES_SERVICE_HOST/$KUBERNETES_SERVICE_PORT"' 2>/dev/null &&
    echo open || echo closed
"#;

impl Kube {
    /// Diagnoses the API server, permissions, projects, and one ready pod.
    pub(crate) async fn findings(&self) -> Vec<Diagnosis> {
        let (reached, mut findings) = api_server(self).await;
        if !reached {
            return findings;
        }
        for (resource, verb) in PERMISSIONS {
            findings.push(permission(self, resource, verb).await);
        }
        if timeout(ANSWER_TIMEOUT, self.projects.registry.synced()).await.is_err() {
            let fix = "see the permissions above; rdev-api's log gives the error of the watch";
            findings.push(Diagnosis::bad("projects", "the pods could not be listed", fix));
            return findings;
        }
        let pods = self.projects.registry.all();
        findings.push(projects(self, &pods));
        findings.extend(doubled(self));
        match pods.into_iter().find(|pod| pod.status == ProjectStatus::Ready) {
            Some(pod) => findings.extend(in_pod(self, pod).await),
            None => {
                let fix = "see the state of the pods: kubectl get pods, kubectl describe pod";
                findings.push(Diagnosis::warning("exec", "not tried: no project is ready", fix));
            }
        }
        findings
    }
}

async fn api_server(kube: &Kube) -> (bool, Vec<Diagnosis>) {
    let address = &kube.cluster.address;
    let client = kube.cluster.client();
    let version = CallError::within(ANSWER_TIMEOUT, client.apiserver_version()).await;
    let fix =
        "check KUBECONFIG or the service account, the network policy for egress to it, and its certificate";
    let found = match version {
        Ok(version) => Diagnosis::good("API server", format!("{} at {address}", version.git_version)),
        Err(error) => Diagnosis::bad("API server", format!("{address}: {error}"), fix),
    };
    let reached = matches!(found.verdict, rdev_ports::Severity::Good);
    let mut findings = vec![found];
    if reached {
        findings.extend(clock_of_api_server(kube).await);
    }
    (reached, findings)
}

async fn clock_of_api_server(kube: &Kube) -> Option<Diagnosis> {
    let request = http::Request::get("/version").body(kube::client::Body::empty()).ok()?;
    let answer = timeout(ANSWER_TIMEOUT, kube.cluster.client().send(request)).await.ok()?.ok()?;
    let date = answer.headers().get(http::header::DATE)?.to_str().ok()?;
    let date = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    Some(skew("clock of the API server", Timestamp::from_micros(date.as_microsecond()), &*kube.clock))
}

fn skew(what: &str, theirs: Timestamp, clock: &dyn Clock) -> Diagnosis {
    let ours = clock.now();
    let skew = ours.since(theirs).max(theirs.since(ours));
    // The Date header has whole seconds.
    let seen = format!("{} s apart from this machine's", skew.as_secs());
    if skew <= SKEW_MAX {
        return Diagnosis::good(what, seen);
    }
    Diagnosis::warning(what, seen, "run a time service (chrony) on every node")
}

async fn permission(kube: &Kube, resource: &str, verb: &str) -> Diagnosis {
    let what = format!("may {verb} {resource}");
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (resource, None),
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(kube.cluster.namespace.clone()),
                resource: Some(resource.to_owned()),
                subresource,
                verb: Some(verb.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(kube.cluster.client());
    let namespace = &kube.cluster.namespace;
    let fix =
        format!("apply deployments/k8s/access: its Role grants this; it belongs in namespace {namespace}");
    match CallError::within(ANSWER_TIMEOUT, reviews.create(&PostParams::default(), &review)).await {
        Ok(answer) if answer.status.as_ref().is_some_and(|status| status.allowed) => {
            Diagnosis::good(what, format!("yes, in namespace {namespace}"))
        }
        Ok(_) => Diagnosis::bad(what, format!("no, not in namespace {namespace}"), fix),
        Err(error @ CallError::Unauthorized) => Diagnosis::bad(what, error.to_string(), FIX_CREDENTIALS),
        Err(error) => Diagnosis::bad(what, error.to_string(), fix),
    }
}

fn projects(kube: &Kube, pods: &[PodView]) -> Diagnosis {
    let ready = pods.iter().filter(|pod| pod.status == ProjectStatus::Ready).count();
    let namespace = &kube.cluster.namespace;
    let seen = format!(
        "{} pods with the label {} in namespace {namespace}, {ready} ready",
        pods.len(),
        crate::PROJECTS
    );
    match pods.len() {
        0 => Diagnosis::warning(
            "projects",
            seen,
            "kubectl apply -k deployments/k8s/projects/…, or check RDEV_NAMESPACE",
        ),
        all if ready < all => Diagnosis::warning("projects", seen, "GET /projects gives the reason of each"),
        _ => Diagnosis::good("projects", seen),
    }
}

/// Reports each project with more than one pod.
fn doubled(kube: &Kube) -> impl Iterator<Item = Diagnosis> {
    let fix = "give each pod a label rdev.orchard9.ai/project-id of its own, or delete one: a project is one pod, \
               as in a StatefulSet with one replica";
    let doubled = kube.projects.registry.doubled().into_iter();
    doubled.map(move |warning| Diagnosis::warning("project ids", warning.message, fix))
}

async fn in_pod(kube: &Kube, pod: PodView) -> Vec<Diagnosis> {
    let target = kube.cluster.target(&pod);
    let name = pod.name.clone();
    let watched = &kube.projects;
    let readiness = watched.containers.readiness(pod, PROBE_AWAITED).await;
    let ready_pod = match readiness {
        Readiness::Ready(ready_pod) => ready_pod,
        Readiness::NotReady { cause: failure, .. } | Readiness::Unusable { cause: failure } => {
            let fix = "see docs/troubleshooting.md, reason ".to_owned() + failure.reason.as_str();
            return vec![Diagnosis::bad("exec", failure.message, fix)];
        }
    };
    let mut findings = vec![Diagnosis::good("exec", format!("works in pod {name}"))];
    if let Some(ready) = watched.containers.ready(&ready_pod.uid) {
        findings.push(ready.runner.finding());
        findings.push(ready.runner.finding_of_memory());
    }
    let (pod_clock, reach, silent) =
        tokio::join!(pod_clock(kube, &target), reach(kube, &target), silent(kube, &target));
    findings.extend([pod_clock, reach, silent]);
    findings
}

async fn sh(kube: &Kube, target: &ExecTarget, script: &str) -> Result<String, ExecError> {
    let argv = ["sh", "-c", script].map(str::to_owned);
    kube.cluster.run(target, &argv, &[], ANSWER_BYTES_MAX).await
}

async fn pod_clock(kube: &Kube, target: &ExecTarget) -> Diagnosis {
    let what = format!("clock of pod {}", target.pod);
    match sh(kube, target, "date +%s").await.map(|text| text.trim().parse::<i64>()) {
        Ok(Ok(seconds)) => skew(&what, Timestamp::from_micros(seconds * 1_000_000), &*kube.clock),
        Ok(Err(error)) => Diagnosis::warning(what, error.to_string(), "the image has an odd `date`"),
        Err(error) => Diagnosis::warning(what, error.to_string(), "the image has no shell or no `date`"),
    }
}

async fn reach(kube: &Kube, target: &ExecTarget) -> Diagnosis {
    let what = "network policy";
    match sh(kube, target, REACH).await.as_deref().map(str::trim) {
        Ok("closed") => {
            Diagnosis::good(what, "a project's pod does not reach the API server, as it should be")
        }
        Ok("open") => Diagnosis::warning(
            what,
            "a project's pod reaches the API server: policies are missing, or this cluster does not enforce them",
            "apply deployments/k8s/isolation in its namespace, and use a network plugin that enforces policies (k3s does by default)",
        ),
        _ => Diagnosis::warning(
            what,
            "not tried: the image has no bash or no timeout",
            "use the claudebox image",
        ),
    }
}

async fn silent(kube: &Kube, target: &ExecTarget) -> Diagnosis {
    let what = "silent exec";
    let began = Instant::now();
    let done = sh(kube, target, &format!("sleep {SILENT_SECONDS}")).await;
    let lived = began.elapsed();
    match done {
        Ok(_) => Diagnosis::good(
            what,
            format!("lived for all of {SILENT_SECONDS} s; rdev sends a keep-alive every 10 s"),
        ),
        Err(error) => {
            let seen = format!("was cut after {} s: {error}", lived.as_secs());
            let fix = "raise the idle limit of what stands before the API server, the kubelet \
                       (streamingConnectionIdleTimeout) and the container runtime (stream_idle_timeout)";
            if lived > RUNNER_SPEAKS_EVERY + RUNNER_SPEAKS_EVERY / 2 {
                return Diagnosis::warning(what, seen, fix);
            }
            Diagnosis::bad(what, seen, fix)
        }
    }
}
