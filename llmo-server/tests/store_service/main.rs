//! The storage service through its socket: the protocol, its client, path tricks, faults.

#![allow(clippy::unwrap_used)] // Clippy knows tests, but not what they call.

mod faults;
mod fetch;
mod paths;
mod protocol;
mod service;
