//! `llmo ps`: what the running stack serves, and how busy it is.

use llmo_config::Config;
use serde_json::Value;

use crate::connect::{api_url, client};
use crate::error::{CliError, Result};

pub(crate) async fn run(config: &Config, json: bool) -> Result {
    let url = api_url(config);
    let status: Value = match client().get(format!("{url}/internal/status")).send().await {
        Ok(answer) => answer.json().await.map_err(|error| CliError::Message(format!("{url} is not llmo: {error}")))?,
        Err(_) => {
            return Err(CliError::Message(format!(
                "nothing answers at {url}; start the stack: ./run_microservices.sh run (or: llmo up)"
            )));
        }
    };
    let models = status["models"].as_array().map_or(&[][..], Vec::as_slice);
    if json {
        say!("{:#}", Value::from(models));
        return Ok(());
    }
    say!(
        "{:<24} {:<10} {:<8} {:>8} {:>7} {:>7} {:>6} {:>5}",
        "MODEL",
        "ENGINE",
        "QUANT",
        "CONTEXT",
        "SLOTS",
        "FREE",
        "QUEUED",
        "KV"
    );
    for entry in models {
        say!("{}", line(entry));
    }
    Ok(())
}

fn line(entry: &Value) -> String {
    let (info, load) = (&entry["info"], &entry["load"]);
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let number = |value: &Value| value.as_u64().map_or_else(|| "-".to_owned(), |n| n.to_string());
    let kv = load["kv_used"].as_f64().map_or_else(|| "-".to_owned(), |share| format!("{:.0}%", share * 100.0));
    format!(
        "{:<24} {:<10} {:<8} {:>8} {:>7} {:>7} {:>6} {:>5}",
        text(&info["id"]),
        text(&info["backend"]),
        text(&info["quantisation"]),
        number(&info["context_length"]),
        number(&load["slots"]),
        number(&load["slots_free"]),
        number(&load["queued_requests"]),
        kv,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_a_dash() {
        let entry = serde_json::json!({"info": {"id": "m"}, "load": {"slots": 4, "kv_used": 0.5}});
        let fields: Vec<_> = line(&entry).split_whitespace().map(str::to_owned).collect();
        assert_eq!(fields, ["m", "-", "-", "-", "4", "-", "-", "50%"]);
    }
}
