//! Whether a model's weights are to be converted.

use llmo_config::{Int8Weights, ModelConfig};

/// What is known of a model before it is loaded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Bytes of its weights.
    pub(super) weights: u64,
    /// Number of its parameters.
    pub(super) parameters: u64,
    /// Bytes that its KV cache would take in 16 bits, all slots together.
    pub(super) kv_f16: u64,
}

impl Sizes {
    /// Bytes of the weights in Q8_0: 34 bytes for each 32.
    pub(super) fn converted(&self) -> u64 {
        self.parameters.saturating_mul(34) / 32
    }

    /// Bytes that an 8-bit KV cache saves.
    fn kv_saved(&self) -> u64 {
        self.kv_f16 - self.kv_f16 / 2 * 34 / 32
    }
}

/// What to do with a model's weights, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Convert them.
    Convert {
        /// In words, for the log.
        why: String,
    },
    /// Leave them as they are.
    Keep {
        /// In words, for the log.
        why: String,
    },
}

/// Decides. `quantisation` is how the weights are stored.
pub(super) fn decide(config: &ModelConfig, quantisation: &str, sizes: Sizes) -> Decision {
    let mib = |bytes: u64| bytes >> 20;
    let (now, then) = (mib(sizes.weights), mib(sizes.converted()));
    if quantisation == "Q8_0" {
        return Decision::Keep { why: "its weights are stored in 8 bits already".into() };
    }
    if config.int8_weights == Int8Weights::Never {
        return Decision::Keep { why: "int8_weights = \"never\"".into() };
    }
    if sizes.converted() < sizes.weights {
        return Decision::Convert { why: format!("its weights shrink from {now} to about {then} MiB") };
    }
    let grows = format!(
        "its weights are stored as {quantisation} and grow from {now} to about {then} MiB; what it writes can't become better"
    );
    if config.int8_weights == Int8Weights::Always {
        return Decision::Convert { why: format!("int8_weights = \"always\", although {grows}") };
    }
    let saved = mib(sizes.kv_saved());
    if sizes.weights + sizes.kv_saved() >= sizes.converted() {
        return Decision::Convert {
            why: format!(
                "{grows}; with 8-bit keys and values, which save {saved} MiB, it takes less memory all the same"
            ),
        };
    }
    Decision::Keep {
        why: format!(
            "{grows}, more than 8-bit keys and values save ({saved} MiB): only those are used. To convert the weights in any \
             case set LLMO_MODEL__INT8_WEIGHTS=always"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn decision(weights: u64, parameters: u64, kv_f16: u64, int8_weights: Int8Weights) -> Decision {
        let config = ModelConfig { int8_weights, ..ModelConfig::default() };
        decide(&config, "Q4_1", Sizes { weights: weights * MIB, parameters, kv_f16: kv_f16 * MIB })
    }

    #[test]
    fn sixteen_bits_become_eight() {
        for choice in [Int8Weights::Auto, Int8Weights::Always] {
            assert!(matches!(decision(16_000, 8_000_000_000, 0, choice), Decision::Convert { .. }));
        }
        assert!(matches!(decision(16_000, 8_000_000_000, 0, Int8Weights::Never), Decision::Keep { .. }));
    }

    #[test]
    fn a_small_model_with_a_large_cache_is_converted_and_takes_less_memory() {
        // SmolLM2-135M in Q4_1 with four slots of 8192 tokens.
        let Decision::Convert { why } = decision(94, 134_515_008, 720, Int8Weights::Auto) else { panic!("kept") };
        assert!(why.contains("grow from 94 to about 136 MiB") && why.contains("save 337 MiB"), "{why}");
    }

    #[test]
    fn a_large_model_of_few_bits_stays_as_it_is_unless_told_otherwise() {
        let Decision::Keep { why } = decision(4_900, 8_000_000_000, 1024, Int8Weights::Auto) else {
            panic!("converted")
        };
        assert!(why.contains("INT8_WEIGHTS=always"), "{why}");
        assert!(matches!(decision(4_900, 8_000_000_000, 1024, Int8Weights::Always), Decision::Convert { .. }));
    }

    #[test]
    fn eight_bits_stay_eight_bits() {
        let config = ModelConfig { int8_weights: Int8Weights::Always, ..ModelConfig::default() };
        let sizes = Sizes { weights: 136 * MIB, parameters: 134_515_008, kv_f16: 0 };
        assert!(matches!(decide(&config, "Q8_0", sizes), Decision::Keep { .. }));
    }
}
