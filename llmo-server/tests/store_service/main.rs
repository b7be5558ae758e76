//! The storage service through its socket: the protocol, its client, path tricks, faults.

mod faults;
mod fetch;
mod paths;
mod protocol;
mod service;
