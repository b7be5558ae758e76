//! Many streams at reading speed: how late each token is. The upstream writes into each token when it was sent; both ends read
//! the same clock.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::connection::{Connection, request};
use crate::flags::Flags;
use crate::{Result, stats, upstream};

/// The mark before the time in a token.
const MARK: &[u8] = b"@";

/// Opens `count` streams over two seconds, and reads them to their ends.
pub(crate) async fn run(flags: &Flags) -> Result<Value> {
    let count = flags.number("count", 1000);
    let (late, failed) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0_u64)));
    let request: Rc<[u8]> = request(&flags.address, true, flags.number("tokens", 60)).into();
    let mut running = Vec::new();
    for _ in 0..count {
        let (late, failed, request) = (Rc::clone(&late), Rc::clone(&failed), Rc::clone(&request));
        let address = flags.address.clone();
        running.push(tokio::task::spawn_local(async move {
            let read = async {
                let mut connection = Connection::open(&address).await?;
                connection
                    .pieces(&request, |line| {
                        if let Some(sent) = time(line) {
                            late.borrow_mut().push(Duration::from_nanos(upstream::now().saturating_sub(sent)));
                        }
                    })
                    .await
            };
            if let Err(error) = read.await {
                if failed.get() == 0 {
                    eprintln!("the first failure: {error}");
                }
                failed.set(failed.get() + 1);
            }
        }));
        tokio::time::sleep(Duration::from_secs(2) / u32::try_from(count)?).await;
    }
    for one in running {
        one.await?;
    }
    Ok(json!({"streams": count, "failed": failed.get(), "late_us": stats::summary(late.take())}))
}

/// The time in a token, in nanoseconds.
fn time(line: &[u8]) -> Option<u64> {
    let at = line.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let digits = line[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    std::str::from_utf8(&line[at..at + digits]).ok()?.parse().ok()
}
