//! Invocation: the program of a job, with its arguments, environment and input.

use std::time::Duration;

use rdev_domain::{AgentRequest, CommandRequest, Job, JobSpec, TaskRequest};
use rdev_ports::{AgentInvocation, CodeAgent, Pod, Pods, Slot};
use rdev_runner::spec::Spec;

use super::control::RunId;

mod git;

/// Time between SIGTERM, or SIGINT, and SIGKILL.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// Most bytes of output that are kept of one job: 4 GiB. Output beyond it is a gap.
const OUTPUT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Sources of what the programs of jobs need beside the job itself.
pub(crate) struct Means<'a> {
    /// Agent that runs the requests of agents.
    pub(crate) agent: &'a dyn CodeAgent,
    /// Pods, which know the variables of agents and the remotes of git.
    pub(crate) pods: &'a dyn Pods,
}

/// Returns the runner's specification of a job.
pub(crate) fn spec(job: &Job, pod: &Pod, means: &Means<'_>, slot: Option<&Slot>, attempt: u32) -> Spec {
    let mut spec = match &job.spec {
        JobSpec::Command { request: CommandRequest::Shell(shell), .. } => {
            let mut spec = Spec::new(words(["sh", "-c", "--", &shell.command]));
            spec.env = shell.env.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
            spec
        }
        JobSpec::Command { request: CommandRequest::Git(git), .. } => {
            let mut spec = Spec::new(git::argv(&git.args));
            spec.env = git::env(means.pods.git_remotes());
            spec
        }
        JobSpec::Command { request: CommandRequest::Claude(request), .. } => agent(request, means),
        JobSpec::Task(work) => work_spec(job, work, pod, slot, attempt),
        // It has no program, and no pod: `Executor::operate` does its work.
        JobSpec::Operation(_) => Spec::new(Vec::new()),
    };
    spec.cwd.clone_from(&pod.workspace);
    spec.timeout_ms = millis(job.timeout);
    spec.grace_ms = millis(GRACE);
    spec.journal_bytes_max = OUTPUT_BYTES_MAX;
    spec
}

/// Returns the program of an agent. The agent's own variables override the pods'.
fn agent(request: &AgentRequest, means: &Means<'_>) -> Spec {
    let AgentInvocation { argv, env, stdin, interrupt_first } = means.agent.invocation(request);
    let mut spec = Spec::new(argv);
    spec.env = means.pods.agent_env();
    spec.env.extend(env);
    spec.stdin = Some(stdin);
    spec.interrupt_first = interrupt_first;
    spec
}

/// Returns the folder of an attempt of a task in its pod.
pub(crate) fn checkout(job: &Job, pod: &Pod, slot: Option<&Slot>, attempt: u32) -> String {
    format!("{}/{}{}", pod.workspace, checkouts(slot), RunId::of(job, attempt))
}

/// Returns the folders that an attempt has beside its checkout, with the variables by which tools find them: no task
/// finds what another one has left in its home. The usual folders below a home are set too, as the worker's own
/// environment may set others.
fn own_folders(checkout: &str) -> [(&'static str, String); 7] {
    let (target, scratch) = (format!("{checkout}.home"), format!("{checkout}.tmp"));
    [
        ("XDG_CACHE_HOME", format!("{target}/.cache")),
        ("XDG_CONFIG_HOME", format!("{target}/.config")),
        ("XDG_DATA_HOME", format!("{target}/.local/share")),
        ("XDG_STATE_HOME", format!("{target}/.local/state")),
        ("XDG_RUNTIME_DIR", scratch.clone()),
        ("HOME", target),
        ("TMPDIR", scratch),
    ]
}

/// Returns the prefix of the folders of a slot.
fn checkouts(slot: Option<&Slot>) -> String {
    format!("task-{}-", slot.map_or(0, |slot| slot.number))
}

/// Checks out a repository in a new folder, and runs each step there in a shell of its own, until one fails. A request
/// comes in as arguments, so no part of it is read as a part of this program. The folders that an earlier task has left
/// at this slot are removed first: the task was killed, or its files were collected. The checkout stays if files are to
/// be collected; home and scratch folder never do.
const CHECKOUT_AND_STEPS: &str = r#"
before=$1 folder=$2 stays=$3 repository=$4 ref=$5
shift 5
rm -rf "$before"*
mkdir "$folder" && mkdir -m 700 "$folder.home" "$folder.tmp" || exit
if [ -n "$stays" ]; then
    trap 'rm -rf "$folder.home" "$folder.tmp"' EXIT
else
    trap 'cd / && rm -rf "$folder" "$folder.home" "$folder.tmp"' EXIT
fi
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$folder" || exit
if [ -n "$repository" ]; then
    echo "+ git clone $repository"
    git clone --quiet --no-checkout -- "$repository" . || exit
    if [ -n "$ref" ]; then
        echo "+ git checkout $ref"
        git checkout --quiet "$ref" -- 2>/dev/null ||
            { git fetch --quiet origin "$ref" && git checkout --quiet --detach FETCH_HEAD; } || exit
    else
        git checkout --quiet || exit
    fi
fi
number=0
for step; do
    number=$((number + 1))
    printf '+ %s\n' "$step"
    sh -ec -- "$step" || {
        code=$?
        echo "step $number failed with exit code $code" >&2
        exit "$code"
    }
done
"#;

fn work_spec(job: &Job, work: &TaskRequest, pod: &Pod, slot: Option<&Slot>, attempt: u32) -> Spec {
    let before = format!("{}/{}", pod.workspace, checkouts(slot));
    let folder = checkout(job, pod, slot, attempt);
    let stays = if work.artefacts.is_empty() { "" } else { "yes" };
    let mut argv = words(["sh", "-c", CHECKOUT_AND_STEPS, "sh", &before, &folder, stays]);
    argv.push(work.repository.clone().unwrap_or_default());
    argv.push(work.git_ref.clone().unwrap_or_default());
    argv.extend(work.steps.iter().cloned());
    let mut spec = Spec::new(argv);
    let about = [git::PROTOCOLS, ("RDEV_TASK_ID", job.id.as_str()), ("RDEV_TASK_KIND", work.kind.as_str())];
    let fixed = git::UNATTENDED.into_iter().chain(about);
    spec.env = fixed.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    spec.env.extend(own_folders(&folder).map(|(k, v)| (k.to_owned(), v)));
    spec.env.extend(work.env.iter().map(|(k, v)| (k.clone(), v.clone())));
    spec
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
