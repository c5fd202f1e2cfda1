//! Group commit: writes that are asked for at the same moment go to Postgres together.
//!
//! The first ones go at once. Those that come while these are executed go together in the next statement: no write waits
//! for a clock, and a flood costs few round trips and few commits.

mod append;
mod batcher;
mod enqueue;
mod finish;
mod start;
pub(crate) mod write;

use sqlx::PgPool;

pub(crate) use self::append::Append;
use self::batcher::Batcher;
pub(crate) use self::enqueue::Enqueue;
pub(crate) use self::finish::Finish;
pub(crate) use self::start::Start;
#[cfg(test)]
pub(crate) use self::write::BatchedWrite;
pub(crate) use self::write::InsertedEntry;

/// The batchers of one database.
#[derive(Debug, Clone)]
pub(crate) struct Batchers {
    pub(crate) enqueue: Batcher<Enqueue>,
    pub(crate) start: Batcher<Start>,
    pub(crate) append: Batcher<Append>,
    pub(crate) finish: Batcher<Finish>,
}

impl Batchers {
    pub(crate) fn on(pool: &PgPool) -> Self {
        Self {
            enqueue: Batcher::on(pool),
            start: Batcher::on(pool),
            append: Batcher::on(pool),
            finish: Batcher::on(pool),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_known_by_its_name() {
        assert!(Enqueue::SQL.contains(&format!("log <> '{}'", crate::values::POOL)));
        assert!(Enqueue::SQL.contains(&format!("target = '{}'", crate::values::POOL)));
    }
}
