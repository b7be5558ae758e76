//! `llmo tune`: which options are fast on this machine.

use llmo_backends::llama_cpp::TuneMode;
use llmo_backends::llama_cpp::tune::{self, PERPLEXITY_BOUND, Record, Trial, Verdict};
use llmo_config::Config;
use llmo_server::services::model::Tunable;
use serde_json::json;

use crate::cli::TuneArgs;
use crate::connect::is_running;
use crate::error::{CliError, Result};

pub(crate) async fn run(arguments: &TuneArgs, config: &Config) -> Result {
    let model = Tunable::find(config, arguments.model.as_deref().unwrap_or_default()).await?;
    let directory = config.model.tune_directory();
    if arguments.forget {
        let forgotten = tune::forget(&directory, &model.digest).map_err(CliError::io("cannot forget"))?;
        say!("{}: {}", model.id, if forgotten { "forgotten" } else { "nothing was remembered" });
        return Ok(());
    }
    if is_running(config).await {
        eprintln!("warning: the stack is running; what it computes meanwhile makes the measurement worthless");
    }
    let mut options = model.options.clone();
    options.tuning.mode = if arguments.quick { TuneMode::Auto } else { TuneMode::Full };
    options.tuning.directory = (!arguments.dry_run).then_some(directory.clone());
    let (file, show) = (model.file.clone(), !arguments.json);
    if show {
        say!(
            "{} ({}); this takes {}",
            model.id,
            file.display(),
            if arguments.quick { "some seconds" } else { "some minutes" }
        );
    }
    let measured = tokio::task::spawn_blocking(move || {
        let mut first = true;
        tune::tune(&file, &options, &mut |trial| {
            if show {
                if std::mem::take(&mut first) {
                    say!("{}", heading(trial));
                }
                say!("{}", line(trial));
            }
        })
    });
    let record = measured.await.map_err(|e| CliError::Message(e.to_string()))??;
    if arguments.json {
        say!("{:#}", json!({"model": model.id, "remembered": !arguments.dry_run, "result": record}));
        return Ok(());
    }
    print_end(&record);
    say!(
        "{}",
        if arguments.dry_run {
            "not remembered (--dry-run)".into()
        } else {
            format!("remembered in {}", directory.display())
        }
    );
    Ok(())
}

const OPTIONS_WIDTH: usize = 50;

fn heading(trial: &Trial) -> String {
    let points: String = trial.speeds.iter().map(|(point, _)| format!("{point:>9}")).collect();
    format!("{:<OPTIONS_WIDTH$}{points}  RATIO", "OPTIONS (tokens a second: reading, and N streams @ depth)")
}

fn line(trial: &Trial) -> String {
    let speeds: String = trial.speeds.iter().map(|(_, speed)| format!("{speed:>9.0}")).collect();
    format!("{:<OPTIONS_WIDTH$}{speeds}  {:>5.2}  {}", trial.candidate, trial.ratio, word(trial.verdict))
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Default => "default",
        Verdict::Slower => "",
        Verdict::Faster => "faster",
        Verdict::QualityTooLow => "perplexity too high",
        Verdict::NotOffered => "for comparison",
        Verdict::Failed => "failed",
        Verdict::Taken => "taken",
        _ => "?",
    }
}

fn print_end(record: &Record) {
    if let Some(guard) = record.guard {
        let rise = (guard.q8_0 / guard.f16 - 1.0) * 100.0;
        let most = (PERPLEXITY_BOUND - 1.0) * 100.0;
        say!(
            "perplexity with f16 keys and values {:.3}, with q8_0 {:.3} ({rise:+.2} %, at most {most:+.1} %)",
            guard.f16,
            guard.q8_0
        );
    }
    if record.noisy {
        say!(
            "the machine is too busy: repeats of the same measurement differ by more than a quarter; the default stays"
        );
    } else if record.gain > 1.0 {
        say!("taken: {}, {:.2} times as fast as the default (weighted over all points)", record.chosen, record.gain);
    } else {
        say!("nothing is clearly faster than the default: {}", record.chosen);
    }
}
