//! The journal on disk: written by one supervisor, read by anyone.

mod damage;
mod header;
mod position;
mod reader;
mod writer;

pub(crate) use header::Header;
pub(crate) use reader::Reader;
pub(crate) use writer::Journal;
