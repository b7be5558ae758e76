//! Embeddings without a network: words hashed to directions.

use super::vocabulary::fnv1a;

/// A unit vector of this length: the sum of one pseudo-random direction a word, so that texts that share words are
/// closer than texts that don't. Letter case and punctuation don't count.
#[must_use]
pub fn embed(text: &str, dimensions: usize) -> Vec<f32> {
    let mut vector = vec![0.0; dimensions];
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    // The empty word gives a text without words a direction too.
    for word in words.chain(std::iter::once("")) {
        let mut state = fnv1a(word.to_lowercase().into_bytes());
        for value in &mut vector {
            *value += direction(&mut state) * if word.is_empty() { 0.01 } else { 1.0 };
        }
    }
    normalise(&mut vector);
    vector
}

/// Scales to length 1; a vector of zeros becomes the first axis.
pub fn normalise(vector: &mut [f32]) {
    let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|v| *v /= length);
    } else if let Some(first) = vector.first_mut() {
        *first = 1.0;
    }
}

/// The next number of SplitMix64, between -1 and 1.
fn direction(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine(a: &str, b: &str) -> f32 {
        embed(a, 64).iter().zip(embed(b, 64)).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn vectors_have_unit_length_even_for_empty_texts() {
        for text in ["", "  ", "one", "one two three"] {
            let length: f32 = embed(text, 64).iter().map(|v| v * v).sum();
            assert!((length - 1.0).abs() < 1e-4, "{text:?}: {length}");
        }
    }

    #[test]
    fn shared_words_bring_texts_together() {
        let near = cosine("the cat sat on the mat", "A cat sat on a mat.");
        assert!(near > cosine("the cat sat on the mat", "interest rates rose sharply"));
        assert!(cosine("Cat!", "cat") > 0.999);
    }
}
