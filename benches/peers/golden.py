"""Records what llama.cpp's own server answers to 20 prompts: golden.py LLAMA_SERVER MODEL.gguf OUTPUT.json

Half of the prompts are plain text, half are conversations, rendered and tokenised by llama-server too. Greedy, one slot,
no prompt cache, one thread. Python's standard library only.
"""

import hashlib
import json
import socket
import subprocess
import sys
import time
import urllib.request

TOKENS = 48
CONTEXT = 1024

TEXTS = [
    "The capital of France is",
    "Once upon a time, there was a little",
    "1, 2, 3, 5, 8,",
    "def fibonacci(n):\n    ",
    "Water boils at",
    "Emojis: 😀 🎉 🚀 😀 🎉 🚀 😀",
    "Zażółć gęślą jaźń. Polska to",
    "SELECT name, age FROM",
    "The three laws of motion are:\n1.",
    # Longer than a chunk of the prompt, so that it is read in several runs.
    "It was a quiet morning in the village, and the baker had just opened his shop. " * 18 + "Then",
]

CONVERSATIONS = [
    [("user", "What is the capital of France?")],
    [("user", "Write a haiku about the sea.")],
    [("system", "Answer in one word."), ("user", "What colour is grass?")],
    [("user", "Hi!"), ("assistant", "Hello! How can I help?"), ("user", "Explain photosynthesis briefly.")],
    [("user", "Translate to German: Good morning")],
    [("user", "List three fruits.")],
    [("user", "What is 17 + 25?")],
    [("system", "You are a pirate."), ("user", "Introduce yourself.")],
    [("user", "Write a Python function that reverses a string.")],
    [("user", "Why is the sky blue? 😀")],
]


def get(base, path):
    with urllib.request.urlopen(base + path, timeout=30) as answer:
        return json.load(answer)


def post(base, path, body):
    request = urllib.request.Request(
        base + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.load(answer)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu_features():
    """What decides over llama.cpp's kernels."""
    known = ["avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8"]
    with open("/proc/cpuinfo", encoding="ascii") as cpuinfo:
        flags = next((line.split() for line in cpuinfo if line.startswith("flags")), [])
    return [feature for feature in known if feature in flags]


def wait_until_ready(base, server):
    for _ in range(600):
        if server.poll() is not None:
            sys.exit(f"llama-server ended with {server.returncode}")
        try:
            with urllib.request.urlopen(base + "/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    sys.exit("llama-server did not become ready")


def record(base, kind, prompt, rendered, parse_special):
    tokens = post(
        base, "/tokenize", {"content": rendered, "add_special": True, "parse_special": parse_special}
    )["tokens"]
    answer = post(
        base,
        "/completion",
        {
            "prompt": tokens,
            "n_predict": TOKENS,
            "temperature": 0.0,
            "cache_prompt": False,
            "return_tokens": True,
        },
    )
    generated = answer["tokens"]
    # The token that ends the generation is not part of the output.
    if answer["stop_type"] == "eos" and len(generated) == answer["tokens_predicted"]:
        generated = generated[:-1]
    return {
        kind: prompt,
        "prompt_tokens": tokens,
        "tokens": generated,
        "ended": answer["stop_type"] == "eos",
    }


def main():
    server_path, model, output = sys.argv[1:]
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    flags = ["-np", "1", "-c", str(CONTEXT), "-t", "1", "-fa", "on", "--jinja", "--no-webui"]
    command = [server_path, "-m", model, "--host", "127.0.0.1", "--port", str(port), *flags]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(base, server)
        build = get(base, "/props").get("build_info", "unknown")
        cases = [record(base, "text", text, text, False) for text in TEXTS]
        for turns in CONVERSATIONS:
            messages = [{"role": role, "content": content} for role, content in turns]
            rendered = post(base, "/apply-template", {"messages": messages})["prompt"]
            cases.append(record(base, "messages", messages, rendered, True))
    finally:
        server.terminate()
        server.wait()
    with open(model, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    golden = {
        "made_by": f"llama-server {build} {' '.join(flags)}; benches/peers/golden.py",
        "model_sha256": digest,
        "max_tokens": TOKENS,
        "cpu": cpu_features(),
        "cases": cases,
    }
    with open(output, "w", encoding="utf-8") as file:
        # One case a line: a change shows as the lines of the answers that changed.
        lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in golden.pop("cases"))
        head = json.dumps(golden, ensure_ascii=False)[:-1]
        file.write(f'{head}, "cases": [\n{lines}\n]}}\n')
    print(f"{len(cases)} cases written to {output}")


if __name__ == "__main__":
    main()
