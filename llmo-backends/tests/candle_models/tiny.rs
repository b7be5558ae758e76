//! Random models of every architecture, some 100 KB each: wrong in what they say, exact in how it is computed.

use std::fs::File;
use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

const WIDTH: usize = 128;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD: usize = 32;
const FEED_FORWARD: usize = 192;
/// Seven layers: Gemma's sixth looks at everything, the others don't.
const LAYERS: usize = 7;
/// Tokens that Gemma's other layers see.
pub(crate) const WINDOW: u32 = 24;
const CONTEXT: u32 = 512;

/// A model to write.
#[derive(Debug, Clone)]
pub(crate) struct Tiny {
    pub(crate) architecture: &'static str,
    pub(crate) vocabulary: Vocabulary,
    /// How matrices are stored.
    pub(crate) dtype: GgmlDType,
    /// Metadata that is not in every file of this architecture.
    pub(crate) extra: Vec<(String, Value)>,
    /// Metadata that is in every file, with another value.
    pub(crate) replace: Vec<(String, Value)>,
    /// llama 3.1's RoPE factors.
    pub(crate) rope_factors: bool,
}

/// The two kinds of tokenizer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Vocabulary {
    /// Byte-level BPE with this pre-tokenizer.
    Bpe(&'static str),
    /// SentencePiece; puts a space in front, or not.
    Spm { adds_space: bool },
}

impl Tiny {
    pub(crate) fn new(architecture: &'static str, vocabulary: Vocabulary) -> Self {
        Self {
            architecture,
            vocabulary,
            dtype: GgmlDType::F32,
            extra: Vec::new(),
            replace: Vec::new(),
            rope_factors: false,
        }
    }

    pub(crate) fn write(&self, path: &Path) {
        let (mut metadata, vocab_size) = self.vocabulary.metadata();
        metadata.extend(self.metadata());
        metadata.extend(self.extra.iter().cloned());
        for (key, value) in &self.replace {
            metadata.iter_mut().filter(|entry| entry.0 == *key).for_each(|entry| entry.1 = value.clone());
        }
        let tensors = self.tensors(vocab_size);
        let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
        let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        gguf_file::write(&mut File::create(path).unwrap(), &metadata, &tensors).unwrap();
    }

    fn metadata(&self) -> Vec<(String, Value)> {
        let a = self.architecture;
        let sizes = [
            ("block_count", LAYERS as u32),
            ("context_length", CONTEXT),
            ("embedding_length", WIDTH as u32),
            ("feed_forward_length", FEED_FORWARD as u32),
            ("attention.head_count", HEADS as u32),
            ("attention.head_count_kv", KV_HEADS as u32),
            ("attention.key_length", HEAD as u32),
            ("attention.value_length", HEAD as u32),
            ("rope.dimension_count", HEAD as u32),
        ];
        let mut metadata: Vec<(String, Value)> =
            sizes.iter().map(|(key, size)| (format!("{a}.{key}"), Value::U32(*size))).collect();
        metadata.push(("general.architecture".into(), Value::String(a.into())));
        metadata.push(("general.name".into(), Value::String("tiny".into())));
        metadata.push((format!("{a}.attention.layer_norm_rms_epsilon"), Value::F32(1e-5)));
        metadata.push((format!("{a}.rope.freq_base"), Value::F32(50_000.0)));
        if a == "gemma3" {
            metadata.push((format!("{a}.attention.sliding_window"), Value::U32(WINDOW)));
        }
        metadata
    }

    fn tensors(&self, vocab_size: usize) -> Vec<(String, QTensor)> {
        let mut numbers = Numbers(0x5eed);
        let mut matrix = |name: String, rows: usize, columns: usize| {
            (
                name + ".weight",
                quantise(numbers.tensor(&[rows, columns], 0.0, 2.0 / (columns as f32).sqrt()), self.dtype),
            )
        };
        let mut tensors = vec![matrix("token_embd".into(), vocab_size, WIDTH)];
        for i in 0..LAYERS {
            let name = |part: &str| format!("blk.{i}.{part}");
            tensors.push(matrix(name("attn_q"), HEADS * HEAD, WIDTH));
            tensors.push(matrix(name("attn_k"), KV_HEADS * HEAD, WIDTH));
            tensors.push(matrix(name("attn_v"), KV_HEADS * HEAD, WIDTH));
            tensors.push(matrix(name("attn_output"), WIDTH, HEADS * HEAD));
            tensors.push(matrix(name("ffn_gate"), FEED_FORWARD, WIDTH));
            tensors.push(matrix(name("ffn_up"), FEED_FORWARD, WIDTH));
            tensors.push(matrix(name("ffn_down"), WIDTH, FEED_FORWARD));
        }
        let mut vector = |name: String, len: usize, around: f32| {
            (name, quantise(numbers.tensor(&[len], around, 0.3), GgmlDType::F32))
        };
        for i in 0..LAYERS {
            let name = |part: &str| format!("blk.{i}.{part}");
            tensors.push(vector(name("attn_norm.weight"), WIDTH, 1.0));
            tensors.push(vector(name("ffn_norm.weight"), WIDTH, 1.0));
            if matches!(self.architecture, "qwen3" | "gemma3") {
                tensors.push(vector(name("attn_q_norm.weight"), HEAD, 1.0));
                tensors.push(vector(name("attn_k_norm.weight"), HEAD, 1.0));
            }
            if self.architecture == "gemma3" {
                tensors.push(vector(name("post_attention_norm.weight"), WIDTH, 1.0));
                tensors.push(vector(name("post_ffw_norm.weight"), WIDTH, 1.0));
            }
            if self.architecture == "qwen2" {
                tensors.push(vector(name("attn_q.bias"), HEADS * HEAD, 0.0));
                tensors.push(vector(name("attn_k.bias"), KV_HEADS * HEAD, 0.0));
                tensors.push(vector(name("attn_v.bias"), KV_HEADS * HEAD, 0.0));
            }
        }
        tensors.push(vector("output_norm.weight".into(), WIDTH, 1.0));
        if self.rope_factors {
            tensors.push(vector("rope_freqs.weight".into(), HEAD / 2, 4.0));
        }
        tensors
    }
}

impl Vocabulary {
    /// The tokenizer's metadata and the number of tokens.
    fn metadata(self) -> (Vec<(String, Value)>, usize) {
        match self {
            Self::Bpe(pre_tokenizer) => bpe(pre_tokenizer),
            Self::Spm { adds_space } => spm(adds_space),
        }
    }
}

const MERGES: &[&str] = &[
    "h e",
    "Ġ t",
    "i n",
    "Ġ a",
    "Ġt he",
    "r e",
    "o n",
    "e r",
    "Ġ Ġ",
    "ĠĠ ĠĠ",
    "Ċ Ċ",
    "1 2",
    "12 3",
    "' s",
    "l l",
    "' ll",
    "Ġ w",
    "o r",
    "Ġw or",
    "Ã ©",
    "ð Ł",
    "a b",
    "ab c",
    "' S",
    "in g",
];

fn bpe(pre_tokenizer: &str) -> (Vec<(String, Value)>, usize) {
    let mut tokens: Vec<(String, i32)> =
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"].iter().map(|text| ((*text).to_owned(), 3)).collect();
    let mut alphabet: Vec<char> = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    tokens.extend(alphabet.into_iter().map(|c| (c.to_string(), 1)));
    tokens.extend(MERGES.iter().map(|merge| (merge.replace(' ', ""), 1)));
    tokens.push(("<tool>".into(), 4));
    let merges = MERGES.iter().map(|merge| Value::String((*merge).into())).collect();
    let size = tokens.len();
    let metadata = vec![
        ("tokenizer.ggml.model".into(), Value::String("gpt2".into())),
        ("tokenizer.ggml.pre".into(), Value::String(pre_tokenizer.into())),
        ("tokenizer.ggml.merges".into(), Value::Array(merges)),
        ("tokenizer.ggml.bos_token_id".into(), Value::U32(1)),
        ("tokenizer.ggml.eos_token_id".into(), Value::U32(2)),
    ];
    (metadata.into_iter().chain(listed(tokens)).collect(), size)
}

const PIECES: &[(&str, f32)] = &[
    ("▁t", -1.0),
    ("he", -2.0),
    ("▁the", -3.0),
    ("in", -4.0),
    ("▁a", -5.0),
    ("re", -6.0),
    ("▁▁", -7.0),
    ("▁▁▁▁", -8.0),
    ("on", -9.0),
    ("▁w", -10.0),
    ("or", -11.0),
    ("▁wor", -12.0),
    ("ing", -13.0),
    ("ab", -14.0),
    ("bc", -13.5),
    ("abc", -15.0),
    ("th", -0.5),
];

fn spm(adds_space: bool) -> (Vec<(String, Value)>, usize) {
    let mut tokens: Vec<(String, i32)> = vec![("<unk>".into(), 2), ("<s>".into(), 3), ("</s>".into(), 3)];
    let mut scores = vec![0.0_f32; 3];
    for byte in 0..=255 {
        tokens.push((format!("<0x{byte:02X}>"), 6));
        scores.push(0.0);
    }
    for (piece, score) in PIECES {
        tokens.push(((*piece).into(), 1));
        scores.push(*score);
    }
    for (i, c) in ('a'..='z').chain(['▁', 'é', '1', '2', '.']).enumerate() {
        tokens.push((c.to_string(), 1));
        scores.push(-100.0 - i as f32);
    }
    for text in ["<start_of_turn>", "<end_of_turn>"] {
        tokens.push((text.into(), 3));
        scores.push(0.0);
    }
    tokens.push(("\n\n".into(), 4));
    scores.push(0.0);
    let size = tokens.len();
    let metadata = vec![
        ("tokenizer.ggml.model".into(), Value::String("llama".into())),
        ("tokenizer.ggml.scores".into(), Value::Array(scores.into_iter().map(Value::F32).collect())),
        ("tokenizer.ggml.add_space_prefix".into(), Value::Bool(adds_space)),
        ("tokenizer.ggml.bos_token_id".into(), Value::U32(1)),
        ("tokenizer.ggml.eos_token_id".into(), Value::U32(2)),
    ];
    (metadata.into_iter().chain(listed(tokens)).collect(), size)
}

fn listed(tokens: Vec<(String, i32)>) -> [(String, Value); 2] {
    let (texts, kinds): (Vec<Value>, Vec<Value>) =
        tokens.into_iter().map(|(text, kind)| (Value::String(text), Value::I32(kind))).unzip();
    [("tokenizer.ggml.tokens".into(), Value::Array(texts)), ("tokenizer.ggml.token_type".into(), Value::Array(kinds))]
}

fn quantise(tensor: Tensor, dtype: GgmlDType) -> QTensor {
    QTensor::quantize(&tensor, dtype).unwrap()
}

/// Numbers without a pattern that matters.
struct Numbers(u64);

impl Numbers {
    fn tensor(&mut self, shape: &[usize], around: f32, spread: f32) -> Tensor {
        let count = shape.iter().product();
        let numbers: Vec<f32> = (0..count).map(|_| around + spread * self.next()).collect();
        Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
    }

    /// From -1 to 1.
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    }
}
