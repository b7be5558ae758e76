//! Parameters that OpenAI does not have, under the names that clients of llama-server and vLLM use. Read in a pass of
//! their own: serde's `flatten` would lose the place of mistakes in all other fields.

use llmo_core::GenerateRequest;
use llmo_core::model::{DryParams, MirostatParams, TokenId};
use serde::Deserialize;

use super::wire::OneOrMany;
use crate::fault::Fault;
use crate::http::json::Object;

/// How far back `repeat_penalty` looks unless told otherwise: llama-server's default. The penalties under OpenAI's and
/// vLLM's names look at everything.
const REPEAT_LAST_N: u32 = 64;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wire {
    repeat_penalty: Option<f32>,
    repeat_last_n: Option<i64>,
    dry_multiplier: Option<f32>,
    dry_base: Option<f32>,
    dry_allowed_length: Option<u32>,
    dry_penalty_last_n: Option<i64>,
    dry_sequence_breakers: Option<OneOrMany>,
    mirostat: Option<u32>,
    mirostat_tau: Option<f32>,
    mirostat_eta: Option<f32>,
    mirostat_mu: Option<f32>,
    stop_token_ids: Option<Vec<TokenId>>,
    prompt_logprobs: Option<u32>,
    xtc_probability: Option<f32>,
    top_n_sigma: Option<f32>,
    dynatemp_range: Option<f32>,
    min_tokens: Option<u32>,
    ignore_eos: Option<bool>,
    use_beam_search: Option<bool>,
}

/// Sets what a body asks for on the request that was read from it.
///
/// # Errors
/// [`Fault`] naming the field. Ranges are checked with the rest of the request.
pub(super) fn apply(body: &Object<'_>, request: &mut GenerateRequest) -> Result<(), Fault> {
    let wire: Wire = body.read_rare()?;
    refuse(&wire)?;
    penalties(&wire, request)?;
    dry(&wire, request)?;
    mirostat(&wire, request)?;
    request.stop_tokens = wire.stop_token_ids.unwrap_or_default();
    request.prompt_logprobs = wire.prompt_logprobs;
    Ok(())
}

/// What would change the output and can't be done is refused, never ignored.
fn refuse(wire: &Wire) -> Result<(), Fault> {
    let on = |value: Option<f32>| value.is_some_and(|value| value > 0.0);
    let wanted = [
        ("xtc_probability", on(wire.xtc_probability)),
        ("top_n_sigma", on(wire.top_n_sigma)),
        ("dynatemp_range", on(wire.dynatemp_range)),
        ("min_tokens", wire.min_tokens.is_some_and(|tokens| tokens > 0)),
        ("ignore_eos", wire.ignore_eos == Some(true)),
        ("use_beam_search", wire.use_beam_search == Some(true)),
    ];
    match wanted.into_iter().find(|(_, wanted)| *wanted) {
        Some((name, _)) => Err(Fault::unsupported(name, "this is not supported; leave it out")),
        None => Ok(()),
    }
}

fn penalties(wire: &Wire, request: &mut GenerateRequest) -> Result<(), Fault> {
    let sampling = &mut request.sampling;
    if let Some(penalty) = wire.repeat_penalty {
        if sampling.repetition_penalty != 1.0 && sampling.repetition_penalty != penalty {
            return Err(Fault::invalid(
                "repeat_penalty",
                "contradicts repetition_penalty, which is the same; send one",
            ));
        }
        // A penalty out of range is named as the client named it.
        if !(penalty > 0.0 && penalty <= 2.0) {
            return Err(Fault::invalid("repeat_penalty", format!("must be above 0 and at most 2, got {penalty}")));
        }
        sampling.repetition_penalty = penalty;
        sampling.penalty_window = REPEAT_LAST_N;
    }
    match wire.repeat_last_n.map(|n| window("repeat_last_n", n)).transpose()? {
        Some(Some(tokens)) => sampling.penalty_window = tokens,
        // They look at nothing: they are off.
        Some(None) => {
            (sampling.repetition_penalty, sampling.frequency_penalty, sampling.presence_penalty) = (1.0, 0.0, 0.0);
        }
        None => {}
    }
    if !sampling.has_penalties() {
        sampling.penalty_window = 0;
    }
    Ok(())
}

fn dry(wire: &Wire, request: &mut GenerateRequest) -> Result<(), Fault> {
    let Some(multiplier) = wire.dry_multiplier.filter(|multiplier| *multiplier != 0.0) else { return Ok(()) };
    let mut dry = DryParams::default();
    dry.multiplier = multiplier;
    dry.base = wire.dry_base.unwrap_or(dry.base);
    dry.allowed_length = wire.dry_allowed_length.unwrap_or(dry.allowed_length);
    match wire.dry_penalty_last_n.map(|n| window("dry_penalty_last_n", n)).transpose()? {
        Some(Some(tokens)) => dry.window = tokens,
        Some(None) => return Ok(()),
        None => {}
    }
    if let Some(OneOrMany(breakers)) = &wire.dry_sequence_breakers {
        dry.sequence_breakers.clone_from(breakers);
    }
    request.sampling.dry = Some(dry);
    Ok(())
}

fn mirostat(wire: &Wire, request: &mut GenerateRequest) -> Result<(), Fault> {
    let Some(version) = wire.mirostat.filter(|version| *version != 0) else { return Ok(()) };
    let mut mirostat = MirostatParams::default();
    mirostat.version = u8::try_from(version)
        .map_err(|_| Fault::invalid("mirostat", format!("must be 1 or 2 (0: off), got {version}")))?;
    mirostat.tau = wire.mirostat_tau.unwrap_or(mirostat.tau);
    mirostat.eta = wire.mirostat_eta.unwrap_or(mirostat.eta);
    mirostat.mu = wire.mirostat_mu;
    request.sampling.mirostat = Some(mirostat);
    Ok(())
}

/// A number of the last tokens as llama-server has it: -1 is all, 0 none. Ours: 0 is all, `None` none.
fn window(name: &'static str, tokens: i64) -> Result<Option<u32>, Fault> {
    match tokens {
        -1 => Ok(Some(0)),
        0 => Ok(None),
        _ => u32::try_from(tokens).map(Some).map_err(|_| {
            Fault::invalid(name, format!("must be -1 (all), 0 (off) or a number of tokens, got {tokens}"))
        }),
    }
}

#[cfg(test)]
mod tests {
    use llmo_core::model::SamplingParams;

    use super::*;

    fn read(body: &str) -> Result<SamplingParams, Fault> {
        let mut request = GenerateRequest::ask("x");
        apply(&Object::new(body.as_bytes())?, &mut request)?;
        Ok(request.sampling)
    }

    #[test]
    fn llama_server_s_names_are_understood() {
        let sampling = read(
            r#"{"repeat_penalty": 1.1, "dry_multiplier": 0.5, "dry_base": 2, "dry_allowed_length": 3, "dry_penalty_last_n": -1,
                "dry_sequence_breakers": ["\n"], "mirostat": 2, "mirostat_tau": 4, "mirostat_eta": 0.2}"#,
        )
        .unwrap();
        assert_eq!((sampling.repetition_penalty, sampling.penalty_window), (1.1, 64));
        let dry = sampling.dry.unwrap();
        assert_eq!((dry.multiplier, dry.base, dry.allowed_length, dry.window), (0.5, 2.0, 3, 0));
        assert_eq!(dry.sequence_breakers, ["\n"]);
        let mirostat = sampling.mirostat.unwrap();
        assert_eq!((mirostat.version, mirostat.tau, mirostat.eta, mirostat.mu), (2, 4.0, 0.2, None));
    }

    #[test]
    fn zero_means_off_as_in_llama_server() {
        for off in [
            r#"{"dry_multiplier": 0, "dry_base": 1.75, "mirostat": 0, "mirostat_tau": 5}"#,
            r#"{"dry_multiplier": 0.8, "dry_penalty_last_n": 0}"#,
            r#"{"repeat_penalty": 1.3, "repeat_last_n": 0}"#,
            r#"{"repeat_last_n": 64, "xtc_probability": 0, "min_tokens": 0, "ignore_eos": false}"#,
        ] {
            let mut neutral = read("{}").unwrap();
            neutral.seed = None;
            assert_eq!(read(off).unwrap(), neutral, "{off}");
        }
    }

    #[test]
    fn what_can_t_be_done_is_refused_by_name() {
        for name in ["xtc_probability", "top_n_sigma", "dynatemp_range", "min_tokens"] {
            let refused = read(&format!("{{\"{name}\": 1}}"));
            assert!(matches!(&refused, Err(fault) if fault.to_string().contains(name)), "{name}: {refused:?}");
        }
    }
}
