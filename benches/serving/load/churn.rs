//! Many requests, most of whose clients leave at some moment.

use std::cell::{Cell, RefCell};
use std::io;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::Result;
use crate::client::{Completion, PATH, body};
use crate::flags::Flags;
use crate::{http, prompt};

#[derive(Default)]
struct Counts {
    finished: Cell<u64>,
    left_at_once: Cell<u64>,
    left_midway: Cell<u64>,
    errors: RefCell<Vec<String>>,
}

pub(crate) async fn run(flags: &Flags) -> Result<Value> {
    let (address, model) = (flags.address()?, flags.text("model", "default"));
    let (clients, requests) = (flags.number("clients", 16)?, flags.number("requests", 2000)?);
    let seed = flags.number("seed", 1)?;
    let (next, counts) = (Cell::new(0), Counts::default());
    let client = |_| async {
        loop {
            let number = next.get();
            if number >= requests {
                return;
            }
            next.set(number + 1);
            if let Err(error) = one(&address, &model, seed * 1_000_000 + number, &counts).await {
                counts.errors.borrow_mut().push(error.to_string());
            }
        }
    };
    join_all((0..clients).map(client)).await;
    let errors = counts.errors.borrow();
    Ok(json!({
        "requests": requests, "finished": counts.finished.get(), "left_at_once": counts.left_at_once.get(),
        "left_midway": counts.left_midway.get(), "errors": errors.len(), "first_error": errors.first(),
    }))
}

async fn one(address: &str, model: &str, number: u64, counts: &Counts) -> io::Result<()> {
    let mut random = fastrand::Rng::with_seed(number);
    let body = body(model, &prompt::text(random.u64(4..40), number), random.u64(4..24), 0.0);
    match random.u8(0..10) {
        0..4 => {
            Completion::start(address, &body).await?.finish().await?;
            add(&counts.finished);
        }
        4..6 => {
            drop(http::send(address, PATH, &body).await?);
            add(&counts.left_at_once);
        }
        _ => {
            let enough = random.usize(0..6);
            let mut completion = Completion::start(address, &body).await?;
            while completion.pieces.len() < enough && completion.read().await? {}
            add(&counts.left_midway);
        }
    }
    Ok(())
}

fn add(count: &Cell<u64>) {
    count.set(count.get() + 1);
}
