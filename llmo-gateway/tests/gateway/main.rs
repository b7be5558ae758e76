//! The gateway from outside: one binary, so that everything is linked once.
//!
//! * [`fleet`]: simulated replicas behind a router, no sockets. [`router`] uses it.
//! * [`service`], [`site`]: services that can be killed, a gateway in front of them, a client; real sockets.

mod caching;
mod conformance;
mod dashboard;
mod failover;
mod fleet;
mod probing;
mod router;
mod service;
mod site;
