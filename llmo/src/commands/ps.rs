//! `llmo ps`: what the running stack serves, and how busy it is.

use std::time::SystemTime;

use llmo_config::Config;
use llmo_core::model::LoadProgress;
use serde_json::{Value, json};

use crate::connect::{API_KEY, api_url, client};
use crate::error::{CliError, Result};

pub(crate) async fn run(config: &Config, json: bool) -> Result {
    let url = api_url(config);
    let status: Value = match client().get(format!("{url}/internal/status")).send().await {
        Ok(answer) if answer.status() == reqwest::StatusCode::UNAUTHORIZED => {
            return Err(CliError::Message(format!(
                "{url} wants an API key; put one into {API_KEY} (llmo key new NAME)"
            )));
        }
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
        "{:<24} {:<10} {:<8} {:>8} {:>7} {:>7} {:>6} {:>5} {:>9} UNTIL",
        "MODEL",
        "ENGINE",
        "QUANT",
        "CONTEXT",
        "SLOTS",
        "FREE",
        "QUEUED",
        "KV",
        "MEMORY"
    );
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // What is only on disk is in `llmo list`.
    for entry in models.iter().filter(|entry| entry["load"]["residence"]["state"] != "absent") {
        say!("{}", line(entry, now));
    }
    // Those that can't be asked for before they are there.
    for residence in status["loading"].as_array().map_or(&[][..], Vec::as_slice) {
        let entry = json!({"info": {"id": residence["model"]}, "load": {"residence": residence}});
        say!("{}", line(&entry, now));
    }
    Ok(())
}

fn line(entry: &Value, now: u64) -> String {
    let (info, load) = (&entry["info"], &entry["load"]);
    let residence = &load["residence"];
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let number = |value: &Value| value.as_u64().map_or_else(|| "-".to_owned(), |n| n.to_string());
    let kv = load["kv_used"].as_f64().map_or_else(|| "-".to_owned(), |share| format!("{:.0}%", share * 100.0));
    format!(
        "{:<24} {:<10} {:<8} {:>8} {:>7} {:>7} {:>6} {:>5} {:>9} {}",
        text(&info["id"]),
        text(&info["backend"]),
        text(&info["quantisation"]),
        number(&info["context_length"]),
        number(&load["slots"]),
        number(&load["slots_free"]),
        number(&load["queued_requests"]),
        kv,
        residence["bytes"].as_u64().map_or_else(|| "-".to_owned(), |bytes| format!("{} MiB", bytes >> 20)),
        until(residence, now),
    )
}

/// How long a model stays if nobody uses it.
fn until(residence: &Value, now: u64) -> String {
    match (residence["state"].as_str(), residence["expires_at"].as_u64()) {
        (None, _) => "-".to_owned(),
        (Some("loading"), _) => arriving(&residence["progress"]),
        (_, None) => "for ever".to_owned(),
        (_, Some(at)) => match at.saturating_sub(now) {
            seconds @ 0..120 => format!("{seconds} s from now"),
            seconds => format!("{} min from now", seconds / 60),
        },
    }
}

/// How far a model is on its way into memory.
fn arriving(progress: &Value) -> String {
    serde_json::from_value::<LoadProgress>(progress.clone())
        .map_or_else(|_| "loading".to_owned(), |progress| progress.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_a_dash() {
        let entry = serde_json::json!({"info": {"id": "m"}, "load": {"slots": 4, "kv_used": 0.5}});
        let fields: Vec<_> = line(&entry, 0).split_whitespace().map(str::to_owned).collect();
        assert_eq!(fields, ["m", "-", "-", "-", "4", "-", "-", "50%", "-", "-"]);
    }

    #[test]
    fn it_is_told_how_long_a_model_stays() {
        let told = |residence: Value| until(&residence, 1_000);
        assert_eq!(told(serde_json::json!({"state": "loading"})), "loading");
        let progress =
            |step: &str, percent: Value| json!({"state": "loading", "progress": {"step": step, "percent": percent}});
        assert_eq!(told(progress("loading", json!(42))), "loading 42 %");
        assert_eq!(told(progress("tuning", Value::Null)), "tuning");
        assert_eq!(told(progress("something newer", Value::Null)), "loading");
        assert_eq!(told(serde_json::json!({"state": "loaded", "expires_at": null})), "for ever");
        assert_eq!(told(serde_json::json!({"state": "loaded", "expires_at": 1_030})), "30 s from now");
        assert_eq!(told(serde_json::json!({"state": "loaded", "expires_at": 1_290})), "4 min from now");
    }
}
