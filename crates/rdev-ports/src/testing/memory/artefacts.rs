use async_trait::async_trait;
use bytes::Bytes;
use rdev_domain::{Artefact, JobId, Result};

use super::MemoryStore;
use crate::{ArtefactWrite, Artefacts, Fence};

#[async_trait]
impl Artefacts for MemoryStore {
    async fn keep(&self, fence: &Fence, steps: &[ArtefactWrite]) -> Result<()> {
        let mut tables = self.tables();
        let task = tables.fenced(fence)?;
        for step in steps {
            match step.clone() {
                ArtefactWrite::Anew => {
                    task.artefacts.clear();
                    task.parts.clear();
                }
                ArtefactWrite::OnlyListed => {
                    let listed = &task.artefacts;
                    task.parts.retain(|(file, _), _| listed.contains_key(file));
                }
                ArtefactWrite::Part { file, part, bytes } => {
                    task.parts.insert((file, part), bytes);
                }
                ArtefactWrite::Listed { file, artefact } => {
                    task.artefacts.insert(file, artefact);
                }
            }
        }
        Ok(())
    }

    async fn artefacts(&self, id: &JobId) -> Result<Vec<(u32, Artefact)>> {
        let tables = self.tables();
        let task = tables.tasks.get(id).into_iter();
        Ok(task.flat_map(|task| &task.artefacts).map(|(file, artefact)| (*file, artefact.clone())).collect())
    }

    async fn part(&self, id: &JobId, file: u32, part: u32) -> Result<Option<Bytes>> {
        Ok(self.tables().tasks.get(id).and_then(|task| task.parts.get(&(file, part)).cloned()))
    }
}
