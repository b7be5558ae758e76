//! Rules of the gate.

use futures::FutureExt;

use super::*;

fn options(running: usize, queued: usize) -> AdmissionOptions {
    AdmissionOptions { running, queued, ..AdmissionOptions::default() }
}

fn of(tenant: &str) -> Request<'_> {
    Request { tenant, priority: 0, work: 100, deadline: None }
}

/// Lets the other tasks run until they all wait.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn so_many_run_so_many_wait_and_the_rest_is_refused_at_once() {
    let gate = Gate::new(options(2, 1));
    let first = gate.enter(of("a")).await.expect("room");
    let _second = gate.enter(of("a")).await.expect("room");
    let mut third = Box::pin(gate.enter(of("a")));
    assert!((&mut third).now_or_never().is_none(), "it waits");
    let fourth = gate.enter(of("a")).now_or_never().expect("at once");
    assert!(matches!(fourth, Err(ModelError::Overloaded { retry_after, .. }) if retry_after >= SOONEST));
    drop(first);
    third.await.expect("its turn");
    assert_eq!(gate.state(), GateState { running: 1, queued: 0, limit: 2 });
}

#[tokio::test]
async fn who_leaves_the_queue_gives_the_place_back() {
    let gate = Gate::new(options(1, 5));
    let first = gate.enter(of("a")).await.expect("room");
    let mut gone = Box::pin(gate.enter(of("a")));
    assert!((&mut gone).now_or_never().is_none());
    let mut next = Box::pin(gate.enter(of("a")));
    assert!((&mut next).now_or_never().is_none());
    drop(gone);
    assert_eq!(gate.state().queued, 1);
    drop(first);
    next.await.expect("its turn");
}

#[tokio::test]
async fn a_place_that_was_given_to_somebody_who_left_goes_to_the_next() {
    let gate = Gate::new(options(1, 5));
    let first = gate.enter(of("a")).await.expect("room");
    let mut gone = Box::pin(gate.enter(of("a")));
    assert!((&mut gone).now_or_never().is_none());
    let mut next = Box::pin(gate.enter(of("a")));
    assert!((&mut next).now_or_never().is_none());
    // The permit is on its way to `gone`, which never takes it.
    drop(first);
    drop(gone);
    next.await.expect("its turn");
}

#[tokio::test]
async fn a_deadline_in_the_queue_ends_the_wait() {
    let gate = Gate::new(options(1, 5));
    let _first = gate.enter(of("a")).await.expect("room");
    let deadline = Some(Instant::now() + Duration::from_millis(100));
    let error = gate.enter(Request { deadline, ..of("a") }).await.expect_err("too late");
    assert!(matches!(error, ModelError::DeadlineExceeded { .. }), "{error}");
    assert_eq!(gate.state().queued, 0);
}

#[tokio::test]
async fn what_can_not_meet_its_deadline_is_refused_at_once() {
    let gate = Gate::new(options(1, 500));
    let mut running = gate.enter(of("a")).await.expect("room");
    let mut queue: Vec<_> = (0..40).map(|_| Box::pin(gate.enter(of("a")))).collect();
    queue.iter_mut().for_each(|waiting| assert!(waiting.now_or_never().is_none()));
    // One request in ten milliseconds.
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(10));
        let next = queue.remove(0);
        drop(running);
        running = next.await.expect("its turn");
    }
    settle().await;
    let soon = Some(Instant::now() + Duration::from_millis(20));
    let refused = gate.enter(Request { deadline: soon, ..of("a") }).now_or_never().expect("at once");
    assert!(matches!(refused, Err(ModelError::Overloaded { .. })));
    let of_another_tenant = gate.enter(Request { deadline: Some(Instant::now() + Duration::from_secs(2)), ..of("b") });
    assert!(of_another_tenant.now_or_never().is_none(), "its turn comes soon enough");
}

#[tokio::test]
async fn one_tenant_does_not_keep_others_out_of_a_full_queue() {
    let gate = Gate::new(options(1, 4));
    let _first = gate.enter(of("many")).await.expect("room");
    let mut flood: Vec<_> = (0..4).map(|_| Box::pin(gate.enter(of("many")))).collect();
    flood.iter_mut().for_each(|waiting| assert!(waiting.now_or_never().is_none()));
    let mut few = Box::pin(gate.enter(of("few")));
    assert!((&mut few).now_or_never().is_none(), "it waits");
    let newest = flood.pop().expect("four").now_or_never().expect("answered");
    assert!(matches!(newest, Err(ModelError::Overloaded { .. })));
}

#[tokio::test]
async fn reported_slots_are_the_limit() {
    let gate = Gate::new(options(512, 4));
    gate.slots(16);
    assert_eq!(gate.state().limit, 19);
    gate.slots(2_000);
    assert_eq!(gate.state().limit, 512);
    gate.slots(0);
    assert_eq!(gate.state().limit, 512);
}

#[tokio::test]
async fn some_places_are_kept_for_who_has_had_less_than_its_share() {
    let gate = Gate::new(options(512, 500));
    gate.slots(48);
    let enter = |tenant| gate.enter(of(tenant)).now_or_never();
    let mut inside = vec![enter("few").expect("room")];
    inside.extend((0..10).map(|_| enter("many").expect("room")));
    inside.push(enter("few").expect("room"));
    let of_many = std::iter::from_fn(|| enter("many")).take(100);
    inside.extend(of_many);
    assert_eq!(gate.state().running, 45, "three are left");
    let mut waiting = Box::pin(gate.enter(of("many")));
    assert!((&mut waiting).now_or_never().is_none());
    inside.push(enter("few").expect("a kept place, though another waits"));
    drop(inside.pop());
    settle().await;
    assert!((&mut waiting).now_or_never().is_none(), "a kept place stays free");
    drop(inside.pop());
    waiting.await.expect("its turn");
}

#[tokio::test]
async fn who_is_alone_has_all_places() {
    let gate = Gate::new(options(512, 500));
    gate.slots(48);
    let inside: Vec<_> = std::iter::from_fn(|| gate.enter(of("many")).now_or_never()).take(100).collect();
    assert_eq!(inside.len(), 48);
}
