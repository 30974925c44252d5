//! A registry under construction: each metric is declared with its name and its help, once.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry, Unit};

use super::labels::TraceId;

/// A gauge that holds fractions.
pub(crate) type Fraction = Gauge<f64, AtomicU64>;
/// A metric with labels.
pub(super) type Family<L, M> = family::Family<L, M>;

/// A histogram whose buckets name a trace.
pub(super) type Latency = HistogramWithExemplars<TraceId>;

/// Bounds in seconds, from a settle to an image pull.
pub(super) const SECONDS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];
/// Bounds in seconds, of a call on loopback or a local network.
pub(super) const CALL_SECONDS: [f64; 12] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 2.0];

/// The registry under construction.
pub(super) struct Table(Registry);

impl Table {
    pub(super) fn new() -> Self {
        Self(Registry::with_prefix("startjobs"))
    }

    pub(super) fn finish(self) -> Registry {
        self.0
    }

    pub(super) fn add<M: Metric + Default + Clone>(&mut self, name: &str, help: &str) -> M {
        self.add_with(name, help, M::default())
    }

    pub(super) fn add_with<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }

    pub(super) fn add_latency(&mut self, name: &str, help: &str, bounds: &[f64]) -> Latency {
        let histogram = Latency::new(bounds.iter().copied());
        self.0.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        histogram
    }

    /// A histogram for each combination of label values.
    pub(super) fn add_histograms<L>(&mut self, name: &str, help: &str, new: fn() -> Histogram) -> Family<L, Histogram>
    where
        L: EncodeLabelSet + Clone + Hash + Eq + Debug + Send + Sync + 'static,
    {
        let family = Family::new_with_constructor(new);
        self.0.register_with_unit(name, help, Unit::Seconds, family.clone());
        family
    }
}
