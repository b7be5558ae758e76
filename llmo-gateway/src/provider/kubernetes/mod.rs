//! Replicas are the ready endpoints of a Kubernetes service, as its EndpointSlices list them.
//!
//! The slices are listed once and then watched over plain HTTPS with the pod's own service account, which needs the verbs
//! `list` and `watch` on `endpointslices` of `discovery.k8s.io`. A watch that ends begins again where it was; one that came
//! too late begins with a new list.
//!
//! * [`slices`]: what the API tells, and the replicas in it, pure. [`KubernetesProvider`]: list and watch of one service.

mod client;
mod lines;
pub mod slices;

use std::convert::Infallible;
use std::path::Path;

use async_trait::async_trait;

use self::client::{Api, Watched};
use self::slices::{Service, Slices};
use super::{Desired, Provider, Sink, SourceLost};

/// Watches the endpoints of one service.
pub struct KubernetesProvider {
    label: String,
    service: Service,
    api: Api,
}

impl KubernetesProvider {
    /// The service `[NAMESPACE/]SERVICE:PORT`. `api`: base URL; empty: the cluster's own. `credentials`: the directory of
    /// `token`, `ca.crt` and `namespace`.
    ///
    /// # Errors
    /// What is wrong with the name or with the environment: not in a cluster, no credentials.
    pub fn new(service: &str, api: &str, credentials: &Path) -> Result<Self, String> {
        let namespace = || std::fs::read_to_string(credentials.join("namespace")).ok();
        let parsed = Service::parse(service, namespace)?;
        let api = Api::new(api, credentials)?;
        Ok(Self { label: format!("kubernetes:{}", parsed.name()), service: parsed, api })
    }

    fn publish(&self, slices: &Slices, sink: &Sink) {
        match slices.targets(&self.service) {
            // Routes are not in it: there is nothing to refuse.
            Ok(targets) => drop(sink.publish(Desired::targets(targets))),
            Err(problem) => sink.refuse(problem),
        }
    }
}

#[async_trait]
impl Provider for KubernetesProvider {
    fn name(&self) -> &str {
        &self.label
    }

    async fn watch(&self, sink: &Sink) -> Result<Infallible, SourceLost> {
        loop {
            let (mut slices, mut version) = self.api.list(&self.service).await?;
            self.publish(&slices, sink);
            'watches: loop {
                let mut events = self.api.watch(&self.service, &version).await?;
                loop {
                    match events.next().await? {
                        Watched::Change(change) => {
                            version = slices.apply(*change).unwrap_or(version);
                            self.publish(&slices, sink);
                        }
                        Watched::Bookmark(newer) => version = newer,
                        // The server ends watches now and then.
                        Watched::End => break,
                        Watched::TooOld => break 'watches,
                    }
                }
            }
        }
    }
}
