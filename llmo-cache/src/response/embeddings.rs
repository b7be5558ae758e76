//! Embeddings, cached text by text.

use llmo_core::model::{CacheStatus, CacheUse, ModelError, Result};
use llmo_core::{CacheKey, EmbedRequest, Embeddings};

use super::codec::Vector;
use super::lookup::Found;
use super::{ResponseCache, key};

impl ResponseCache {
    /// Embeds what the cache does not have and puts the rest in its place.
    ///
    /// A backend counts tokens for a batch, not for each text; the count of a batch is shared out by length. So usage is
    /// exact for single texts and for batches that come again, and a good estimate for a new mixture of old texts.
    pub(super) async fn embed_cached(&self, request: EmbedRequest) -> Result<Embeddings> {
        let Some(keys) = self.embedding_keys(&request) else {
            self.stats.looked_up(CacheStatus::Bypass);
            return Ok(marked(self.inner.embed(request).await?, CacheStatus::Bypass));
        };
        let found = match request.cache {
            CacheUse::Refresh => vec![Found::Failed; keys.len()],
            _ => self.lookup.find_all(&keys, request.deadline).await,
        };
        found.iter().for_each(|found| self.stats.looked_up(found.status()));
        let missing: Vec<usize> = (0..found.len()).filter(|&n| !matches!(found[n], Found::Hit(_))).collect();
        let fresh = self.embed_some(&request, &missing).await?;
        let Some(whole) = merge(&found, &missing, &fresh) else {
            tracing::warn!(model = self.inner.info().id, "cached vectors have another length than new ones");
            return Ok(marked(self.inner.embed(request).await?, CacheStatus::Bypass));
        };
        self.stats.saved(whole.usage.total().saturating_sub(fresh.usage.total()));
        self.keep(&request, &keys, &found, &missing, fresh);
        Ok(whole)
    }

    /// The keys of all texts, if they may be cached.
    fn embedding_keys(&self, request: &EmbedRequest) -> Option<Vec<CacheKey>> {
        if !self.policy.embeddings || request.cache == CacheUse::Off || request.input.is_empty() {
            return None;
        }
        request.input.iter().map(|text| key::embedding(self.inner.info(), request, text)).collect()
    }

    /// Embeds the texts at these places.
    async fn embed_some(&self, request: &EmbedRequest, places: &[usize]) -> Result<Embeddings> {
        if places.is_empty() {
            return Ok(Embeddings::default());
        }
        let mut rest = request.clone();
        rest.input = places.iter().map(|&n| request.input[n].clone()).collect();
        let fresh = self.inner.embed(rest).await?;
        if fresh.vectors.len() != places.len() {
            let (got, asked) = (fresh.vectors.len(), places.len());
            return Err(ModelError::Internal(format!("the model gave {got} vectors for {asked} texts")));
        }
        Ok(fresh)
    }

    /// Writes the new vectors, in the background; not those for which the cache could not even be asked.
    fn keep(
        &self,
        request: &EmbedRequest,
        keys: &[CacheKey],
        found: &[Found<Vector>],
        missing: &[usize],
        fresh: Embeddings,
    ) {
        let lengths: Vec<_> = missing.iter().map(|&n| request.input[n].len() as u64).collect();
        let tokens = share_out(fresh.usage.prompt_tokens, &lengths);
        let answers: Vec<_> = missing
            .iter()
            .zip(fresh.vectors.into_iter().zip(tokens))
            .filter(|(n, _)| request.cache == CacheUse::Refresh || found[**n] == Found::Miss)
            .map(|(&n, (values, tokens))| (keys[n].clone(), Vector { tokens, values }))
            .collect();
        if !answers.is_empty() {
            self.writer.write(answers, self.put_options(request.tenant.as_deref()));
        }
    }
}

/// All vectors in order, with the usage of both kinds; `None` if they are not all of one length.
fn merge(found: &[Found<Vector>], missing: &[usize], fresh: &Embeddings) -> Option<Embeddings> {
    let mut fresh_vectors = fresh.vectors.iter();
    let mut usage = fresh.usage;
    let mut vectors = Vec::with_capacity(found.len());
    for found in found {
        vectors.push(match found {
            Found::Hit(vector) => {
                usage.prompt_tokens += vector.tokens;
                vector.values.clone()
            }
            _ => fresh_vectors.next()?.clone(),
        });
    }
    let length = vectors.first()?.len();
    if vectors.iter().any(|vector| vector.len() != length) {
        return None;
    }
    let status = match missing.iter().map(|&n| found[n].status()).find(|status| *status == CacheStatus::Bypass) {
        Some(bypass) => bypass,
        None if missing.is_empty() => CacheStatus::Hit,
        None => CacheStatus::Miss,
    };
    let mut whole = Embeddings::new(vectors, usage);
    whole.origin = fresh.origin.clone();
    Some(marked(whole, status))
}

fn marked(mut embeddings: Embeddings, status: CacheStatus) -> Embeddings {
    embeddings.origin.cache = status;
    embeddings
}

/// Splits `total` in proportion to `weights`; the parts add up exactly.
fn share_out(total: u64, weights: &[u64]) -> Vec<u64> {
    // One more each, so that empty texts, which have their special tokens, get something.
    let sum: u128 = weights.iter().map(|&weight| u128::from(weight) + 1).sum();
    let mut before = 0_u128;
    let mut given = 0_u64;
    weights
        .iter()
        .map(|&weight| {
            before += u128::from(weight) + 1;
            let until_here = (u128::from(total) * before / sum) as u64;
            let part = until_here - given;
            given = until_here;
            part
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use llmo_core::model::Usage;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn shares_add_up(total in 0_u64..1 << 40, weights in proptest::collection::vec(0_u64..1 << 30, 1..20)) {
            let shares = share_out(total, &weights);
            prop_assert_eq!(shares.len(), weights.len());
            prop_assert_eq!(shares.iter().sum::<u64>(), total);
        }
    }

    #[test]
    fn one_text_gets_all() {
        assert_eq!(share_out(7, &[0]), [7]);
        assert_eq!(share_out(8, &[10, 10]), [4, 4]);
    }

    #[test]
    fn vectors_of_different_lengths_are_not_mixed() {
        let found = [Found::Hit(Vector { tokens: 1, values: vec![1.0, 0.0] }), Found::Miss];
        let fresh = Embeddings::new(vec![vec![1.0]], Usage::new(1, 0));
        assert_eq!(merge(&found, &[1], &fresh), None);
    }
}
