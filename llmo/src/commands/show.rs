//! `llmo show`: all that is known of a model on this machine.

use llmo_config::Config;
use llmo_server::wiring::WiringError;
use llmo_store::models::ModelDetails;
use llmo_store::variant::Variant;
use serde_json::{Value, json};

use super::library::library;
use crate::error::Result;

/// The variant that `USE_INT8` makes.
const VARIANT: &str = "q8_0";

pub(crate) async fn show(config: &Config, model: &str, as_json: bool) -> Result {
    let library = library(config).await?;
    let details = library.show(model).await.map_err(WiringError::from)?;
    let store = &**library.store();
    let variant = Variant::read(store, &details.manifest.id, VARIANT).await.map_err(WiringError::from)?;
    let source = details.manifest.weights_file().map(|file| file.sha256.clone()).unwrap_or_default();
    let mut digests = vec![source.clone()];
    digests.extend(variant.iter().map(|variant| variant.file.sha256.clone()));
    let tuned = tuned(config, &digests);
    if as_json {
        let mut object = json!(details);
        object["variant"] = json!(variant);
        object["tuned"] = json!(tuned.iter().map(|(_, record)| record).collect::<Vec<_>>());
        say!("{object:#}");
        return Ok(());
    }
    print(&details);
    for (text, _) in &tuned {
        say!("{:<14} {text}", "tuned");
    }
    if let Some(variant) = variant {
        print_variant(&variant, variant.source_sha256 == source);
    }
    Ok(())
}

fn print(details: &ModelDetails) {
    let ModelDetails { manifest, facts, .. } = details;
    let unknown = || "unknown".to_owned();
    let fields = [
        ("model", manifest.id.clone()),
        ("title", manifest.title.clone()),
        ("architecture", facts.architecture.clone().unwrap_or_else(unknown)),
        ("parameters", facts.parameters.map_or_else(unknown, |n| format!("{:.1} million", n as f64 / 1e6))),
        ("quantisation", facts.quantisation.clone().unwrap_or_else(unknown)),
        ("context", facts.context_length.map_or_else(unknown, |n| format!("{n} tokens"))),
        ("chat template", if facts.chat_template { "yes" } else { "no" }.to_owned()),
        ("license", manifest.license.clone()),
        ("source", manifest.source.clone()),
    ];
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        say!("{name:<14} {value}");
    }
    for file in &manifest.files {
        say!("{:<14} {} ({} bytes, sha256 {})", "file", file.name, file.size, file.sha256);
    }
}

fn print_variant(variant: &Variant, fits: bool) {
    let void = if fits { "" } else { "; void: the model's weights are others now" };
    say!(
        "{:<14} {} (USE_INT8), made by {} from sha256 {}{void}",
        "variant",
        variant.variant,
        variant.tool,
        variant.source_sha256
    );
    say!("{:<14} {} ({} bytes, sha256 {})", "file", variant.file.name, variant.file.size, variant.file.sha256);
    for line in comparison(&variant.measured) {
        say!("{line}");
    }
}

/// Before and after, side by side; nothing if it was not measured.
fn comparison(measured: &Value) -> Vec<String> {
    let (before, after) = (&measured["before"], &measured["after"]);
    if before.is_null() || after.is_null() {
        return Vec::new();
    }
    let text = |side: &Value, key: &str| side[key].as_str().unwrap_or("-").to_owned();
    let mut lines = vec![
        format!("{:<24} {:>12} {:>12} {:>8}", "  measured on this host", "before", "after", "ratio"),
        format!("{:<24} {:>12} {:>12}", "  weights", text(before, "quantisation"), text(after, "quantisation")),
        format!("{:<24} {:>12} {:>12}", "  keys and values", text(before, "kv_type"), text(after, "kv_type")),
    ];
    const MIB: f64 = 1_048_576.0;
    let rows = [
        ("weights, MiB", "weights_bytes", MIB, 0),
        ("KV cache, MiB", "kv_bytes", MIB, 0),
        ("memory in all, MiB", "resident_bytes", MIB, 0),
        ("reading, tokens/s", "prefill", 1.0, 0),
        ("1 stream, tokens/s", "decode", 1.0, 0),
        ("8 streams, tokens/s", "decode_of_eight", 1.0, 0),
        ("perplexity", "perplexity", 1.0, 3),
    ];
    for (name, key, unit, digits) in rows {
        let (Some(a), Some(b)) = (before[key].as_f64(), after[key].as_f64()) else { continue };
        let (a, b) = (a / unit, b / unit);
        lines.push(format!("  {name:<22} {a:>12.digits$} {b:>12.digits$} {:>8.3}", b / a.max(f64::MIN_POSITIVE)));
    }
    lines
}

/// What the tuner found on this machine: in words, and as it is remembered.
#[cfg(feature = "llama-cpp")]
fn tuned(config: &Config, digests: &[String]) -> Vec<(String, Value)> {
    use llmo_backends::llama_cpp::tune::{Machine, recall_all};
    let Ok(machine) = Machine::this() else { return Vec::new() };
    let directory = config.model.tune_directory();
    let records = digests.iter().flat_map(|digest| recall_all(&directory, &machine, digest));
    records
        .map(|record| {
            let how = if record.gain > 1.0 {
                format!("{:.2} times the default's speed", record.gain)
            } else {
                "the default".into()
            };
            let what = if record.digest == digests[0] { "" } else { " (q8_0)" };
            (format!("for {} slots{what}: {}; {how}", record.slots, record.chosen), json!(record))
        })
        .collect()
}

#[cfg(not(feature = "llama-cpp"))]
fn tuned(_: &Config, _: &[String]) -> Vec<(String, Value)> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_and_after_stand_side_by_side() {
        let side = |weights: u64, perplexity: f64, quantisation: &str| {
            json!({"quantisation": quantisation, "kv_type": "f16", "weights_bytes": weights << 20, "perplexity": perplexity,
                   "prefill": null})
        };
        let measured = json!({"before": side(94, 12.0, "Q4_1"), "after": side(141, 12.06, "Q8_0")});
        let lines = comparison(&measured);
        assert_eq!(lines.len(), 5, "{lines:?}");
        assert!(lines[3].contains("94") && lines[3].contains("141") && lines[3].ends_with("1.500"), "{lines:?}");
        assert!(lines[4].ends_with("1.005"));
        assert!(comparison(&Value::Null).is_empty());
    }
}
