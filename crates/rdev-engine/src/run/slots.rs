//! Free slots of the pool.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, FuturesUnordered};
use rdev_domain::{Error, Result};
use rdev_ports::{Pod, PodRef, Pods, Readiness, Slot};

type Answers = Vec<(PodRef, Result<Option<Readiness>>)>;

/// Free slots of the workers that are ready, in the order of the workers' answers. All workers are asked at once: one
/// that does not answer keeps nobody from the slots of another.
pub(crate) struct FreeSlots {
    /// Slots of the least occupied workers first.
    slots: Vec<Slot>,
    /// Answers that came together.
    answers: BoxStream<'static, Answers>,
    ready: VecDeque<(Pod, Slot)>,
}

impl FreeSlots {
    /// Asks the workers of these slots for their readiness.
    pub(crate) fn new(pods: &Arc<dyn Pods>, mut slots: Vec<Slot>) -> Self {
        slots.sort_by_key(|slot| slot.number);
        let mut workers: Vec<PodRef> = slots.iter().map(worker).collect();
        workers.sort();
        workers.dedup();
        let together = workers.len().max(1);
        let ask = |worker: PodRef| {
            let pods = pods.clone();
            async move {
                let answer = pods.readiness(&worker).await;
                (worker, answer)
            }
        };
        let asked: FuturesUnordered<_> = workers.into_iter().map(ask).collect();
        Self { slots, answers: asked.ready_chunks(together).boxed(), ready: VecDeque::new() }
    }

    /// Waits for the next free slot and its worker's pod; `None` when every worker has answered.
    ///
    /// # Errors
    /// When the runtime fails for another reason than that it is not available.
    pub(crate) async fn next(&mut self) -> Result<Option<(Pod, Slot)>> {
        loop {
            if let Some(found) = self.ready.pop_front() {
                return Ok(Some(found));
            }
            let Some(answers) = self.answers.next().await else { return Ok(None) };
            let mut pods = HashMap::new();
            for (worker, answer) in answers {
                match answer {
                    Ok(Some(Readiness::Ready(pod))) => drop(pods.insert(worker, pod)),
                    Ok(_) | Err(Error::Unavailable { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            let found = self.slots.iter().filter_map(|slot| {
                let pod = pods.get(&worker(slot))?;
                Some((pod.clone(), slot.clone()))
            });
            self.ready.extend(found);
        }
    }
}

fn worker(slot: &Slot) -> PodRef {
    PodRef::Worker(slot.worker.clone())
}
