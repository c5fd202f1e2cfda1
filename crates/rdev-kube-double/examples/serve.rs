//! Starts a cluster with two pods and prints its kubeconfig. Ends with Ctrl-C.

use rdev_kube_double::{Cluster, NewPod};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "this is a command line tool")]
async fn main() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    for name in ["demo-0", "demo-1"] {
        let pod = cluster.add_pod(NewPod::new("default", name).label("app", "demo"))?;
        println!("{name} is in folder {}", pod.folder()?.display());
    }
    println!("export KUBECONFIG={}", cluster.kubeconfig().display());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
