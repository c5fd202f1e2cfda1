//! The cluster as a test holds it.

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
use crate::place::Place;
use crate::pod::PodHandle;
use crate::processes::{self, kill_marked};
use crate::render::NODE;
use crate::requests::Request;
use crate::service_account::ServiceAccount;
use crate::state::{Container, PodState, Running};
use crate::tls;

/// A cluster. Everything in it ends when it is dropped: connections, processes, folders.
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
    /// Starts an empty one as [`Config::kubernetes_1_35`] describes it.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(Config::default()).await
    }

    /// Starts an empty one.
    pub async fn start_with(config: Config) -> anyhow::Result<Self> {
        let runtime = OwnRuntime::start()?;
        // Paths of sockets within have a limit of 108 bytes.
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

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.inner.address
    }

    /// The certificate that clients trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The administrator's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The administrator's kubeconfig; its namespace is `default`.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A new user's token.
    pub fn token_for(&self, access: impl Into<Access>) -> String {
        self.inner.identities.add(access.into())
    }

    /// A new user's kubeconfig.
    pub fn kubeconfig_for(&self, access: impl Into<Access>) -> anyhow::Result<PathBuf> {
        self.kubeconfig_with(&self.token_for(access))
    }

    /// A kubeconfig with this token, also one that is not valid.
    pub fn kubeconfig_with(&self, token: &str) -> anyhow::Result<PathBuf> {
        write_kubeconfig(self.root.path(), self.address(), &self.ca_pem, token)
    }

    /// Changes what the holder of a token may do; false if nobody holds it.
    pub fn set_access(&self, token: &str, access: impl Into<Access>) -> bool {
        self.inner.identities.change(token, access.into())
    }

    /// The administrator has another token, his kubeconfig names it, and nobody is let in with the old one.
    pub fn renew_token(&mut self) -> anyhow::Result<()> {
        self.token = self.inner.identities.renew(&self.token).context("nobody holds the token")?;
        self.rewrite_kubeconfig()
    }

    /// Another authority signs the server's certificate, the administrator's kubeconfig names it, and the connections
    /// that there are end.
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

    /// Nobody holds this token any more; false if nobody did.
    pub fn revoke(&self, token: &str) -> bool {
        self.inner.identities.remove(token)
    }

    /// A new service account, whose files are in the folder of this name beside the administrator's kubeconfig.
    pub fn service_account(
        &self,
        name: &str,
        namespace: &str,
        access: impl Into<Access>,
    ) -> anyhow::Result<ServiceAccount> {
        let (inner, folder) = (Arc::clone(&self.inner), self.root.path().join(name));
        ServiceAccount::new(inner, folder, &self.ca_pem, namespace, access.into())
    }

    /// Adds a pod. It must not exist.
    pub fn add_pod(&self, new: NewPod) -> anyhow::Result<PodHandle> {
        let key = self.inner.add(|number| first_state(&self.inner, new, number))?;
        Ok(PodHandle { inner: Arc::clone(&self.inner), key })
    }

    /// A pod by its name, whether it exists or not.
    pub fn pod(&self, namespace: &str, name: &str) -> PodHandle {
        PodHandle { inner: Arc::clone(&self.inner), key: (namespace.to_owned(), name.to_owned()) }
    }

    /// The version that a list would have now.
    pub fn resource_version(&self) -> u64 {
        self.inner.world().store.version()
    }

    /// Every resource version so far, and every `continue`, gets 410 from now on.
    pub fn compact(&self) {
        self.inner.world().store.compact();
    }

    /// Sends a bookmark to every watch that wants them.
    pub fn bookmark(&self) {
        self.inner.send_bookmarks();
    }

    /// The next exec connections are lost at these points, one after the other; `None` spares one.
    pub fn cut_next(&self, cuts: impl IntoIterator<Item = impl Into<Option<Cut>>>) {
        self.inner.faults.cut_next(cuts.into_iter().map(Into::into));
    }

    /// Every exec connection that begins from now on is lost at this point, unless [`Self::cut_next`] says
    /// something about it.
    pub fn cut_every(&self, cut: Option<Cut>) {
        self.inner.faults.cut_every(cut);
    }

    /// Every exec connection there is now is lost.
    pub fn cut_execs_now(&self, how: How) {
        self.inner.faults.cut_execs_now(how);
    }

    /// Every watch there is now is lost.
    pub fn cut_watches_now(&self, how: How) {
        self.inner.faults.cut_watches_now(how);
    }

    /// Refuses requests; `*` stands for every verb or resource.
    pub fn refuse(&self, verb: &str, resource: &str, times: Times, refusal: Refusal) {
        self.inner.faults.refuse(verb, resource, times, refusal);
    }

    /// Takes back every [`Self::refuse`].
    pub fn refuse_nothing(&self) {
        self.inner.faults.refuse_nothing();
    }

    /// Every request waits so long before it is looked at.
    pub fn set_latency(&self, latency: Duration) {
        self.inner.faults.set_latency(latency);
    }

    /// Exec connections on which no channel has carried anything for so long are cut. Pings do not count.
    pub fn set_idle_limit(&self, limit: Option<Duration>) {
        self.inner.faults.set_idle_limit(limit);
    }

    /// From now on a node starts so many programs at once, each of which takes so long, also those whose client has
    /// gone meanwhile.
    pub fn set_exec_pace(&self, at_once: usize, each: Duration) {
        self.inner.runtimes.set_pace(at_once, each);
    }

    /// Execs so far that have this word among their arguments, also those that were refused.
    pub fn execs(&self, word: &str) -> usize {
        self.inner.requests.count(|request| request.command.iter().any(|argument| argument == word))
    }

    /// Every request so far, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.inner.requests.all()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.inner.requests.forget();
    }

    /// The first request that is wanted: one that came already, or the next. Fails after half a minute.
    pub async fn request(&self, wanted: impl Fn(&Request) -> bool) -> anyhow::Result<Request> {
        self.inner.requests.find(wanted).await
    }

    /// The API server ends: connections are lost, new ones refused. Processes in pods run on.
    pub async fn stop(&self) {
        if let Some(listener) = self.listener.lock().await.take() {
            listener.stop().await;
        }
        self.drop_connections();
    }

    /// It is back at the same address. With `keep_history` false it remembers no change from before: watches
    /// that want to go on get 410.
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
            // One that the client has left meanwhile cannot be shut down any more.
            socket.shutdown(Shutdown::Both).ok();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut world = self.inner.world();
        world.closed = true;
        for pod in world.pods.values() {
            pod.place.close();
        }
        drop(world);
        kill_marked(processes::CLUSTER, &self.inner.id);
        self.drop_connections();
    }
}

/// A loopback address of its own for each cluster: no other can take the port while it is stopped.
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
    let place = Place::new(inner.root.join(number.to_string()), new.runs);
    let sidecars = new.sidecars.into_iter().map(|name| (name, true));
    let all = names.into_iter().map(|name| (name, false)).chain(sidecars);
    let container = |(name, sidecar)| {
        let state = Running::Waiting { reason: "ContainerCreating".to_owned(), message: None };
        let mut container = Container { name, sidecar, restarts: 0, ready: false, state, last: None };
        if matches!(new.beginning, Beginning::Unready | Beginning::Ready) {
            container.run(&place);
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
        place: Arc::new(place),
    }
}
