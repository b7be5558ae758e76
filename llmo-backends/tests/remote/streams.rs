//! Streams: complete, broken, slow, abandoned.

use std::time::{Duration, Instant};

use futures::StreamExt;
use llmo_core::model::{CacheStatus, Event, FinishReason, GenerateRequest, Model, ModelError};

use super::upstream::{BOUND, Step, Upstream, content, done, end, piece, stop, stream_head, whole};

fn ask() -> GenerateRequest {
    GenerateRequest::ask("hello")
}

/// All events, with a bound on the time they take.
async fn events(model: &impl Model, request: GenerateRequest) -> Vec<Result<Event, ModelError>> {
    let stream = async {
        match model.generate(request).await {
            Ok(stream) => stream.collect().await,
            Err(error) => vec![Err(error)],
        }
    };
    tokio::time::timeout(BOUND, stream).await.unwrap()
}

fn text(events: &[Result<Event, ModelError>]) -> String {
    let delta = |event: &Result<Event, ModelError>| match event {
        Ok(Event::Delta(delta)) => delta.text.clone(),
        _ => String::new(),
    };
    events.iter().map(delta).collect()
}

/// The last event must say that the upstream failed, and whether output had begun.
fn assert_failed(events: &[Result<Event, ModelError>], output_had_begun: bool) {
    let last = events.last();
    let good = matches!(last, Some(Err(ModelError::Upstream { started, .. })) if *started == output_had_begun);
    assert!(good, "{last:?}");
}

#[tokio::test]
async fn a_good_stream_comes_whole_and_its_connection_is_used_again() {
    let script = [stream_head(), piece(": heartbeat\n\n"), content("a"), content("b"), stop(), done(), end()];
    let upstream = Upstream::start(script).await;
    let model = upstream.model(|_| {});
    for _ in 0..3 {
        let stream = model.generate(ask()).await.unwrap();
        assert_eq!(stream.origin.cache, CacheStatus::Miss);
        assert_eq!(stream.origin.replica.as_deref(), Some("r1"));
        let (output, finish) = stream.collect_all().await.unwrap();
        assert_eq!((output.text.as_str(), finish.reason), ("ab", FinishReason::Stop));
        assert_eq!(model.load().in_flight(), 0);
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn an_event_cut_anywhere_is_one_event() {
    let event = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"zażółć\"}}]}\r\n\r\n";
    let mut script = vec![stream_head()];
    script.extend(event.chars().map(|c| piece(&c.to_string())));
    script.extend([stop(), done(), end()]);
    let upstream = Upstream::start(script).await;
    assert_eq!(text(&events(&upstream.model(|_| {}), ask()).await), "zażółć");
}

#[tokio::test]
async fn an_upstream_that_forgets_done_is_complete_if_it_said_why_it_stopped() {
    for last in [end(), Step::Close] {
        let upstream = Upstream::start([stream_head(), content("a"), stop(), last]).await;
        let events = events(&upstream.model(|_| {}), ask()).await;
        assert!(matches!(events.last(), Some(Ok(Event::Finish(_)))), "{events:?}");
    }
}

#[tokio::test]
async fn a_stream_that_ends_without_a_finish_has_failed() {
    for last in [done(), end(), Step::Close] {
        let upstream = Upstream::start([stream_head(), content("a"), last.clone(), Step::Close]).await;
        let broken = events(&upstream.model(|_| {}), ask()).await;
        assert_eq!(text(&broken), "a");
        assert_failed(&broken, true);
        let upstream = Upstream::start([stream_head(), last, Step::Close]).await;
        assert_failed(&events(&upstream.model(|_| {}), ask()).await, false);
    }
}

#[tokio::test]
async fn garbage_ends_the_stream_and_not_the_process() {
    for garbage in [
        piece("data: <html>\n\n"),
        piece("data: {\"choices\": 7}\n\n"),
        Step::Send("zzz not a chunk size".into()),
        piece(&format!("data: {}\n\n", "x".repeat(5000))),
    ] {
        let upstream = Upstream::start([stream_head(), content("a"), garbage, Step::Close]).await;
        assert_failed(&events(&upstream.model(|o| o.max_event_bytes = 4096), ask()).await, true);
    }
}

#[tokio::test]
async fn an_answer_without_an_http_head_is_retryable() {
    for script in [vec![Step::Close], vec![Step::Send("SSH-2.0-nonsense\r\n".into()), Step::Close]] {
        let upstream = Upstream::start(script).await;
        let events = events(&upstream.model(|_| {}), ask()).await;
        assert_failed(&events, false);
        assert!(events[0].as_ref().unwrap_err().is_retryable());
    }
}

#[tokio::test]
async fn a_page_instead_of_a_stream_is_refused() {
    let upstream = Upstream::start([whole("200 OK", "content-type: text/html\r\n", "<html>")]).await;
    assert_failed(&events(&upstream.model(|_| {}), ask()).await, false);
}

#[tokio::test]
async fn an_answer_that_came_whole_is_as_good_as_a_stream() {
    let body = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"length"}],
                   "usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
    let upstream = Upstream::start([whole("200 OK", "content-type: application/json\r\n", body)]).await;
    let (output, finish) = upstream.model(|_| {}).generate(ask()).await.unwrap().collect_all().await.unwrap();
    assert_eq!((output.text.as_str(), finish.reason), ("hi", FinishReason::Length));
    assert_eq!(finish.usage.total(), 4);
}

#[tokio::test]
async fn errors_in_a_stream_come_after_the_deltas_before_them() {
    let error =
        "event: error\ndata: {\"error\":{\"code\":\"shutdown\",\"message\":\"the service is shutting down\"}}\n\n";
    let upstream = Upstream::start([stream_head(), content("a"), content("b"), piece(error), end()]).await;
    let events = events(&upstream.model(|_| {}), ask()).await;
    assert_eq!(text(&events), "ab");
    assert!(matches!(events.last(), Some(Err(ModelError::Shutdown))), "{events:?}");
}

#[tokio::test]
async fn dropping_the_stream_closes_the_connection() {
    let mut upstream = Upstream::start([stream_head(), content("a"), Step::Hang]).await;
    let model = upstream.model(|_| {});
    let mut stream = model.generate(ask()).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    assert_eq!(model.load().in_flight(), 1);
    drop(stream);
    assert_eq!(model.load().in_flight(), 0);
    upstream.abandoned().await;
}

#[tokio::test]
async fn dropping_the_request_closes_the_connection() {
    let mut upstream = Upstream::start([Step::Hang]).await;
    let model = upstream.model(|_| {});
    let request = tokio::time::timeout(Duration::from_millis(200), model.generate(ask())).await;
    assert!(request.is_err(), "the upstream never answers");
    assert_eq!(model.load().in_flight(), 0);
    upstream.abandoned().await;
}

#[tokio::test]
async fn a_first_token_too_late_is_retryable_and_a_next_one_is_not() {
    let impatient = |o: &mut llmo_backends::remote::RemoteOptions| {
        o.first_token_timeout = Some(Duration::from_millis(200));
        o.idle_timeout = Some(Duration::from_millis(200));
    };
    for script in [vec![Step::Hang], vec![stream_head(), piece(": heartbeat\n\n"), Step::Hang]] {
        let mut upstream = Upstream::start(script).await;
        assert_failed(&events(&upstream.model(impatient), ask()).await, false);
        upstream.abandoned().await;
    }
    let mut upstream = Upstream::start([stream_head(), content("a"), Step::Hang]).await;
    assert_failed(&events(&upstream.model(impatient), ask()).await, true);
    upstream.abandoned().await;
}

#[tokio::test]
async fn nothing_outlives_its_deadline() {
    for script in [vec![Step::Hang], vec![stream_head(), content("a"), Step::Hang]] {
        let mut upstream = Upstream::start(script).await;
        let request = ask().deadline_after(Instant::now(), Duration::from_millis(300));
        let events = events(&upstream.model(|_| {}), request).await;
        assert!(matches!(events.last(), Some(Err(ModelError::DeadlineExceeded { .. }))), "{events:?}");
        let head = upstream.request().await.head;
        let said = head.lines().find_map(|line| line.strip_prefix("x-llmo-deadline-ms: ")).unwrap();
        assert!((1..=300).contains(&said.parse::<u32>().unwrap()), "{said}");
        upstream.abandoned().await;
    }
}

#[tokio::test]
async fn a_slow_reader_is_not_a_slow_upstream() {
    let upstream = Upstream::start([stream_head(), content("a"), content("b"), stop(), done(), end()]).await;
    let model = upstream.model(|o| o.idle_timeout = Some(Duration::from_millis(100)));
    let mut stream = model.generate(ask()).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(stream.collect_all().await.is_ok());
}

#[tokio::test]
async fn nobody_there_is_unavailable_at_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let model = super::upstream::model_at(&url, |_| {});
    let asked = Instant::now();
    let error = model.generate(ask()).await.unwrap_err();
    assert!(matches!(error, ModelError::Unavailable { .. }) && error.is_retryable(), "{error}");
    assert!(asked.elapsed() < Duration::from_secs(2));
}
