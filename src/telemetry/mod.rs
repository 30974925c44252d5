//! Traces: spans of OpenTelemetry, and their way to a collector.
//!
//! What a span of an entry is called and tells is the worker's affair (`worker::spans`); here is what a span is, who samples,
//! and how spans leave the process. All of it is off without an endpoint, and then costs the look at an `Option`.

// what the standard environment variables say
mod config;
// identifiers, and who is sampled
mod context;
// where they wait to be sent
mod queue;
// spans, from their begin to their end
mod span;
// the thread that sends them
mod export;
// for the fuzzer
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;

pub(crate) use config::Config;
pub(crate) use context::{Parent, Seed};
pub(crate) use export::Counters;
pub(crate) use span::{ErrorType, Kind, Labels, Span};
pub use span::{Scope, Tracer};

use export::Exporter;

/// What a process does about traces.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    /// Makes spans, if traces are on.
    pub(crate) tracer: Tracer,
    exporter: Option<Exporter>,
}

impl Traces {
    /// As the environment says it, and says so in the log. What cannot be used turns traces off, and nothing else.
    pub(crate) fn begin(counters: Counters) -> Self {
        let config = match Config::of_process() {
            Ok(Some(config)) => config,
            Ok(None) => return Self::default(),
            Err(problems) => {
                for problem in problems {
                    tracing::warn!(err = %problem, "traces are off: a variable cannot be used");
                }
                return Self::default();
            }
        };
        let to = config.to_string();
        match Exporter::start(config, counters) {
            Ok((tracer, exporter)) => {
                tracing::info!(to, "traces are exported");
                Self { tracer, exporter: Some(exporter) }
            }
            Err(error) => {
                tracing::warn!(err = %error, "traces are off: they cannot be sent");
                Self::default()
            }
        }
    }

    /// Sends what waits to be sent, for about two seconds at most.
    pub(crate) async fn flush(self) {
        let Self { tracer, exporter } = self;
        drop(tracer);
        if let Some(exporter) = exporter {
            exporter.flush().await;
        }
    }
}
