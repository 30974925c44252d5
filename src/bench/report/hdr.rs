//! The latencies second by second as an interval log of HDR histograms, which other tools read.

use std::io;
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;

use super::run_report::RunReport;

/// Latencies in the log are shown in milliseconds.
const US_PER_MS: f64 = 1_000.0;

/// The log.
pub(crate) fn hdr(report: &RunReport) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let began = SystemTime::UNIX_EPOCH + Duration::from_millis(report.began_at_ms);
    let mut builder = IntervalLogWriterBuilder::new();
    builder
        .add_comment("startjobs bench: microseconds from the intended send to the outcome seen")
        .with_start_time(began)
        .with_base_time(began)
        .with_max_value_divisor(US_PER_MS);
    let mut writer = builder.begin_log_with(&mut out, &mut serializer)?;
    let second = Duration::from_secs(1);
    for (number, histogram) in (0_u32..).zip(&report.histograms) {
        writer
            .write_histogram(histogram, second * number, second, None)
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
    }
    drop(writer);
    Ok(out)
}
