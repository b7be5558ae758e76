//! `USE_INT8=true` as an operator has it: the real program, real weights.
#![cfg(feature = "llama-cpp")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A loaded machine converts, measures twice and loads.
const BOUND: Duration = Duration::from_secs(300);

fn weights() -> PathBuf {
    let directory = std::env::var_os("LLMO_TEST_MODELS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../models")), PathBuf::from);
    let model = directory.join("smollm2-135m");
    assert!(model.join("model.gguf").is_file(), "no weights in {}: ./run_microservices.sh test", directory.display());
    model
}

/// A store of its own with the model in it.
fn store() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("models/smollm2-135m");
    std::fs::create_dir_all(&model).unwrap();
    for name in ["model.gguf", "manifest.json"] {
        std::fs::copy(weights().join(name), model.join(name)).unwrap();
    }
    dir
}

struct Service {
    process: Child,
    url: String,
}

impl Service {
    async fn run(dir: &Path, settings: &[(&str, &str)]) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_llmo-server"));
        command.arg("model").current_dir(dir).env_clear().env("HOME", dir).env("PATH", "/usr/bin:/bin");
        command.env("LLMO_STORE__DIR", dir.join("models")).env("LLMO_MODEL__NAMES", "smollm2-135m");
        command.env("MODEL_SERVICE_PORT", port.to_string()).env("LLMO_MODEL__TUNE", "off");
        // One thread: tests share the machine.
        command.env("LLMO_MODEL__THREADS", "1").env("LLMO_MODEL__CONTEXT_LENGTH", "2048");
        command.envs(settings.iter().copied()).stdin(Stdio::null()).stdout(Stdio::null());
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let service = Self { process: command.stderr(log).spawn().unwrap(), url: format!("http://127.0.0.1:{port}") };
        let begun = Instant::now();
        while service.get("/readyz").await.is_none_or(|(status, _)| status != 200) {
            let log = || std::fs::read_to_string(dir.join("log")).unwrap_or_default();
            assert!(begun.elapsed() < BOUND, "not ready: {}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        service
    }

    async fn get(&self, path: &str) -> Option<(u16, Value)> {
        let answer = reqwest::get(format!("{}{path}", self.url)).await.ok()?;
        Some((answer.status().as_u16(), answer.json().await.unwrap_or_default()))
    }

    async fn capital(&self) -> String {
        let body = json!({"prompt": "The capital of France is", "max_tokens": 8, "temperature": 0});
        let answer =
            reqwest::Client::new().post(format!("{}/v1/completions", self.url)).json(&body).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["choices"][0]["text"].as_str().unwrap_or_default().to_owned()
    }

    /// What the model takes in memory, as it is counted.
    async fn takes(&self) -> f64 {
        self.get("/internal/status").await.unwrap().1["models"][0]["load"]["residence"]["bytes"].as_f64().unwrap()
    }

    async fn model(&self) -> Value {
        self.get("/internal/status").await.unwrap().1["models"][0]["info"].clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn the_model_is_served_in_eight_bits_which_are_made_once_and_kept() {
    let dir = store();
    let variant = dir.path().join("models/smollm2-135m/q8_0");
    let service = Service::run(dir.path(), &[("USE_INT8", "true")]).await;
    let info = service.model().await;
    assert_eq!(info["quantisation"], "Q8_0", "{info}");
    assert!(service.capital().await.contains("Paris"));
    let takes = service.takes().await;
    drop(service);

    let manifest: Value = serde_json::from_slice(&std::fs::read(variant.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["file"]["sha256"], info["digest"]);
    assert_eq!(manifest["file"]["sha256"], llmo_store::file_sha256(&variant.join("model.gguf")).unwrap());
    assert_eq!(manifest["source_sha256"], llmo_store::file_sha256(&weights().join("model.gguf")).unwrap());
    let (before, after) = (&manifest["measured"]["before"], &manifest["measured"]["after"]);
    assert_eq!((&before["kv_type"], &after["kv_type"]), (&json!("f16"), &json!("q8_0")), "{manifest:#}");
    let number = |side: &Value, key: &str| side[key].as_f64().unwrap_or_else(|| panic!("{key}: {side}"));
    assert!(number(after, "weights_bytes") > number(before, "weights_bytes"), "the source has fewer bits");
    assert!(number(after, "kv_bytes") < 0.54 * number(before, "kv_bytes"));
    let whole = |side: &Value| number(side, "weights_bytes") + number(side, "kv_bytes");
    assert!(whole(after) < whole(before), "it takes less memory in all");
    // The cache was planned in 16 bits, since nobody knew better; what the engine has made of it counts.
    let beside = takes - whole(after);
    assert!((0.0..260e6).contains(&beside), "{takes} are counted, {} are weights and cache", whole(after));

    // The second time it is there.
    let made = std::fs::metadata(variant.join("model.gguf")).unwrap().modified().unwrap();
    let service = Service::run(dir.path(), &[("USE_INT8", "true")]).await;
    assert_eq!(service.model().await["quantisation"], "Q8_0");
    assert_eq!(std::fs::metadata(variant.join("model.gguf")).unwrap().modified().unwrap(), made);
    drop(service);

    // And goes unused without the setting, or where the weights are to stay.
    let service = Service::run(dir.path(), &[("USE_INT8", "true"), ("LLMO_MODEL__INT8_WEIGHTS", "never")]).await;
    assert_eq!(service.model().await["quantisation"], "Q4_1");
}

#[tokio::test]
async fn a_process_that_can_t_convert_says_why_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_llmo-server");
    let target = dir.path().join("target.gguf");
    let run =
        |source: &Path| Command::new(program).args(["native", "quantize"]).arg(source).arg(&target).output().unwrap();
    let output = run(&dir.path().join("missing.gguf"));
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("missing.gguf"), "{output:?}");
    std::fs::write(dir.path().join("damaged.gguf"), b"GGUF\x03\0\0\0and nothing more").unwrap();
    let output = run(&dir.path().join("damaged.gguf"));
    assert!(!output.status.success() && !target.exists(), "{output:?}");

    // A limit on the size of files stands for a full disk: the kernel reports both in the same place.
    let script = "ulimit -f 20480; trap '' XFSZ; exec \"$@\"";
    let output = Command::new("bash")
        .args(["-c", script, "bash", program, "native", "quantize"])
        .arg(weights().join("model.gguf"))
        .arg(&target)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(28), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("no space left"), "{output:?}");
    assert!(!target.exists());
}
