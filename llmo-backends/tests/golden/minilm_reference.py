#!/usr/bin/env python3
"""Reference embeddings of all-MiniLM-L6-v2, to hold the candle backend against.

BERT written from its papers (Devlin et al. 2019; Reimers and Gurevych 2019 for the pooling) in numpy and double
precision, with a WordPiece of its own: it shares no code with candle, tokenizers or sentence-transformers.

    pip install numpy
    ./minilm_reference.py FOLDER_OF_THE_MODEL > minilm_embeddings.json
"""

import json
import math
import struct
import sys
import unicodedata
from pathlib import Path

import numpy as np

TEXTS = [
    "A cat sits on the mat.",
    "There is a cat sitting on a rug.",
    "The stock market fell sharply on Monday.",
    "Shares dropped steeply at the beginning of the week.",
    "Jak ugotować makaron?",
    "Zażółć gęślą jaźń",
    "naïve café — déjà vu",
    "don't stop-believing: 3.14, 1e10 & #hashtag @user",
    "東京は日本の首都です",
    "🙂 emoji and control\u0007characters\u200b",
    "def f(x):\n\treturn x ** 2  # square",
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "[SEP] in a text is a text",
    "",
    "word " * 200,
]
MAX_TOKENS = 256


def read_safetensors(path):
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    types = {"F32": np.float32, "F16": np.float16, "I64": np.int64}
    tensors = {}
    for name, info in header.items():
        begin, end = info["data_offsets"]
        raw = np.frombuffer(data[8 + length + begin : 8 + length + end], dtype=types[info["dtype"]])
        tensors[name] = raw.reshape(info["shape"]).astype(np.float64)
    return tensors


def is_punctuation(c):
    return (c.isascii() and not c.isalnum() and 33 <= ord(c) <= 126) or unicodedata.category(c).startswith("P")


def is_cjk(c):
    ranges = [(0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
              (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)]
    return any(low <= ord(c) <= high for low, high in ranges)


def words_of(text):
    cleaned = []
    for c in text:
        if c in "\t\n\r" or unicodedata.category(c) == "Zs":
            cleaned.append(" ")
        elif ord(c) in (0, 0xFFFD) or unicodedata.category(c).startswith("C"):
            continue
        else:
            cleaned.append(f" {c} " if is_cjk(c) else c)
    text = unicodedata.normalize("NFD", "".join(cleaned).lower())
    text = "".join(c for c in text if unicodedata.category(c) != "Mn")
    word = ""
    for c in text:
        if c.isspace() or is_punctuation(c):
            if word:
                yield word
            word = ""
            if not c.isspace():
                yield c
        else:
            word += c
    if word:
        yield word


def tokens_of(text, vocabulary):
    tokens = []
    for word in words_of(text):
        pieces, start = [], 0
        while start < len(word) and len(word) <= 100:
            for end in range(len(word), start, -1):
                piece = ("##" if start else "") + word[start:end]
                if piece in vocabulary:
                    pieces.append(vocabulary[piece])
                    start = end
                    break
            else:
                break
        tokens += pieces if pieces and start == len(word) else [vocabulary["[UNK]"]]
    return [vocabulary["[CLS]"], *tokens[: MAX_TOKENS - 2], vocabulary["[SEP]"]]


def layer_norm(x, weight, bias, epsilon):
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + epsilon) * weight + bias


def embed(tokens, w, config):
    heads, epsilon = config["num_attention_heads"], config["layer_norm_eps"]

    def linear(name, x):
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    def norm(name, x):
        return layer_norm(x, w[name + ".weight"], w[name + ".bias"], epsilon)

    e = "embeddings."
    x = w[e + "word_embeddings.weight"][tokens]
    x = x + w[e + "position_embeddings.weight"][: len(tokens)] + w[e + "token_type_embeddings.weight"][0]
    x = norm(e + "LayerNorm", x)
    erf = np.vectorize(math.erf)
    for i in range(config["num_hidden_layers"]):
        p = f"encoder.layer.{i}."
        q, k, v = (linear(p + "attention.self." + n, x).reshape(len(tokens), heads, -1) for n in ("query", "key", "value"))
        scores = np.einsum("qhd,khd->hqk", q, k) / math.sqrt(q.shape[-1])
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        attended = np.einsum("hqk,khd->qhd", scores, v).reshape(len(tokens), -1)
        x = norm(p + "attention.output.LayerNorm", x + linear(p + "attention.output.dense", attended))
        h = linear(p + "intermediate.dense", x)
        h = h * 0.5 * (1 + erf(h / math.sqrt(2)))
        x = norm(p + "output.LayerNorm", x + linear(p + "output.dense", h))
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def main():
    folder = Path(sys.argv[1])
    vocabulary = {token: i for i, token in enumerate((folder / "vocab.txt").read_text("utf-8").split("\n"))}
    weights = read_safetensors(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    entries = []
    for text in TEXTS:
        tokens = tokens_of(text, vocabulary)
        vector = embed(tokens, weights, config)
        entries.append({"text": text, "tokens": tokens, "vector": [round(float(x), 6) for x in vector]})
    print("[")
    print(",\n".join(json.dumps(entry, ensure_ascii=True) for entry in entries))
    print("]")


if __name__ == "__main__":
    main()
