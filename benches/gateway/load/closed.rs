//! As many requests as go through.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::connection::{Connection, request};
use crate::flags::Flags;
use crate::{Result, stats};

/// Each connection sends the next request when it has the answer to the last.
pub(crate) async fn run(flags: &Flags) -> Result<Value> {
    let seconds = flags.number("seconds", 5);
    let (samples, failed) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0_u64)));
    let (begun, until) = (Instant::now(), Instant::now() + Duration::from_secs(seconds));
    let clients: Vec<_> = (0..flags.number("connections", 64))
        .map(|_| {
            let (address, samples, failed) = (flags.address.clone(), Rc::clone(&samples), Rc::clone(&failed));
            tokio::task::spawn_local(async move {
                let request = request(&address, false, 16);
                let Ok(mut connection) = Connection::open(&address).await else { return failed.set(failed.get() + 1) };
                while Instant::now() < until {
                    let sent = Instant::now();
                    match connection.exchange(&request).await {
                        Ok(()) => samples.borrow_mut().push(sent.elapsed()),
                        Err(error) => {
                            if failed.get() == 0 {
                                eprintln!("the first failure: {error}");
                            }
                            return failed.set(failed.get() + 1);
                        }
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.await?;
    }
    let samples = samples.take();
    let rate = samples.len() as f64 / begun.elapsed().as_secs_f64();
    Ok(
        json!({"requests": samples.len(), "per_second": rate, "failed": failed.get(), "latency_us": stats::summary(samples)}),
    )
}
