//! What rules decided, counted.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Counters of routes. Clones share them. Routes are named by whoever configures them: there are not many.
#[derive(Debug, Clone, Default)]
pub struct RouteMetrics {
    matched: Family<RouteLabel, Counter>,
    fallbacks: Family<FallbackLabel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FallbackLabel {
    route: String,
    error_type: &'static str,
}

impl RouteMetrics {
    /// Makes them appear in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("llmo_route_requests", "Requests for which a route decided", self.matched.clone());
        registry.register(
            "llmo_route_fallbacks",
            "Requests that went on to the next model of their route, by what was wrong with the one before",
            self.fallbacks.clone(),
        );
    }

    pub(super) fn matched(&self, route: &Arc<str>) {
        self.matched.get_or_create(&RouteLabel { route: route.to_string() }).inc();
    }

    pub(super) fn fell_back(&self, route: &Arc<str>, error_type: &'static str) {
        self.fallbacks.get_or_create(&FallbackLabel { route: route.to_string(), error_type }).inc();
    }

    /// Requests that went on to another model so far, by this route and for this reason.
    #[must_use]
    pub fn fallbacks(&self, route: &str, error_type: &'static str) -> u64 {
        self.fallbacks.get_or_create(&FallbackLabel { route: route.to_owned(), error_type }).get()
    }
}
