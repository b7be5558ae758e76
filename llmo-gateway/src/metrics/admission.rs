//! Metrics of admission, read at the moment of a scrape.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::admission::{GateState, Gates};

/// How the gates of all models stand.
#[derive(Debug)]
pub struct AdmissionMetrics(pub Arc<Gates>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabel {
    model: String,
}

impl Collector for AdmissionMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let states = self.0.states();
        let mut gauge = |name: &str, help: &str, value: fn(&GateState) -> usize| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            states.iter().try_for_each(|(model, state)| {
                let value = u32::try_from(value(state)).unwrap_or(u32::MAX);
                ConstGauge::new(value).encode(metric.encode_family(&ModelLabel { model: model.clone() })?)
            })
        };
        gauge("llmo_gateway_running_requests", "Requests that were let through and run", |state| state.running)?;
        gauge("llmo_gateway_queued_requests", "Requests that wait at the gateway", |state| state.queued)?;
        gauge("llmo_gateway_concurrency_limit", "Requests that may run at once", |state| state.limit)
    }
}
