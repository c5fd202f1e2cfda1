//! The client against a server of scripted connections, over real sockets.

mod calls;
mod resume;
mod server;
