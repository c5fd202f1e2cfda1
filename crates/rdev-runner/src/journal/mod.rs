//! The journal on disk: written by one supervisor, read by anyone.

mod damage;
mod position;
mod reader;
mod writer;

pub(crate) use reader::Reader;
pub(crate) use writer::Journal;
