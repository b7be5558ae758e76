//! The same samplers, slow and obvious: what the fast ones are compared with. Everything is sorted, everything in f64.

use llmo_core::model::{SamplingParams, TokenId};

use super::TokenTexts;

/// Logits after bias, penalties and DRY. The last `generated` tokens of `history` are output.
pub(super) fn adjusted(
    params: &SamplingParams,
    logits: &[f32],
    history: &[TokenId],
    generated: usize,
    texts: &dyn TokenTexts,
) -> Vec<f32> {
    let penalty_window = last(history, params.penalty_window);
    let output = history.len() - generated;
    (0..logits.len() as TokenId)
        .map(|token| {
            let mut logit = logits[token as usize];
            logit += params.logit_bias.iter().filter(|(biased, _)| *biased == token).map(|(_, bias)| bias).sum::<f32>();
            let places: Vec<usize> = (0..history.len())
                .filter(|place| *place >= history.len() - penalty_window.len() && history[*place] == token)
                .collect();
            if !places.is_empty() {
                let penalty = params.repetition_penalty;
                logit = if logit > 0.0 { logit / penalty } else { logit * penalty };
            }
            let count = places.iter().filter(|place| **place >= output).count();
            if count > 0 {
                logit -= count as f32 * params.frequency_penalty + params.presence_penalty;
            }
            logit - dry(params, token, history, texts)
        })
        .collect()
}

fn last(history: &[TokenId], window: u32) -> &[TokenId] {
    if window == 0 { history } else { &history[history.len().saturating_sub(window as usize)..] }
}

/// What DRY takes from a token.
fn dry(params: &SamplingParams, token: TokenId, history: &[TokenId], texts: &dyn TokenTexts) -> f32 {
    let Some(dry) = &params.dry else { return 0.0 };
    let holds = |text: &[u8], breaker: &str| text.windows(breaker.len()).any(|part| part == breaker.as_bytes());
    if dry.sequence_breakers.iter().any(|breaker| holds(texts.text(token), breaker)) {
        return 0.0;
    }
    // The shortest end of the history whose text, with one token before it, holds a whole breaker's end.
    let text_of = |tokens: &[TokenId]| tokens.iter().flat_map(|token| texts.text(*token).to_vec()).collect::<Vec<u8>>();
    let breaks_at = |place: usize| {
        let (until, before) = (text_of(&history[..=place]), text_of(&history[..place]).len());
        dry.sequence_breakers
            .iter()
            .any(|breaker| (before + 1..=until.len()).any(|end| until[..end].ends_with(breaker.as_bytes())))
    };
    let since = (0..history.len()).rev().take_while(|place| !breaks_at(*place)).count();
    let window = last(history, dry.window);
    let limit = since.min(window.len());
    let longest = (0..window.len())
        .filter(|place| window[*place] == token)
        .map(|place| {
            (0..place).take_while(|n| window[place - 1 - n] == window[window.len() - 1 - n]).count().min(limit)
        })
        .max();
    match longest {
        Some(length) if length >= dry.allowed_length as usize => {
            let exponent = length as i32 - dry.allowed_length as i32;
            (f64::from(dry.multiplier) * f64::from(dry.base).powi(exponent)) as f32
        }
        _ => 0.0,
    }
}

/// Tokens that may be drawn and their probabilities, likeliest first.
pub(super) fn filtered(params: &SamplingParams, logits: &[f32]) -> Vec<(TokenId, f64)> {
    let mut kept = sorted(logits);
    if params.top_k > 0 {
        kept.truncate(params.top_k as usize);
    }
    if params.typical_p < 1.0 && kept.len() > 1 {
        kept = typical(&kept, params.typical_p.into());
    }
    if params.top_p < 1.0 {
        let p = probabilities(&kept, 1.0);
        kept.truncate(count_until(&p, params.top_p.into()));
    }
    if params.min_p > 0.0 {
        let least = kept[0].1 + f64::from(params.min_p).ln();
        kept.retain(|(_, logit)| *logit >= least - 1e-6);
    }
    let p = probabilities(&kept, params.temperature.into());
    kept.iter().map(|(token, _)| *token).zip(p).collect()
}

/// The same with mirostat in the place of the filters.
pub(super) fn mirostat(params: &SamplingParams, logits: &[f32]) -> Vec<(TokenId, f64)> {
    let mirostat = params.mirostat.as_ref().expect("a test of mirostat");
    let mu = f64::from(mirostat.mu.expect("a state"));
    let mut kept = sorted(logits);
    let p = probabilities(&kept, params.temperature.into());
    if mirostat.version == 2 {
        kept.truncate(p.iter().take_while(|p| -p.log2() <= mu).count().max(1));
    } else {
        let (mut products, mut squares) = (0.0, 0.0);
        for i in 0..99.min(p.len() - 1) {
            let (t, b) = (((i + 2) as f64 / (i + 1) as f64).ln(), (p[i] / p[i + 1]).ln());
            products += t * b;
            squares += t * t;
        }
        let s = products / squares;
        let n = logits.len() as f64;
        let k = (((s - 1.0) * 2_f64.powf(mu)) / (1.0 - n.powf(1.0 - s))).powf(1.0 / s);
        kept.truncate((k as usize).max(1));
    }
    let p = probabilities(&kept, params.temperature.into());
    kept.iter().map(|(token, _)| *token).zip(p).collect()
}

fn sorted(logits: &[f32]) -> Vec<(TokenId, f64)> {
    let mut all: Vec<_> = (0..).zip(logits.iter().map(|logit| f64::from(*logit))).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all
}

fn probabilities(kept: &[(TokenId, f64)], temperature: f64) -> Vec<f64> {
    let max = kept.iter().map(|(_, logit)| *logit).fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = kept.iter().map(|(_, logit)| ((logit - max) / temperature).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

fn count_until(p: &[f64], mass: f64) -> usize {
    let mut held = 0.0;
    let before = p.iter().take_while(|p| {
        held += **p;
        held < mass
    });
    (before.count() + 1).min(p.len())
}

/// Sorted likeliest first again.
fn typical(kept: &[(TokenId, f64)], mass: f64) -> Vec<(TokenId, f64)> {
    let p = probabilities(kept, 1.0);
    let entropy: f64 = p.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
    let mut order: Vec<usize> = (0..kept.len()).collect();
    order.sort_by(|a, b| (-p[*a].ln() - entropy).abs().total_cmp(&(-p[*b].ln() - entropy).abs()));
    let in_order: Vec<f64> = order.iter().map(|i| p[*i]).collect();
    order.truncate(count_until(&in_order, mass));
    order.sort_unstable();
    order.into_iter().map(|i| kept[i]).collect()
}
