//! A worker on a store in memory and places that answer as they are told, in a time that passes by itself when
//! nothing else happens.

mod agents;
mod cancel;
mod collecting;
mod lost_answers;
mod refusals;
mod renewals;
mod starting;
mod support;
mod waiting;
