//! The cluster, as a test holds it.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::access::Access;
use crate::clock;
use crate::config::Config;
use crate::faults::{Cut, How, Refusal, Times};
use crate::identities::{rewrite_kubeconfig, write_kubeconfig};
use crate::inner::{Inner, Parts};
use crate::listener::Listener;
use crate::new_pod::{Beginning, NewPod};
use crate::own_runtime::OwnRuntime;
use crate::pod::PodHandle;
use crate::pod_folder::PodFolder;
use crate::processes::{self, kill_marked};
use crate::render::NODE;
use crate::requests::Request;
use crate::service_account::ServiceAccount;
use crate::state::{Container, PodState, Running};
use crate::tls;

/// A cluster. Dropping it ends its connections and processes, and removes its folders.
pub struct Cluster {
    inner: Arc<Inner>,
    listener: Mutex<Option<Listener>>,
    #[expect(dead_code, reason = "ends when it is dropped, before the folder goes")]
    runtime: OwnRuntime,
    root: TempDir,
    ca_pem: String,
    token: String,
    kubeconfig: PathBuf,
}

impl Cluster {
    /// Starts an empty cluster with [`Config::kubernetes_1_35`].
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(Config::default()).await
    }

    /// Starts an empty cluster.
    pub async fn start_with(config: Config) -> anyhow::Result<Self> {
        let runtime = OwnRuntime::start()?;
        // Paths of sockets in the folder have a limit of 108 bytes.
        let root = tempfile::Builder::new().prefix("kd-").tempdir().context("the cluster's folder")?;
        let socket = bind()?;
        let address = socket.local_addr()?;
        let tls = tls::new(address.ip())?;
        let inner = Arc::new(Inner::new(Parts {
            path: config.path.clone().unwrap_or_else(own_path),
            config,
            id: clock::new_uid(),
            root: root.path().to_owned(),
            address,
            acceptor: tls.acceptor,
            runtime: runtime.handle(),
        }));
        let token = inner.identities.add(Access::everything());
        let kubeconfig = write_kubeconfig(root.path(), address, &tls.ca_pem, &token)?;
        let listener = Listener::start(Arc::clone(&inner), socket)?;
        Ok(Self {
            inner,
            listener: Mutex::new(Some(listener)),
            runtime,
            root,
            ca_pem: tls.ca_pem,
            token,
            kubeconfig,
        })
    }

    /// Returns the address of the server.
    pub fn address(&self) -> SocketAddr {
        self.inner.address
    }

    /// Returns the certificate that clients trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Returns the administrator's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns the administrator's kubeconfig; its namespace is `default`.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Returns the token of a new user.
    pub fn token_for(&self, access: impl Into<Access>) -> String {
        self.inner.identities.add(access.into())
    }

    /// Returns the kubeconfig of a new user.
    pub fn kubeconfig_for(&self, access: impl Into<Access>) -> anyhow::Result<PathBuf> {
        self.kubeconfig_with(&self.token_for(access))
    }

    /// Returns a kubeconfig with this token, which need not be valid.
    pub fn kubeconfig_with(&self, token: &str) -> anyhow::Result<PathBuf> {
        write_kubeconfig(self.root.path(), self.address(), &self.ca_pem, token)
    }

    /// Changes the permissions of a token; returns false for an unknown one.
    pub fn set_access(&self, token: &str, access: impl Into<Access>) -> bool {
        self.inner.identities.change(token, access.into())
    }

    /// Replaces the administrator's token in his kubeconfig, and revokes the old one.
    pub fn renew_token(&mut self) -> anyhow::Result<()> {
        self.token = self.inner.identities.renew(&self.token).context("unknown token")?;
        self.rewrite_kubeconfig()
    }

    /// Signs the server's certificate by another authority, updates the administrator's kubeconfig, and
    /// ends all connections.
    pub fn renew_authority(&mut self) -> anyhow::Result<()> {
        let tls = tls::new(self.address().ip())?;
        *self.inner.acceptor.lock().unwrap_or_else(PoisonError::into_inner) = tls.acceptor;
        self.ca_pem = tls.ca_pem;
        self.rewrite_kubeconfig()?;
        self.drop_connections();
        Ok(())
    }

    fn rewrite_kubeconfig(&self) -> anyhow::Result<()> {
        rewrite_kubeconfig(&self.kubeconfig, self.address(), &self.ca_pem, &self.token)
    }

    /// Revokes a token; returns false for an unknown one.
    pub fn revoke(&self, token: &str) -> bool {
        self.inner.identities.remove(token)
    }

    /// Creates a service account, whose files are in the folder of this name beside the administrator's
    /// kubeconfig.
    pub fn service_account(
        &self,
        name: &str,
        namespace: &str,
        access: impl Into<Access>,
    ) -> anyhow::Result<ServiceAccount> {
        let (inner, folder) = (Arc::clone(&self.inner), self.root.path().join(name));
        ServiceAccount::new(inner, folder, &self.ca_pem, namespace, access.into())
    }

    /// Adds a pod. Fails when the pod exists.
    pub fn add_pod(&self, new: NewPod) -> anyhow::Result<PodHandle> {
        let key = self.inner.add(|number| first_state(&self.inner, new, number))?;
        Ok(PodHandle { inner: Arc::clone(&self.inner), key })
    }

    /// Returns a handle of a pod by name, whether it exists or not.
    pub fn pod(&self, namespace: &str, name: &str) -> PodHandle {
        PodHandle { inner: Arc::clone(&self.inner), key: (namespace.to_owned(), name.to_owned()) }
    }

    /// Returns the resource version of a list.
    pub fn resource_version(&self) -> u64 {
        self.inner.world().store.version()
    }

    /// Expires every resource version so far, and every `continue`: they get 410 from now on.
    pub fn compact(&self) {
        self.inner.world().store.compact();
    }

    /// Sends a bookmark to every watch that requested bookmarks.
    pub fn bookmark(&self) {
        self.inner.send_bookmarks();
    }

    /// Cuts the next exec connections at these points, one after the other; `None` spares one.
    pub fn cut_next(&self, cuts: impl IntoIterator<Item = impl Into<Option<Cut>>>) {
        self.inner.faults.cut_next(cuts.into_iter().map(Into::into));
    }

    /// Cuts every exec connection that begins from now on at this point, unless [`Self::cut_next`] has an
    /// entry for it.
    pub fn cut_every(&self, cut: Option<Cut>) {
        self.inner.faults.cut_every(cut);
    }

    /// Cuts all current exec connections.
    pub fn cut_execs_now(&self, how: How) {
        self.inner.faults.cut_execs_now(how);
    }

    /// Cuts all current watches.
    pub fn cut_watches_now(&self, how: How) {
        self.inner.faults.cut_watches_now(how);
    }

    /// Refuses requests; `*` stands for every verb or resource.
    pub fn refuse(&self, verb: &str, resource: &str, times: Times, refusal: Refusal) {
        self.inner.faults.refuse(verb, resource, times, refusal);
    }

    /// Clears every [`Self::refuse`].
    pub fn refuse_nothing(&self) {
        self.inner.faults.refuse_nothing();
    }

    /// Delays every request by this time before it is handled.
    pub fn set_latency(&self, latency: Duration) {
        self.inner.faults.set_latency(latency);
    }

    /// Cuts exec connections on which no channel has carried data for this time. Pings do not count.
    pub fn set_idle_limit(&self, limit: Option<Duration>) {
        self.inner.faults.set_idle_limit(limit);
    }

    /// Limits the programs that start at once on a node, and sets the time of each start, also of those
    /// whose client has disconnected.
    pub fn set_exec_pace(&self, at_once: usize, each: Duration) {
        self.inner.runtimes.set_pace(at_once, each);
    }

    /// Counts the execs with this word among their arguments, refused ones included.
    pub fn execs(&self, word: &str) -> usize {
        self.inner.requests.count(|request| request.command.iter().any(|argument| argument == word))
    }

    /// Returns every request so far, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.inner.requests.all()
    }

    /// Clears the requests so far.
    pub fn forget_requests(&self) {
        self.inner.requests.forget();
    }

    /// Returns the first matching request: an earlier one, or the next. Fails after 30 s.
    pub async fn request(&self, wanted: impl Fn(&Request) -> bool) -> anyhow::Result<Request> {
        self.inner.requests.find(wanted).await
    }

    /// Stops the API server: connections are lost, new ones refused. Processes in pods go on.
    pub async fn stop(&self) {
        if let Some(listener) = self.listener.lock().await.take() {
            listener.stop().await;
        }
        self.drop_connections();
    }

    /// Restarts the API server at the same address. With `keep_history` false it has no earlier changes:
    /// watches that resume get 410.
    pub async fn start_again(&self, keep_history: bool) -> anyhow::Result<()> {
        let mut listener = self.listener.lock().await;
        if listener.is_none() {
            if !keep_history {
                self.compact();
            }
            let socket = std::net::TcpListener::bind(self.address()).context("the port was taken")?;
            *listener = Some(Listener::start(Arc::clone(&self.inner), socket)?);
        }
        Ok(())
    }

    fn drop_connections(&self) {
        for socket in self.inner.sockets().drain(..).filter_map(|socket| socket.upgrade()) {
            // A socket that the client has closed meanwhile cannot be shut down.
            socket.shutdown(Shutdown::Both).ok();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut world = self.inner.world();
        world.closed = true;
        for pod in world.pods.values() {
            pod.pod_folder.close();
        }
        drop(world);
        kill_marked(processes::CLUSTER, &self.inner.id);
        self.drop_connections();
    }
}

/// Binds a loopback address of its own for each cluster: no other can take the port while the server is
/// stopped.
fn bind() -> anyhow::Result<std::net::TcpListener> {
    let [first, second, third, ..] = uuid::Uuid::new_v4().into_bytes();
    // Neither 127.0.x.x, where others listen, nor the broadcast address.
    let ip = Ipv4Addr::new(127, first.clamp(1, 254), second, third.clamp(1, 254));
    std::net::TcpListener::bind((IpAddr::from(ip), 0)).context("no port on the loopback interface")
}

#[expect(clippy::disallowed_methods, reason = "processes in pods find the programs that the test finds")]
fn own_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

fn first_state(inner: &Inner, new: NewPod, number: u16) -> PodState {
    let mut names = new.containers;
    if names.is_empty() {
        names.push("main".to_owned());
    }
    let pod_folder = PodFolder::new(inner.root.join(number.to_string()), new.runs);
    let sidecars = new.sidecars.into_iter().map(|name| (name, true));
    let all = names.into_iter().map(|name| (name, false)).chain(sidecars);
    let container = |(name, sidecar)| {
        let state = Running::Waiting { reason: "ContainerCreating".to_owned(), message: None };
        let mut container = Container { name, sidecar, restarts: 0, ready: false, state, last: None };
        if matches!(new.beginning, Beginning::Unready | Beginning::Ready) {
            container.run(&pod_folder);
            container.ready = new.beginning == Beginning::Ready;
        }
        container
    };
    let [high, low] = number.to_be_bytes();
    let node = new.node.unwrap_or_else(|| NODE.to_owned());
    PodState {
        containers: all.map(container).collect(),
        namespace: new.namespace,
        name: new.name,
        uid: clock::new_uid(),
        labels: new.labels,
        annotations: new.annotations,
        created: clock::now(),
        deletion: None,
        env: new.env,
        path: new.path,
        node: (new.beginning != Beginning::Unscheduled).then(|| node.clone()),
        home_node: node,
        ip: format!("10.244.{high}.{low}"),
        evicted: None,
        node_lost: false,
        ready_since: clock::now(),
        pod_folder: Arc::new(pod_folder),
    }
}
