//! The gateway from outside: one binary, so that everything is linked once.
//!
//! * [`fleet`]: simulated replicas behind a router, no sockets. [`router`] uses it.
//! * [`service`], [`site`]: services that can be killed, a gateway in front of them, a client; real sockets.

// A failed expectation is a failed test, in the helpers as well.
#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs)]

mod caching;
mod conformance;
mod continuing;
mod dashboard;
mod dialects;
mod discovery;
mod explaining;
mod failover;
mod fleet;
mod foreign;
mod keys;
mod probing;
mod reload;
mod reload_now;
mod resilience;
mod router;
mod rules;
mod seeded;
mod service;
mod site;
mod slow;
