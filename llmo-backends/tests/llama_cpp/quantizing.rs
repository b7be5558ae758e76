//! Weights stored in another way, with a real model.

use llmo_backends::llama_cpp::quantize::{WeightType, quantize};
use llmo_backends::llama_cpp::tune;

use crate::support;

#[test]
fn sixteen_bits_become_eight_in_half_the_space_and_as_good() {
    let dir = tempfile::tempdir().unwrap();
    let (wide, narrow) = (dir.path().join("f16.gguf"), dir.path().join("q8_0.gguf"));
    quantize(&support::weights(), &wide, WeightType::F16).unwrap();
    quantize(&wide, &narrow, WeightType::Q8_0).unwrap();
    let bytes = |path: &std::path::Path| path.metadata().unwrap().len();
    // A header of some megabytes stays: the vocabulary.
    assert!(bytes(&narrow) * 100 < bytes(&wide) * 56, "{} {}", bytes(&narrow), bytes(&wide));
    let perplexity = |path: &std::path::Path| tune::perplexity_of(path, &support::options(), None).unwrap();
    let (before, after) = (perplexity(&wide), perplexity(&narrow));
    assert!((after / before - 1.0).abs() < 0.01, "{before} {after}");
}
