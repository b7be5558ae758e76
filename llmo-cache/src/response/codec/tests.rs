use proptest::prelude::*;

use super::*;

fn key() -> CacheKey {
    CacheKey::new("gen:v1:x").unwrap()
}

fn tops() -> impl Strategy<Value = TopLogprob> {
    (any::<u32>(), any::<Vec<u8>>(), -50.0_f32..0.0).prop_map(|(token, bytes, logprob)| TopLogprob {
        token,
        bytes,
        logprob,
    })
}

fn deltas() -> impl Strategy<Value = Delta> {
    let logprob = (tops(), proptest::collection::vec(tops(), 0..3)).prop_map(|(token, top)| {
        let TopLogprob { token, bytes, logprob } = token;
        TokenLogprob { token, bytes, logprob, top }
    });
    let prompt = (tops(), any::<bool>(), proptest::collection::vec(tops(), 0..3)).prop_map(|(token, first, top)| {
        PromptToken { token: token.token, bytes: token.bytes, logprob: (!first).then_some(token.logprob), top }
    });
    let mu = proptest::option::of(-3.0_f32..20.0);
    let logprobs = proptest::collection::vec(logprob, 0..3);
    (any::<String>(), any::<Vec<u32>>(), logprobs, proptest::collection::vec(prompt, 0..3), mu).prop_map(
        |(text, tokens, logprobs, prompt, mu)| {
            let mut delta = Delta::new(text, tokens);
            delta.logprobs = logprobs;
            delta.prompt = prompt;
            delta.mirostat_mu = mu;
            delta
        },
    )
}

fn generations() -> impl Strategy<Value = Generation> {
    let finish = (any::<bool>(), any::<Option<String>>(), any::<[u64; 3]>()).prop_map(|(length, stop, usage)| {
        let mut finish =
            Finish::new(if length { FinishReason::Length } else { FinishReason::Stop }, Usage::new(usage[0], usage[1]));
        finish.usage.cached_tokens = usage[2];
        finish.stop = stop;
        finish
    });
    (proptest::collection::vec(deltas(), 0..4), finish).prop_map(|(deltas, finish)| Generation { deltas, finish })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn generations_come_back_as_they_were(generation in generations()) {
        let entry = encode(&key(), &generation).unwrap();
        prop_assert_eq!(decode::<Generation>(&key(), &entry), Ok(generation));
    }

    #[test]
    fn vectors_come_back_as_they_were(tokens: u64, values: Vec<f32>) {
        let values: Vec<f32> = values.into_iter().filter(|value| !value.is_nan()).collect();
        let vector = Vector { tokens, values };
        let entry = encode(&key(), &vector).unwrap();
        prop_assert_eq!(decode::<Vector>(&key(), &entry), Ok(vector));
    }

    #[test]
    fn any_flipped_bit_is_found(generation in generations(), at: prop::sample::Index, bit in 0_u8..8) {
        let mut entry = encode(&key(), &generation).unwrap().to_vec();
        let at = at.index(entry.len());
        entry[at] ^= 1 << bit;
        prop_assert_eq!(decode::<Generation>(&key(), &entry), Err(DecodeError));
    }

    #[test]
    fn a_truncated_entry_does_not_decode(generation in generations(), at: prop::sample::Index) {
        let entry = encode(&key(), &generation).unwrap();
        let whole = entry.len();
        prop_assert_eq!(decode::<Generation>(&key(), &entry[..at.index(whole)]), Err(DecodeError));
    }

    /// Also where the checksum is right, as in an entry written by a newer program: no panic, no huge allocation.
    #[test]
    fn bodies_of_arbitrary_bytes_never_panic(body: Vec<u8>) {
        Generation::read_body(&body);
        Vector::read_body(&body);
    }
}

#[test]
fn an_entry_does_not_decode_under_another_key_or_as_another_kind() {
    let entry = encode(&key(), &Vector { tokens: 1, values: vec![1.0] }).unwrap();
    assert_eq!(decode::<Vector>(&CacheKey::new("other").unwrap(), &entry), Err(DecodeError));
    assert_eq!(decode::<Generation>(&key(), &entry), Err(DecodeError));
}

#[test]
fn a_short_answer_is_stored_in_few_bytes() {
    let deltas = (0..10).map(|n| Delta::new("word ", vec![n])).collect();
    let generation = Generation { deltas, finish: Finish::new(FinishReason::Stop, Usage::new(20, 10)) };
    assert!(encode(&key(), &generation).unwrap().len() < HEADER_BYTES + 10 * 11);
}
