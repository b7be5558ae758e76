//! What logs and traces had to leave out because nobody took it: a sink that hangs costs lines, never time.

use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use crate::telemetry;

/// `llmo_log_lines_dropped_total` and, with the feature `otlp`, `llmo_spans_dropped_total`.
#[derive(Debug)]
pub(super) struct Dropped;

impl Collector for Dropped {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "Log lines left out because nobody took them";
        let lines = encoder.encode_descriptor("llmo_log_lines_dropped", help, None, MetricType::Counter)?;
        ConstCounter::new(telemetry::dropped_lines()).encode(lines)?;
        #[cfg(feature = "otlp")]
        {
            let help = "Spans left out because the collector did not take them";
            let spans = encoder.encode_descriptor("llmo_spans_dropped", help, None, MetricType::Counter)?;
            ConstCounter::new(telemetry::otlp::dropped_spans()).encode(spans)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::{Metrics, Role};

    #[tokio::test]
    async fn what_a_hung_log_left_out_is_told() {
        let text = Metrics::new(Role::Gateway).encode().await;
        assert!(text.contains("\nllmo_log_lines_dropped_total "), "{text}");
    }
}
