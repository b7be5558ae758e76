//! How each family of byte-level BPE splits text into words before merging: the regular expressions of llama.cpp's
//! `llama-vocab.cpp`, under the names that GGUF files give in `tokenizer.ggml.pre`.
//!
//! Each expression splits what the one before it left; text between matches is a word of its own.

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)";
const LLAMA3: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))*((?=[\p{L}])([^A-Z]))+|[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))+((?=[\p{L}])([^A-Z]))*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// What a name in `tokenizer.ggml.pre` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    /// In this order.
    pub(super) expressions: Vec<&'static str>,
    /// A word that is a token is taken whole, whatever the merges say.
    pub(super) ignores_merges: bool,
    /// The family starts documents with BOS, unless the file says otherwise.
    pub(super) adds_bos: bool,
}

impl Rules {
    fn new(expressions: impl Into<Vec<&'static str>>) -> Self {
        Self { expressions: expressions.into(), ignores_merges: false, adds_bos: false }
    }
}

/// The rules of a family; a file without a name gets llama.cpp's default.
///
/// # Errors
/// The name, if nothing is known about it. Guessing would give text a different meaning without anybody noticing.
pub(super) fn rules(name: Option<&str>) -> Result<Rules, String> {
    let rules = match name {
        None | Some("" | "default") => Rules::new([r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"]),
        Some("llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0" | "lfm2") => {
            Rules { ignores_merges: true, adds_bos: true, ..Rules::new([LLAMA3]) }
        }
        Some("dbrx" | "smaug-bpe") => Rules::new([LLAMA3]),
        Some("starcoder" | "refact" | "command-r" | "smollm" | "codeshell" | "exaone" | "minerva-7b" | "mellum2") => {
            Rules::new([r"\p{N}", GPT2])
        }
        Some(
            "gpt-2" | "phi-2" | "mpt" | "olmo" | "jais" | "trillion" | "granite-docling" | "gigachat" | "mellum"
            | "a.x-4.0" | "modern-bert",
        ) => Rules::new([GPT2]),
        Some("qwen2" | "deepseek-r1-qwen" | "kormo" | "f2llmv2" | "stablelm2" | "hunyuan" | "megrez") => {
            Rules::new([QWEN2])
        }
        Some("tekken") => Rules { ignores_merges: true, adds_bos: true, ..Rules::new([TEKKEN]) },
        Some(other) => return Err(other.to_owned()),
    };
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_nobody_knows_is_refused_and_no_name_is_the_default() {
        assert_eq!(rules(Some("tomorrow")), Err("tomorrow".to_owned()));
        assert_eq!(rules(None), rules(Some("default")));
    }
}
