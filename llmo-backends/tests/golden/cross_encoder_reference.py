#!/usr/bin/env python3
"""A tiny BERT cross-encoder with random weights, and its scores in numpy and double precision.

BertForSequenceClassification with one label as its paper has it (Devlin et al. 2019): the pair in two segments, the
vector of [CLS] through the pooler (tanh) and the classifier, the logit through the logistic function. It shares no code
with candle.

    pip install numpy
    ./cross_encoder_reference.py    # writes cross_encoder/
"""

import json
import math
import struct
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "cross_encoder"
WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] the a cat dog sat on mat ran fast how where is it red blue car".split()
WIDTH, INNER, HEADS, LAYERS, POSITIONS, EPSILON = 16, 32, 4, 2, 24, 1e-12
QUERIES = ["where is the cat", "red car"]
DOCUMENTS = ["the cat sat on a mat", "a dog ran fast", "red", "the blue car is fast it ran on and on the mat the mat the mat the mat"]
VOCABULARY = {word: i for i, word in enumerate(WORDS)}


def weights():
    random = np.random.default_rng(11)
    w = {}

    def matrix(name, rows, columns, bias=True, size=0.6):
        w[name + ".weight"] = random.normal(0, size, (rows, columns))
        if bias:
            w[name + ".bias"] = random.normal(0, 0.2, rows)

    def norm(name):
        w[name + ".weight"] = random.normal(1, 0.1, WIDTH)
        w[name + ".bias"] = random.normal(0, 0.1, WIDTH)

    matrix("bert.embeddings.word_embeddings", len(WORDS), WIDTH, bias=False)
    matrix("bert.embeddings.position_embeddings", POSITIONS, WIDTH, bias=False)
    matrix("bert.embeddings.token_type_embeddings", 2, WIDTH, bias=False)
    norm("bert.embeddings.LayerNorm")
    for layer in range(LAYERS):
        at = f"bert.encoder.layer.{layer}."
        for part in ("query", "key", "value"):
            matrix(f"{at}attention.self.{part}", WIDTH, WIDTH, size=0.4)
        matrix(at + "attention.output.dense", WIDTH, WIDTH, size=0.4)
        norm(at + "attention.output.LayerNorm")
        matrix(at + "intermediate.dense", INNER, WIDTH, size=0.4)
        matrix(at + "output.dense", WIDTH, INNER, size=0.4)
        norm(at + "output.LayerNorm")
    matrix("bert.pooler.dense", WIDTH, WIDTH, size=0.4)
    matrix("classifier", 1, WIDTH)
    return {name: tensor.astype(np.float32) for name, tensor in w.items()}


def tokens_of(text):
    return [VOCABULARY.get(word, VOCABULARY["[UNK]"]) for word in text.lower().split()]


def pair(query, document):
    room = POSITIONS - 3
    query = tokens_of(query)[: room // 2]
    document = tokens_of(document)[: room - len(query)]
    cls, sep = VOCABULARY["[CLS]"], VOCABULARY["[SEP]"]
    tokens = [cls, *query, sep, *document, sep]
    segments = [0] * (len(query) + 2) + [1] * (len(document) + 1)
    return tokens, segments


def layer_norm(x, weight, bias):
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + EPSILON) * weight + bias


def score(w, tokens, segments):
    def linear(name, x):
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    def norm(name, x):
        return layer_norm(x, w[name + ".weight"], w[name + ".bias"])

    e = "bert.embeddings."
    x = w[e + "word_embeddings.weight"][tokens] + w[e + "position_embeddings.weight"][: len(tokens)]
    x = norm(e + "LayerNorm", x + w[e + "token_type_embeddings.weight"][segments])
    gelu = np.vectorize(lambda v: v * 0.5 * (1 + math.erf(v / math.sqrt(2))))
    for layer in range(LAYERS):
        at = f"bert.encoder.layer.{layer}."
        split = lambda part: linear(f"{at}attention.self.{part}", x).reshape(len(tokens), HEADS, -1).transpose(1, 0, 2)
        query, key, value = split("query"), split("key"), split("value")
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(WIDTH // HEADS)
        attention = np.exp(scores - scores.max(-1, keepdims=True))
        attention /= attention.sum(-1, keepdims=True)
        context = (attention @ value).transpose(1, 0, 2).reshape(len(tokens), WIDTH)
        x = norm(at + "attention.output.LayerNorm", x + linear(at + "attention.output.dense", context))
        inner = gelu(linear(at + "intermediate.dense", x))
        x = norm(at + "output.LayerNorm", x + linear(at + "output.dense", inner))
    logit = linear("classifier", np.tanh(linear("bert.pooler.dense", x[0])))[0]
    return 1 / (1 + math.exp(-logit))


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, tensor in tensors.items():
        raw = tensor.tobytes()
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def tokenizer():
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    token = lambda name: {"id": name, "ids": [VOCABULARY[name]], "tokens": [name]}
    piece = lambda name, kind="SpecialToken": {kind: {"id": name, "type_id": 0}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": VOCABULARY[t], "content": t, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True} for t in special
        ],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [piece("[CLS]"), piece("A", "Sequence"), piece("[SEP]")],
            "pair": [piece("[CLS]"), piece("A", "Sequence"), piece("[SEP]"), {"Sequence": {"id": "B", "type_id": 1}},
                     {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": {"[CLS]": token("[CLS]"), "[SEP]": token("[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": VOCABULARY},
    }


def main():
    FOLDER.mkdir(exist_ok=True)
    w = weights()
    write_safetensors(FOLDER / "model.safetensors", w)
    (FOLDER / "tokenizer.json").write_text(json.dumps(tokenizer()) + "\n")
    config = {
        "architectures": ["BertForSequenceClassification"], "model_type": "bert", "vocab_size": len(WORDS),
        "hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "max_position_embeddings": POSITIONS, "type_vocab_size": 2, "layer_norm_eps": EPSILON, "hidden_act": "gelu",
    }
    (FOLDER / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    double = {name: tensor.astype(np.float64) for name, tensor in w.items()}
    expected = [
        {"query": query, "documents": DOCUMENTS,
         "scores": [float(score(double, *map(np.array, pair(query, document)))) for document in DOCUMENTS],
         "tokens": sum(len(pair(query, document)[0]) for document in DOCUMENTS)}
        for query in QUERIES
    ]
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


main()
