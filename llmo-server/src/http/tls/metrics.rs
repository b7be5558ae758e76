//! Certificates as metrics.

use std::sync::Arc;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Certificates;

/// `llmo_tls_cert_not_after_timestamp_seconds`, `llmo_tls_last_reload_successful`, `llmo_tls_reloads_total`,
/// `llmo_tls_reload_failures_total`.
#[derive(Debug)]
pub struct TlsMetrics(pub Arc<Certificates>);

impl Collector for TlsMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (reloads, refused, failed) = self.0.counts();
        if let Some(not_after) = self.0.not_after() {
            let seconds = not_after.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
            let expiry = ConstGauge::new(seconds);
            let name = "llmo_tls_cert_not_after_timestamp_seconds";
            expiry.encode(encoder.encode_descriptor(
                name,
                "When the certificate in use expires",
                None,
                expiry.metric_type(),
            )?)?;
        }
        let last = ConstGauge::new(u64::from(!failed));
        let help = "Whether the certificate that came last is in use";
        last.encode(encoder.encode_descriptor("llmo_tls_last_reload_successful", help, None, last.metric_type())?)?;
        for (name, help, count) in [
            ("llmo_tls_reloads", "Certificates that were taken into use", reloads),
            ("llmo_tls_reload_failures", "Certificates that were no good, or could not be had", refused),
        ] {
            let counter = ConstCounter::new(count);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}
