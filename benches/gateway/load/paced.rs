//! Requests at fixed times.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::connection::{Connection, request};
use crate::flags::Flags;
use crate::{Result, stats};

/// Sends `rate` requests a second, each on the connection that has been free for the shortest time.
pub(crate) async fn run(flags: &Flags) -> Result<Value> {
    let (rate, seconds) = (flags.number("rate", 1000), flags.number("seconds", 5));
    let mut connections = Vec::new();
    for _ in 0..flags.number("connections", 64) {
        connections.push(Connection::open(&flags.address).await?);
    }
    let idle = Rc::new(RefCell::new(connections));
    let request: Rc<[u8]> = request(&flags.address, false, 16).into();
    let (samples, failed) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0_u64)));
    let begun = Instant::now();
    let mut running = Vec::new();
    for number in 0..rate * seconds {
        let due = begun + Duration::from_nanos(number * 1_000_000_000 / rate);
        // Timers of the runtime tick in milliseconds: the last part is waited for by yielding.
        if due.saturating_duration_since(Instant::now()) > Duration::from_millis(2) {
            tokio::time::sleep_until((due - Duration::from_millis(1)).into()).await;
        }
        while Instant::now() < due {
            tokio::task::yield_now().await;
        }
        let mut connection = idle.borrow_mut().pop();
        let (idle, samples, failed, request) =
            (Rc::clone(&idle), Rc::clone(&samples), Rc::clone(&failed), Rc::clone(&request));
        let address = flags.address.clone();
        running.push(tokio::task::spawn_local(async move {
            if connection.is_none() {
                connection = Connection::open(&address).await.ok();
            }
            let Some(mut connection) = connection else { return failed.set(failed.get() + 1) };
            match connection.exchange(&request).await {
                Ok(()) => {
                    samples.borrow_mut().push(due.elapsed());
                    idle.borrow_mut().push(connection);
                }
                Err(_) => failed.set(failed.get() + 1),
            }
        }));
    }
    for one in running {
        one.await?;
    }
    Ok(json!({"rate": rate, "failed": failed.get(), "latency_us": stats::summary(samples.take())}))
}
