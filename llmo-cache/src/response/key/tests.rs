use std::time::{Duration, Instant};

use llmo_core::model::{
    Adapter, CacheUse, Constraint, DryParams, MirostatParams, Quantisation, Role, Tool, ToolChoice,
};
use proptest::prelude::*;

use super::*;

fn model() -> ModelInfo {
    ModelInfo::new("m", "sim")
}

fn key(request: &GenerateRequest) -> CacheKey {
    generation(&model(), request).unwrap()
}

fn prompts() -> impl Strategy<Value = Prompt> {
    let role = prop_oneof![Just(Role::System), Just(Role::User), Just(Role::Assistant), Just(Role::Tool)];
    let message = (role, ".{0,8}").prop_map(|(role, content)| Message::new(role, content));
    prop_oneof![
        proptest::collection::vec(message, 0..4).prop_map(Prompt::Chat),
        ".{0,8}".prop_map(Prompt::Text),
        proptest::collection::vec(any::<u32>(), 0..6).prop_map(Prompt::Tokens),
    ]
}

fn samplings() -> impl Strategy<Value = SamplingParams> {
    let floats = proptest::array::uniform7(prop_oneof![Just(0.0_f32), Just(1.0), 0.0_f32..2.0]);
    let bias = proptest::collection::vec((any::<u32>(), -100.0_f32..100.0), 0..3);
    (floats, 0_u32..3, proptest::option::of(0_u64..3), bias).prop_map(|(f, top_k, seed, logit_bias)| {
        let mut sampling = SamplingParams::at_temperature(f[0]);
        [sampling.top_p, sampling.min_p, sampling.typical_p] = [f[1], f[2], f[3]];
        [sampling.repetition_penalty, sampling.frequency_penalty, sampling.presence_penalty] = [f[4], f[5], f[6]];
        (sampling.top_k, sampling.seed, sampling.logit_bias) = (top_k, seed, logit_bias);
        sampling
    })
}

fn requests() -> impl Strategy<Value = GenerateRequest> {
    let stops = proptest::collection::vec(".{0,3}", 0..3);
    let tenants = proptest::option::of("[ab]{0,2}");
    let small = || proptest::option::of(0_u32..4);
    (prompts(), samplings(), stops, small(), small(), any::<bool>(), tenants).prop_map(
        |(prompt, sampling, stop, max_tokens, logprobs, token_ids, tenant)| {
            let mut request = GenerateRequest::new(prompt).sampling(sampling);
            (request.stop, request.max_tokens, request.logprobs) = (stop, max_tokens, logprobs);
            (request.token_ids, request.tenant) = (token_ids, tenant);
            request
        },
    )
}

/// Changes exactly one field that counts.
fn changes() -> impl Strategy<Value = fn(&mut GenerateRequest)> {
    let each: Vec<fn(&mut GenerateRequest)> = vec![
        |r| r.max_tokens = Some(r.max_tokens.map_or(0, |n| n + 1)),
        |r| r.stop.push(String::new()),
        |r| r.stop_tokens.push(0),
        |r| r.logprobs = Some(r.logprobs.map_or(0, |n| n + 1)),
        |r| r.token_ids = !r.token_ids,
        |r| r.tenant = r.tenant.take().map_or_else(|| Some(String::new()), |t| Some(t + "x")),
        |r| r.sampling.temperature += 0.5,
        |r| r.sampling.top_k += 1,
        |r| r.sampling.top_p += 0.5,
        |r| r.sampling.min_p += 0.5,
        |r| r.sampling.typical_p += 0.5,
        |r| r.sampling.repetition_penalty += 0.5,
        |r| r.sampling.frequency_penalty += 0.5,
        |r| r.sampling.presence_penalty += 0.5,
        |r| r.sampling.seed = Some(r.sampling.seed.map_or(0, |n| n + 1)),
        |r| r.sampling.logit_bias.push((0, 0.0)),
        |r| r.sampling.penalty_window += 1,
        |r| r.sampling.dry = r.sampling.dry.take().xor(Some(DryParams::default())),
        |r| r.sampling.mirostat = r.sampling.mirostat.take().xor(Some(MirostatParams::default())),
        |r| r.prompt_logprobs = r.prompt_logprobs.take().xor(Some(1)),
        |r| r.constraint = r.constraint.take().xor(Some(Constraint::JsonObject)),
        |r| r.output_prefix.push(0),
        |r| r.tools.push(Tool::new("f", serde_json::Value::Null)),
        |r| r.tool_choice = if r.tool_choice == ToolChoice::None { ToolChoice::Auto } else { ToolChoice::None },
        |r| r.parallel_tool_calls = !r.parallel_tool_calls,
        |r| r.adapter = r.adapter.take().xor(Some(Adapter::new("a"))),
        |r| match &mut r.prompt {
            Prompt::Chat(messages) => messages.push(Message::user("")),
            Prompt::Text(text) => text.push('x'),
            Prompt::Tokens(tokens) => tokens.push(0),
            _ => unreachable!("the strategy makes no others"),
        },
    ];
    proptest::sample::select(each)
}

proptest! {
    #[test]
    fn the_same_request_has_the_same_key(request in requests()) {
        prop_assert_eq!(key(&request), key(&request.clone()));
    }

    #[test]
    fn a_request_that_differs_in_any_field_has_another_key(request in requests(), change in changes()) {
        let mut changed = request.clone();
        change(&mut changed);
        prop_assert_ne!(key(&request), key(&changed));
    }

    #[test]
    fn different_requests_have_different_keys(a in requests(), b in requests()) {
        prop_assert_eq!(a == b, key(&a) == key(&b), "{:?}\n{:?}", a, b);
    }

    #[test]
    fn where_one_text_ends_and_the_next_begins_counts(a in ".{0,4}", b in ".{1,4}", c in ".{0,4}") {
        let split = |first: String, second: String| {
            key(&GenerateRequest::new(Prompt::Chat(vec![Message::user(first), Message::user(second)])))
        };
        prop_assert_ne!(split(format!("{a}{b}"), c.clone()), split(a, format!("{b}{c}")));
    }
}

#[test]
fn who_asks_for_how_long_does_not_count() {
    let request = GenerateRequest::ask("hello");
    let mut other = request.clone().deadline_after(Instant::now(), Duration::from_secs(1));
    other.request_id = Some("r-1".into());
    other.cache = CacheUse::Refresh;
    assert_eq!(key(&request), key(&other));
}

#[test]
fn the_model_counts_in_every_respect_that_changes_answers() {
    let changes: [fn(&mut ModelInfo); 5] = [
        |m| m.id = "other".into(),
        |m| m.digest = Some("ab".into()),
        |m| m.backend = "candle".into(),
        |m| m.quantisation = Quantisation::Named("Q4_1".into()),
        |m| m.context_length = 1,
    ];
    let request = GenerateRequest::ask("hello");
    for change in changes {
        let mut changed = model();
        change(&mut changed);
        assert_ne!(generation(&model(), &request), generation(&changed, &request));
    }
}

#[test]
fn the_same_text_as_prompt_and_as_chat_are_two_requests() {
    assert_ne!(key(&GenerateRequest::ask("hello")), key(&GenerateRequest::complete("hello")));
}

#[test]
fn embeddings_are_told_apart_by_text_dimensions_truncation_and_tenant() {
    let request = EmbedRequest::new(["a"]);
    let key = |request: &EmbedRequest, text: &str| embedding(&model(), request, text).unwrap();
    let mut keys = vec![key(&request, "a"), key(&request, "b")];
    let changes: [fn(&mut EmbedRequest); 3] =
        [|r| r.dimensions = Some(8), |r| r.truncate = true, |r| r.tenant = Some("t".into())];
    for change in changes {
        let mut changed = request.clone();
        change(&mut changed);
        keys.push(key(&changed, "a"));
    }
    let distinct: std::collections::HashSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
    assert_eq!(key(&request, "a"), key(&EmbedRequest::new(["a", "b"]), "a"), "the rest of the batch does not count");
}

#[test]
fn a_key_is_stable_between_versions_of_this_program() {
    // If this fails, the encoding changed: raise VERSION, and only then the expectation.
    let key = key(&GenerateRequest::ask("What is the capital of France?").max_tokens(40));
    assert_eq!(key.as_str(), "gen:v3:5adb67a9989083dedc6b7f18b441ca4c1405f0c2c14ae427a38b46b6344ac6da");
}

/// The names of a struct's own fields, from its `Debug` form.
fn fields(value: &impl std::fmt::Debug) -> Vec<String> {
    let debug = format!("{value:#?}");
    let own = debug.lines().filter(|line| line.starts_with("    ") && !line.starts_with("     "));
    own.filter_map(|line| line.split_once(": ").map(|(name, _)| name.trim().to_owned())).collect()
}

/// A field added to a request must be put into the key, or be listed here as one that does not change the answer.
#[test]
fn no_field_is_forgotten() {
    let counted = [
        "prompt",
        "max_tokens",
        "stop",
        "stop_tokens",
        "sampling",
        "logprobs",
        "prompt_logprobs",
        "output_prefix",
        "token_ids",
        "tenant",
        "constraint",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "adapter",
    ];
    let not_counted =
        ["deadline", "request_id", "cache", "priority", "traceparent", "tracestate", "explain", "keep_alive"];
    let mut known: Vec<_> = counted.into_iter().chain(not_counted).collect();
    let mut actual = fields(&GenerateRequest::ask("x"));
    known.sort_unstable();
    actual.sort_unstable();
    assert_eq!(actual, known);

    let sampling = fields(&SamplingParams::default());
    assert_eq!(sampling.len(), 13, "{sampling:?}");
    assert_eq!(fields(&Message::user("x")), ["role", "content", "tool_calls", "tool_call_id", "name"]);
    let embed = fields(&EmbedRequest::new(["x"]));
    assert_eq!(embed.len(), 8, "{embed:?}");
}
